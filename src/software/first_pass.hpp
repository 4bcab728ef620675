// first_pass: the bisections of all odd blocks of Cascade's first pass at the same time, 64 nodes in an instruction.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "software/frame_shuffle.hpp"
#include "software/packed_bits.hpp"

namespace qkd004::software {

/// The nodes of one level of a frame's tree, node i in bit i % 64 of word i / 64. Levels up to 10, which is one word.
struct level_words {
  [[nodiscard]] static constexpr std::size_t count(unsigned level) noexcept { return frame_words >> level; }
  /// Where a level above 0 stands among all of these, which are frame_words - 1 or less.
  [[nodiscard]] static constexpr std::size_t begin(unsigned level) noexcept {
    return frame_words - (frame_words >> (level - 1));
  }
};

/// One step down: the odd nodes of a level have their left children compared.
struct first_pass_step {
  const std::uint64_t* odd = nullptr;  ///< nodes of the level
  unsigned level = 0;                  ///< 1 or more
  std::uint32_t size = 0;              ///< bits of the frame; a child without bits is not compared
};

/// What uses PEXT and PDEP, and the same without. Both give the same bits.
struct first_pass_kernels {
  /// Parities of the levels from 1 to `top`, from the words of level 0.
  void (*fold)(const std::uint64_t* words, unsigned top, std::uint64_t* levels) noexcept;
  /// Appends the parities that are asked for, of `parities`, the level below.
  void (*ask)(const first_pass_step& step, const std::uint64_t* parities, packed_bits& asked);
  /// Takes their outcomes from the `at`-th on, and tells the odd nodes of the level below. Returns the place after them.
  std::size_t (*learn)(const first_pass_step& step, const packed_bits& outcomes, std::size_t at,
                       std::uint64_t* odd);

  [[nodiscard]] static const first_pass_kernels& best() noexcept;
  [[nodiscard]] static const first_pass_kernels& portable() noexcept;
};

}  // namespace qkd004::software
