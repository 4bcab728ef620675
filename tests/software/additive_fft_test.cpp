// SPDX-License-Identifier: Apache-2.0
#include "software/additive_fft.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "software/bits.hpp"
#include "software/gf65536.hpp"

using namespace qkd004::software;
namespace gf = gf65536;

namespace {

constexpr std::uint64_t test_seed = 0x63616e746f72;

/// The product of two words, by the definition.
gf::row word_product(std::uint64_t a, std::uint64_t b) {
  gf::row sum{};
  for (unsigned i = 0; i < 64; ++i) {
    if ((b >> i & 1) == 0) continue;
    sum.low ^= a << i;
    if (i > 0) sum.high ^= a >> (64 - i);
  }
  return sum;
}

template <class Check>
void with_each_implementation(Check check) {
  for (const auto& fft : additive_ffts()) {
    const std::string name = fft.name;
    CAPTURE(name);
    if (fft.supported()) {
      check(fft);
    } else {
      MESSAGE("not on this processor: ", fft.name);
    }
  }
}

}  // namespace

TEST_CASE("gf65536: has a field and a Cantor basis when its constants are checked") {
  CHECK(gf::octet_product(0x57, 0x83) == 0xc1);  // FIPS 197, 4.2
  CHECK(gf::basis[0] == gf::element{1, 0});
  for (std::size_t i = 1; i < 16; ++i) {
    CAPTURE(i);
    CHECK(gf::basis[i] * gf::basis[i] + gf::basis[i] == gf::basis[i - 1]);
    CHECK((gf::basis[i].high == 0) == (i < 8));
  }
  // X is in no smaller field, and is a unit: the polynomial it is a root of has no factor.
  gf::element power{0, 1};
  for (int i = 0; i < 8; ++i) power = power * power;
  CHECK(power != gf::element{0, 1});
  for (int i = 0; i < 8; ++i) power = power * power;
  CHECK(power == gf::element{0, 1});
}

TEST_CASE("gf65536: gives every polynomial back when it is taken from its values") {
  for (std::size_t i = 0; i < 128; ++i) {
    CAPTURE(i);
    gf::row sum{};
    for (std::size_t bit = 0; bit < 128; ++bit) {
      const auto& values = gf::values_of_powers[i];
      if (((bit < 64 ? values.low : values.high) >> (bit % 64) & 1) == 0) continue;
      sum.low ^= gf::polynomials_of_values[bit].low;
      sum.high ^= gf::polynomials_of_values[bit].high;
    }
    CHECK(sum.low == (i < 64 ? std::uint64_t{1} << i : 0));
    CHECK(sum.high == (i < 64 ? 0 : std::uint64_t{1} << (i - 64)));
  }
}

TEST_CASE("additive_fft: gives the words back when nothing is done to their values") {
  CAPTURE(test_seed);
  std::mt19937_64 random{test_seed};
  for (unsigned log = additive_fft::least_log; log <= additive_fft::most_log; log += 2) {
    CAPTURE(log);
    const std::size_t size = std::size_t{1} << log;
    bits memory{5 * size * 64};
    std::vector<std::uint64_t> original(size);
    for (auto& word : original) word = random();
    with_each_implementation([&](const additive_fft& fft) {
      std::uint64_t* const low = memory.words().data();
      std::uint64_t* const high = low + size;
      std::uint64_t* const spectrum = high + size;
      std::copy(original.begin(), original.end(), low);
      fft.forward(low, spectrum, log);
      fft.inverse(spectrum, low, high, log);
      CHECK(std::equal(original.begin(), original.end(), low));
      CHECK(std::all_of(high, high + size, [](std::uint64_t word) { return word == 0; }));
    });
  }
}

TEST_CASE("additive_fft: has the right coefficients past what reaches down when the product is too long") {
  CAPTURE(test_seed);
  std::mt19937_64 random{test_seed};
  for (const unsigned log : {8U, 10U}) {
    CAPTURE(log);
    const std::size_t size = std::size_t{1} << log;
    const std::size_t window = size - additive_fft_overflow(log);
    const std::size_t block = window - 5;
    const std::size_t too_many = window + block - 1 - size;
    const std::size_t first = too_many + additive_fft_overflow(log);
    REQUIRE(first < size);
    std::vector<std::uint64_t> a(window);
    std::vector<std::uint64_t> b(block);
    for (auto& word : a) word = random();
    for (auto& word : b) word = random();
    std::vector<gf::row> expected(window + block - 1);
    for (std::size_t i = 0; i < window; ++i) {
      for (std::size_t j = 0; j < block; ++j) {
        const gf::row product = word_product(a[i], b[j]);
        expected[i + j].low ^= product.low;
        expected[i + j].high ^= product.high;
      }
    }
    with_each_implementation([&](const additive_fft& fft) {
      bits memory{8 * size * 64};
      std::uint64_t* const low = memory.words().data();
      std::uint64_t* const high = low + size;
      std::uint64_t* const of_a = high + size;
      std::uint64_t* const of_b = of_a + 2 * size;
      std::uint64_t* const sum = of_b + 2 * size;
      std::copy(a.begin(), a.end(), low);
      fft.forward(low, of_a, log);
      std::copy(b.begin(), b.end(), low);
      std::fill(low + block, low + size, 0);
      fft.forward(low, of_b, log);
      fft.multiply_add(sum, of_a, of_b, log);
      fft.inverse(sum, low, high, log);
      std::size_t wrong = 0;
      for (std::size_t i = first; i < size; ++i) {
        if (low[i] != expected[i].low || high[i] != expected[i].high) ++wrong;
      }
      CHECK(wrong == 0);
      const bool bound_is_tight = low[first - 1] != expected[first - 1].low;
      CHECK(bound_is_tight);
    });
  }
}
