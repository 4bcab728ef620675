// push_sender: one stream of a QKD device on its way to a key manager: which key is posted now, what an answer means,
// when to try again. Does no I/O: time and chance are arguments.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// How many posts are on their way, and how patiently they are repeated.
struct push_sender_options {
  std::uint32_t in_flight =
      8;  ///< posts without an answer, and indices between the lowest and the highest of them
  std::chrono::milliseconds first_pause{100};  ///< after a failure; doubles with each that follows
  std::chrono::milliseconds longest_pause{30'000};
};

/// Keys are posted in the order of their indices, and each again until it was answered with 2xx or its life is over: at
/// least once. What is not acknowledged holds back what lies `in_flight` indices behind it, so that whoever receives
/// knows what he has still to expect. A failure pauses the whole stream, and no other.
/// Order of calls: `(give | next | answered | failed | hold | restart)*`.
/// Threads: one at a time.
class push_sender {
 public:
  /// `first`: index of the first key that will be given, or a lower one.
  explicit push_sender(push_sender_options o, std::uint64_t first = 0) : options_{o}, end_{first} {
    assert(o.in_flight > 0);
  }

  /// One attempt to hand over a key. Lifetime: the key is there until the next call that is not const.
  struct post {
    std::uint64_t index;
    std::span<const std::byte> key;
    std::uint64_t attempt;  ///< comes back with the answer
  };

  /// How many more keys are of use now: what is in flight, and as many that can follow at once.
  [[nodiscard]] std::size_t room() const noexcept {
    const std::size_t most = std::size_t{2} * options_.in_flight;
    return keys_.size() < most ? most - keys_.size() : 0;
  }
  /// Index of the lowest key that may still be given.
  [[nodiscard]] std::uint64_t end() const noexcept { return end_; }

  /// The next key. Indices that are left out never come.
  /// Requires: index at or above end().
  void give(std::uint64_t index, secret_bytes key, time_point expires) {
    assert(index >= end_);
    left_out_ += index - end_;
    keys_.push_back({index, std::move(key), expires, state::waits});
    end_ = index + 1;
  }
  /// Keys below `index` will not be given any more.
  void skip_to(std::uint64_t index) noexcept { end_ = std::max(end_, index); }

  /// What is to be posted now, if anything is: each counts as in flight until answered() or failed().
  [[nodiscard]] std::optional<post> next(time_point now) {
    expire(now);
    if (stopped_ || held_ || now < pause_until_ || attempts_.size() >= options_.in_flight || keys_.empty())
      return {};
    for (entry& e : keys_) {
      if (e.index - keys_.front().index >= options_.in_flight) return {};
      if (e.at != state::waits) continue;
      e.at = state::in_flight;
      attempts_.push_back({next_attempt_, e.index});
      return post{e.index, e.key.span(), next_attempt_++};
    }
    return {};
  }

  /// An answer: any 2xx acknowledges the key; 5xx, 408 and 429 are tried again, after `retry_after` if the answer says
  /// so; everything else stops the stream until restart().
  /// `chance` is from [0, 1).
  void answered(std::uint64_t attempt, unsigned code, time_point now, double chance,
                std::optional<std::chrono::seconds> retry_after = {}) {
    if (code < 200 || code >= 300) {
      if (code >= 500 || code == 408 || code == 429) return retry(attempt, now, chance, retry_after);
      // what was posted before a restart does not undo it
      if (settle(attempt) != nullptr && attempt >= restarted_at_) stopped_ = code;
      return;
    }
    entry* const e = settle(attempt);
    failures_ = 0;
    pause_until_ = {};
    if (e == nullptr) return;
    acknowledged_ += 1;
    e->key.reset();
    e->at = state::done;
    pop();
  }
  /// There was no answer: no connection, or it broke, or it took too long.
  void failed(std::uint64_t attempt, time_point now, double chance) { retry(attempt, now, chance, {}); }

  /// Nothing is posted until restart(). What is in flight goes on.
  void hold() noexcept { held_ = true; }
  /// The other end wants keys from `index` on, from now: what is below is his. Posts that waited go at once.
  void restart(std::uint64_t index) {
    while (!keys_.empty() && keys_.front().index < index) keys_.pop_front();
    pop();
    skip_to(index);
    stopped_.reset();
    held_ = false;
    restarted_at_ = next_attempt_;
    failures_ = 0;
    pause_until_ = {};
  }

  /// Everything below was acknowledged, or was left out, or its life is over.
  [[nodiscard]] std::uint64_t settled_below() const noexcept {
    return keys_.empty() ? end_ : keys_.front().index;
  }
  /// Whether that index was acknowledged, or is gone in another way.
  [[nodiscard]] bool is_settled(std::uint64_t index) const noexcept {
    if (index >= end_) return false;
    return std::none_of(keys_.begin(), keys_.end(),
                        [index](const entry& e) { return e.index == index && e.at != state::done; });
  }

  /// The code that stopped the stream, if one has.
  [[nodiscard]] std::optional<unsigned> stopped() const noexcept { return stopped_; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return attempts_.size(); }
  [[nodiscard]] bool empty() const noexcept { return keys_.empty(); }
  [[nodiscard]] std::uint64_t acknowledged() const noexcept { return acknowledged_; }
  [[nodiscard]] std::uint64_t expired() const noexcept { return expired_; }
  /// Indices for which no key was given.
  [[nodiscard]] std::uint64_t left_out() const noexcept { return left_out_; }

  /// When next() may have something that it has not now, if nothing else happens.
  [[nodiscard]] time_point next_deadline() const noexcept {
    const auto waiting =
        std::find_if(keys_.begin(), keys_.end(), [](const entry& e) { return e.at == state::waits; });
    if (waiting == keys_.end()) return time_point::max();
    const bool pauses = !stopped_ && !held_ && pause_until_ != time_point{};
    return pauses ? std::min(waiting->expires, pause_until_) : waiting->expires;
  }

 private:
  enum class state : std::uint8_t { waits, in_flight, done };
  struct entry {
    std::uint64_t index;
    secret_bytes key;
    time_point expires;
    state at;
  };
  struct attempt_of {
    std::uint64_t number;
    std::uint64_t index;
  };

  /// That attempt is over. Its key, if that is still there.
  entry* settle(std::uint64_t attempt) {
    const auto it = std::find_if(attempts_.begin(), attempts_.end(),
                                 [attempt](const attempt_of& a) { return a.number == attempt; });
    if (it == attempts_.end()) return nullptr;
    const std::uint64_t index = it->index;
    attempts_.erase(it);
    for (entry& e : keys_) {
      if (e.index == index && e.at == state::in_flight) {
        e.at = state::waits;
        return &e;
      }
    }
    return nullptr;
  }

  void retry(std::uint64_t attempt, time_point now, double chance,
             std::optional<std::chrono::seconds> retry_after) {
    const bool known = settle(attempt) != nullptr;
    // all that were in flight together fail together: that is one failure
    if (!known || attempt < failed_below_) return;
    failed_below_ = next_attempt_;
    auto pause = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.longest_pause);
    if (failures_ < 32) {
      pause =
          std::min(pause, std::chrono::nanoseconds{options_.first_pause} * (std::int64_t{1} << failures_));
    }
    failures_ += 1;
    if (retry_after) pause = std::min<std::chrono::nanoseconds>(*retry_after, options_.longest_pause);
    // half of it at least: those that failed together shall not come back together
    pause_until_ = now + std::chrono::nanoseconds{static_cast<std::int64_t>(
                             static_cast<double>(pause.count()) * (0.5 + chance / 2))};
  }

  /// A key in flight lives until its answer: it may have arrived.
  void expire(time_point now) {
    for (entry& e : keys_) {
      if (e.expires > now) break;
      if (e.at != state::waits) continue;
      e.key.reset();
      e.at = state::done;
      expired_ += 1;
    }
    pop();
  }
  void pop() {
    while (!keys_.empty() && keys_.front().at == state::done) keys_.pop_front();
  }

  push_sender_options options_;
  std::deque<entry> keys_;  ///< by index; the first is never done
  std::uint64_t end_;
  std::vector<attempt_of> attempts_;
  std::uint64_t next_attempt_ = 1;
  std::uint64_t restarted_at_ = 0;  ///< the first attempt after the last restart()
  std::uint64_t failed_below_ = 0;  ///< attempts that a pause has already been made for
  unsigned failures_ = 0;           ///< since the last success
  time_point pause_until_{};
  std::optional<unsigned> stopped_;
  bool held_ = false;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t expired_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace qkd004
