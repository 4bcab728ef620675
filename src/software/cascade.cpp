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
constexpr unsigned agreeing_masks = 14;
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

[[nodiscard]] std::uint64_t parity(std::uint64_t word) noexcept {
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
  /// It waits for the parities of all blocks, has the first pass behind it, or will ask for nothing more.
  enum class state : std::uint8_t { begins, first_pass, searches, ends };

  std::array<parity_tree, passes> trees;
  std::vector<tree_node> searched{};  ///< odd nodes of which the left child is asked for
  std::size_t searched_in = 0;        ///< their tree, or passes + the mask
  std::size_t open_passes = 1;
  std::size_t first_bit = 0;  ///< of the key
  std::uint32_t size = 0;     ///< slots from there on hold no bits, but zeros that both ends know
  state at = state::begins;
  unsigned level = 0;             ///< in the first pass: of the nodes that are odd
  unsigned fresh_masks = 0;       ///< new masks that are asked for
  unsigned masks = 0;             ///< that were compared
  std::uint64_t odd_masks = 0;    ///< of these
  std::uint64_t spent_masks = 0;  ///< in which a difference was searched
  std::uint64_t parities = 0;     ///< that were asked for
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
  /// Requires: the level is 12 or less. Of level 0: no.
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

  void collect_blocks(std::size_t index);
  void learn_blocks(std::size_t index, const packed_bits& outcomes, std::size_t& at);
  [[nodiscard]] bool collect_first_pass(std::size_t index);
  void learn_first_pass(std::size_t index, const packed_bits& outcomes, std::size_t& at);
  void end_first_pass(std::size_t index);

  void learn_searched(frame& f, const packed_bits& outcomes, std::size_t& at);
  [[nodiscard]] bool descend(frame& f, tree_node& node);
  void halve(frame& f, tree_node& node, std::uint64_t left_odd) const noexcept;
  void correct(frame& f, std::uint32_t slot) noexcept;
  void correct(frame& f, const std::array<std::uint32_t, passes>& slots) noexcept;
  [[nodiscard]] bool holds_bits(const frame& f, std::uint32_t first, unsigned level) const noexcept;

  void plan(frame& f);
  void search_masks(frame& f);
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
  std::vector<std::uint16_t> found_;  ///< scratch
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
    frame& f =
        frames_.emplace_back(frame{{parity_tree{first}, parity_tree{second}, parity_tree{top_level_limit}}});
    f.first_bit = first_bit;
    f.size = smaller_size_ + (i < larger_frames ? 1 : 0);
    f.level = first;
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

bool cascade_end::holds_bits(const frame& f, std::uint32_t first, unsigned level) const noexcept {
  const orders* const slots = occupied(f);
  if (f.searched_in < passes) {
    return slots == nullptr || node_word((*slots)[f.searched_in].words.data(), first, level) != 0;
  }
  const std::uint64_t* const chosen = masks_[f.searched_in - passes].data();
  const std::uint64_t in_word = low_slots(std::min(level, 6U)) << (first & 63);
  for (std::size_t i = first / 64, last = (first + (std::size_t{1} << level) + 63) / 64; i < last; ++i) {
    if ((chosen[i] & in_word & (slots == nullptr ? ~std::uint64_t{0} : (*slots)[0].words[i])) != 0)
      return true;
  }
  return false;
}

/// Goes from an odd node to the child that is odd.
void cascade_end::halve(frame& f, tree_node& node, std::uint64_t left_odd) const noexcept {
  if (f.searched_in < passes) f.trees[f.searched_in].split(node, left_odd);
  --node.level;
  if (left_odd == 0) node.first = static_cast<std::uint16_t>(node.first + (1U << node.level));
}

/// Goes on from an odd node as far as nothing has to be asked, as the slots of one half hold no bits. False: the difference
/// was found, and taken away.
bool cascade_end::descend(frame& f, tree_node& node) {
  for (;;) {
    if (node.level == 0) {
      correct(f, node.first);
      return false;
    }
    const unsigned level = node.level - 1U;
    const bool left = holds_bits(f, node.first, level);
    if (left && holds_bits(f, node.first + (1U << level), level)) return true;
    halve(f, node, left ? 1 : 0);
  }
}

void cascade_end::correct(frame& f, std::uint32_t slot) noexcept {
  std::array<std::uint32_t, passes> slots{};
  if (f.searched_in == 2) {
    slots[2] = slot;
    slots[1] = shuffles_[1].back(slot);
    slots[0] = shuffles_[0].back(slots[1]);
  } else if (f.searched_in == 1) {
    slots[1] = slot;
    slots[0] = shuffles_[0].back(slot);
    slots[2] = shuffles_[1].forward(slot);
  } else {
    slots[0] = slot;
    slots[1] = shuffles_[0].forward(slot);
    slots[2] = shuffles_[1].forward(slots[1]);
  }
  for (unsigned i = 0; i < f.masks; ++i)
    f.odd_masks ^= (masks_[i][slots[0] / 64] >> (slots[0] % 64) & 1) << i;
  f.trees[0].flip(slots[0]);
  correct(f, slots);
}

void cascade_end::correct(frame& f, const std::array<std::uint32_t, passes>& slots) noexcept {
  assert(slots[0] < f.size);
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
  for (f.searched_in = 1; f.searched_in < passes; ++f.searched_in) {
    const unsigned level = f.trees[f.searched_in].top_level();
    const std::uint64_t* const words = own(index, f.searched_in).data();
    for (std::uint32_t slot = 0; slot < frame_slots; slot += 1U << level) {
      if (holds_bits(f, slot, level)) asked_.push(parity(node_word(words, slot, level)), 1);
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
  for (f.searched_in = 1; f.searched_in < passes; ++f.searched_in) {
    parity_tree& tree = f.trees[f.searched_in];
    for (std::uint32_t slot = 0; slot < frame_slots; slot += 1U << tree.top_level()) {
      tree.compare_top(slot, holds_bits(f, slot, tree.top_level()) ? outcomes.read(at++) & 1 : 0);
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
      const std::uint32_t second = shuffles_[0].forward(slot);
      f.trees[0].clear_path(slot);
      correct(f, {slot, second, shuffles_[1].forward(second)});
    }
  }
  if (--in_first_pass_ == 0) {
    levels_ = bits{};
    odd_ = {};
  }
}

void cascade_end::learn_searched(frame& f, const packed_bits& outcomes, std::size_t& at) {
  for (; f.fresh_masks != 0; --f.fresh_masks) f.odd_masks |= (outcomes.read(at++) & 1) << f.masks++;
  const std::size_t count = f.searched.size();
  std::size_t kept = 0;
  if (f.searched_in >= passes) {
    for (std::size_t i = 0; i < count; ++i) {
      tree_node node = f.searched[i];
      halve(f, node, outcomes.read(at++) & 1);
      if (descend(f, node)) f.searched[kept++] = node;
    }
    f.searched.resize(kept);
    return;
  }
  // No branch here depends on an outcome: it would be mispredicted half the time.
  parity_tree& tree = f.trees[f.searched_in];
  const orders* const slots = occupied(f);
  std::size_t found = 0;
  if (found_.size() < count) found_.resize(count);
  tree_node* const searched = f.searched.data();
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 64 == 0) next = outcomes.read(at + i);
    const std::uint64_t left_odd = next & 1;
    next >>= 1;
    tree.split(searched[i], left_odd);
    const unsigned level = searched[i].level - 1U;
    const auto first = static_cast<std::uint16_t>(searched[i].first + ((left_odd ^ 1) << level));
    const tree_node node{first, static_cast<std::uint16_t>(level)};
    if (slots != nullptr && (*slots)[f.searched_in].is_alone(node)) {
      tree_node lower = node;
      if (descend(f, lower)) searched[kept++] = lower;
      continue;
    }
    searched[kept] = node;
    kept += level != 0 ? 1U : 0U;
    found_[found] = first;
    found += level == 0 ? 1U : 0U;
  }
  at += count;
  f.searched.resize(kept);
  for (std::size_t i = 0; i < found; ++i) correct(f, found_[i]);
}

void cascade_end::search_masks(frame& f) {
  while (f.odd_masks != 0 && f.searched.empty()) {
    const auto odd = static_cast<unsigned>(std::countr_zero(f.odd_masks));
    f.spent_masks |= std::uint64_t{1} << odd;
    f.searched_in = passes + odd;
    tree_node node{0, 16};
    if (!descend(f, node)) return;
    f.searched.push_back(node);
  }
  const unsigned wanted = agreeing_masks + static_cast<unsigned>(std::popcount(f.spent_masks));
  f.fresh_masks = std::min(wanted, most_masks) - f.masks;
}

/// Chooses what a frame asks for next: first what is odd in the pass with the smallest blocks.
void cascade_end::plan(frame& f) {
  if (f.at == frame::state::ends) return;
  while (f.searched.empty()) {
    bool corrected = false;
    for (f.searched_in = 0; f.searched_in < f.open_passes; ++f.searched_in) {
      f.trees[f.searched_in].take_odd([&](tree_node node) {
        if (descend(f, node)) {
          f.searched.push_back(node);
        } else {
          corrected = true;
        }
      });
      if (corrected || !f.searched.empty()) break;
    }
    if (corrected || !f.searched.empty()) continue;
    if (f.open_passes < passes) {
      ++f.open_passes;
      continue;
    }
    search_masks(f);
    break;
  }
  const std::uint64_t asks = f.fresh_masks + f.searched.size();
  if (asks == 0 || f.parities + asks > most_parities(f.size) || tally.rounds + 1 >= most_rounds) {
    f.at = frame::state::ends;
    f.fresh_masks = 0;
    f.searched.clear();
  }
}

void cascade_end::collect(std::size_t index) {
  frame& f = frames_[index];
  if (f.at == frame::state::ends) return;
  f.parities += f.fresh_masks + f.searched.size();
  const std::uint64_t* const identity = own(index, 0).data();
  for (unsigned i = f.masks; i < f.masks + f.fresh_masks; ++i) {
    const std::uint64_t* const chosen = mask(i);
    std::uint64_t sum = 0;
    for (std::size_t w = 0; w < frame_words; ++w) sum ^= identity[w] & chosen[w];
    asked_.push(parity(sum), 1);
  }
  if (f.searched_in < passes) {
    const std::uint64_t* const words = own(index, f.searched_in).data();
    std::uint64_t gathered = 0;
    unsigned count = 0;
    for (const tree_node node : f.searched) {
      gathered |= parity(node_word(words, node.first, node.level - 1U)) << count;
      if (++count == 64) asked_.push(std::exchange(gathered, 0), std::exchange(count, 0U));
    }
    asked_.push(gathered, count);
    return;
  }
  for (const tree_node node : f.searched) {
    const std::uint64_t* const chosen = mask(f.searched_in - passes);
    const unsigned level = node.level - 1U;
    const std::uint64_t in_word = low_slots(std::min(level, 6U)) << (node.first & 63);
    std::uint64_t sum = 0;
    for (std::size_t w = node.first / 64U, last = (node.first + (std::size_t{1} << level) + 63) / 64;
         w < last; ++w) {
      sum ^= identity[w] & chosen[w] & in_word;
    }
    asked_.push(parity(sum), 1);
  }
}

void cascade_end::compared(const packed_bits& outcomes) {
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
