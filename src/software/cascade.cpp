// SPDX-License-Identifier: Apache-2.0
#include "software/cascade.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "software/first_pass.hpp"
#include "software/frame_shuffle.hpp"
#include "software/packed_bits.hpp"
#include "software/parity_tree.hpp"

namespace qkd004::software {

namespace {

constexpr std::size_t passes = 3;
/// Streams of the seed.
constexpr std::uint64_t shuffles_purpose = 1;
constexpr std::uint64_t masks_purpose = 2;

/// So many random masks have to agree that were not needed to find a difference: differences that are left escape each
/// of them with probability 1/2.
constexpr unsigned agreeing_masks = 15;
/// By pass: with fewer searches than these a frame begins with what is odd there. With all of it, except in the last
/// pass, where a difference costs most: with as much as makes them so many. Measured against 1, 1, 1 (a pass waits until
/// those before it are done): 59 to 90 % of the rounds, for 0.1 to 1 % more parities.
constexpr std::array<std::size_t, passes> enough_searches{16, 16, 4};

/// A frame that asks for more is given up; verification finds it.
constexpr unsigned most_masks = 64;
/// Any block takes 200 to 600.
constexpr std::uint64_t most_rounds = 4096;

/// A parity tells a bit at most: above that many of them, there is nothing left to gain.
constexpr std::uint64_t most_parities(std::uint64_t frame_size) noexcept {
  return frame_size + frame_size / 5 + 64;
}

/// Level of pass 1's blocks: 2^ceil(log2(1/Q) - 1/2) bits (arXiv:1407.3257, opt. (8)). By multiplication only, which
/// is the same on every machine. Not more than 512 bits, lest an estimate of 0 leave all the work to the masks.
unsigned first_level(double qber) noexcept {
  unsigned level = 2;
  for (double expected = qber * 1.4142135623730951 * 4; level < 9 && !(expected >= 1); expected *= 2) ++level;
  return level;
}

/// Words of a frame in the order of one pass, and after them a bit for each word.
constexpr std::size_t pass_words = frame_words + frame_words / 64;
using pass_span = std::span<std::uint64_t, pass_words>;
using const_pass_span = std::span<const std::uint64_t, pass_words>;

[[nodiscard]] inline std::uint64_t parity(std::uint64_t word) noexcept {
  return static_cast<std::uint64_t>(__builtin_parityll(word));
}

/// The bits of a node of level 12 or less, in one word.
[[nodiscard]] std::uint64_t node_word(const std::uint64_t* words, std::uint32_t first,
                                      unsigned level) noexcept {
  if (level <= 6) return words[first >> 6] >> (first & 63) & low_slots(level);
  return words[frame_words + (first >> 12)] >> (first >> 6 & 63) & low_slots(level - 6);
}

void copy_bits(const bits& from, std::size_t first, std::size_t count, std::uint64_t* to) noexcept {
  const auto words = from.words();
  for (std::size_t i = 0; 64 * i < count; ++i) {
    const std::size_t at = (first + 64 * i) / 64;
    const unsigned shift = (first + 64 * i) % 64;
    to[i] = words[at] >> shift;
    if (shift != 0 && at + 1 < words.size()) to[i] |= words[at + 1] << (64 - shift);
  }
  if (count % 64 != 0) to[count / 64] &= (std::uint64_t{1} << (count % 64)) - 1;
}

/// One frame of a block: what of it is known, and what it asks for next.
struct frame {
  /// It waits for the parities of all blocks, halves the odd ones of the first pass, searches on in all passes, or will
  /// ask for nothing more.
  enum class state : std::uint8_t { begins, first_pass, searches, ends };

  frame(unsigned first, unsigned second)
      : trees{parity_tree{first}, parity_tree{second}, parity_tree{top_level_limit}}, level{first} {}

  std::array<parity_tree, passes> trees;
  /// By pass: odd nodes of which the left child is asked for.
  std::array<std::vector<tree_node>, passes> searched{};
  /// The same for a mask, of which the odd half of the halves so far is searched. Of level 0: none is.
  tree_node searched_of_mask{};
  unsigned searched_mask = 0;
  std::size_t first_bit = 0;  ///< of the key
  std::uint32_t size = 0;     ///< slots from there on hold no bits, but zeros that both ends know
  state at = state::begins;
  unsigned level;                 ///< in the first pass: of the nodes that are odd
  unsigned fresh_masks = 0;       ///< new masks that are asked for
  unsigned masks = 0;             ///< that were compared
  std::uint64_t odd_masks = 0;    ///< of these
  std::uint64_t spent_masks = 0;  ///< in which a difference was searched
  std::uint64_t parities = 0;     ///< that were asked for
  std::uint32_t corrections = 0;
};

/// Which slots of a frame hold bits, in the order of a pass. Nodes without bits are not asked for.
struct occupied_slots {
  std::array<std::uint64_t, pass_words> words{};  ///< a word's bit after the words: it has any
  std::array<std::uint64_t, pass_words>
      alone{};  ///< nodes as in a parity_tree: one of the children has no bits

  void find_alone() noexcept {
    for (std::size_t w = 0; w < frame_words; ++w) {
      words[frame_words + w / 64] |= std::uint64_t{words[w] != 0 ? 1U : 0U} << w % 64;
    }
    for (std::size_t g = 0; g < pass_words; ++g) {
      std::uint64_t below = words[g];
      for (unsigned nodes = 32; nodes != 0; nodes /= 2) {
        const std::uint64_t left = every_second_bit(below);
        const std::uint64_t right = every_second_bit(below >> 1);
        alone[g] |= (left ^ right) << nodes;
        below = left | right;
      }
    }
  }
  [[nodiscard]] bool holds_bits(std::uint32_t first, unsigned level) const noexcept {
    return node_word(words.data(), first, level) != 0;
  }
  /// Of level 0: no.
  [[nodiscard]] bool is_alone(tree_node node) const noexcept {
    if (node.level > 6) {
      return (alone[frame_words + (node.first >> 12)] >>
                  ((64U | (node.first >> 6 & 63)) >> (node.level - 6)) &
              1) != 0;
    }
    const std::uint64_t index = (64U | (node.first & 63)) >> node.level;
    return (alone[node.first >> 6] >> (index & 63) & 1 & ~(index >> 6)) != 0;
  }
};

/// Either end. Both compare the same parities in the same order, as everything that this depends on is in the outcomes,
/// which both have; so Bob's message is the outcomes and nothing else, and Alice's the parities that follow from them.
class cascade_end {
 public:
  /// `corrected` is null for the end that corrects nothing, the key of the other.
  cascade_end(const bits& key, bits* corrected, const cascade_options& o);

  /// The parities of the own key that are asked for next.
  [[nodiscard]] const packed_bits& asked() const noexcept { return asked_; }
  /// Takes the outcomes of all comparisons that were asked for, and asks for the next.
  void compared(const packed_bits& outcomes);

  cascade_tally tally{};

 private:
  using orders = std::array<occupied_slots, passes>;
  using slots_of_bit = std::array<std::uint32_t, passes>;  ///< in the passes' orders

  void go_on(const packed_bits& outcomes);
  void go_on_bmi2(const packed_bits& outcomes);
  void collect_blocks(std::size_t index);
  void learn_blocks(std::size_t index, const packed_bits& outcomes, std::size_t& at);
  [[nodiscard]] bool collect_first_pass(std::size_t index);
  void learn_first_pass(std::size_t index, const packed_bits& outcomes, std::size_t& at);
  void end_first_pass(std::size_t index);

  void learn_searched(frame& f, const packed_bits& outcomes, std::size_t& at);
  void learn_pass(frame& f, std::size_t pass, const packed_bits& outcomes, std::size_t& at);
  void take_odd(frame& f, std::size_t pass, std::size_t most);
  void correct_found(frame& f);
  void note(const frame& f, std::size_t pass, std::uint32_t slot);
  void correct(frame& f, const slots_of_bit& slots) noexcept;
  void let_go(frame& f, std::size_t pass) noexcept;

  void plan(frame& f);
  void search_masks(frame& f);
  void descend_mask(frame& f);
  [[nodiscard]] bool mask_holds_bits(const frame& f, unsigned index, tree_node node) const noexcept;
  void collect(std::size_t index);
  const std::uint64_t* mask(std::size_t index);

  [[nodiscard]] pass_span own(std::size_t index, std::size_t pass) noexcept {
    return own_.words().subspan((index * passes + pass) * pass_words).first<pass_words>();
  }
  /// Null for a full frame.
  [[nodiscard]] const orders* occupied(const frame& f) const noexcept {
    return f.size == frame_slots ? nullptr : &occupied_[f.size == smaller_size_ ? 0 : 1];
  }

  bits* corrected_;
  const first_pass_kernels& kernels_ = first_pass_kernels::best();
  std::array<frame_shuffle, passes - 1> shuffles_;
  expander mask_source_;
  std::vector<std::array<std::uint64_t, frame_words>> masks_;
  bits own_;                        ///< the frames' bits in the passes' orders, corrected as far as they are
  bits levels_;                     ///< parities in the order of the first pass, until that is over
  std::vector<std::uint64_t> odd_;  ///< nodes of the first pass, frame_words for each frame
  std::size_t in_first_pass_ = 0;   ///< frames
  std::vector<frame> frames_;
  std::vector<orders> occupied_;  ///< of frames of smaller_size_, and of one bit more
  std::uint32_t smaller_size_ = 0;
  struct difference {
    std::uint16_t slot;
    std::uint16_t pass;
  };
  std::vector<difference> found_;  ///< that are not corrected yet
  std::size_t found_count_ = 0;
  std::vector<slots_of_bit> corrected_slots_;  ///< scratch
  packed_bits asked_;
};

std::array<frame_shuffle, passes - 1> draw_shuffles(const seed256& seed) {
  expander random{seed, shuffles_purpose};
  frame_shuffle second{random};
  frame_shuffle third{random};
  return {second, third};
}

cascade_end::cascade_end(const bits& key, bits* corrected, const cascade_options& o)
    : corrected_{corrected}, shuffles_{draw_shuffles(o.seed)}, mask_source_{o.seed, masks_purpose} {
  const std::size_t count = (key.size() + frame_slots - 1) / frame_slots;
  if (count == 0) return;
  smaller_size_ = static_cast<std::uint32_t>(key.size() / count);
  const std::size_t larger_frames = key.size() % count;

  if (smaller_size_ < frame_slots) {
    occupied_.resize(larger_frames == 0 ? 1 : 2);
    std::vector<std::uint64_t> scratch(frame_words);
    const auto words = [](auto& of) { return std::span{of}.template first<frame_words>(); };
    for (std::size_t i = 0; i < occupied_.size(); ++i) {
      orders& o_i = occupied_[i];
      for (std::size_t slot = 0; slot < smaller_size_ + i; ++slot)
        o_i[0].words[slot / 64] |= std::uint64_t{1} << slot % 64;
      shuffles_[0].apply(words(o_i[0].words), words(o_i[1].words), words(scratch));
      shuffles_[1].apply(words(o_i[1].words), words(o_i[2].words), words(scratch));
      for (occupied_slots& order : o_i) order.find_alone();
    }
  }

  // In the other passes' orders the bits of a frame that is not full lie thinner.
  const unsigned first = first_level(o.qber);
  const auto thinner = static_cast<unsigned>(std::countl_zero(smaller_size_ - 1) - 16);
  const unsigned second = std::min(first + 2 + thinner, top_level_limit);

  own_ = bits{count * passes * pass_words * 64};
  levels_ = bits{count * frame_slots};
  odd_.resize(count * frame_words);
  in_first_pass_ = count;
  frames_.reserve(count);
  bits scratch_bits{frame_slots};
  const auto scratch = scratch_bits.words().first<frame_words>();
  std::size_t first_bit = 0;
  for (std::size_t i = 0; i < count; ++i) {
    frame& f = frames_.emplace_back(first, second);
    f.first_bit = first_bit;
    f.size = smaller_size_ + (i < larger_frames ? 1 : 0);
    first_bit += f.size;
    copy_bits(key, f.first_bit, f.size, own(i, 0).data());
    for (std::size_t pass = 0; pass < passes; ++pass) {
      const pass_span words = own(i, pass);
      if (pass > 0) {
        shuffles_[pass - 1].apply(own(i, pass - 1).first<frame_words>(), words.first<frame_words>(), scratch);
      }
      std::uint64_t* const levels = pass == 0 ? levels_.words().data() + i * frame_words : scratch.data();
      kernels_.fold(words.data(), pass == 0 ? std::max(first, 6U) : 6, levels);
      std::copy_n(levels + level_words::begin(6), frame_words / 64, words.data() + frame_words);
    }
    collect_blocks(i);
  }
}

const std::uint64_t* cascade_end::mask(std::size_t index) {
  while (masks_.size() <= index) mask_source_.fill(std::as_writable_bytes(std::span{masks_.emplace_back()}));
  return masks_[index].data();
}

/// Notes a difference that is to be corrected, and asks the caches for what that takes.
void cascade_end::note(const frame& f, std::size_t pass, std::uint32_t slot) {
  slots_of_bit slots{};
  if (pass == 2) {
    slots[2] = slot;
    slots[1] = shuffles_[1].back(slot);
    slots[0] = shuffles_[0].back(slots[1]);
  } else if (pass == 1) {
    slots[1] = slot;
    slots[0] = shuffles_[0].back(slot);
    slots[2] = shuffles_[1].forward(slot);
  } else {
    slots[0] = slot;
    slots[1] = shuffles_[0].forward(slot);
    slots[2] = shuffles_[1].forward(slots[1]);
  }
  corrected_slots_.push_back(slots);
  f.trees[0].prefetch(slots[0]);
  f.trees[1].prefetch(slots[1]);
  if (corrected_ == nullptr) return;
  const auto index = static_cast<std::size_t>(&f - frames_.data());
  for (std::size_t i = 0; i < passes; ++i) __builtin_prefetch(&own(index, i)[slots[i] >> 6], 1);
}

/// In all but the tree of the first pass.
void cascade_end::correct(frame& f, const slots_of_bit& slots) noexcept {
  assert(slots[0] < f.size);
  if (slots[0] >= f.size) return;
  ++f.corrections;
  for (std::size_t pass = 1; pass < passes; ++pass) f.trees[pass].flip(slots[pass]);
  if (corrected_ == nullptr) return;
  corrected_->flip(f.first_bit + slots[0]);
  const auto index = static_cast<std::size_t>(&f - frames_.data());
  for (std::size_t pass = 0; pass < passes; ++pass) {
    std::uint64_t* const words = own(index, pass).data();
    words[slots[pass] >> 6] ^= std::uint64_t{1} << (slots[pass] & 63);
    words[frame_words + (slots[pass] >> 12)] ^= std::uint64_t{1} << (slots[pass] >> 6 & 63);
  }
}

/// The parities of all blocks of all passes are asked for before anything is known.
void cascade_end::collect_blocks(std::size_t index) {
  frame& f = frames_[index];
  const std::size_t before = asked_.size();
  const std::uint64_t* const first =
      levels_.words().data() + index * frame_words + level_words::begin(f.level);
  for (std::uint32_t left = ((f.size - 1) >> f.level) + 1, i = 0; left > 0; ++i) {
    const std::uint32_t now = std::min(left, 64U);
    asked_.push(first[i], now);
    left -= now;
  }
  const orders* const slots = occupied(f);
  for (std::size_t pass = 1; pass < passes; ++pass) {
    const unsigned level = f.trees[pass].top_level();
    const std::uint64_t* const words = own(index, pass).data();
    for (std::uint32_t slot = 0; slot < frame_slots; slot += 1U << level) {
      if (slots != nullptr && !(*slots)[pass].holds_bits(slot, level)) continue;
      asked_.push(parity(node_word(words, slot, level)), 1);
    }
  }
  f.parities = asked_.size() - before;
}

void cascade_end::learn_blocks(std::size_t index, const packed_bits& outcomes, std::size_t& at) {
  frame& f = frames_[index];
  f.at = frame::state::first_pass;
  std::uint64_t* const odd = odd_.data() + index * frame_words;
  for (std::uint32_t left = ((f.size - 1) >> f.level) + 1, i = 0; left > 0; ++i) {
    const std::uint32_t now = std::min(left, 64U);
    odd[i] = outcomes.read(at) & (~std::uint64_t{0} >> (64 - now));
    at += now;
    left -= now;
  }
  // When this pass is over none will be odd.
  for (std::uint32_t slot = 0; slot < frame_slots; slot += 1U << f.level) f.trees[0].compare_top(slot, 0);
  const orders* const slots = occupied(f);
  for (std::size_t pass = 1; pass < passes; ++pass) {
    parity_tree& tree = f.trees[pass];
    for (std::uint32_t slot = 0; slot < frame_slots; slot += 1U << tree.top_level()) {
      const bool asked = slots == nullptr || (*slots)[pass].holds_bits(slot, tree.top_level());
      tree.compare_top(slot, asked ? outcomes.read(at++) & 1 : 0);
    }
  }
}

/// False: there is nothing to ask for.
bool cascade_end::collect_first_pass(std::size_t index) {
  frame& f = frames_[index];
  const std::size_t before = asked_.size();
  const std::uint64_t* const parities =
      f.level == 1 ? own(index, 0).data()
                   : levels_.words().data() + index * frame_words + level_words::begin(f.level - 1);
  kernels_.ask({odd_.data() + index * frame_words, f.level, f.size}, parities, asked_);
  f.parities += asked_.size() - before;
  return asked_.size() != before;
}

void cascade_end::learn_first_pass(std::size_t index, const packed_bits& outcomes, std::size_t& at) {
  frame& f = frames_[index];
  std::uint64_t* const odd = odd_.data() + index * frame_words;
  std::array<std::uint64_t, frame_words> below;
  at = kernels_.learn({odd, f.level, f.size}, outcomes, at, below.data());
  --f.level;
  std::copy_n(below.data(), level_words::count(f.level), odd);
}

void cascade_end::end_first_pass(std::size_t index) {
  frame& f = frames_[index];
  f.at = frame::state::searches;
  const std::uint64_t* const odd = odd_.data() + index * frame_words;
  for (std::uint32_t w = 0; w < frame_words; ++w) {
    for (std::uint64_t left = odd[w]; left != 0; left &= left - 1) {
      const std::uint32_t slot = 64 * w + static_cast<std::uint32_t>(std::countr_zero(left));
      f.trees[0].clear_path(slot);
      note(f, 0, slot);
    }
  }
  for (const slots_of_bit& slots : corrected_slots_) correct(f, slots);
  corrected_slots_.clear();
  if (--in_first_pass_ == 0) {
    levels_ = bits{};
    odd_ = {};
  }
}

void cascade_end::learn_searched(frame& f, const packed_bits& outcomes, std::size_t& at) {
  for (; f.fresh_masks != 0; --f.fresh_masks, ++f.masks) {
    const std::uint64_t odd = outcomes.read(at++) & 1;
    // Of no bits the parity is 0, whatever a forged message says: there would be nothing to find.
    if (odd != 0 && mask_holds_bits(f, f.masks, {0, 16})) f.odd_masks |= odd << f.masks;
  }
  for (std::size_t pass = 0; pass < passes; ++pass) learn_pass(f, pass, outcomes, at);
  if (f.searched_of_mask.level != 0) {
    const std::uint64_t left_odd = outcomes.read(at++) & 1;
    const unsigned level = --f.searched_of_mask.level;
    if (left_odd == 0)
      f.searched_of_mask.first = static_cast<std::uint16_t>(f.searched_of_mask.first + (1U << level));
    descend_mask(f);
  }
  correct_found(f);
}

/// Every outcome is of the keys as they were when it was asked for: so all nodes are split before any is corrected.
void cascade_end::learn_pass(frame& f, std::size_t pass, const packed_bits& outcomes, std::size_t& at) {
  const std::size_t count = f.searched[pass].size();
  if (count == 0) return;
  if (found_.size() < found_count_ + count + 1) found_.resize(2 * (found_count_ + count + 1));
  parity_tree& tree = f.trees[pass];
  const occupied_slots* const slots = occupied(f) == nullptr ? nullptr : &(*occupied(f))[pass];
  tree_node* const searched = f.searched[pass].data();
  std::size_t kept = 0;
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 64 == 0) next = outcomes.read(at + i);
    std::uint64_t left_odd = next & 1;
    next >>= 1;
    // No branch here depends on an outcome: it would be mispredicted half the time.
    unsigned level = searched[i].level;
    std::uint32_t first = searched[i].first;
    for (;;) {
      tree.split({static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(level)}, left_odd);
      --level;
      first += static_cast<std::uint32_t>(left_odd ^ 1) << level;
      const tree_node node{static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(level)};
      if (slots == nullptr || !slots->is_alone(node)) break;
      left_odd = slots->holds_bits(first, level - 1) ? 1 : 0;  // the other half has no bits
    }
    searched[kept] = {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(level)};
    kept += level != 0 ? 1U : 0U;
    found_[found_count_] = {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(pass)};
    found_count_ += level == 0 ? 1U : 0U;
  }
  at += count;
  f.searched[pass].resize(kept);
}

/// Starts to search all odd nodes of a pass.
void cascade_end::take_odd(frame& f, std::size_t pass, std::size_t most) {
  const occupied_slots* const slots = occupied(f) == nullptr ? nullptr : &(*occupied(f))[pass];
  f.trees[pass].take_odd(most, [&](tree_node node) {
    while (slots != nullptr && slots->is_alone(node)) {
      const unsigned level = node.level - 1U;
      const bool left = slots->holds_bits(node.first, level);
      f.trees[pass].split(node, left ? 1 : 0);
      node = {static_cast<std::uint16_t>(node.first + (left ? 0U : 1U << level)),
              static_cast<std::uint16_t>(level)};
    }
    if (node.level != 0) {
      f.searched[pass].push_back(node);
      return;
    }
    if (found_.size() == found_count_) found_.resize(2 * found_count_ + 64);
    found_[found_count_++] = {node.first, static_cast<std::uint16_t>(pass)};
  });
}

void cascade_end::correct_found(frame& f) {
  if (found_count_ == 0) return;
  for (std::size_t i = 0; i < found_count_; ++i) note(f, found_[i].pass, found_[i].slot);
  for (std::size_t i = 0; i < found_count_; ++i) {
    const difference d = found_[i];
    // Two passes may have found the same.
    if (d.pass < passes && !f.trees[d.pass].odd({static_cast<std::uint16_t>(d.slot & ~1U), 1})) continue;
    const slots_of_bit& slots = corrected_slots_[i];
    for (unsigned m = 0; m < f.masks; ++m)
      f.odd_masks ^= (masks_[m][slots[0] / 64] >> (slots[0] % 64) & 1) << m;
    f.trees[0].flip(slots[0]);
    correct(f, slots);
  }
  corrected_slots_.clear();
  // A difference lies in one of a pass's searches at most, so its own pass has nothing to let go of.
  for (std::size_t pass = 0; pass < passes; ++pass) {
    const auto other = [pass](const difference& d) { return d.pass != pass; };
    if (std::any_of(found_.begin(), found_.begin() + static_cast<std::ptrdiff_t>(found_count_), other))
      let_go(f, pass);
  }
  found_count_ = 0;
}

/// Searches no further what was made even by a difference that another pass found.
void cascade_end::let_go(frame& f, std::size_t pass) noexcept {
  std::size_t kept = 0;
  for (const tree_node node : f.searched[pass]) {
    f.searched[pass][kept] = node;
    if (f.trees[pass].odd(node)) {
      ++kept;
    } else {
      f.trees[pass].let_go(node);
    }
  }
  f.searched[pass].resize(kept);
}

bool cascade_end::mask_holds_bits(const frame& f, unsigned index, tree_node node) const noexcept {
  const orders* const slots = occupied(f);
  const std::uint64_t* const chosen = masks_[index].data();
  const std::uint64_t in_word = low_slots(std::min<unsigned>(node.level, 6)) << (node.first & 63);
  for (std::size_t i = node.first / 64U, last = (node.first + (std::size_t{1} << node.level) + 63) / 64;
       i < last; ++i) {
    if ((chosen[i] & in_word & (slots == nullptr ? ~std::uint64_t{0} : (*slots)[0].words[i])) != 0)
      return true;
  }
  return false;
}

/// Goes on as far as nothing has to be asked, as one half of the node has no bits in the mask.
void cascade_end::descend_mask(frame& f) {
  tree_node& node = f.searched_of_mask;
  while (node.level != 0) {
    const unsigned level = node.level - 1U;
    const tree_node left_half{node.first, static_cast<std::uint16_t>(level)};
    const tree_node right_half{static_cast<std::uint16_t>(node.first + (1U << level)), left_half.level};
    const bool left = mask_holds_bits(f, f.searched_mask, left_half);
    if (left && mask_holds_bits(f, f.searched_mask, right_half)) return;
    node = left ? left_half : right_half;
  }
  if (found_.size() == found_count_) found_.resize(2 * found_count_ + 64);
  found_[found_count_++] = {node.first, passes};
}

void cascade_end::search_masks(frame& f) {
  if (f.odd_masks != 0) {
    f.searched_mask = static_cast<unsigned>(std::countr_zero(f.odd_masks));
    f.spent_masks |= std::uint64_t{1} << f.searched_mask;
    f.searched_of_mask = {0, 16};
    descend_mask(f);
  }
  const unsigned wanted = agreeing_masks + static_cast<unsigned>(std::popcount(f.spent_masks));
  f.fresh_masks = std::min(wanted, most_masks) - f.masks;
}

/// Chooses what a frame asks for next. The smaller the blocks of a pass, the fewer parities a difference costs: so a pass
/// waits until little is left to do in those before it. If it waited until there is nothing, there would be twice the
/// rounds, most of them for a few long chains of differences that lead to one another.
void cascade_end::plan(frame& f) {
  if (f.at == frame::state::ends) return;
  const auto searches = [&f] { return f.searched[0].size() + f.searched[1].size() + f.searched[2].size(); };
  if (f.searched_of_mask.level == 0) {
    do {
      correct_found(f);
      for (std::size_t pass = 0; pass < passes; ++pass) {
        const std::size_t going = searches();
        if (going >= enough_searches[pass]) continue;
        take_odd(f, pass, pass + 1 < passes ? frame_slots : enough_searches[pass] - going);
      }
      if (found_count_ == 0 && searches() == 0) search_masks(f);
      // In a frame of few bits forged masks that contradict one another would have a bit flipped for ever, unasked.
    } while (found_count_ != 0 && f.corrections <= f.size);
  }
  const std::uint64_t asks = f.fresh_masks + searches() + (f.searched_of_mask.level != 0 ? 1 : 0);
  if (asks == 0 || f.parities + asks > most_parities(f.size) || f.corrections > f.size ||
      tally.rounds + 1 >= most_rounds) {
    found_count_ = 0;
    f.at = frame::state::ends;
  }
}

void cascade_end::collect(std::size_t index) {
  frame& f = frames_[index];
  if (f.at == frame::state::ends) return;
  const std::size_t before = asked_.size();
  const std::uint64_t* const identity = own(index, 0).data();
  for (unsigned i = f.masks; i < f.masks + f.fresh_masks; ++i) {
    const std::uint64_t* const chosen = mask(i);
    std::uint64_t sum = 0;
    for (std::size_t w = 0; w < frame_words; ++w) sum ^= identity[w] & chosen[w];
    asked_.push(parity(sum), 1);
  }
  for (std::size_t pass = 0; pass < passes; ++pass) {
    const std::uint64_t* const words = own(index, pass).data();
    std::uint64_t gathered = 0;
    unsigned count = 0;
    for (const tree_node node : f.searched[pass]) {
      gathered |= parity(node_word(words, node.first, node.level - 1U)) << count;
      if (++count == 64) asked_.push(std::exchange(gathered, 0), std::exchange(count, 0U));
    }
    asked_.push(gathered, count);
  }
  if (const tree_node node = f.searched_of_mask; node.level != 0) {
    const std::uint64_t* const chosen = mask(f.searched_mask);
    const unsigned level = node.level - 1U;
    const std::uint64_t in_word = low_slots(std::min(level, 6U)) << (node.first & 63);
    std::uint64_t sum = 0;
    for (std::size_t w = node.first / 64U, last = (node.first + (std::size_t{1} << level) + 63) / 64;
         w < last; ++w) {
      sum ^= identity[w] & chosen[w] & in_word;
    }
    asked_.push(parity(sum), 1);
  }
  f.parities += asked_.size() - before;
}

inline void cascade_end::go_on(const packed_bits& outcomes) {
  std::size_t at = 0;
  asked_.clear();
  for (std::size_t i = 0; i < frames_.size(); ++i) {
    frame& f = frames_[i];
    if (f.at == frame::state::ends) continue;
    if (f.at == frame::state::begins) {
      learn_blocks(i, outcomes, at);
    } else if (f.at == frame::state::first_pass) {
      learn_first_pass(i, outcomes, at);
    } else {
      learn_searched(f, outcomes, at);
    }
    if (f.at == frame::state::first_pass) {
      while (f.level != 0 && !collect_first_pass(i)) learn_first_pass(i, outcomes, at);
      if (f.level != 0) continue;
      end_first_pass(i);
    }
    plan(f);
    collect(i);
  }
}

// The same source again: with these instructions the shifts and counts in all that go_on() calls cost less (7 % of the
// whole, measured).
#if defined(__x86_64__)
[[gnu::target("bmi,bmi2,popcnt"), gnu::flatten]] void cascade_end::go_on_bmi2(const packed_bits& outcomes) {
  go_on(outcomes);
}
#endif

void cascade_end::compared(const packed_bits& outcomes) {
#if defined(__x86_64__)
  static const bool has_bmi2 = __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 &&
                               __builtin_cpu_supports("popcnt") != 0;
  if (has_bmi2) {
    go_on_bmi2(outcomes);
    return;
  }
#endif
  go_on(outcomes);
}

}  // namespace

struct cascade_alice::state {
  cascade_end end;
  packed_bits outcomes{};
  bool started = false;
};

cascade_alice::cascade_alice(const bits& key, const cascade_options& o)
    : state_{new state{cascade_end{key, nullptr, o}}} {}
cascade_alice::cascade_alice(cascade_alice&&) noexcept = default;
cascade_alice& cascade_alice::operator=(cascade_alice&&) noexcept = default;
cascade_alice::~cascade_alice() = default;

void cascade_alice::start(std::vector<std::byte>& message) {
  assert(!state_->started);
  state_->started = true;
  cascade_end& end = state_->end;
  end.asked().append_to(message);
  end.tally.alice_bits = end.tally.bob_bits = end.asked().size();
}

bool cascade_alice::answer(std::span<const std::byte> asked, std::vector<std::byte>& message) {
  cascade_end& end = state_->end;
  if (!state_->started || end.asked().size() == 0 || !end.asked().fits(asked)) return false;
  state_->outcomes = end.asked();
  state_->outcomes.assign(asked);
  ++end.tally.rounds;
  end.compared(state_->outcomes);
  if (end.asked().size() == 0) return false;  // Bob would have been done, and silent
  end.asked().append_to(message);
  end.tally.alice_bits += end.asked().size();
  end.tally.bob_bits += end.asked().size();
  return true;
}

const cascade_tally& cascade_alice::tally() const noexcept { return state_->end.tally; }

struct cascade_bob::state {
  cascade_end end;
  packed_bits outcomes{};
};

cascade_bob::cascade_bob(bits& key, const cascade_options& o)
    : state_{new state{cascade_end{key, &key, o}}} {}
cascade_bob::cascade_bob(cascade_bob&&) noexcept = default;
cascade_bob& cascade_bob::operator=(cascade_bob&&) noexcept = default;
cascade_bob::~cascade_bob() = default;

bool cascade_bob::receive(std::span<const std::byte> answered, std::vector<std::byte>& message) {
  cascade_end& end = state_->end;
  if (done() || !end.asked().fits(answered)) return false;
  state_->outcomes = end.asked();
  state_->outcomes.add(answered);
  end.tally.alice_bits += state_->outcomes.size();
  end.tally.bob_bits += state_->outcomes.size();
  ++end.tally.rounds;
  end.compared(state_->outcomes);
  if (done()) {
    --end.tally.rounds;
    return true;
  }
  state_->outcomes.append_to(message);
  return true;
}

bool cascade_bob::done() const noexcept { return state_->end.asked().size() == 0; }

const cascade_tally& cascade_bob::tally() const noexcept { return state_->end.tally; }

}  // namespace qkd004::software
