// text: strings as they come over the C interface: NUL-terminated UTF-8.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace qkd004::capi {

/// A string that has to be there. Throws refusal (invalid_argument): NULL, or not UTF-8.
[[nodiscard]] std::string text(const char* s);

/// The same where NULL means `otherwise`.
[[nodiscard]] std::string text_or(const char* s, std::string_view otherwise);

/// Of an array that must hold a NUL within its size.
[[nodiscard]] std::string text_in(const char* array, std::size_t size);

}  // namespace qkd004::capi
