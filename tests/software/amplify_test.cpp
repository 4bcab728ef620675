// SPDX-License-Identifier: Apache-2.0
#include "software/amplify.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "software/additive_fft.hpp"

using namespace qkd004::software;

namespace {

constexpr std::uint64_t test_seed = 0x746f65706c69747a;

bits random_bits(std::mt19937_64& random, std::size_t count) {
  bits all{count};
  for (auto& word : all.words()) word = random();
  if (count % 64 != 0) all.words().back() &= (std::uint64_t{1} << (count % 64)) - 1;
  return all;
}

bits bits_of(std::initializer_list<int> values) {
  bits all{values.size()};
  std::size_t i = 0;
  for (const int value : values) all.set(i++, value != 0);
  return all;
}

/// Row i of the matrix is the seed backwards from bit n - 1 + i: one bit of the result after the definition, by words.
class matrix_rows {
 public:
  explicit matrix_rows(const bits& seed) : backwards_{seed.size()} {
    for (std::size_t i = 0; i < seed.size(); ++i) backwards_.set(seed.size() - 1 - i, seed[i]);
  }

  bool times(const bits& key, std::size_t row) const {
    const auto words = backwards_.words();
    const auto key_words = key.words();
    const std::size_t begin = backwards_.size() - key.size() - row;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < key_words.size(); ++i) {
      const std::size_t at = begin / 64 + i;
      std::uint64_t word = words[at] >> (begin % 64);
      if (begin % 64 != 0 && at + 1 < words.size()) word |= words[at + 1] << (64 - begin % 64);
      sum ^= word & key_words[i];
    }
    return std::popcount(sum) % 2 == 1;
  }

 private:
  bits backwards_;
};

bool equal(const bits& a, const bits& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.words().size(); ++i) same = a.words()[i] == b.words()[i];
  return same;
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

TEST_CASE("amplify: multiplies by the Toeplitz matrix when the example is computed by hand") {
  // Row i is seed bits 3 + i down to i:  1 1 0 1      The key is (1, 1, 0, 1).
  //                                      0 1 1 0
  //                                      1 0 1 1
  const bits seed = bits_of({1, 0, 1, 1, 0, 1});
  const bits key = bits_of({1, 1, 0, 1});
  with_each_implementation([&](const additive_fft& fft) {
    const bits result = amplify_with(fft, key, seed.words(), 3);
    REQUIRE(result.size() == 3);
    CHECK(result[0]);
    CHECK(result[1]);
    CHECK_FALSE(result[2]);
  });
}

TEST_CASE("amplify: equals the matrix product in every bit when the shape is small or at an edge") {
  struct shape {
    std::size_t n, l;
  };
  constexpr shape shapes[] = {{1, 1},        {2, 1},        {2, 2},        {63, 63},      {64, 1},
                              {64, 64},      {65, 1},       {65, 64},      {65, 65},      {127, 63},
                              {128, 128},    {129, 100},    {1000, 1},     {1000, 999},   {1000, 1000},
                              {4099, 1021},  {16255, 64},   {16320, 8000}, {16384, 1},    {20000, 3},
                              {30011, 4001}, {50000, 2001}, {8200, 8200},  {33000, 20000}};
  CAPTURE(test_seed);
  std::mt19937_64 random{test_seed};
  for (const auto& [n, l] : shapes) {
    CAPTURE(n);
    CAPTURE(l);
    const bits key = random_bits(random, n);
    const bits seed = random_bits(random, toeplitz_seed_bits(n, l));
    const matrix_rows matrix{seed};
    bits expected{l};
    for (std::size_t i = 0; i < l; ++i) expected.set(i, matrix.times(key, i));
    with_each_implementation(
        [&](const additive_fft& fft) { CHECK(equal(amplify_with(fft, key, seed.words(), l), expected)); });
  }
}

TEST_CASE("amplify: equals the matrix product in sampled bits when the key is long") {
  struct shape {
    std::size_t n, l;
  };
  constexpr shape shapes[] = {
      {200'003, 45'001}, {1'048'576, 270'000}, {1'000'001, 999'999}, {5'000'011, 1'400'003}};
  CAPTURE(test_seed);
  std::mt19937_64 random{test_seed};
  for (const auto& [n, l] : shapes) {
    CAPTURE(n);
    CAPTURE(l);
    const bits key = random_bits(random, n);
    const bits seed = random_bits(random, toeplitz_seed_bits(n, l));
    const matrix_rows matrix{seed};
    const bits expected = amplify(key, seed.words(), l);
    REQUIRE(expected.size() == l);
    CHECK(expected[0] == matrix.times(key, 0));
    CHECK(expected[l - 1] == matrix.times(key, l - 1));
    std::size_t wrong = 0;
    for (int i = 0; i < 500; ++i) {
      const std::size_t row = random() % l;
      if (expected[row] != matrix.times(key, row)) ++wrong;
    }
    CHECK(wrong == 0);
    with_each_implementation(
        [&](const additive_fft& fft) { CHECK(equal(amplify_with(fft, key, seed.words(), l), expected)); });
  }
}

TEST_CASE("amplify: has a collision probability of exactly 2^-l when every seed is taken") {
  // The family is linear: two keys collide where their difference becomes 0.
  with_each_implementation([](const additive_fft& fft) {
    constexpr std::size_t n = 4;
    for (std::size_t l = 1; l <= n; ++l) {
      CAPTURE(l);
      const std::size_t seed_bits = toeplitz_seed_bits(n, l);
      for (std::uint64_t difference = 1; difference < std::uint64_t{1} << n; ++difference) {
        CAPTURE(difference);
        bits key{n};
        key.words()[0] = difference;
        std::size_t collisions = 0;
        for (std::uint64_t seed = 0; seed < std::uint64_t{1} << seed_bits; ++seed) {
          if (amplify_with(fft, key, {&seed, 1}, l).words()[0] == 0) ++collisions;
        }
        CHECK(collisions == std::size_t{1} << (seed_bits - l));
      }
    }
  });
}

TEST_CASE("amplify: takes no notice of the seed's bits when they are past the last") {
  CAPTURE(test_seed);
  std::mt19937_64 random{test_seed};
  constexpr std::size_t n = 3001;
  constexpr std::size_t l = 1003;
  const bits key = random_bits(random, n);
  std::vector<std::uint64_t> seed((toeplitz_seed_bits(n, l) + 63) / 64 + 3);
  for (auto& word : seed) word = random();
  std::vector<std::uint64_t> other = seed;
  other[toeplitz_seed_bits(n, l) / 64] ^= ~std::uint64_t{0} << (toeplitz_seed_bits(n, l) % 64);
  for (std::size_t i = 1; i <= 3; ++i) other[other.size() - i] ^= random();
  REQUIRE(seed != other);
  CHECK(equal(amplify(key, seed, l), amplify(key, other, l)));
}

TEST_CASE("amplify: changes where the last seed bit is when that is flipped") {
  CAPTURE(test_seed);
  std::mt19937_64 random{test_seed};
  constexpr std::size_t n = 3001;
  constexpr std::size_t l = 1003;
  bits key = random_bits(random, n);
  key.set(0, true);
  bits seed = random_bits(random, toeplitz_seed_bits(n, l));
  bits expected = amplify(key, seed.words(), l);
  expected.flip(l - 1);
  seed.flip(seed.size() - 1);
  CHECK(equal(amplify(key, seed.words(), l), expected));
}

TEST_CASE("amplify: gives no bits when none are asked for") {
  const bits key{100};
  CHECK(amplify(key, {}, 0).empty());
  CHECK(amplify(bits{}, {}, 0).empty());
}

TEST_CASE("amplify: leaves the bits past the last at 0 when the result does not fill its last word") {
  std::mt19937_64 random{test_seed};
  const bits key = random_bits(random, 5000);
  const bits seed = random_bits(random, toeplitz_seed_bits(5000, 1000));
  for (const std::size_t l : {1U, 63U, 65U, 999U}) {
    with_each_implementation([&](const additive_fft& fft) {
      const std::uint64_t past_the_last = amplify_with(fft, key, seed.words(), l).words().back() >> (l % 64);
      CHECK(past_the_last == 0);
    });
  }
}
