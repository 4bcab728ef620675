// additive_fft_implementations: what the source files of the additive FFT, one for each set of instructions, share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "software/additive_fft.hpp"

namespace qkd004::software {

extern const additive_fft portable_additive_fft;
#if defined(__x86_64__)
extern const additive_fft avx2_additive_fft;
extern const additive_fft avx512_additive_fft;
#endif

/// The change of basis of 16 words: the steps of to_novel() in additive_fft.ipp, written out.
inline void to_novel_16_words(std::uint64_t* w) noexcept {
  w[8] ^= w[14];
  w[9] ^= w[15];
  for (std::size_t i = 0; i < 6; ++i) w[2 + i] ^= w[8 + i];
  for (std::size_t at = 0; at < 16; at += 8) {
    w[at + 4] ^= w[at + 7];
    for (std::size_t i = 1; i < 4; ++i) w[at + i] ^= w[at + i + 3];
  }
  for (std::size_t i = 8; i < 12; ++i) w[i] ^= w[i + 4];
  for (std::size_t i = 4; i < 8; ++i) w[i] ^= w[i + 4];
  for (std::size_t at = 0; at < 16; at += 4) {
    w[at + 2] ^= w[at + 3];
    w[at + 1] ^= w[at + 2];
  }
}

/// The same backwards.
inline void from_novel_16_words(std::uint64_t* w) noexcept {
  for (std::size_t at = 0; at < 16; at += 4) {
    w[at + 1] ^= w[at + 2];
    w[at + 2] ^= w[at + 3];
  }
  for (std::size_t i = 4; i < 8; ++i) w[i] ^= w[i + 4];
  for (std::size_t i = 8; i < 12; ++i) w[i] ^= w[i + 4];
  for (std::size_t at = 0; at < 16; at += 8) {
    for (std::size_t i = 1; i < 4; ++i) w[at + i] ^= w[at + i + 3];
    w[at + 4] ^= w[at + 7];
  }
  for (std::size_t i = 0; i < 6; ++i) w[2 + i] ^= w[8 + i];
  w[8] ^= w[14];
  w[9] ^= w[15];
}

}  // namespace qkd004::software
