// SPDX-License-Identifier: Apache-2.0
#include "software/first_pass.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

using namespace qkd004::software;

namespace {

using frame_bits = std::vector<std::uint64_t>;

struct differing_keys {
  frame_bits alice = frame_bits(frame_words);
  frame_bits bob = frame_bits(frame_words);

  differing_keys(std::uint32_t size, std::uint64_t seed) {
    std::mt19937_64 random{seed};
    for (std::uint32_t slot = 0; slot < size; ++slot) {
      const std::uint64_t draw = random();
      alice[slot / 64] |= (draw & 1) << slot % 64;
      bob[slot / 64] |= ((draw & 1) ^ (draw % 64 == 7 ? 1U : 0U)) << slot % 64;
    }
  }
};

std::uint64_t parity(const frame_bits& of, std::uint32_t first, unsigned level) {
  std::uint64_t sum = 0;
  for (std::uint32_t slot = first; slot < first + (1U << level); ++slot)
    sum ^= of[slot / 64] >> slot % 64 & 1;
  return sum;
}

/// All that the kernels say on the way from blocks of a level to differences.
struct walk {
  frame_bits levels = frame_bits(frame_words);
  std::vector<std::uint64_t> said{};
  frame_bits odd = frame_bits(frame_words);

  walk(const first_pass_kernels& kernels, const differing_keys& keys, unsigned top, std::uint32_t size) {
    frame_bits bobs(frame_words);
    kernels.fold(keys.alice.data(), top, levels.data());
    kernels.fold(keys.bob.data(), top, bobs.data());
    const auto parities = [](const frame_bits& bits, const frame_bits& folded, unsigned level) {
      return level == 0 ? bits.data() : folded.data() + level_words::begin(level);
    };
    for (std::size_t i = 0; i < level_words::count(top); ++i) {
      odd[i] = levels[level_words::begin(top) + i] ^ bobs[level_words::begin(top) + i];
    }
    for (unsigned level = top; level > 0; --level) {
      const first_pass_step step{odd.data(), level, size};
      packed_bits outcomes;
      packed_bits other;
      kernels.ask(step, parities(keys.alice, levels, level - 1), outcomes);
      kernels.ask(step, parities(keys.bob, bobs, level - 1), other);
      std::vector<std::byte> message;
      other.append_to(message);
      outcomes.add(message);
      for (std::size_t i = 0; i < outcomes.size(); i += 64) said.push_back(outcomes.read(i));
      said.push_back(outcomes.size());
      frame_bits below(frame_words);
      CHECK(kernels.learn(step, outcomes, 0, below.data()) == outcomes.size());
      odd = below;
    }
  }
};

}  // namespace

TEST_CASE("first_pass: folds words to the parities of every level") {
  const differing_keys keys{65536, 1};
  frame_bits levels(frame_words);
  first_pass_kernels::best().fold(keys.alice.data(), 10, levels.data());
  std::size_t wrong = 0;
  for (unsigned level = 1; level <= 10; ++level) {
    for (std::uint32_t node = 0; node < frame_slots >> level; ++node) {
      const std::uint64_t told = levels[level_words::begin(level) + node / 64] >> node % 64 & 1;
      wrong += told == parity(keys.alice, node << level, level) ? 0U : 1U;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("first_pass: finds one difference in each odd block, and asks once for each halving") {
  for (const unsigned level : {2U, 5U, 6U, 9U}) {
    for (const std::uint32_t size : {65536U, 65535U, 40'001U, 65U, 1U}) {
      CAPTURE(level);
      CAPTURE(size);
      const differing_keys keys{size, level};
      const walk found{first_pass_kernels::best(), keys, level, size};
      std::size_t wrong = 0;
      for (std::uint32_t first = 0; first < frame_slots; first += 1U << level) {
        const bool odd = parity(keys.alice, first, level) != parity(keys.bob, first, level);
        unsigned differences = 0;
        for (std::uint32_t slot = first; slot < first + (1U << level); ++slot) {
          if ((found.odd[slot / 64] >> slot % 64 & 1) == 0) continue;
          ++differences;
          wrong += ((keys.alice[slot / 64] ^ keys.bob[slot / 64]) >> slot % 64 & 1) != 0 ? 0U : 1U;
        }
        wrong += differences == (odd ? 1U : 0U) ? 0U : 1U;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("first_pass: does the same on any processor") {
  for (const unsigned level : {2U, 5U, 9U}) {
    for (const std::uint32_t size : {65536U, 40'001U}) {
      const differing_keys keys{size, level};
      const walk best{first_pass_kernels::best(), keys, level, size};
      const walk portable{first_pass_kernels::portable(), keys, level, size};
      CHECK(best.levels == portable.levels);
      CHECK(best.said == portable.said);
      CHECK(best.odd == portable.odd);
    }
  }
}
