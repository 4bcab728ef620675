// json_text: strings as JSON writes them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace qkd004::wire {

/// A JSON string, quotes and all. Octets that are no UTF-8 are shown one by one, so that the text is JSON whatever they
/// were.
[[nodiscard]] std::string json_quoted(std::string_view text);

/// Octets of the UTF-8 sequence that `text` begins with, 0 if it begins with none. Requires: not empty.
/// Clause: RFC 3629, 4.
[[nodiscard]] std::size_t utf8_sequence_size(std::string_view text) noexcept;

}  // namespace qkd004::wire
