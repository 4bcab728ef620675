// SPDX-License-Identifier: Apache-2.0
#include "software/authenticator.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "qkd004/secret.hpp"

using namespace qkd004::software;

namespace {

constexpr unsigned seed = 20120403;

using message = std::vector<std::byte>;

block128 some_block(std::mt19937_64& random) {
  block128 block;
  for (auto& octet : block) octet = static_cast<std::byte>(random());
  return block;
}

message some_message(std::mt19937_64& random) {
  message octets(random() % 70);
  for (auto& octet : octets) octet = static_cast<std::byte>(random());
  return octets;
}

/// All that a tag covers.
struct conversation {
  std::uint64_t block = 0;
  direction from_to = direction::alice_to_bob;
  std::vector<message> messages;

  friend bool operator==(const conversation&, const conversation&) = default;
};

conversation some_conversation(std::mt19937_64& random) {
  conversation said{
      random() % 1000, random() % 2 == 0 ? direction::alice_to_bob : direction::bob_to_alice, {}};
  said.messages.resize(1 + random() % 6);
  for (auto& m : said.messages) m = some_message(random);
  return said;
}

block128 tag_of(const conversation& said, const block128& key, block128 pad) {
  transcript all{key, said.block, said.from_to};
  for (const auto& m : said.messages) all.add(m);
  return all.tag(pad);
}

bool accepts(const conversation& heard, const block128& key, block128 pad, const block128& tag) {
  transcript all{key, heard.block, heard.from_to};
  for (const auto& m : heard.messages) all.add(m);
  return all.accepts(tag, pad);
}

constexpr std::array kinds{"a flipped bit",       "a message cut short",    "a message made longer",
                           "a message less",      "a message more",         "a message twice",
                           "two swapped",         "another border",         "two made one",
                           "another block",       "the other direction",    "all octets in another order",
                           "an octet in between", "one that looks like two"};

conversation tampered(const conversation& said, std::size_t kind, std::mt19937_64& random) {
  conversation heard = said;
  auto& all = heard.messages;
  const auto which = random() % all.size();
  const auto other = random() % all.size();
  auto& m = all[which];
  switch (kind) {
    case 0:
      if (!m.empty()) m[random() % m.size()] ^= std::byte{1} << random() % 8;
      break;
    case 1:
      if (!m.empty()) m.resize(random() % m.size());
      break;
    case 2: m.resize(m.size() + 1 + random() % 20); break;
    case 3: all.erase(all.begin() + static_cast<std::ptrdiff_t>(which)); break;
    case 4: all.insert(all.begin() + static_cast<std::ptrdiff_t>(which), some_message(random)); break;
    case 5: all.push_back(m); break;
    case 6: std::swap(m, all[other]); break;
    case 7:
      if (which != other && !m.empty()) {
        all[other].push_back(m.back());
        m.pop_back();
      }
      break;
    case 8:
      if (which != other) {
        m.insert(m.end(), all[other].begin(), all[other].end());
        all.erase(all.begin() + static_cast<std::ptrdiff_t>(other));
      }
      break;
    case 9: heard.block = random() % 2 == 0 ? said.block + 1 : random(); break;
    case 10:
      heard.from_to =
          said.from_to == direction::alice_to_bob ? direction::bob_to_alice : direction::alice_to_bob;
      break;
    case 11: std::shuffle(m.begin(), m.end(), random); break;
    case 12:
      m.insert(m.begin() + static_cast<std::ptrdiff_t>(random() % (m.size() + 1)), std::byte{0});
      break;
    default:  // the next message goes into this one, with what the transcript may put before it: number and length
      if (which + 1 < all.size()) {
        const message next = all[which + 1];
        m.resize(m.size() + 16);
        m[m.size() - 9] = static_cast<std::byte>(which + 1);
        if (random() % 2 == 0) m.back() = static_cast<std::byte>(next.size());
        m.insert(m.end(), next.begin(), next.end());
        all.erase(all.begin() + static_cast<std::ptrdiff_t>(which + 1));
      }
  }
  return heard;
}

}  // namespace

TEST_CASE("authenticator: accepts the tag when both ends heard the same") {
  std::mt19937_64 random{seed};
  for (std::size_t trial = 0; trial < 1000; ++trial) {
    const auto said = some_conversation(random);
    const auto key = some_block(random);
    const auto pad = some_block(random);
    if (!accepts(said, key, pad, tag_of(said, key, pad))) FAIL("seed ", seed, ", trial ", trial);
  }
}

TEST_CASE("authenticator: accepts nothing when what was said is changed, moved, repeated or reflected") {
  std::mt19937_64 random{seed};
  std::array<int, kinds.size()> tried{};
  for (std::size_t trial = 0, real = 0; real < 100'000; ++trial) {
    const auto said = some_conversation(random);
    const std::size_t kind = trial % kinds.size();
    const auto heard = tampered(said, kind, random);
    if (heard == said) continue;
    ++real;
    ++tried[kind];
    // the same hash key in both directions, which is worse than what is allowed
    const auto key = some_block(random);
    const auto pad = some_block(random);
    if (accepts(heard, key, pad, tag_of(said, key, pad))) {
      FAIL("seed ", seed, ", trial ", trial, ": accepted with ", kinds[kind]);
    }
  }
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    INFO(kinds[kind]);
    CHECK(tried[kind] > 1000);
  }
}

TEST_CASE("authenticator: accepts nothing when the tag, the pad or the hash key differs in a bit") {
  std::mt19937_64 random{seed};
  const auto said = some_conversation(random);
  const auto key = some_block(random);
  const auto pad = some_block(random);
  const auto tag = tag_of(said, key, pad);
  for (std::size_t bit = 0; bit < 128; ++bit) {
    const auto flipped = [bit](block128 block) {
      block[bit / 8] ^= std::byte{1} << bit % 8;
      return block;
    };
    CHECK_FALSE(accepts(said, key, pad, flipped(tag)));
    CHECK_FALSE(accepts(said, key, flipped(pad), tag));
    CHECK_FALSE(accepts(said, flipped(key), pad, tag));
  }
}

TEST_CASE("authenticator: sends the sum of hash and pad, and the pad is gone when it has") {
  std::mt19937_64 random{seed};
  const auto said = some_conversation(random);
  const auto key = some_block(random);
  const auto bare = tag_of(said, key, block128{});
  auto pad = some_block(random);
  auto sum = bare;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] ^= pad[i];
  transcript all{key, said.block, said.from_to};
  for (const auto& m : said.messages) all.add(m);
  SUBCASE("a tag") { CHECK(all.tag(pad) == sum); }
  SUBCASE("a check") { CHECK(all.accepts(sum, pad)); }
  CHECK(pad == block128{});
}

TEST_CASE("authenticator: counts what a forger may choose when messages are added") {
  transcript all{block128{}, 1, direction::alice_to_bob};
  CHECK(all.octets() == 16);
  all.add(message(100));
  all.add(message(0));
  CHECK(all.messages() == 2);
  CHECK(all.octets() == 16 + 16 + 100 + 16);
}

TEST_CASE("authenticator: is wrong with 2 to the -102 at most when a transcript has a gigabyte") {
  CHECK(authentication_error(0) == 0x1p-128);
  CHECK(authentication_error(1) == 2 * 0x1p-128);
  CHECK(authentication_error(32) == 3 * 0x1p-128);
  CHECK(std::log2(authentication_error(1'000'000'000)) == doctest::Approx(-102.1).epsilon(0.001));
}
