// push_keys: the keys of one pushed stream at the key manager that receives them: put in order, each once, and which of
// them will never come.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// Indices from the first up to, but not the end.
struct push_range {
  std::uint64_t first = 0;
  std::uint64_t end = 0;

  friend bool operator==(const push_range&, const push_range&) = default;
};

/// Runs of indices that do not touch.
class push_ranges {
 public:
  void add(push_range r) {
    if (r.first >= r.end) return;
    auto it = all_.upper_bound(r.first);
    if (it != all_.begin() && std::prev(it)->second >= r.first) --it;
    while (it != all_.end() && it->first <= r.end) {
      r.first = std::min(r.first, it->first);
      r.end = std::max(r.end, it->second);
      it = all_.erase(it);
    }
    all_.emplace(r.first, r.end);
  }
  void drop_below(std::uint64_t index) {
    while (!all_.empty() && all_.begin()->first < index) {
      const std::uint64_t end = all_.begin()->second;
      all_.erase(all_.begin());
      if (end > index) all_.emplace(index, end);
    }
  }
  [[nodiscard]] bool contains(std::uint64_t index) const {
    const auto it = all_.upper_bound(index);
    return it != all_.begin() && std::prev(it)->second > index;
  }
  /// What there is of it from `first` on, in order.
  [[nodiscard]] std::vector<push_range> from(std::uint64_t first) const {
    std::vector<push_range> out;
    for (const auto& [begin, end] : all_) {
      if (end > first) out.push_back({std::max(begin, first), end});
    }
    return out;
  }
  void clear() noexcept { all_.clear(); }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

 private:
  std::map<std::uint64_t, std::uint64_t> all_;  ///< first to end
};

/// The rule of order: a device leaves no index open that lies `window` or more below one that it posts. What is missing
/// that far back never comes.
/// Threads: one at a time.
class push_keys {
 public:
  /// How much is held, and how far ahead an index may be.
  struct bounds {
    std::size_t most = 1'024;   ///< keys held; those that fill a gap come on top, a window at most
    std::uint64_t window = 64;  ///< indices
  };
  enum class verdict : std::uint8_t { stored, repeated, different, no_room };

  push_keys(bounds b, std::uint64_t first) : bounds_{b}, base_{first}, resolved_{first} {}

  /// A key that came. Equal octets are asked of a repetition as long as the key is here. Once it was handed on, or given
  /// up, its index alone says that it is a repetition: nothing that tells of a key stays behind for a comparison.
  [[nodiscard]] verdict take(std::uint64_t index, std::span<const std::byte> octets,
                             const secret_arena& arena) {
    if (index < base_) return verdict::repeated;
    if (const auto it = held_.find(index); it != held_.end()) {
      return equal_in_constant_time(it->second.span(), octets) ? verdict::repeated : verdict::different;
    }
    if (index < resolved_) {
      late_ += 1;
      return verdict::repeated;
    }
    const bool fills = !held_.empty() && index < held_.rbegin()->first;
    if (!fills && held_.size() >= bounds_.most) return verdict::no_room;
    auto mine = arena.allocate(octets.size());
    if (!mine) return verdict::no_room;
    if (!octets.empty()) std::memcpy(mine->data(), octets.data(), octets.size());
    held_.emplace(index, std::move(*mine));
    if (index >= bounds_.window && index - bounds_.window + 1 > resolved_)
      give_up_below(index - bounds_.window + 1);
    resolve();
    return verdict::stored;
  }

  /// It was said that this index never comes.
  void give_up(std::uint64_t index) {
    if (index == resolved_) give_up_below(index + 1);
    resolve();
  }

  /// The lowest index that was neither handed on nor dropped.
  [[nodiscard]] std::uint64_t base() const noexcept { return base_; }
  /// Each index below is held, was handed on, or never comes.
  [[nodiscard]] std::uint64_t resolved() const noexcept { return resolved_; }
  /// Whether something came that stands behind an index that did not.
  [[nodiscard]] bool has_gap() const noexcept { return !held_.empty() && held_.rbegin()->first >= resolved_; }
  [[nodiscard]] bool has_room() const noexcept { return held_.size() < bounds_.most; }
  [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }
  /// What never comes, as far as it was not forgotten.
  [[nodiscard]] const push_ranges& lost() const noexcept { return lost_; }
  /// How many that were, in all.
  [[nodiscard]] std::uint64_t given_up() const noexcept { return given_up_; }
  /// How many of those came after all.
  [[nodiscard]] std::uint64_t late() const noexcept { return late_; }

  /// The lowest key below `end`, if there is one: not taken out yet.
  struct next_key {
    std::uint64_t index;
    std::span<const std::byte> octets;
  };
  [[nodiscard]] std::optional<next_key> front(std::uint64_t end) const {
    if (held_.empty() || held_.begin()->first >= end) return std::nullopt;
    return next_key{held_.begin()->first, held_.begin()->second.span()};
  }
  /// It is handed on, or dropped.
  secret_bytes pop_front() {
    assert(!held_.empty());
    const auto it = held_.begin();
    secret_bytes key = std::move(it->second);
    drop_below(it->first + 1);
    return key;
  }

  /// Everything below `index` is of no more use. Returns how many keys that were.
  std::size_t drop_below(std::uint64_t index) {
    std::size_t dropped = 0;
    while (!held_.empty() && held_.begin()->first < index) {
      held_.erase(held_.begin());
      dropped += 1;
    }
    base_ = std::max(base_, index);
    resolved_ = std::max(resolved_, base_);
    resolve();
    return dropped;
  }

  /// What never comes and lies below `index` is of no more use.
  void forget_lost_below(std::uint64_t index) { lost_.drop_below(index); }

 private:
  void give_up_below(std::uint64_t end) {
    for (std::uint64_t i = resolved_; i < end;) {
      const auto next = held_.lower_bound(i);
      const std::uint64_t until = next == held_.end() ? end : std::min(end, next->first);
      lost_.add({i, until});
      given_up_ += until - i;
      i = until < end ? until + 1 : end;
    }
    resolved_ = std::max(resolved_, end);
  }
  void resolve() {
    for (auto it = held_.lower_bound(resolved_); it != held_.end() && it->first == resolved_; ++it)
      resolved_ += 1;
  }

  bounds bounds_;
  std::map<std::uint64_t, secret_bytes> held_;
  push_ranges lost_;
  std::uint64_t base_;
  std::uint64_t resolved_;
  std::uint64_t given_up_ = 0;
  std::uint64_t late_ = 0;
};

}  // namespace qkd004
