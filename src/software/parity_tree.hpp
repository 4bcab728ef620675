// parity_tree: what both ends of Cascade know of the differences between their keys in one order of a frame's bits:
// which nodes of a binary tree had their parities compared, and which of these hold an odd number of differences.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "software/frame_shuffle.hpp"

namespace qkd004::software {

/// 2^level slots from `first` on, which is a multiple of that.
struct tree_node {
  std::uint16_t first = 0;
  std::uint16_t level = 0;
};

/// The lowest 2^level bits.
[[nodiscard]] constexpr std::uint64_t low_slots(unsigned level) noexcept {
  return ~std::uint64_t{0} >> (64 - (1U << level));
}

/// Every second bit, from the lowest on, moved together into the lower half.
[[nodiscard]] constexpr std::uint64_t every_second_bit(std::uint64_t x) noexcept {
  x &= 0x5555'5555'5555'5555;
  x = (x | x >> 1) & 0x3333'3333'3333'3333;
  x = (x | x >> 2) & 0x0F0F'0F0F'0F0F'0F0F;
  x = (x | x >> 4) & 0x00FF'00FF'00FF'00FF;
  x = (x | x >> 8) & 0x0000'FFFF'0000'FFFF;
  return (x | x >> 16) & 0xFFFF'FFFF;
}

/// Highest level of a tree: blocks of 4096.
inline constexpr unsigned top_level_limit = 12;

/// 64 slots and all nodes over them of which the parity may be known are two words: node i has the children 2 i and
/// 2 i + 1, from 1, which is all 64, to 32 to 63, which are two slots each. The same again over 64 such groups. A
/// slot's own parity need not be kept: once it is known, the slot is right.
/// If a node is known then so is its sibling, and the one above both. An odd node has an odd child if its children are
/// known, so there is something to look for exactly where the lowest known node over some slot is odd. Such a node is
/// taken, and split, and split again, until a difference is found or the node is odd no more.
/// Threads: one at a time.
class parity_tree {
 public:
  explicit parity_tree(unsigned top_level) noexcept : top_level_{top_level} {
    assert(top_level <= top_level_limit);
  }

  [[nodiscard]] unsigned top_level() const noexcept { return top_level_; }

  /// The parities of a block, a node of the top level, were compared.
  void compare_top(std::uint32_t first, std::uint64_t odd) noexcept {
    const place at = where(first, top_level_);
    groups_[at.group].known |= std::uint64_t{1} << at.index;
    groups_[at.group].odd |= odd << at.index;
    mark(at.group, odd);
  }

  /// The children of a taken odd node become known, and the odd one is taken in its place. Requires: exactly one of them
  /// is odd, the left one if `left_odd` is 1.
  void split(tree_node parent, std::uint64_t left_odd) noexcept {
    if (parent.level > 7) {
      group& high = groups_[frame_words + (parent.first >> 12)];
      learn_pair(high, (64U | (parent.first >> 6 & 63)) >> (parent.level - 7), left_odd);
    } else if (parent.level < 7) {
      // Of level 1 the children are slots, which are not kept.
      group& low = groups_[parent.first >> 6];
      learn_pair(low, (64U | (parent.first & 63)) >> (parent.level - 1), left_odd);
    } else {
      group* const low = &groups_[parent.first >> 6];
      low[0].known |= 2;
      low[1].known |= 2;
      low[left_odd ^ 1].odd |= 2;
      low[left_odd ^ 1].taken |= 2;
    }
  }

  /// Whether a known node is odd. Requires: its level is 1 or more.
  [[nodiscard]] bool odd(tree_node node) const noexcept {
    const place at = where(node.first, node.level);
    return (groups_[at.group].odd >> at.index & 1) != 0;
  }

  /// A node that was taken is odd no more.
  void let_go(tree_node node) noexcept {
    const place at = where(node.first, node.level);
    groups_[at.group].taken &= ~(std::uint64_t{1} << at.index);
  }

  /// All nodes over a slot and their siblings, below the top level, are known and not odd.
  void clear_path(std::uint32_t slot) noexcept {
    groups_[slot >> 6].known |= with_siblings(paths[slot & 63] & from_bit(128U >> std::min(top_level_, 7U)));
    if (top_level_ <= 6) return;
    groups_[slot >> 6 ^ 1].known |= 2;
    groups_[frame_words + (slot >> 12)].known |=
        with_siblings(paths[slot >> 6 & 63] & from_bit(8192U >> top_level_));
  }

  /// A difference at this slot came to light and is taken away.
  void flip(std::uint32_t slot) noexcept {
    if (top_level_ > 6) {
      group& high = groups_[frame_words + (slot >> 12)];
      const std::uint64_t known = high.known & paths[slot >> 6 & 63];
      high.odd ^= known;
      // Without a node of level 7 there is none below: in a pass with large blocks most of the time.
      if (known >> 32 == 0 || (groups_[slot >> 6].known & 2) == 0) {
        mark(frame_words + (slot >> 12), high.odd >> (std::bit_width(known) - 1) & 1);
        return;
      }
    }
    group& low = groups_[slot >> 6];
    const std::uint64_t known = low.known & paths[slot & 63];
    low.odd ^= known;
    mark(slot >> 6, low.odd >> (std::bit_width(known) - 1) & 1);
  }
  /// Makes flip() of a slot cheaper that comes soon.
  void prefetch(std::uint32_t slot) const noexcept { __builtin_prefetch(&groups_[slot >> 6], 1); }

  /// Takes odd nodes whose children are not known and calls f with each, in ascending order of groups: the first `most`.
  template <class F>
  void take_odd(std::size_t most, F f) noexcept {
    for (std::size_t i = 0; i < marked_.size(); ++i) {
      while (marked_[i] != 0) {
        if (most == 0) return;
        if (take_odd(64 * i + static_cast<std::size_t>(std::countr_zero(marked_[i])), most, f)) {
          marked_[i] &= marked_[i] - 1;
        }
      }
    }
  }

 private:
  struct group {
    std::uint64_t known = 0;
    std::uint64_t odd = 0;
    std::uint64_t taken = 0;
  };
  struct place {
    std::uint32_t group;
    std::uint32_t index;
  };

  [[nodiscard]] static place where(std::uint32_t first, unsigned level) noexcept {
    if (level <= 6) return {first >> 6, (64 | (first & 63)) >> level};
    return {static_cast<std::uint32_t>(frame_words) + (first >> 12), (64 | (first >> 6 & 63)) >> (level - 6)};
  }

  static void learn_pair(group& g, std::uint32_t left_index, std::uint64_t left_odd) noexcept {
    const std::uint64_t is_node = left_index < 64 ? 1 : 0;
    const std::uint64_t odd_child = (2 - left_odd) * is_node << (left_index & 63);
    g.known |= 3 * is_node << (left_index & 63);
    g.odd |= odd_child;
    g.taken |= odd_child;
  }
  static constexpr std::uint64_t with_siblings(std::uint64_t nodes) noexcept {
    constexpr std::uint64_t left = 0x5555'5555'5555'5555;
    return nodes | (nodes & left) << 1 | (nodes & ~left & ~std::uint64_t{2}) >> 1;
  }
  static constexpr std::uint64_t from_bit(unsigned bit) noexcept {
    return bit < 64 ? ~std::uint64_t{0} << bit : 0;
  }

  void mark(std::size_t g, std::uint64_t odd) noexcept { marked_[g / 64] |= odd << (g % 64); }

  /// False: there may be more in the group.
  template <class F>
  bool take_odd(std::size_t g, std::size_t& most, F& f) noexcept {
    const bool high = g >= frame_words;
    for (std::uint64_t left = groups_[g].odd & ~groups_[g].taken; left != 0; left &= left - 1) {
      const auto index = static_cast<std::uint32_t>(std::countr_zero(left));
      const auto depth = static_cast<std::uint32_t>(std::bit_width(index)) - 1;
      const std::uint32_t at = (index - (1U << depth)) << (6 - depth);
      std::uint64_t children = 0;
      if (index < 32) {
        children = groups_[g].known >> (2 * index) & 1;
      } else if (high) {
        children = groups_[(g - frame_words) * 64 + at].known >> 1 & 1;
      }
      if (children != 0) continue;
      if (most == 0) return false;
      --most;
      groups_[g].taken |= std::uint64_t{1} << index;
      const std::uint32_t first = high ? (static_cast<std::uint32_t>(g - frame_words) * 64 + at) * 64
                                       : static_cast<std::uint32_t>(g) * 64 + at;
      f(tree_node{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>((high ? 12 : 6) - depth)});
    }
    return true;
  }

  /// Bit i of [slot]: node i of a group of 64 contains the slot.
  static constexpr std::array<std::uint64_t, 64> paths = [] {
    std::array<std::uint64_t, 64> made{};
    for (unsigned slot = 0; slot < 64; ++slot) {
      for (unsigned level = 1; level <= 6; ++level) made[slot] |= std::uint64_t{1} << ((64 | slot) >> level);
    }
    return made;
  }();

  std::array<group, frame_words + frame_words / 64> groups_{};
  std::array<std::uint64_t, 17> marked_{};  ///< groups that may have an odd node to take
  unsigned top_level_;
};

}  // namespace qkd004::software
