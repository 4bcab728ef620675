// SPDX-License-Identifier: Apache-2.0
#include "software/entropy_health.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::software {

namespace {

constexpr std::uint64_t low_bits = 0x7f7f7f7f7f7f7f7f;

/// 1 in each octet of `word` that is 0, and 0 in the others.
std::uint64_t zero_octets(std::uint64_t word) noexcept {
  // exact: no carry leaves an octet, and its highest bit is set unless all eight are 0
  return ~(((word & low_bits) + low_bits) | word | low_bits) >> 7U;
}

/// Requires: no more than a window of them.
std::size_t count_equal(std::span<const std::byte> octets, std::byte wanted) noexcept {
  static_assert(health_window / 8 < 256);  // counts of one octet each
  const std::uint64_t pattern = 0x0101010101010101 * std::to_integer<std::uint64_t>(wanted);
  std::uint64_t counts = 0;
  std::size_t i = 0;
  for (; i + 8 <= octets.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, octets.data() + i, sizeof word);
    counts += zero_octets(word ^ pattern);
  }
  constexpr std::uint64_t every_other = 0x00ff00ff00ff00ff;
  std::size_t count = ((counts & every_other) + (counts >> 8U & every_other)) * 0x0001000100010001 >> 48U;
  for (; i < octets.size(); ++i) count += octets[i] == wanted ? 1U : 0U;
  return count;
}

/// Whether four equal octets stand at a multiple of four from the beginning: in 2^-22 of all words of random octets,
/// and in every run of seven or more.
bool may_repeat(std::span<const std::byte> octets) noexcept {
  std::uint32_t unequal = 1;
  for (std::size_t i = 0; i + 4 <= octets.size() && unequal != 0; i += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, octets.data() + i, sizeof word);
    unequal = word ^ std::rotl(word, 8);
  }
  return unequal == 0;
}
constexpr std::size_t seen_by_words = 7;

}  // namespace

std::size_t repetition_cutoff(unsigned entropy_bits, unsigned alarm_bits) noexcept {
  return 1 + (alarm_bits + entropy_bits - 1) / entropy_bits;
}

std::size_t proportion_cutoff(unsigned entropy_bits, unsigned alarm_bits) noexcept {
  // 1 + the smallest c with P(X > c) <= 2^-alarm_bits, X binomial of the window's octets. From the far end, so that
  // what is tiny is added up first.
  const double n = static_cast<double>(health_window);
  const double p = std::ldexp(1, -static_cast<int>(entropy_bits));
  double above = 0;
  std::size_t c = health_window;
  for (; c > 0; --c) {
    const auto k = static_cast<double>(c);
    const double log_term = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                            k * std::log(p) + (n - k) * std::log1p(-p);
    above += std::exp(log_term);  // P(X >= c)
    if (above > std::ldexp(1, -static_cast<int>(alarm_bits))) break;
  }
  return c + 1;
}

entropy_health::entropy_health() noexcept
    : repetition_cutoff_{repetition_cutoff(8, false_alarm_bits)},
      proportion_cutoff_{proportion_cutoff(8, false_alarm_bits)} {
  static_assert(1 + false_alarm_bits / 8 >= seen_by_words);
}

bool entropy_health::accepts(std::span<const std::byte> octets) noexcept {
  // in pieces that are still in the cache for the second test
  constexpr std::size_t piece = 4'096;
  while (!octets.empty() && !failed_) {
    const auto some = octets.first(std::min(piece, octets.size()));
    octets = octets.subspan(some.size());
    failed_ = repeats(some) || is_too_frequent(some);
  }
  return !failed_;
}

bool entropy_health::repeats(std::span<const std::byte> octets) noexcept {
  const auto go_on = [this](std::span<const std::byte> some) {
    bool too_long = false;
    for (const std::byte octet : some) {
      run_ = run_ > 0 && octet == last_ ? run_ + 1 : 1;
      last_ = octet;
      too_long |= run_ >= repetition_cutoff_;
    }
    return too_long;
  };
  // A run inside has seven octets or more only where the words show it. What came before goes on in the first ones,
  // and what may go on in the next piece is in the last ones.
  const std::size_t edge = seen_by_words;
  if (octets.size() <= 4 * edge || may_repeat(octets)) return go_on(octets);
  if (go_on(octets.first(edge))) return true;
  run_ = 0;
  return go_on(octets.last(edge));
}

bool entropy_health::is_too_frequent(std::span<const std::byte> octets) noexcept {
  while (!octets.empty()) {
    if (window_left_ == 0) {
      first_ = octets.front();
      equal_ = 0;
      window_left_ = health_window;
    }
    const auto some = octets.first(std::min(window_left_, octets.size()));
    octets = octets.subspan(some.size());
    window_left_ -= some.size();
    equal_ += count_equal(some, first_);
    if (equal_ >= proportion_cutoff_) return true;
  }
  return false;
}

entropy_failure::entropy_failure()
    : std::system_error{make_error_code(status::resource_limit),
                        "the system's random generator failed its health test"} {}

random_source tested(random_source source) {
  struct state {
    random_source source;
    entropy_health health;
  };
  const auto shared = std::make_shared<state>();
  shared->source = std::move(source);
  random_source made = [shared](std::span<std::byte> out) {
    if (!shared->health.failed()) {
      shared->source(out);
      if (shared->health.accepts(out)) return;
    }
    if (!out.empty()) wipe(out.data(), out.size());
    throw entropy_failure{};
  };
  std::array<std::byte, health_at_start> first{};
  made(first);
  wipe(first.data(), first.size());
  return made;
}

}  // namespace qkd004::software
