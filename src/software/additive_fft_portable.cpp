// SPDX-License-Identifier: Apache-2.0
//
// The additive FFT in plain C++: 8 octets in a word of 64 bits, without a table that is looked up by key.
#include "qkd004/secret.hpp"
#include "software/additive_fft_implementations.hpp"
#include "software/gf65536.hpp"

namespace qkd004::software {

namespace {

#define QKD004_TARGET

using vec = std::uint64_t;
constexpr std::size_t lanes = 1;

struct pair {
  vec low, high;
};

constexpr std::uint64_t ones = 0x0101010101010101;

inline vec load(const std::uint64_t* at) noexcept { return *at; }
inline void store(std::uint64_t* at, vec value) noexcept { *at = value; }

constexpr std::uint64_t doubled(std::uint64_t octets) noexcept {
  return (octets << 1 & ~ones) ^ (octets >> 7 & ones) * 0x1b;
}

inline vec octet_products(vec a, vec b) noexcept {
  vec sum = 0;
  for (unsigned bit = 0; bit < 8; ++bit) {
    sum ^= a & (b >> bit & ones) * 0xff;
    a = doubled(a);
  }
  return sum;
}

/// The same octet times each of 8: the bits of place i, where they are 0 or 1, times octet * x^i.
struct octet_multiplier {
  std::uint64_t times[8];
  constexpr explicit octet_multiplier(std::uint8_t octet) noexcept : times{} {
    std::uint64_t power = octet;
    for (auto& time : times) {
      time = power;
      power = doubled(power);
    }
  }
};

inline vec product(const octet_multiplier& by, vec octets) noexcept {
  vec sum = 0;
  for (unsigned bit = 0; bit < 8; ++bit) sum ^= (octets >> bit & ones) * by.times[bit];
  return sum;
}

inline vec delta_products(vec octets) noexcept {
  constexpr octet_multiplier delta{gf65536::delta};
  return product(delta, octets);
}

struct narrow_multiplier {
  octet_multiplier by;
  explicit narrow_multiplier(std::size_t index) noexcept : by{gf65536::point_factors[0][index][0]} {}
};

inline pair product(const narrow_multiplier& by, const pair& values) noexcept {
  return {product(by.by, values.low), product(by.by, values.high)};
}

struct wide_multiplier {
  octet_multiplier low_low, high_low, low_high, high_high;
  explicit wide_multiplier(std::size_t index) noexcept
      : low_low{factor(index, 0)},
        high_low{factor(index, 1)},
        low_high{factor(index, 2)},
        high_high{factor(index, 3)} {}

 private:
  static std::uint8_t factor(std::size_t index, std::size_t which) noexcept {
    return gf65536::octet_sum(gf65536::point_factors[0][index % 256][which],
                              gf65536::point_factors[1][index / 256][which]);
  }
};

inline pair product(const wide_multiplier& by, const pair& values) noexcept {
  return {product(by.low_low, values.low) ^ product(by.high_low, values.high),
          product(by.low_high, values.low) ^ product(by.high_high, values.high)};
}

/// One lane: nothing to transpose, and no layer to do across lanes.
struct lane_multiplier : wide_multiplier {
  lane_multiplier(std::size_t index, std::size_t /*step*/) noexcept : wide_multiplier{index} {}
};

inline void transpose(vec (&/*registers*/)[lanes]) noexcept {}
inline void transpose(pair (&/*registers*/)[lanes]) noexcept {}

inline gf65536::row image(const std::array<gf65536::row, 128>& rows, std::uint64_t low,
                          std::uint64_t high) noexcept {
  gf65536::row sum{};
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t of_low = 0 - (low >> bit & 1);
    const std::uint64_t of_high = 0 - (high >> bit & 1);
    sum.low ^= (rows[bit].low & of_low) ^ (rows[64 + bit].low & of_high);
    sum.high ^= (rows[bit].high & of_low) ^ (rows[64 + bit].high & of_high);
  }
  return sum;
}

void expand(const std::uint64_t* words, std::uint64_t* spectrum, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const auto values = image(gf65536::values_of_powers, words[i], 0);
    spectrum[2 * i] = values.low;
    spectrum[2 * i + 1] = values.high;
  }
}

void contract(const std::uint64_t* spectrum, std::uint64_t* low, std::uint64_t* high,
              std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const auto both = image(gf65536::polynomials_of_values, spectrum[2 * i], spectrum[2 * i + 1]);
    low[i] = both.low;
    high[i] = both.high;
  }
}

#include "software/additive_fft.ipp"

}  // namespace

const additive_fft portable_additive_fft{"portable", []() noexcept { return true; }, forward, multiply_add,
                                         inverse};

}  // namespace qkd004::software
