// SPDX-License-Identifier: Apache-2.0
#include "software/bit_selection.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

using namespace qkd004::software;

namespace {

using words = std::vector<std::uint64_t>;

bool bit_of(const words& w, std::size_t i) { return (w[i / 64] >> (i % 64) & 1U) != 0; }

words random_words(std::mt19937_64& random, std::size_t count) {
  words out(count);
  for (auto& w : out) w = random() & random();
  return out;
}

}  // namespace

TEST_CASE("gather: puts the bits that a mask selects behind those that are there") {
  std::mt19937_64 random{7};
  for (const bit_selection& how : bit_selections()) {
    CAPTURE(std::string{how.name});
    for (std::size_t filled = 0; filled < 130; filled += 13) {
      const words from = random_words(random, 9);
      words mask = random_words(random, 9);
      mask[4] = 0;
      mask[5] = ~std::uint64_t{0};
      words out(16);
      std::size_t wanted = filled;
      const std::size_t got = how.gather(from.data(), mask.data(), mask.size(), out.data(), filled);
      bool same = true;
      for (std::size_t i = 0; i < 64 * mask.size(); ++i) {
        if (bit_of(mask, i)) same &= bit_of(out, wanted++) == bit_of(from, i);
      }
      CHECK(got == wanted);
      CHECK(same);
      CHECK(count_ones(mask) == wanted - filled);
      for (std::size_t i = wanted; i < 64 * out.size(); ++i) same &= !bit_of(out, i);
      CHECK(same);
    }
  }
}

TEST_CASE("scatter: puts bits back to where gather had them from") {
  std::mt19937_64 random{8};
  for (const bit_selection& how : bit_selections()) {
    CAPTURE(std::string{how.name});
    const words from = random_words(random, 33);
    const words mask = random_words(random, 33);
    words packed(34);
    how.gather(from.data(), mask.data(), mask.size(), packed.data(), 0);
    words back(33);
    how.scatter(packed.data(), mask.data(), mask.size(), back.data());
    for (std::size_t i = 0; i < back.size(); ++i) CHECK(back[i] == (from[i] & mask[i]));
  }
}

TEST_CASE("count_common: counts what is set in both") {
  std::mt19937_64 random{9};
  for (const bit_selection& how : bit_selections()) {
    CAPTURE(std::string{how.name});
    for (const std::size_t count : {0UL, 1UL, 33UL}) {
      const words a = random_words(random, count);
      const words b = random_words(random, count);
      std::size_t wanted = 0;
      for (std::size_t i = 0; i < 64 * count; ++i) wanted += bit_of(a, i) && bit_of(b, i) ? 1U : 0U;
      CHECK(how.count_common(a.data(), b.data(), count) == wanted);
      CHECK(count_common(a, b) == wanted);
    }
  }
}
