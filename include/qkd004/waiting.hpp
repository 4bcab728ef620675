// waiting: callers that wait, how another thread ends their waiting, and how they look up meanwhile.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <span>
#include <system_error>
#include <utility>

#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/key_ring.hpp"

namespace qkd004 {

/// While it lives, calls of this thread that wait ask it every 50 ms, over a wire sooner when a signal interrupts them,
/// whether to go on; `false` ends the call with std::errc::operation_canceled, without a key consumed. For hosts that have
/// to see to signals themselves, as interpreters do.
///
///     const qkd004::waiting_hook hook{[] { return !interrupted; }};
///     auto key = stream.next_key();
///
/// An exception that `go_on` throws leaves the call, and ends it likewise: a key that has come meanwhile is the next
/// call's. What is started without a thread that waits (async_client) asks nobody, nor do the calls of v1. Looking up a
/// host's name is not interrupted.
/// Threads: of the one that made it; the innermost counts.
class waiting_hook {
 public:
  static constexpr boot_clock::duration interval = std::chrono::milliseconds{50};

  explicit waiting_hook(std::function<bool()> go_on)
      : go_on_{std::move(go_on)}, outer_{std::exchange(innermost(), this)} {}
  waiting_hook(const waiting_hook&) = delete;
  waiting_hook& operator=(const waiting_hook&) = delete;
  ~waiting_hook() { innermost() = outer_; }

  /// \name For whoever waits
  ///@{
  [[nodiscard]] static bool is_set() noexcept { return innermost() != nullptr; }
  /// True where there is no hook.
  [[nodiscard]] static bool go_on() { return !is_set() || innermost()->go_on_(); }
  ///@}

 private:
  static waiting_hook*& innermost() noexcept {
    static thread_local waiting_hook* hook = nullptr;
    return hook;
  }

  const std::function<bool()> go_on_;
  waiting_hook* const outer_;
};

/// The calls of a client that wait at this moment.
/// Threads: any number.
class waiting_room {
 public:
  class waiter;

  waiting_room() = default;
  waiting_room(const waiting_room&) = delete;
  waiting_room& operator=(const waiting_room&) = delete;

  /// Has those that wait for `whom`, nullptr: all, return with `why`, if what they wait for is not there by then.
  inline void cancel(const void* whom, std::error_code why) noexcept;

 private:
  std::mutex mutex_;
  waiter* first_ = nullptr;  ///< a list through the waiters, which stand on their callers' stacks
};

/// One call of an application that has to wait, from its first step to its last.
/// Threads: one; cancel() of its room any.
class waiting_room::waiter {
 public:
  waiter(waiting_room& room, const void* whom, exchange& via) : room_{room}, whom_{whom}, via_{via} {
    if (waiting_hook::is_set()) look_up_at_ = boot_clock::now() + waiting_hook::interval;
    const std::lock_guard lock{room_.mutex_};
    next_ = std::exchange(room_.first_, this);
    if (next_ != nullptr) next_->before_ = &next_;
    before_ = &room_.first_;
  }
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;
  ~waiter() {
    const std::lock_guard lock{room_.mutex_};
    *before_ = next_;
    if (next_ != nullptr) next_->before_ = before_;
  }

  /// Why it was cancelled, if it was.
  [[nodiscard]] std::error_code cancelled() const {
    const std::lock_guard lock{room_.mutex_};
    return why_;
  }

  /// Has `start` start the calls, and returns when all are done. If this was cancelled before, they are not started and
  /// done with operation_canceled.
  template <class Start>
  void ask(std::span<call* const> calls, Start&& start) {
    if (cancelled()) {
      for (call* const c : calls) give_up(*c);
      return;
    }
    flight all{*this, calls};
    start();
    all.started();
    for (call* const c : calls) wait_for(*c);
  }

  /// Sleeps at a ring whose prepare_wait() gave the ticket. Returns false when this was cancelled: look once more.
  [[nodiscard]] bool park(key_ring& ring, std::uint32_t ticket, time_point until) {
    {
      const std::lock_guard lock{room_.mutex_};
      if (why_) return false;
      ring_ = &ring;  // from here on cancel() wakes its takers
    }
    if (waiting_hook::is_set()) until = std::min(until, look_up_at_);
    ring.park(ticket, until);
    {
      const std::lock_guard lock{room_.mutex_};
      ring_ = nullptr;
      if (why_) return false;
    }
    return boot_clock::now() < look_up_at_ || look_up();
  }

 private:
  friend class waiting_room;

  /// Calls that are in flight, known to cancel(); those that are not done when this goes are given up.
  class flight {
   public:
    flight(waiter& w, std::span<call* const> calls) : waiter_{w}, calls_{calls} {}
    flight(const flight&) = delete;
    flight& operator=(const flight&) = delete;
    /// cancel() finds them from now on: before, a transport would not know them.
    void started() {
      started_ = true;
      const std::lock_guard lock{waiter_.room_.mutex_};
      waiter_.calls_ = calls_;
      if (waiter_.why_) waiter_.cancel_calls();
    }
    ~flight() {
      for (call* const c : calls_) {
        if (c->done()) continue;  // always, but when an exception passes
        waiter_.via_.cancel(*c);
        if (started_) waiter_.via_.wait(*c);
      }
      const std::lock_guard lock{waiter_.room_.mutex_};
      waiter_.calls_ = {};
    }

   private:
    waiter& waiter_;
    std::span<call* const> calls_;
    bool started_ = false;
  };

  void wait_for(call& c) {
    if (!waiting_hook::is_set()) return via_.wait(c);
    while (!c.done()) {
      via_.wait_until(c, look_up_at_);
      if (!c.done() && !look_up()) via_.wait(c);
    }
  }

  /// Asks the hook if it is time to. Returns false when this was cancelled by that.
  bool look_up() {
    if (!waiting_hook::is_set()) return true;
    if (!waiting_hook::go_on()) {
      const std::lock_guard lock{room_.mutex_};
      cancel(std::make_error_code(std::errc::operation_canceled));
      return false;
    }
    look_up_at_ = boot_clock::now() + waiting_hook::interval;
    return true;
  }

  /// In the room's mutex.
  void cancel(std::error_code why) noexcept {
    if (!why_) why_ = why;
    cancel_calls();
    if (ring_ != nullptr) ring_->wake_takers();
  }
  void cancel_calls() noexcept {
    for (call* const c : calls_) via_.cancel(*c);
  }

  static void give_up(call& c) noexcept {
    c.error = std::make_error_code(std::errc::operation_canceled);
    c.complete();
  }

  waiting_room& room_;
  const void* const whom_;
  exchange& via_;
  time_point look_up_at_{};
  // in the room's mutex
  waiter* next_ = nullptr;
  waiter** before_ = nullptr;
  std::error_code why_;
  std::span<call* const> calls_;
  key_ring* ring_ = nullptr;
};

inline void waiting_room::cancel(const void* whom, std::error_code why) noexcept {
  const std::lock_guard lock{mutex_};
  for (waiter* w = first_; w != nullptr; w = w->next_) {
    if (whom == nullptr || w->whom_ == whom) w->cancel(why);
  }
}

}  // namespace qkd004
