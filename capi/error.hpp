// error: what a call came to at the C interface, and the sentence that the thread keeps about it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "qkd004/status.hpp"

namespace qkd004::capi {

/// The number of an error: a status as it is, an errno as minus itself, -EIO for what has neither.
[[nodiscard]] int number_of(std::error_code e) noexcept;

/// What a callback of the application returned, which is not 0, as an error: a status, or minus an errno.
[[nodiscard]] std::error_code error_of(int result) noexcept;

/// What the body of a call returns: 0, or why not. Keeps no octet of key: `detail` is a name, a path, a reason.
struct answer {
  answer(int number) noexcept : result{number} {}
  answer(status s, std::string why = {}) noexcept : result{static_cast<int>(s)}, detail{std::move(why)} {}
  answer(std::error_code e, std::string why = {}) noexcept : result{number_of(e)}, detail{std::move(why)} {}

  int result;
  std::string detail;
  const char* words = nullptr;  ///< static, what the number means where it does not mean a status of V2.1.1
};

/// Thrown where an argument is found wanting; the guard turns it into the call's result.
struct refusal {
  int result;
  const char* detail;  ///< static
};

/// Keeps a sentence for qkd004_last_error() and returns `result`; `words` null: those of the result.
int fail(const char* call, int result, std::string_view detail, const char* words = nullptr) noexcept;

}  // namespace qkd004::capi
