// openapi: the description of the binding of 004 that this folder's openapi.json holds, as octets of the program.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace qkd004::net::http {

/// Made from the file when this is built: cmake/EmbedText.cmake.
[[nodiscard]] std::string_view openapi_json() noexcept;

}  // namespace qkd004::net::http
