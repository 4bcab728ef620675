// geometric_gap: geometric random numbers from random words by integer arithmetic alone: the same on every machine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace qkd004::software {

/// A product of two 64-bit numbers.
__extension__ typedef unsigned __int128 uint128;

/// The high half of a product: what remains of `a` if `b` is taken as a fraction of 2^64.
[[nodiscard]] constexpr std::uint64_t scaled(std::uint64_t a, std::uint64_t b) noexcept {
  return static_cast<std::uint64_t>(static_cast<uint128>(a) * b >> 64);
}

/// Binary places of the logarithms below.
inline constexpr unsigned log2_places = 57;

/// -log2(x / 2^64) in units of 2^-57: digit by digit, by squaring, wrong by less than 64 units. Requires: x is not 0.
[[nodiscard]] constexpr std::uint64_t minus_log2(std::uint64_t x) noexcept {
  const auto zeros = static_cast<unsigned>(std::countl_zero(x));
  x <<= zeros;
  std::uint64_t digits = 0;  // of log2 of x, now a number between 1 and 2 with 63 binary places
  for (unsigned i = 0; i < log2_places; ++i) {
    const auto square = static_cast<uint128>(x) * x;
    const bool two = square >> 127 != 0;
    digits = digits << 1 | (two ? 1U : 0U);
    x = static_cast<std::uint64_t>(two ? square >> 64 : square >> 63);
  }
  return (std::uint64_t{zeros + 1} << log2_places) - digits;
}

/// Of a cubic curve through four points of -log2 over each sixteenth of [1/2, 1]: within 7e-8 of it, and the slope within
/// 1.4e-5 of its own; by so much is the probability of a gap wrong, of itself.
struct log2_sections {
  std::array<std::uint64_t, 16> start{};  ///< in units of 2^-57
  /// start - slope u + bend u^2 - twist u^3, u from 0 to 1; in units of 2^-35.
  std::array<std::uint32_t, 16> slope{}, bend{}, twist{};

  constexpr log2_sections() noexcept {
    constexpr std::uint64_t length = std::uint64_t{1} << 59;
    const auto units = [](std::uint64_t twice) {  // 2 x in units of 2^-57 to x, rounded
      return static_cast<std::uint32_t>((twice + (std::uint64_t{1} << 22)) >> 23);
    };
    for (std::size_t i = 0; i < start.size(); ++i) {
      const std::uint64_t at = (std::uint64_t{1} << 63) + i * length;
      const std::uint64_t y0 = minus_log2(at);
      const std::uint64_t y1 = minus_log2(at + length / 3);
      const std::uint64_t y2 = minus_log2(at + 2 * (length / 3));
      const std::uint64_t y3 = i == 15 ? 0 : minus_log2(at + length);
      // Differences of the first to the third order with the sign that makes them positive.
      const std::uint64_t d1 = y0 - y1;
      const std::uint64_t d2 = y2 + y0 - 2 * y1;
      const std::uint64_t d3 = 3 * y2 + y0 - 3 * y1 - y3;
      start[i] = y0;
      slope[i] = units(6 * d1 + 3 * d2 + 2 * d3);
      bend[i] = units(9 * (d2 + d3));
      twist[i] = units(9 * d3);
    }
  }
};

inline constexpr log2_sections sections;

/// How many trials it takes until one succeeds: 1 + floor(log U / log(1 - p)). U has 48 random bits; the logarithm is
/// looked up and interpolated in integers, so no libm, no rounding mode and no fused multiplication has a say in it.
class geometric_gap {
 public:
  static constexpr std::uint32_t most = 0xffffffff;  ///< what would be longer is so long

  /// `p` in units of 2^-64.
  explicit constexpr geometric_gap(std::uint64_t p) noexcept {
    const std::uint64_t step = std::max<std::uint64_t>(p == 0 ? 0 : minus_log2(0 - p), 2);
    uint128 inverse = (static_cast<uint128>(1) << 127) / step;  // places: 127 - 57
    unsigned places = 127 - log2_places;
    while (inverse >> 64 != 0) {
      inverse >>= 1;
      --places;
    }
    while (inverse >> 63 == 0) {
      inverse <<= 1;
      ++places;
    }
    factor_ = static_cast<std::uint32_t>(inverse >> 32);
    shift_ = places + log2_places - 64;
  }

  /// Of the low 48 bits of `word`.
  [[nodiscard]] std::uint32_t operator()(std::uint64_t word) const noexcept {
    const std::uint64_t u = word << 16 | 0x8000;  // in the middle of its step, and so never 0
    const auto zeros = static_cast<unsigned>(std::countl_zero(u));
    const std::uint64_t x = u << zeros;
    const std::size_t i = x >> 59 & 15;
    const std::uint64_t into = x >> 27 & 0xffffffff;
    const std::uint64_t bend = sections.bend[i] - (sections.twist[i] * into >> 32);
    const std::uint64_t slope = sections.slope[i] - (bend * into >> 32);
    const std::uint64_t log =
        (std::uint64_t{zeros} << log2_places) + sections.start[i] - (slope * into >> 10);
    const std::uint64_t failures = scaled(log, std::uint64_t{factor_} << 32) >> shift_;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(failures, most - 1) + 1);
  }

  /// Words in two parts, for many gaps at a time. Size is a multiple of 8.
  struct words {
    const std::uint32_t* low;
    const std::uint16_t* high;
    std::size_t size;
  };

  /// The same of all of them, with AVX-512 where there is that.
  void operator()(const words& from, std::uint32_t* to) const noexcept;

 private:
  void eight_at_a_time(const words& from, std::uint32_t* to) const noexcept;

  std::uint32_t factor_ = 0;  ///< of the logarithm: its reciprocal step, shifted so that its highest bit is 1
  unsigned shift_ = 0;
};

}  // namespace qkd004::software
