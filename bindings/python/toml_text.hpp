// toml_text: a Python dict as the TOML that a site's configuration is written in.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "interpreter.hpp"

namespace qkd004::python {

/// Of str, bool, int, float, list, tuple and dict. Raises TypeError for anything else, OverflowError beyond 64 bits.
[[nodiscard]] std::string toml_text(const py::dict& table);

}  // namespace qkd004::python
