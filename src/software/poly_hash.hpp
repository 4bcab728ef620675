// poly_hash: a hash by evaluating a polynomial over GF(2^128) at a secret point; almost universal, for verification and
// authentication.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace qkd004::software {

using block128 = std::array<std::byte, 16>;

/// The message, cut into blocks of 16 octets (the last filled up with zeros) and followed by its length, as
/// coefficients of a polynomial of which the key is the point. Two messages of at most L blocks collide with a
/// probability of at most (L + 1) / 2^128 over the key.
/// Threads: one at a time.
class poly_hash {
 public:
  explicit poly_hash(const block128& key) noexcept;
  poly_hash(const poly_hash&) = delete;
  poly_hash& operator=(const poly_hash&) = delete;
  ~poly_hash();  ///< wipes

  void update(std::span<const std::byte> octets) noexcept;
  /// The hash of what came so far. Nothing may follow.
  [[nodiscard]] block128 finish() noexcept;
  /// Octets so far.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  void absorb(std::span<const std::byte> blocks) noexcept;

  std::array<block128, 8> powers_{};  ///< of the key
  block128 sum_{};
  block128 rest_{};
  std::uint64_t size_ = 0;
};

}  // namespace qkd004::software
