// private_output: a new file that only its owner may read; for key, and never on top of a file that is there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "qkd004/result.hpp"

namespace qkd004::cli {

class private_output {
 public:
  private_output() noexcept = default;
  private_output(private_output&& other) noexcept;
  private_output& operator=(private_output&& other) noexcept;
  ~private_output();

  /// Creates the file with mode 0600.
  /// Returns file_exists (std::errc) if there is anything at `path`, or errno of open; `why` says so in words.
  [[nodiscard]] static result<private_output> create(const std::string& path, std::string* why);

  /// Returns errno of the failed call.
  [[nodiscard]] result<void> write(std::span<const std::byte> octets);

  /// What was written, on the medium. Returns errno of the failed call.
  [[nodiscard]] result<void> close();

  explicit operator bool() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

}  // namespace qkd004::cli
