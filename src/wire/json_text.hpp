// json_text: strings as JSON writes them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace qkd004::wire {

/// A JSON string, quotes and all. Octets that are no UTF-8 are shown one by one, so that the text is JSON whatever they
/// were.
[[nodiscard]] std::string json_quoted(std::string_view text);

}  // namespace qkd004::wire
