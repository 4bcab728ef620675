// SPDX-License-Identifier: Apache-2.0
#include "software/parity_tree.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <set>
#include <vector>

using namespace qkd004::software;

namespace {

/// The differences themselves, and a parity_tree that learns of them.
struct followed {
  std::vector<std::uint8_t> wrong = std::vector<std::uint8_t>(frame_slots);
  parity_tree tree;
  std::set<std::pair<unsigned, std::uint32_t>> known;  ///< level, first

  followed(unsigned level, std::uint64_t seed, unsigned errors) : tree{level} {
    std::mt19937_64 random{seed};
    for (unsigned i = 0; i < errors; ++i) wrong[random() % frame_slots] ^= 1;
    for (std::uint32_t first = 0; first < frame_slots; first += 1U << level) {
      tree.compare_top(first, odd(level, first));
      known.insert({level, first});
    }
  }

  [[nodiscard]] std::uint64_t odd(unsigned level, std::uint32_t first) const {
    std::uint64_t sum = 0;
    for (std::uint32_t slot = first; slot < first + (1U << level); ++slot) sum ^= wrong[slot];
    return sum;
  }
  /// What there is to look for, the slow way.
  [[nodiscard]] std::set<std::pair<unsigned, std::uint32_t>> lowest_odd() const {
    std::set<std::pair<unsigned, std::uint32_t>> all;
    for (const auto& [level, first] : known) {
      if (level > 0 && !known.contains({level - 1, first}) && odd(level, first) != 0)
        all.insert({level, first});
    }
    return all;
  }
  [[nodiscard]] std::set<std::pair<unsigned, std::uint32_t>> taken() {
    std::set<std::pair<unsigned, std::uint32_t>> all;
    tree.take_odd(frame_slots, [&](tree_node node) { CHECK(all.insert({node.level, node.first}).second); });
    return all;
  }
  /// Halves a node down to a difference, and takes that away.
  void search(unsigned level, std::uint32_t first) {
    while (level > 0) {
      const std::uint64_t left = odd(level - 1, first);
      tree.split({static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(level)}, left);
      --level;
      known.insert({level, first});
      known.insert({level, first + (1U << level)});
      if (left == 0) first += 1U << level;
    }
    flip(first);
  }
  void flip(std::uint32_t slot) {
    wrong[slot] ^= 1;
    tree.flip(slot);
  }
};

}  // namespace

TEST_CASE("parity_tree: tells the lowest odd nodes when differences come and go") {
  for (const unsigned level : {2U, 5U, 6U, 7U, 12U}) {
    CAPTURE(level);
    followed f{level, level, 700};
    std::mt19937_64 random{level};
    for (int wave = 0; wave < 6; ++wave) {
      const auto expected = f.lowest_odd();
      CHECK(f.taken() == expected);
      CHECK(f.taken().empty());
      for (const auto& [l, first] : expected) f.search(l, first);
      // Another pass finds differences that this one could not see.
      for (int i = 0; i < 100; ++i) {
        const auto slot = static_cast<std::uint32_t>(random() % frame_slots);
        if (f.wrong[slot] != 0) f.flip(slot);
      }
      for (std::uint32_t slot = 0, left = 40; slot < frame_slots && left > 0; ++slot) {
        if (f.wrong[slot] != 0 && random() % 2 == 0) f.flip(slot), --left;
      }
    }
  }
}

TEST_CASE("parity_tree: gives a node out again only when it was let go of and is odd again") {
  parity_tree tree{7};
  for (std::uint32_t first = 0; first < frame_slots; first += 128)
    tree.compare_top(first, first == 256 ? 1 : 0);
  std::vector<std::uint32_t> taken;
  const auto take = [&] { tree.take_odd(10, [&](tree_node node) { taken.push_back(node.first); }); };
  take();
  CHECK(taken == std::vector<std::uint32_t>{256});
  tree.flip(300);  // another pass was faster
  CHECK_FALSE(tree.odd({256, 7}));
  tree.flip(301);
  CHECK(tree.odd({256, 7}));
  take();
  CHECK(taken.size() == 1);
  tree.flip(302);
  tree.let_go({256, 7});
  take();
  CHECK(taken.size() == 1);
  tree.flip(303);
  take();
  CHECK(taken.size() == 2);
}

TEST_CASE("parity_tree: gives out no more nodes than were asked for, and the others later") {
  parity_tree tree{2};
  for (std::uint32_t first = 0; first < frame_slots; first += 4) tree.compare_top(first, first < 400 ? 1 : 0);
  std::set<std::uint32_t> taken;
  for (unsigned i = 1; i <= 10; ++i) {
    tree.take_odd(10, [&](tree_node node) { taken.insert(node.first); });
    CHECK(taken.size() == 10 * i);
  }
  tree.take_odd(10, [&](tree_node) { FAIL("there were 100"); });
}
