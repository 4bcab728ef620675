// SPDX-License-Identifier: Apache-2.0
//
// Against another implementation of products over GF(2): gf2x by R. P. Brent, P. Gaudry, E. Thome and P. Zimmermann.
#include <doctest/doctest.h>
#include <gf2x.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "software/additive_fft.hpp"
#include "software/amplify.hpp"

using namespace qkd004::software;

TEST_CASE("amplify: equals the product that gf2x computes when the key is long") {
  struct shape {
    std::size_t n, l;
  };
  constexpr std::uint64_t test_seed = 0x67663278;
  CAPTURE(test_seed);
  std::mt19937_64 random{test_seed};
  for (const auto& [n, l] : {shape{1, 1}, shape{6400, 1600}, shape{100'003, 30'011},
                             shape{1'048'576, 270'000}, shape{1'300'001, 1'300'001}}) {
    CAPTURE(n);
    CAPTURE(l);
    bits key{n};
    for (auto& word : key.words()) word = random();
    if (n % 64 != 0) key.words().back() &= (std::uint64_t{1} << (n % 64)) - 1;
    std::vector<unsigned long> seed((toeplitz_seed_bits(n, l) + 63) / 64);
    for (auto& word : seed) word = random();
    const std::vector<unsigned long> factor(key.words().begin(), key.words().end());
    std::vector<unsigned long> product(seed.size() + factor.size());
    REQUIRE(gf2x_mul(product.data(), seed.data(), seed.size(), factor.data(), factor.size()) == 0);

    for (const auto& fft : additive_ffts()) {
      if (!fft.supported()) continue;
      const std::string name = fft.name;
      CAPTURE(name);
      const std::vector<std::uint64_t> words(seed.begin(), seed.end());
      const bits result = amplify_with(fft, key, words, l);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < l; ++i) {
        if (result[i] != ((product[(n - 1 + i) / 64] >> ((n - 1 + i) % 64) & 1) != 0)) ++wrong;
      }
      CHECK(wrong == 0);
    }
  }
}
