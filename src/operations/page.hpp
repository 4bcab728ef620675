// page: the dashboard that this folder's dashboard.html holds, as octets of the program.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace qkd004::operations {

/// Made from the file when this is built: cmake/EmbedText.cmake.
[[nodiscard]] std::string_view dashboard_html() noexcept;

/// What a browser may do with that page: run the script and use the style that stand in it, known by their SHA-256, and
/// ask this server. Clause: Content Security Policy Level 3 (W3C).
[[nodiscard]] std::string content_security_policy(std::string_view html);

}  // namespace qkd004::operations
