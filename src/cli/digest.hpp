// digest: SHA-256 of key, so that two ends can compare what they hold without showing it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace qkd004::cli {

using sha256_digest = std::array<std::byte, 32>;

/// SHA-256 of octets that come in pieces.
/// Order of calls: `add* finish`. Throws std::runtime_error when OpenSSL fails.
class sha256 {
 public:
  sha256();
  void add(std::span<const std::byte> octets);
  [[nodiscard]] sha256_digest finish();

  [[nodiscard]] static sha256_digest of(std::span<const std::byte> octets);

 private:
  struct free_context {
    void operator()(void* context) const noexcept;
  };
  std::unique_ptr<void, free_context> context_;
};

/// Lower-case hexadecimal digits.
[[nodiscard]] std::string to_hex(std::span<const std::byte> octets);

/// The digest with these 64 hexadecimal digits, or none.
[[nodiscard]] std::optional<sha256_digest> parse_digest(std::string_view hex);

/// The first 16 hexadecimal digits of a digest: what people compare by eye.
[[nodiscard]] std::string fingerprint(const sha256_digest& digest);

}  // namespace qkd004::cli
