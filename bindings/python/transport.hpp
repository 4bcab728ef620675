// transport: a Python object with one blocking method as the seam to a key manager.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "interpreter.hpp"
#include "qkd004/exchange.hpp"

namespace qkd004::python {

/// Raises TypeError if `transport` is no qkd004.Transport.
[[nodiscard]] std::shared_ptr<exchange> transport_of(const py::object& transport);

}  // namespace qkd004::python
