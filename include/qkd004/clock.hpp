// The clock of key life: it counts suspend time, and a cached form of it costs a few nanoseconds.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace qkd004 {

/// A steady clock that goes on while the machine sleeps, so that a key's TTL does too. Clause: D15.
struct boot_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<boot_clock>;
  static constexpr bool is_steady = true;

  [[nodiscard]] static time_point now() noexcept {
#ifdef CLOCK_BOOTTIME
    return read(CLOCK_BOOTTIME);
#else
    return read(CLOCK_MONOTONIC);
#endif
  }

  [[nodiscard]] static time_point read(clockid_t id) noexcept {
    timespec t{};
    ::clock_gettime(id, &t);
    return time_point{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
  }
};

using time_point = boot_clock::time_point;

/// boot_clock at the kernel's tick (1 to 10 ms): the exact clock is read again only when the tick has moved on, as
/// an exact reading costs more than taking a key. Never ahead of boot_clock; behind it by one tick at most.
/// Threads: any number may call now().
class tick_clock {
 public:
  [[nodiscard]] time_point now() const noexcept {
#ifdef CLOCK_MONOTONIC_COARSE
    const auto tick = boot_clock::read(CLOCK_MONOTONIC_COARSE).time_since_epoch().count();
    // acquire: pairs with the release below, so that boot_ is at least as new as the tick that was seen
    if (tick == tick_.load(std::memory_order_acquire)) {
      return time_point{boot_clock::duration{boot_.load(std::memory_order_relaxed)}};
    }
    const auto exact = boot_clock::now();
    // only ever raised: a thread that was held up here must not put an older time under a newer tick
    auto known = boot_.load(std::memory_order_relaxed);
    const auto mine = exact.time_since_epoch().count();
    while (known < mine && !boot_.compare_exchange_weak(known, mine, std::memory_order_relaxed)) {}
    tick_.store(tick, std::memory_order_release);  // pairs with the acquire above
    return exact;
#else
    return boot_clock::now();
#endif
  }

 private:
  mutable std::atomic<std::int64_t> tick_{-1};
  mutable std::atomic<std::int64_t> boot_{0};
};

}  // namespace qkd004
