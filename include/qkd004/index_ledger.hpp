// index_ledger: which indices of a stream a reader over a wire has asked for, has had, and may acknowledge.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>

namespace qkd004 {

/// "Next" is resolved here and not at the key manager, so that every request carries an explicit index and may be
/// repeated. Clause: D12, D13, R5.
/// Threads: one at a time.
class index_ledger {
 public:
  /// `asked_below`: where somebody else asked from `lowest` up to, if anybody did.
  explicit index_ledger(std::uint64_t lowest = 0, std::uint64_t asked_below = 0) noexcept
      : next_{lowest}, asked_below_{std::max(lowest, asked_below)}, told_{lowest} {}

  /// Indices without a gap that were claimed together. Each is settled once.
  struct run {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };

  /// The lowest indices that nobody has had or asks for now; at least one, at most `most`.
  [[nodiscard]] run claim(std::uint64_t most) {
    run r{next_, most};
    if (again_.empty()) {
      next_ += most;
    } else {
      const auto it = again_.begin();
      r = {it->first, std::min(most, it->second - it->first)};
      const std::uint64_t end = it->second;
      again_.erase(it);
      if (r.first + r.count < end) again_.emplace(r.first + r.count, end);
    }
    asked_below_ = std::max(asked_below_, next_);
    asked_.insert(r.first);
    return r;
  }

  /// The first `had` of a claimed run were received, the others were not. One that was claimed of another ledger says
  /// nothing here.
  void settle(const run& r, std::uint64_t had) {
    const auto it = asked_.find(r.first);
    if (it == asked_.end()) return;
    asked_.erase(it);
    unacknowledged_ = unacknowledged_ || had > 0;
    const std::uint64_t begin = r.first + had;
    const std::uint64_t end = r.first + r.count;
    if (begin == end) return;
    again_.emplace(begin, end);
    // what nobody asked for beyond is simply next again
    while (!again_.empty() && std::prev(again_.end())->second == next_) {
      next_ = std::prev(again_.end())->first;
      again_.erase(std::prev(again_.end()));
    }
  }

  /// Nothing below `lowest` is live. What was asked for before may have been served, and can be had once more.
  void skip_to(std::uint64_t lowest) {
    if (lowest <= next_) return;
    if (const std::uint64_t end = std::min(lowest, asked_below_); next_ < end) again_.emplace(next_, end);
    next_ = lowest;
  }
  /// An index is gone for good: it is not asked for again.
  void give_up(std::uint64_t index) {
    const auto it = again_.find(index);
    if (it == again_.end()) {
      if (index < next_) return;
      if (next_ < index) again_.emplace(next_, index);  // of another run: settle() has put the two together
      next_ = index + 1;
      return;
    }
    const std::uint64_t end = it->second;
    again_.erase(it);
    if (index + 1 < end) again_.emplace(index + 1, end);
  }

  /// Everything below was received or is gone.
  [[nodiscard]] std::uint64_t had_below() const noexcept {
    std::uint64_t low = next_;
    if (!again_.empty()) low = std::min(low, again_.begin()->first);
    if (!asked_.empty()) low = std::min(low, *asked_.begin());
    return low;
  }

  /// Whether nothing is asked for, and nothing below what comes next is missing.
  [[nodiscard]] bool is_whole() const noexcept { return again_.empty() && asked_.empty(); }

  /// Whether the key manager does not know yet of something that was received.
  [[nodiscard]] bool owes_acknowledgement() const noexcept { return unacknowledged_ && had_below() > told_; }
  void told(std::uint64_t below) noexcept {
    told_ = std::max(told_, below);
    if (told_ == had_below() && asked_.empty()) unacknowledged_ = false;
  }

 private:
  std::uint64_t next_;         ///< all from here on are to be asked for, and none of them was received
  std::uint64_t asked_below_;  ///< none from here on was ever asked for
  std::map<std::uint64_t, std::uint64_t> again_;  ///< below it and not received: first, and one past the last
  std::multiset<std::uint64_t> asked_;            ///< first indices of runs that are being asked for
  std::uint64_t told_;                            ///< acknowledged below
  bool unacknowledged_ = false;
};

}  // namespace qkd004
