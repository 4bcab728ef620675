// SPDX-License-Identifier: Apache-2.0
#include "software/frame_shuffle.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

using namespace qkd004::software;

namespace {

using frame_bits = std::vector<std::uint64_t>;

frame_bits random_frame(std::uint64_t seed) {
  std::mt19937_64 random{seed};
  frame_bits made(frame_words);
  for (std::uint64_t& word : made) word = random();
  return made;
}

frame_shuffle shuffle_of(std::uint8_t seed) {
  seed256 from{};
  from[0] = std::byte{seed};
  expander random{from, 1};
  return frame_shuffle{random};
}

std::uint64_t bit(const frame_bits& from, std::uint32_t slot) { return from[slot / 64] >> slot % 64 & 1; }

}  // namespace

TEST_CASE("frame_shuffle: moves each bit to the slot that it tells, on any processor") {
  for (std::uint8_t seed = 0; seed < 8; ++seed) {
    const frame_shuffle shuffle = shuffle_of(seed);
    const frame_bits from = random_frame(seed);
    frame_bits to(frame_words);
    frame_bits portably(frame_words);
    frame_bits scratch(frame_words);
    const auto words = [](auto& v) { return std::span{v}.template first<frame_words>(); };
    shuffle.apply(words(from), words(to), words(scratch));
    shuffle.apply_portable(words(from), words(portably), words(scratch));
    CHECK(to == portably);
    std::size_t wrong = 0;
    for (std::uint32_t slot = 0; slot < frame_slots; ++slot) {
      const std::uint32_t gone = shuffle.forward(slot);
      if (gone >= frame_slots || shuffle.back(gone) != slot || bit(from, slot) != bit(to, gone)) ++wrong;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("frame_shuffle: scatters the bits of a block when blocks are runs of slots") {
  const frame_shuffle shuffle = shuffle_of(1);
  // Of 2048 blocks of 32 bits, each with 496 pairs: pairs that come into one block of 128. At random 1 of 512.
  std::size_t together = 0;
  for (std::uint32_t block = 0; block < frame_slots; block += 32) {
    for (std::uint32_t i = 0; i < 32; ++i) {
      for (std::uint32_t j = 0; j < i; ++j) {
        together += shuffle.forward(block + i) / 128 == shuffle.forward(block + j) / 128 ? 1U : 0U;
      }
    }
  }
  CHECK(together < 2 * 2 * 2048 * 496 / 512);
}
