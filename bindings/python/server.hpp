// server: a served site as a Python object, on a thread of its own; qkd004.Server stands on it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "interpreter.hpp"

namespace qkd004::python {

/// Adds the class and serve() to the module.
void add_server(py::module_& m);

}  // namespace qkd004::python
