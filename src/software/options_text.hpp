// options_text: whether the options of a link can be, and all of them as octets that no other options have.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "qkd004/software_link.hpp"

namespace qkd004::software {

/// A sentence on the first option that cannot be; empty if all can.
[[nodiscard]] std::string find_fault(const software_link_options& o);

[[nodiscard]] std::string options_text(const software_link_options& o);

}  // namespace qkd004::software
