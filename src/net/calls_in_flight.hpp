// calls_in_flight: the requests of one connection that have no answer yet, in their order, and the calls that wait for it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "net/in_order.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"

namespace qkd004::net {

/// A call that goes before its answer comes leaves its place to its heir, so that the answer is not lost.
/// Question: what a connection has to know of a request when the answer comes, whoever waits for that.
template <class Question>
class calls_in_flight {
 public:
  struct expected {
    call* asked;  ///< null: its answer is dropped
    Question what;
  };

  /// Answers that nobody waits for any more among them.
  static constexpr std::size_t most = 4'096;

  [[nodiscard]] bool empty() const noexcept { return queue_.empty(); }
  [[nodiscard]] bool is_full() const noexcept { return queue_.size() >= most; }
  /// Requires: !empty().
  [[nodiscard]] const expected& front() const noexcept { return queue_.front(); }

  void push(call* asked, Question what) {
    queue_.push({asked, what});
    if (asked != nullptr) earliest_ = std::min(earliest_, asked->deadline);
  }
  /// Requires: !empty().
  expected pop() noexcept {
    const expected e = queue_.front();
    queue_.pop();
    if (queue_.empty()) earliest_ = time_point::max();
    return e;
  }

  /// Returns whether the call was here.
  bool forget(const call& c) noexcept {
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      if (queue_[i].asked != &c) continue;
      give_place(queue_[i]);
      return true;
    }
    return false;
  }

  /// Forgets the calls whose deadline has passed, and hands each over.
  template <class Late>
  void expire(time_point now, const Late& late) {
    if (now < earliest_) return;
    earliest_ = time_point::max();
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      call* const c = queue_[i].asked;
      if (c == nullptr) continue;
      if (c->deadline > now) {
        earliest_ = std::min(earliest_, c->deadline);
        continue;
      }
      give_place(queue_[i]);
      late(*c);
    }
  }

  /// There will be no answers: hands the calls over.
  template <class Lost>
  void give_up(const Lost& lost) {
    const auto all = std::exchange(queue_, {});
    earliest_ = time_point::max();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].asked != nullptr) lost(*all[i].asked);
    }
  }

  /// No deadline is earlier.
  [[nodiscard]] time_point earliest() const noexcept { return earliest_; }

 private:
  void give_place(expected& e) noexcept {
    e.asked = e.asked->inherit();
    if (e.asked != nullptr) earliest_ = std::min(earliest_, e.asked->deadline);
  }

  in_order<expected> queue_;
  time_point earliest_ = time_point::max();
};

}  // namespace qkd004::net
