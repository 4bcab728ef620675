// block_pace: when the blocks of a key source with a rate are there; it counts time that it is told.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "qkd004/clock.hpp"

namespace qkd004::source {

class block_pace {
 public:
  /// Of a pause as much is made up for; more stays lost, as if a store of key had been full.
  static constexpr std::chrono::seconds burst{1};

  /// `block_bytes` up to 1 MiB; `rate_bps` 0: every block is there at once.
  block_pace(std::size_t block_bytes, std::uint64_t rate_bps) noexcept : rate_{rate_bps} {
    if (rate_ == 0) return;
    const std::uint64_t bit_ns = std::uint64_t{block_bytes} * 8 * 1'000'000'000;
    interval_ = boot_clock::duration{static_cast<std::int64_t>(bit_ns / rate_)};
    rest_ = bit_ns % rate_;
  }

  /// The first block is there at `now`.
  void start(time_point now) noexcept {
    next_ = now;
    behind_ = 0;
  }

  [[nodiscard]] bool ready(time_point now) const noexcept { return rate_ == 0 || now >= next_; }

  [[nodiscard]] time_point ready_at(time_point now) const noexcept {
    return rate_ == 0 ? now : std::max(now, next_);
  }

  void taken(time_point now) noexcept {
    if (rate_ == 0) return;
    next_ = std::max(next_, now - burst) + interval_;
    // what the division left over, so that a rate holds for ever
    if (rest_ >= rate_ - behind_) {
      behind_ -= rate_ - rest_;
      next_ += boot_clock::duration{1};
    } else {
      behind_ += rest_;
    }
  }

 private:
  std::uint64_t rate_;
  boot_clock::duration interval_{0};
  std::uint64_t rest_ = 0;    ///< of the interval, in 1 / rate_ nanoseconds
  std::uint64_t behind_ = 0;  ///< of next_, below rate_, in the same unit
  time_point next_{};
};

}  // namespace qkd004::source
