// time_line: what one seed decides: chance, virtual time with its events, and the trace of all that happened.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "qkd004/clock.hpp"

namespace simulation {

using namespace qkd004;  // NOLINT: tests only
using namespace std::chrono_literals;
using duration = boot_clock::duration;

/// The mixing function of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t v) noexcept {
  v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9U;
  v = (v ^ (v >> 27)) * 0x94d049bb133111ebU;
  return v ^ (v >> 31);
}

/// Everything that is random in a world comes from one of these.
class chance {
 public:
  explicit chance(std::uint64_t seed) noexcept : state_{mixed(seed + 1)} {}

  [[nodiscard]] std::uint64_t next() noexcept { return mixed(state_ += 0x9e3779b97f4a7c15U); }
  [[nodiscard]] std::uint64_t below(std::uint64_t n) noexcept { return next() % n; }
  [[nodiscard]] bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }
  template <class T>
  [[nodiscard]] T one_of(std::initializer_list<T> choices) noexcept {
    return *(choices.begin() + below(choices.size()));
  }
  template <class T>
  [[nodiscard]] T& one_of(std::vector<T>& choices) noexcept {
    return choices[below(choices.size())];
  }
  [[nodiscard]] duration between(duration low, duration high) noexcept {
    return low + duration{below(static_cast<std::uint64_t>((high - low).count()) + 1)};
  }
  void fill(std::span<std::byte> out) noexcept {
    for (auto& o : out) o = static_cast<std::byte>(next());
  }

 private:
  std::uint64_t state_;
};

/// Virtual time: events run in the order of their times, those of one time in the order in which they were planned.
/// Each line of the trace goes into a hash: runs with equal hashes did the same things at the same times.
class time_line {
 public:
  explicit time_line(bool shown) : shown_{shown} {}

  [[nodiscard]] time_point now() const noexcept { return now_; }

  void at(time_point when, std::function<void()> what) {
    events_.push_back({std::max(when, now_), planned_++, std::move(what)});
    std::push_heap(events_.begin(), events_.end(), later);
  }
  void in(duration d, std::function<void()> what) { at(now_ + d, std::move(what)); }

  /// Runs the next event; false: there is none.
  bool step() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end(), later);
    const event e = std::move(events_.back());
    events_.pop_back();
    now_ = e.when;
    e.what();
    return true;
  }

  [[gnu::format(printf, 2, 3)]] void say(const char* format, ...) {
    char text[256];
    std::va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    hash_ = mixed(hash_ ^ static_cast<std::uint64_t>(now_.time_since_epoch().count()));
    for (int i = 0; i < std::min<int>(length, sizeof text - 1); ++i) {
      hash_ = (hash_ ^ static_cast<unsigned char>(text[i])) * 0x100000001b3U;  // FNV-1a's prime
    }
    if (shown_) std::printf("%12.6f %s\n", std::chrono::duration<double>(now_ - began).count(), text);
  }
  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }

  static constexpr time_point began{1h};

 private:
  struct event {
    time_point when;
    std::uint64_t number;
    std::function<void()> what;
  };
  static bool later(const event& a, const event& b) noexcept {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }

  const bool shown_;
  time_point now_ = began;
  std::uint64_t planned_ = 0;
  std::uint64_t hash_ = 0xcbf29ce484222325U;
  std::vector<event> events_;  ///< a heap
};

}  // namespace simulation
