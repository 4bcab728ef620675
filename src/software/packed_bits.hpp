// packed_bits: the bits of a message one after another, up to 64 written or read at a time; not secret, they are sent.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace qkd004::software {

/// Bit i is bit i % 8 of octet i / 8 of the message. Threads: one at a time.
class packed_bits {
 public:
  void clear() noexcept {
    std::fill_n(words_.begin(), static_cast<std::ptrdiff_t>(size_ / 64 + 2), 0);
    size_ = 0;
  }

  /// Appends the lowest `count` of these bits. Requires: the others are 0, count <= 64.
  void push(std::uint64_t values, unsigned count) {
    const std::size_t at = size_ / 64;
    const unsigned shift = size_ % 64;
    if (at + 3 > words_.size()) words_.resize(2 * words_.size());
    words_[at] |= values << shift;
    words_[at + 1] |= values >> 1 >> (63 - shift);
    size_ += count;
  }

  /// 64 bits from the i-th on, zeros after the last.
  [[nodiscard]] std::uint64_t read(std::size_t i) const noexcept {
    assert(i <= size_);
    const unsigned shift = i % 64;
    return words_[i / 64] >> shift | words_[i / 64 + 1] << 1 << (63 - shift);
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t octets() const noexcept { return (size_ + 7) / 8; }

  void append_to(std::vector<std::byte>& message) const {
    const auto all = std::as_bytes(std::span{words_}).first(octets());
    message.insert(message.end(), all.begin(), all.end());
  }
  /// Whether the message has as many bits as there are here, and zeros after them.
  [[nodiscard]] bool fits(std::span<const std::byte> message) const noexcept {
    if (message.size() != octets()) return false;
    return size_ % 8 == 0 || std::to_integer<unsigned>(message.back()) >> (size_ % 8) == 0;
  }
  /// Adds a message, bit by bit. Requires: it fits.
  void add(std::span<const std::byte> message) noexcept {
    for (std::size_t i = 0; 8 * i < message.size(); ++i) {
      std::uint64_t word = 0;
      std::memcpy(&word, message.data() + 8 * i, std::min<std::size_t>(8, message.size() - 8 * i));
      words_[i] ^= word;
    }
  }
  /// Becomes the message. Requires: it fits.
  void assign(std::span<const std::byte> message) noexcept {
    std::fill(words_.begin(), words_.end(), 0);
    add(message);
  }

 private:
  static_assert(std::endian::native == std::endian::little, "words are copied into messages as they are");

  std::vector<std::uint64_t> words_ = std::vector<std::uint64_t>(64);  ///< one more than have bits, at least
  std::size_t size_ = 0;
};

}  // namespace qkd004::software
