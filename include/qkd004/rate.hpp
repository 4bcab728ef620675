// rate: how much comes in a second: of a link, as far as it was asked for all it had, and of a stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "qkd004/clock.hpp"

namespace qkd004 {

/// How fast a key source delivers, seen from outside. A source that nobody asks says nothing, so only time counts in
/// which it had nothing more each time it was asked: from one such moment to another, a second later or more.
/// Clause: D6.
class link_rate {
 public:
  /// Until the first measurement `stated` holds, in bit/s; a source that states 0 is as fast as asked, and is not
  /// measured.
  explicit link_rate(std::uint64_t stated = 0) noexcept : stated_{stated} {}

  void add(std::uint64_t octets) noexcept { octets_ += octets; }

  /// The source was asked and had nothing more.
  void exhausted(time_point now) noexcept {
    if (stated_ == 0) return;
    if (!hungry_) {
      start(now);
      return;
    }
    const double seconds = std::chrono::duration<double>(now - since_).count();
    if (seconds < 1) return;
    const double bps = static_cast<double>(octets_) * 8 / seconds;
    const double before = measured_ ? bps_ : bps;
    const double off = bps > before ? bps - before : before - bps;
    // the worst of the last seconds, forgotten slowly
    deviation_ = std::max(off, deviation_ * 0.9);
    bps_ = before + (bps - before) / 4;
    measured_ = true;
    start(now);
  }
  /// There is key enough: the source is not asked for a while.
  void sated() noexcept { hungry_ = false; }

  /// bit/s; 0: as fast as asked.
  [[nodiscard]] std::uint64_t bps() const noexcept {
    return measured_ ? std::max<std::uint64_t>(static_cast<std::uint64_t>(bps_), 1) : stated_;
  }
  /// bit/s, by how much a second differed from the seconds before; 0 before the first measurement.
  [[nodiscard]] std::uint64_t deviation() const noexcept { return static_cast<std::uint64_t>(deviation_); }
  [[nodiscard]] bool is_measured() const noexcept { return measured_; }

 private:
  void start(time_point now) noexcept {
    hungry_ = true;
    since_ = now;
    octets_ = 0;
  }

  std::uint64_t stated_;
  std::uint64_t octets_ = 0;
  time_point since_{};
  double bps_ = 0;
  double deviation_ = 0;
  bool hungry_ = false;
  bool measured_ = false;
};

/// What a stream was given in each full second. Clause: D6 (Jitter).
class second_meter {
 public:
  void add(std::uint64_t octets, time_point now) noexcept {
    roll(now);
    octets_ += octets;
  }

  /// bit/s of the last full second.
  [[nodiscard]] std::uint64_t bps(time_point now) noexcept {
    roll(now);
    return last_;
  }
  /// bit/s, the largest difference between a full second and the one before it, since the stream began.
  [[nodiscard]] std::uint64_t deviation(time_point now) noexcept {
    roll(now);
    return deviation_;
  }

 private:
  void roll(time_point now) noexcept {
    if (begin_ == time_point{}) begin_ = now;
    while (now - begin_ >= std::chrono::seconds{1}) {
      const std::uint64_t bps = octets_ * 8;
      if (seconds_ >= 1) deviation_ = std::max(deviation_, bps > last_ ? bps - last_ : last_ - bps);
      last_ = bps;
      octets_ = 0;
      ++seconds_;
      begin_ += std::chrono::seconds{1};
      if (now - begin_ >= std::chrono::hours{1}) begin_ = now;  // nobody looked for long
    }
  }

  time_point begin_{};
  std::uint64_t octets_ = 0;
  std::uint64_t last_ = 0;
  std::uint64_t deviation_ = 0;
  std::uint64_t seconds_ = 0;
};

}  // namespace qkd004
