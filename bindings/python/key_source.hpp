// key_source: key sources for Python: those of this library as objects, and those written in Python as the seam.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "interpreter.hpp"
#include "qkd004/key_source.hpp"

namespace qkd004::python {

/// The key source behind a Python object: a qkd004.KeySource, or an end of a qkd004.SoftwareLink. It serves one site, once.
/// Raises TypeError, InvalidArgument if it serves one already.
[[nodiscard]] std::shared_ptr<key_source> key_source_of(const py::object& source);

/// A key source whose methods are those of a Python object.
[[nodiscard]] std::shared_ptr<key_source> make_python_key_source(py::object source);

}  // namespace qkd004::python
