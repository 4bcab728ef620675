// private_file: an open file that nobody but its owner may read, and reads and writes that come back whole.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "qkd004/result.hpp"

namespace qkd004::source {

class file_descriptor {
 public:
  file_descriptor() noexcept = default;
  explicit file_descriptor(int number) noexcept : number_{number} {}
  file_descriptor(file_descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  file_descriptor& operator=(file_descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~file_descriptor();

  [[nodiscard]] int get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

/// Why a file could not be used: the code for programs, the text for people. The text never has what is in
/// it.
struct complaint {
  std::string path;
  std::string* why;  ///< may be null

  std::error_code operator()(std::error_code code, std::string_view text) const;
  /// The errno of a call that failed.
  std::error_code errno_of(std::string_view call) const;
};

/// A regular file and its size in octets.
struct private_file {
  file_descriptor descriptor;
  std::uint64_t size = 0;
};

enum class others { refused, allowed };

/// Opens an existing file with the `flags` of open(2).
/// Returns errno of open, invalid_argument for what is not a regular file, permission_denied when group or
/// others have access and that is refused.
[[nodiscard]] result<private_file> open_private(const complaint& complain, int flags, others access);

/// All of `out` from `offset`. Returns io_error at the end of the file.
[[nodiscard]] std::error_code read_at(int descriptor, std::span<std::byte> out,
                                      std::uint64_t offset) noexcept;

[[nodiscard]] std::error_code write_at(int descriptor, std::span<const std::byte> from,
                                       std::uint64_t offset) noexcept;

/// The octets that were written, on the medium.
[[nodiscard]] std::error_code sync(int descriptor) noexcept;

}  // namespace qkd004::source
