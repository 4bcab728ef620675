// random_planes: random bits of any probability, 256 at a time, and binomial numbers, from an expander's words by integer
// arithmetic.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "qkd004/secret.hpp"
#include "software/expander.hpp"

namespace qkd004::software {

/// 256 bits, one for each lane.
struct plane {
  static constexpr std::size_t lanes = 256;
  std::array<std::uint64_t, 4> words{};

  [[nodiscard]] friend constexpr plane operator&(const plane& a, const plane& b) noexcept {
    return {
        {a.words[0] & b.words[0], a.words[1] & b.words[1], a.words[2] & b.words[2], a.words[3] & b.words[3]}};
  }
  [[nodiscard]] friend constexpr plane operator|(const plane& a, const plane& b) noexcept {
    return {
        {a.words[0] | b.words[0], a.words[1] | b.words[1], a.words[2] | b.words[2], a.words[3] | b.words[3]}};
  }
  [[nodiscard]] friend constexpr plane operator^(const plane& a, const plane& b) noexcept {
    return {
        {a.words[0] ^ b.words[0], a.words[1] ^ b.words[1], a.words[2] ^ b.words[2], a.words[3] ^ b.words[3]}};
  }
  [[nodiscard]] friend constexpr plane operator~(const plane& a) noexcept {
    return {{~a.words[0], ~a.words[1], ~a.words[2], ~a.words[3]}};
  }
  [[nodiscard]] constexpr bool none() const noexcept {
    return (words[0] | words[1] | words[2] | words[3]) == 0;
  }

  static constexpr plane all() noexcept { return ~plane{}; }
};

/// How many bits are 1.
[[nodiscard]] std::uint64_t ones_of(std::span<const std::uint64_t> words) noexcept;

/// Threads: one at a time.
class random_planes {
 public:
  random_planes(const seed256& seed, std::uint64_t purpose) : stream_{seed, purpose} {}
  random_planes(const random_planes&) = delete;
  random_planes& operator=(const random_planes&) = delete;
  ~random_planes() { wipe(ahead_.data(), sizeof(ahead_)); }

  [[nodiscard]] std::uint64_t word() {
    if (at_ == ahead_.size()) refill();
    return ahead_[at_++];
  }
  [[nodiscard]] plane fair() {
    if (at_ + 4 > ahead_.size()) refill();
    const plane taken{{ahead_[at_], ahead_[at_ + 1], ahead_[at_ + 2], ahead_[at_ + 3]}};
    at_ += 4;
    return taken;
  }
  /// Many octets, past the words that are drawn ahead.
  void fill(std::span<std::byte> out) { stream_.fill(out); }

  /// Each lane of `among` is 1 with probability p / 2^64, the others are 0.
  /// A lane compares a random number with p, digit by digit from the highest, until they differ: with all 256 that is
  /// after nine digits in the mean.
  [[nodiscard]] plane biased(std::uint64_t p, plane among = plane::all()) {
    plane below{};
    for (; p != 0 && !among.none(); p <<= 1) {
      const plane digit = fair();
      if (p >> 63 != 0) {
        below = below | (among & ~digit);
        among = among & digit;
      } else {
        among = among & ~digit;
      }
    }
    return below;
  }

  /// The same with a probability of its own for each of three kinds of lanes.
  [[nodiscard]] plane biased(std::array<std::uint64_t, 3> p, const std::array<plane, 3>& kind) {
    plane below{};
    plane among = kind[0] | kind[1] | kind[2];
    while ((p[0] | p[1] | p[2]) != 0 && !among.none()) {
      plane limit{};
      for (std::size_t k = 0; k < p.size(); ++k) {
        if (p[k] >> 63 != 0) limit = limit | kind[k];
        p[k] <<= 1;
      }
      const plane digit = fair();
      below = below | (among & limit & ~digit);
      among = among & ~(limit ^ digit);
    }
    return below;
  }

  /// The number of successes in n trials, each with probability p / 2^64: the digits of all n random numbers that are
  /// still undecided are drawn at once, and of them only how many are 1. That takes 2 n bits in the mean.
  [[nodiscard]] std::uint64_t binomial(std::uint64_t n, std::uint64_t p) {
    std::uint64_t successes = 0;
    for (; p != 0 && n != 0; p <<= 1) {
      const std::uint64_t ones = count_ones(n);
      if (p >> 63 != 0) {
        successes += n - ones;
        n = ones;
      } else {
        n -= ones;
      }
    }
    return successes;
  }

 private:
  /// How many of n random bits are 1.
  std::uint64_t count_ones(std::uint64_t n) {
    std::uint64_t ones = 0;
    while (n >= 64) {
      if (at_ == ahead_.size()) refill();
      const std::size_t now = std::min<std::uint64_t>(n / 64, ahead_.size() - at_);
      ones += ones_of(std::span{ahead_}.subspan(at_, now));
      at_ += now;
      n -= 64 * now;
    }
    if (n != 0) ones += static_cast<std::uint64_t>(std::popcount(word() >> (64 - n)));
    return ones;
  }

  void refill() {
    stream_.fill(std::as_writable_bytes(std::span{ahead_}));
    at_ = 0;
  }

  expander stream_;
  std::array<std::uint64_t, 1024> ahead_{};
  std::size_t at_ = ahead_.size();
};

}  // namespace qkd004::software
