// async_stream: client and stream for an event loop, where nothing waits and each call ends in a Python callable; qkd004.aio
// stands on it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "interpreter.hpp"

namespace qkd004::python {

/// Adds the classes and async_connect(), async_pair() to the module.
void add_async(py::module_& m);

}  // namespace qkd004::python
