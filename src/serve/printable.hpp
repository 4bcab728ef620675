// printable: text of others, made safe to show.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace qkd004::serve {

/// The text with control characters as \xHH: what another program sent must not move the cursor.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace qkd004::serve
