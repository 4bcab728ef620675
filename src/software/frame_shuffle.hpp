// frame_shuffle: a permutation of the 65,536 bits of a frame that is fast on packed words: every row of a 256 x 256
// matrix is rotated by an amount of its own, then every column.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "software/expander.hpp"

namespace qkd004::software {

inline constexpr std::size_t frame_slots = 65536;
inline constexpr std::size_t frame_words = frame_slots / 64;

/// Bits that stood next to one another, a block of the pass before, come into rows that are independent of one another,
/// and two such blocks into rows that are too: as good to Cascade as any permutation, for a tenth of its price.
/// Threads: any number, it does not change.
class frame_shuffle {
 public:
  /// Draws 512 octets.
  explicit frame_shuffle(expander& random);

  /// Where the bit of this slot goes to.
  [[nodiscard]] std::uint32_t forward(std::uint32_t slot) const noexcept {
    const std::uint32_t column = (slot + row_turns_[slot >> 8]) & 255;
    return ((slot + (std::uint32_t{column_turns_[column]} << 8)) & 0xFF00) | column;
  }
  /// Where the bit of this slot comes from.
  [[nodiscard]] std::uint32_t back(std::uint32_t slot) const noexcept {
    const std::uint32_t row = (slot - (std::uint32_t{column_turns_[slot & 255]} << 8)) & 0xFF00;
    return row | ((slot - row_turns_[row >> 8]) & 255);
  }

  using words = std::span<std::uint64_t, frame_words>;
  using const_words = std::span<const std::uint64_t, frame_words>;

  /// Moves all bits; `scratch` is as secret as they are. The three do not overlap.
  void apply(const_words from, words to, words scratch) const noexcept;
  /// The same without what only some processors have.
  void apply_portable(const_words from, words to, words scratch) const noexcept;

 private:
  std::array<std::uint8_t, 256> row_turns_{};
  std::array<std::uint8_t, 256> column_turns_{};
  /// Bit c of [b] is bit b of column_turns_[c].
  alignas(32) std::array<std::array<std::uint64_t, 4>, 8> turned_columns_{};
};

}  // namespace qkd004::software
