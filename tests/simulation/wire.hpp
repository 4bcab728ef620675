// wire: a connection as a byte stream gives it: in order while it lasts, and when it breaks each end has had some
// prefix of what the other sent, and learns of it in its own time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "time_line.hpp"

namespace simulation {

/// What is sent is a function that runs at the other end when it arrives. Nothing is lost, doubled or overtaken within
/// a wire, for no byte stream does that: it happens between wires, when what was sent on an old one arrives after what
/// was sent on a new one, or is sent again because the answer went down with the wire.
class wire : public std::enable_shared_from_this<wire> {
 public:
  struct options {
    duration fastest = 10us;
    duration slowest = 2ms;
    duration notice = 1s;  ///< within which an end learns that the wire broke
  };

  wire(time_line& time, chance& luck, options o) : time_{time}, luck_{luck}, options_{o} {}
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  /// What an end does when it learns that the wire is gone.
  void on_down(unsigned e, std::function<void()> f) { ends_[e].down = std::move(f); }
  [[nodiscard]] bool is_up(unsigned e) const noexcept { return ends_[e].up; }
  [[nodiscard]] bool is_whole() const noexcept { return ends_[0].up && ends_[1].up && !broken_; }

  /// Nothing arrives at the other end before this.
  void not_before(unsigned from, time_point t) { ends_[from].last = std::max(ends_[from].last, t); }
  void stall(duration d) {
    for (const unsigned e : {0U, 1U}) not_before(e, time_.now() + d);
  }

  void send(unsigned from, std::function<void()> arrive) {
    end& e = ends_[from];
    if (!e.up) return;
    const std::uint64_t number = e.sent++;
    e.last = std::max(e.last, time_.now() + luck_.between(options_.fastest, options_.slowest));
    time_.at(e.last, [self = shared_from_this(), from, number, arrive = std::move(arrive)] {
      end& sender = self->ends_[from];
      if (number >= sender.arrives || !self->ends_[1 - from].up) return;
      sender.arrived = number + 1;
      arrive();
    });
  }

  /// Breaks: what arrives yet in each direction is a prefix.
  void cut() {
    if (broken_) return;
    broken_ = true;
    for (const unsigned e : {0U, 1U}) {
      end& sender = ends_[e];
      sender.arrives =
          std::min(sender.arrives, sender.arrived + luck_.below(sender.sent - sender.arrived + 1));
      const duration after = luck_.one_in(3) ? options_.notice : options_.slowest;
      time_.in(luck_.between(0ms, after), [self = shared_from_this(), e] { self->learn(e); });
    }
  }

  /// This end gives the wire up, and is not told: the other has all that was sent before, then learns of it.
  void close(unsigned from) {
    end& e = ends_[from];
    if (!e.up) return;
    e.up = false;
    e.down = nullptr;
    e.last = std::max(e.last, time_.now() + options_.fastest);
    time_.at(e.last, [self = shared_from_this(), from] { self->learn(1 - from); });
  }

  /// This end is gone from one moment to the next.
  void vanish(unsigned from) {
    ends_[from].up = false;
    ends_[from].down = nullptr;
    cut();
  }

 private:
  struct end {
    bool up = true;
    std::function<void()> down;
    time_point last{};  ///< when the last that it sent arrives
    std::uint64_t sent = 0;
    std::uint64_t arrived = 0;           ///< of those, at the other end
    std::uint64_t arrives = UINT64_MAX;  ///< no more than these will
  };

  void learn(unsigned e) {
    if (!ends_[e].up) return;
    ends_[e].up = false;
    if (const auto down = std::exchange(ends_[e].down, nullptr)) down();
  }

  time_line& time_;
  chance& luck_;
  const options options_;
  std::array<end, 2> ends_;
  bool broken_ = false;
};

}  // namespace simulation
