// key: the Python type Key, which is locked memory with an index; the hands that make one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "interpreter.hpp"
#include "key_memory.hpp"
#include "qkd004/metadata.hpp"

namespace qkd004::python {

/// What is said of a key beside its octets.
struct key_label {
  std::uint64_t index = 0;
  key_metadata metadata;
  PyObject* vendor = nullptr;  ///< bytes, as the key manager sent them, or null; borrowed
};

/// Adds the type to the module. Requires: once.
void add_key(py::module_& m);

/// A Key of the octets at `at`, which it wipes and gives back to its slab. Returns a new reference, or null with an
/// exception set: then the place is given back.
[[nodiscard]] PyObject* make_key(key_memory::slab* in, std::byte* at, const key_label& label) noexcept;

/// Places for keys from before a call until its end; those that no key was put into are given back.
/// Threads: any may end it.
class booking {
 public:
  /// Raises ResourceLimit if there is no place.
  explicit booking(key_memory::place p);
  booking(booking&& other) noexcept
      : place_{std::exchange(other.place_, {})}, used_{std::exchange(other.used_, 0)} {}
  booking& operator=(booking&&) = delete;
  ~booking();

  [[nodiscard]] std::size_t count() const noexcept { return place_.count; }
  /// Where the next key goes, and those after it.
  [[nodiscard]] std::span<std::byte> room() const noexcept {
    return {at(used_), (place_.count - used_) * place_.in->owner().chunk_size()};
  }
  /// The key that stands where room() began.
  /// Requires: the GIL.
  [[nodiscard]] py::object key(const key_label& label);

 private:
  [[nodiscard]] std::byte* at(std::size_t i) const noexcept {
    return place_.at + i * place_.in->owner().chunk_size();
  }

  key_memory::place place_;
  std::size_t used_ = 0;
};

}  // namespace qkd004::python
