// SPDX-License-Identifier: Apache-2.0
//
// That a mismatch is seen says nothing about secrecy: a tag may be as good as any and the block known to everybody.
#include "software/verify.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <random>
#include <tuple>
#include <vector>

using namespace qkd004::software;

namespace {

constexpr unsigned seed = 20120402;

bits some_bits(std::mt19937_64& random, std::size_t count) {
  bits block{count};
  for (std::size_t i = 0; i < count; ++i) block.set(i, random() % 2 == 0);
  return block;
}

verification_key some_key(std::mt19937_64& random) {
  verification_key key;
  for (std::size_t i = 0; i < key.size(); i += 8) {
    const std::uint64_t value = random();
    std::memcpy(key.data() + i, &value, 8);
  }
  return key;
}

}  // namespace

TEST_CASE("verify: gives the same tag at both ends when the blocks are equal") {
  std::mt19937_64 random{seed};
  for (const std::size_t count :
       std::initializer_list<std::size_t>{0, 1, 63, 64, 65, 127, 128, 1000, 100003}) {
    const auto one = some_bits(random, count);
    const auto other = one.copy();
    const auto key = some_key(random);
    CHECK(verification_tag(one, key) == verification_tag(other, key));
  }
}

TEST_CASE("verify: catches every flip when a bit of a block differs") {
  std::mt19937_64 random{seed};
  auto block = some_bits(random, 1000);
  for (std::size_t trial = 0; trial < 100'000; ++trial) {
    const auto key = some_key(random);
    const auto tag = verification_tag(block, key);
    const std::size_t place = random() % block.size();
    block.flip(place);
    if (verification_tag(block, key) == tag) FAIL("seed ", seed, ", trial ", trial, ", bit ", place);
  }
}

TEST_CASE("verify: catches every flip when a large block has few of them") {
  std::mt19937_64 random{seed};
  auto block = some_bits(random, 1'048'576);
  for (std::size_t trial = 0; trial < 200; ++trial) {
    const auto key = some_key(random);
    const auto tag = verification_tag(block, key);
    const std::size_t first = random() % block.size();
    block.flip(first);
    block.flip((first + 1 + random() % 1000) % block.size());
    if (verification_tag(block, key) == tag) FAIL("seed ", seed, ", trial ", trial);
  }
}

TEST_CASE("verify: lets mismatches through as often as chance does when the tag is cut to 8 bits") {
  std::mt19937_64 random{seed};
  auto block = some_bits(random, 500);
  constexpr int trials = 100'000;
  std::vector<int> passed(8);  // by which 8 of the 64 bits are kept
  for (int trial = 0; trial < trials; ++trial) {
    const auto key = some_key(random);
    const auto tag = verification_tag(block, key);
    block.flip(random() % block.size());
    const auto difference = tag ^ verification_tag(block, key);
    for (unsigned i = 0; i < 8; ++i) passed[i] += (difference >> (8 * i) & 0xff) == 0 ? 1 : 0;
  }
  const double expected = trials / 256.0;
  const double deviation = std::sqrt(expected * (1 - 1 / 256.0));
  for (unsigned i = 0; i < 8; ++i) {
    INFO("seed ", seed, ", octet ", i, " of the tag");
    CHECK(passed[i] > expected - 5 * deviation);
    CHECK(passed[i] < expected + 5 * deviation);
  }
}

TEST_CASE("verify: gives another tag when zeros are missing at the end") {
  std::mt19937_64 random{seed};
  for (std::size_t trial = 0; trial < 1000; ++trial) {
    auto block = some_bits(random, 2 + random() % 300);
    const auto key = some_key(random);
    block.set(block.size() - 1, false);
    const auto tag = verification_tag(block, key);
    block.shorten(block.size() - 1);
    CHECK(verification_tag(block, key) != tag);
  }
}

TEST_CASE("verify: gives another tag when any octet of the key differs") {
  std::mt19937_64 random{seed};
  const auto block = some_bits(random, 777);
  for (std::size_t i = 0; i < std::tuple_size_v<verification_key>; ++i) {
    auto key = some_key(random);
    const auto tag = verification_tag(block, key);
    key[i] ^= std::byte{0x10};
    CHECK(verification_tag(block, key) != tag);
  }
}

TEST_CASE("verify: is correct to 1e-15 when a block has the most bits there can be") {
  CHECK(verification_error(std::uint64_t{1} << 27) <= 1e-15);
  CHECK(verification_error(10'000'000) == doctest::Approx(0x1p-64).epsilon(1e-9));
  // where the bits of the 128-bit hash would be all there is: 2^-111.7
  CHECK(std::log2(verification_error(10'000'000) - 0x1p-64) < -110);
}
