// SPDX-License-Identifier: Apache-2.0
#include "software/cascade.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "software/frame_shuffle.hpp"
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

/// Level of pass 1's blocks: 2^ceil(log2(1/Q) - 1/2) bits (arXiv:1407.3257, opt. (8)). By multiplication only, which is
/// the same on every machine.
unsigned first_level(double qber) noexcept {
  unsigned level = 2;
  for (double expected = qber * 1.4142135623730951 * 4; level < top_level_limit && !(expected >= 1);
       expected *= 2) {
    ++level;
  }
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

void sum_words(pass_span words) noexcept {
  for (std::size_t i = 0; i < frame_words; ++i) words[frame_words + i / 64] |= parity(words[i]) << (i % 64);
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

/// Bits for a message, packed: bit i is bit i % 8 of octet i / 8.
class packed_bits {
 public:
  void clear() noexcept {
    words_.clear();
    count_ = 0;
  }
  void push(std::uint64_t bit) {
    if (count_ % 64 == 0) words_.push_back(0);
    words_.back() |= bit << (count_ % 64);
    ++count_;
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return count_; }
  [[nodiscard]] std::size_t octets() const noexcept { return static_cast<std::size_t>((count_ + 7) / 8); }

  void append_to(std::vector<std::byte>& message) const {
    const auto all = std::as_bytes(std::span{words_});
    message.insert(message.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(octets()));
  }
  /// Whether the message has as many bits as this, and zeros after them.
  [[nodiscard]] bool fits(std::span<const std::byte> message) const noexcept {
    if (message.size() != octets()) return false;
    return count_ % 8 == 0 || std::to_integer<unsigned>(message.back()) >> (count_ % 8) == 0;
  }
  /// Adds the bits of a message that fits.
  void add(std::span<const std::byte> message) noexcept {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      std::uint64_t word = 0;
      std::memcpy(&word, message.data() + 8 * i, std::min<std::size_t>(8, message.size() - 8 * i));
      words_[i] ^= word;
    }
  }
  /// Becomes the bits of a message that fits.
  void assign(std::span<const std::byte> message) noexcept {
    std::fill(words_.begin(), words_.end(), 0);
    add(message);
  }
  [[nodiscard]] std::uint64_t operator[](std::uint64_t i) const noexcept {
    return words_[static_cast<std::size_t>(i / 64)] >> (i % 64) & 1;
  }

 private:
  std::vector<std::uint64_t> words_;
  std::uint64_t count_ = 0;
};

/// One frame of a block: what of it is known, and what it asks for next.
struct frame {
  enum class state : std::uint8_t { begins, searches, ends };

  std::array<parity_tree, passes> trees;
  std::vector<tree_node> searched{};  ///< odd nodes of which the left child is asked for
  std::size_t searched_in = 0;        ///< their tree, or passes + the mask
  std::size_t open_passes = 1;
  std::size_t first_bit = 0;  ///< of the key
  std::uint32_t size = 0;     ///< slots from there on hold no bits, but zeros that both ends know
  state at = state::begins;
  unsigned fresh_masks = 0;       ///< new masks that are asked for
  unsigned masks = 0;             ///< that were compared
  std::uint64_t odd_masks = 0;    ///< of these
  std::uint64_t spent_masks = 0;  ///< in which a difference was searched
  std::uint64_t parities = 0;     ///< that were asked for
};

/// Which slots of a frame hold bits, in the orders of the passes; a word's bit after the words says whether it has any.
using occupied_slots = std::array<std::array<std::uint64_t, pass_words>, passes>;

/// Either end. Both compare the same parities in the same order, as everything that this depends on is in the outcomes,
/// which both have; so Bob's message is the outcomes and nothing else, and Alice's the parities that follow from them.
class cascade_end {
 public:
  /// `corrected` is null for the end that corrects nothing, the key of the other.
  cascade_end(const bits& key, bits* corrected, const cascade_options& o);

  /// The parities of the own key that are asked for next.
  [[nodiscard]] packed_bits& asked() noexcept { return asked_; }
  /// Takes the outcomes of all comparisons that were asked for, and asks for the next.
  void compared(const packed_bits& outcomes);

  cascade_tally tally{};

 private:
  void learn(frame& f, const packed_bits& outcomes, std::uint64_t& at);
  void plan(frame& f);
  void collect(std::size_t index);
  void collect_tops(std::size_t index);

  [[nodiscard]] bool descend(frame& f, tree_node& node);
  void halve(frame& f, tree_node& node, std::uint64_t left_odd) const noexcept;
  [[nodiscard]] bool holds_bits(const frame& f, std::uint32_t first, unsigned level) const noexcept;
  void correct(frame& f, std::uint32_t slot) noexcept;
  void search_masks(frame& f);
  const std::uint64_t* mask(std::size_t index);

  [[nodiscard]] pass_span own(std::size_t frame_index, std::size_t pass) noexcept {
    return own_.words().subspan((frame_index * passes + pass) * pass_words).template first<pass_words>();
  }
  [[nodiscard]] const occupied_slots* occupied(const frame& f) const noexcept {
    return f.size == frame_slots ? nullptr : &occupied_[f.size == smaller_size_ ? 0 : 1];
  }
  bits own_;
  bits* corrected_;
  std::array<frame_shuffle, passes - 1> shuffles_;
  expander mask_source_;
  std::vector<std::array<std::uint64_t, frame_words>> masks_;
  std::vector<frame> frames_;
  std::vector<occupied_slots> occupied_;  ///< of frames of smaller_size_, and of one bit more
  std::uint32_t smaller_size_ = 0;
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

  const auto lay_out = [&](pass_span first, pass_span second, pass_span third, frame_shuffle::words scratch) {
    shuffles_[0].apply(first.first<frame_words>(), second.first<frame_words>(), scratch);
    shuffles_[1].apply(second.first<frame_words>(), third.first<frame_words>(), scratch);
    for (const pass_span words : {first, second, third}) sum_words(words);
  };

  bits scratch_bits{frame_slots};
  const auto scratch = scratch_bits.words().first<frame_words>();
  if (smaller_size_ < frame_slots) {
    occupied_.resize(larger_frames == 0 ? 1 : 2);
    for (std::size_t i = 0; i < occupied_.size(); ++i) {
      auto& order = occupied_[i];
      for (std::uint32_t slot = 0; slot < smaller_size_ + i; ++slot)
        order[0][slot / 64] |= std::uint64_t{1} << slot % 64;
      lay_out(order[0], order[1], order[2], scratch);
      for (auto& words : order) {
        for (std::size_t w = 0; w < frame_words; ++w) {
          const std::uint64_t bit = std::uint64_t{1} << w % 64;
          words[frame_words + w / 64] = (words[frame_words + w / 64] & ~bit) | (words[w] != 0 ? bit : 0);
        }
      }
    }
  }

  // In the other passes' orders the bits of a frame that is not full lie thinner.
  const unsigned first = first_level(o.qber);
  const auto thinner = static_cast<unsigned>(std::countl_zero(smaller_size_) - 15);
  const unsigned second =
      std::min(first + 2 + (smaller_size_ < frame_slots ? thinner - 1 : 0), top_level_limit);

  own_ = bits{count * passes * pass_words * 64};
  frames_.reserve(count);
  std::size_t first_bit = 0;
  for (std::size_t i = 0; i < count; ++i) {
    frame& f =
        frames_.emplace_back(frame{{parity_tree{first}, parity_tree{second}, parity_tree{top_level_limit}}});
    f.first_bit = first_bit;
    f.size = smaller_size_ + (i < larger_frames ? 1 : 0);
    first_bit += f.size;
    copy_bits(key, f.first_bit, f.size, own(i, 0).data());
    lay_out(own(i, 0), own(i, 1), own(i, 2), scratch);
    collect_tops(i);
  }
}

const std::uint64_t* cascade_end::mask(std::size_t index) {
  while (masks_.size() <= index) mask_source_.fill(std::as_writable_bytes(std::span{masks_.emplace_back()}));
  return masks_[index].data();
}

bool cascade_end::holds_bits(const frame& f, std::uint32_t first, unsigned level) const noexcept {
  const occupied_slots* const slots = occupied(f);
  if (f.searched_in < passes) {
    return slots == nullptr || node_word((*slots)[f.searched_in].data(), first, level) != 0;
  }
  const std::uint64_t* const chosen = masks_[f.searched_in - passes].data();
  const std::uint64_t in_word = low_slots(std::min(level, 6U)) << (first & 63);
  for (std::size_t i = first / 64, last = (first + (std::size_t{1} << level) + 63) / 64; i < last; ++i) {
    if ((chosen[i] & in_word & (slots == nullptr ? ~std::uint64_t{0} : (*slots)[0][i])) != 0) return true;
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
  assert(slots[0] < f.size);
  for (std::size_t pass = 0; pass < passes; ++pass) f.trees[pass].flip(slots[pass]);
  for (unsigned i = 0; i < f.masks; ++i)
    f.odd_masks ^= (masks_[i][slots[0] / 64] >> (slots[0] % 64) & 1) << i;
  if (corrected_ == nullptr) return;
  corrected_->flip(f.first_bit + slots[0]);
  const auto index = static_cast<std::size_t>(&f - frames_.data());
  for (std::size_t pass = 0; pass < passes; ++pass) {
    const auto words = own(index, pass);
    words[slots[pass] >> 6] ^= std::uint64_t{1} << (slots[pass] & 63);
    words[frame_words + (slots[pass] >> 12)] ^= std::uint64_t{1} << (slots[pass] >> 6 & 63);
  }
}

void cascade_end::learn(frame& f, const packed_bits& outcomes, std::uint64_t& at) {
  if (f.at == frame::state::begins) {
    f.at = frame::state::searches;
    for (f.searched_in = 0; f.searched_in < passes; ++f.searched_in) {
      parity_tree& tree = f.trees[f.searched_in];
      for (std::uint32_t first = 0; first < frame_slots; first += 1U << tree.top_level()) {
        tree.compare_top(first, holds_bits(f, first, tree.top_level()) ? outcomes[at++] : 0);
      }
    }
    return;
  }
  for (; f.fresh_masks != 0; --f.fresh_masks) f.odd_masks |= outcomes[at++] << f.masks++;
  std::size_t kept = 0;
  for (tree_node node : f.searched) {
    halve(f, node, outcomes[at++]);
    if (descend(f, node)) f.searched[kept++] = node;
  }
  f.searched.resize(kept);
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

void cascade_end::collect_tops(std::size_t index) {
  frame& f = frames_[index];
  for (f.searched_in = 0; f.searched_in < passes; ++f.searched_in) {
    const unsigned level = f.trees[f.searched_in].top_level();
    const std::uint64_t* const words = own(index, f.searched_in).data();
    for (std::uint32_t first = 0; first < frame_slots; first += 1U << level) {
      if (!holds_bits(f, first, level)) continue;
      asked_.push(parity(node_word(words, first, level)));
      ++f.parities;
    }
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
    asked_.push(parity(sum));
  }
  if (f.searched_in < passes) {
    const std::uint64_t* const words = own(index, f.searched_in).data();
    for (const tree_node node : f.searched)
      asked_.push(parity(node_word(words, node.first, node.level - 1U)));
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
    asked_.push(parity(sum));
  }
}

void cascade_end::compared(const packed_bits& outcomes) {
  std::uint64_t at = 0;
  asked_.clear();
  for (std::size_t i = 0; i < frames_.size(); ++i) {
    frame& f = frames_[i];
    if (f.at == frame::state::ends) continue;
    learn(f, outcomes, at);
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
