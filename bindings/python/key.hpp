// key: the Python type Key, which is locked memory with an index; the hands that make one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "interpreter.hpp"
#include "key_memory.hpp"
#include "qkd004/metadata.hpp"

namespace qkd004::python {

/// What is said of a key beside its octets.
struct key_label {
  std::uint64_t index = 0;
  key_metadata metadata;
  PyObject* vendor = nullptr;  ///< str, a JSON object with the members x_*, or null; borrowed
};

/// Adds the type to the module. Requires: once.
void add_key(py::module_& m);

/// A Key of the octets at `at`, which it wipes and gives back to its slab. Returns a new reference, or null with an
/// exception set: then the place is given back.
[[nodiscard]] PyObject* make_key(key_memory::slab* in, std::byte* at, const key_label& label) noexcept;

}  // namespace qkd004::python
