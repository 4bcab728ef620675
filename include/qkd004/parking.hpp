// parking: where threads sleep, with a deadline, until something they look for elsewhere may be there. It
// holds no condition itself and loses no wake-up.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "qkd004/clock.hpp"

namespace qkd004 {

/// One word that says whether somebody waits, and how often somebody was woken.
///
///     waiter                                        waker
///     look; return if it is there                   put it there
///     ticket = prepare()                            wake()
///     look again; return if it is there
///     park(ticket, deadline), and start again
///
/// Both sides do a read-modify-write on the same word, and one of the two comes first. If it is the waker's,
/// the waiter's second look finds what was put there; if it is the waiter's, the waker sees that somebody
/// waits. Plain stores and loads, even with acquire and release, would let each side miss the other.
///
/// Threads: any number on either side.
class parking {
 public:
  /// Announces a waiter. Look again after this, then park() with the ticket.
  [[nodiscard]] std::uint32_t prepare() noexcept {
    // acquire: pairs with the release in wake(), so that the second look sees what was put there before it
    return word_.fetch_or(somebody_waits, std::memory_order_acquire) | somebody_waits;
  }

  /// Sleeps until a wake() that comes after the ticket's prepare(), or until the deadline. May return early
  /// for no reason. While the machine is suspended a sleeper's deadline stands still.
  void park(std::uint32_t ticket, time_point until) noexcept {
    const bool for_ever = until == time_point::max();
    const time_point now = boot_clock::now();
    if (until <= now) return;
    const auto left = for_ever ? boot_clock::duration{0} : until - now;
#ifdef __linux__
    const timespec t = to_timespec(left);
    // returns at once if the word is not the ticket any more
    ::syscall(SYS_futex, address(), FUTEX_WAIT_PRIVATE, ticket, for_ever ? nullptr : &t, nullptr, 0);
#else
    // without a futex: sleep a little, and let the caller look again
    if (word_.load(std::memory_order_relaxed) != ticket) return;
    const boot_clock::duration little = std::chrono::milliseconds{1};
    const timespec t = to_timespec(for_ever ? little : std::min(left, little));
    ::nanosleep(&t, nullptr);
#endif
  }

  /// To be called after something was put where waiters look: wakes all of them. One read-modify-write, and a
  /// system call only if somebody has prepared to wait since the last wake().
  void wake() noexcept {
    // release: pairs with the acquire in prepare(). The count in the upper bits tells a ticket that was drawn
    // before this call from one drawn after it.
    if ((word_.fetch_add(one_wake, std::memory_order_release) & somebody_waits) == 0) return;
    wake_sleepers();
  }

 private:
  static constexpr std::uint32_t somebody_waits = 1;
  static constexpr std::uint32_t one_wake = 2;
  static_assert(sizeof(std::atomic<std::uint32_t>) == 4, "the kernel compares four octets");

  static timespec to_timespec(boot_clock::duration d) noexcept {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(d);
    timespec t{};
    t.tv_sec = static_cast<time_t>(seconds.count());
    t.tv_nsec = static_cast<long>((d - seconds).count());
    return t;
  }

  [[gnu::noinline, gnu::cold]] void wake_sleepers() noexcept {
    // A waiter that prepares between the two operations looks again, and finds what was put there: that its
    // bit goes too costs it one needless return from park().
    word_.fetch_and(~somebody_waits, std::memory_order_relaxed);
#ifdef __linux__
    ::syscall(SYS_futex, address(), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
#endif
  }

  std::uint32_t* address() noexcept { return reinterpret_cast<std::uint32_t*>(&word_); }

  std::atomic<std::uint32_t> word_{0};
};

}  // namespace qkd004
