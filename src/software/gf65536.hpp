// gf65536: the field of 2^16 elements in the form the additive FFT wants, with its tables, all of them constants.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// A tower: GF(2^8) is the field of AES (x^8 + x^4 + x^3 + x + 1, which GFNI multiplies in), and GF(2^16) its extension
/// by X with X^2 = X + delta. Over it stands a Cantor basis (D. G. Cantor, "On arithmetical algorithms over finite
/// fields", 1989): basis[0] = 1 and basis[i]^2 + basis[i] = basis[i - 1]. Its first 8 elements span GF(2^8), the ninth
/// is X.
namespace qkd004::software::gf65536 {

[[nodiscard]] constexpr std::uint8_t octet_product(std::uint8_t a, std::uint8_t b) noexcept {
  unsigned sum = 0;
  for (unsigned bit = 0, power = a; bit < 8; ++bit) {
    if ((unsigned{b} >> bit & 1U) != 0) sum ^= power;
    power = power << 1 ^ ((power & 0x80U) != 0 ? 0x11bU : 0U);
  }
  return static_cast<std::uint8_t>(sum);
}

[[nodiscard]] constexpr std::uint8_t octet_sum(unsigned a, unsigned b) noexcept {
  return static_cast<std::uint8_t>(a ^ b);
}

/// low + high X
struct element {
  std::uint8_t low = 0;
  std::uint8_t high = 0;
  friend constexpr bool operator==(const element&, const element&) = default;
};

[[nodiscard]] constexpr element operator+(element a, element b) noexcept {
  return {octet_sum(a.low, b.low), octet_sum(a.high, b.high)};
}

[[nodiscard]] constexpr std::array<std::uint8_t, 8> make_octet_basis() noexcept {
  std::array<std::uint8_t, 8> basis{1};
  for (std::size_t i = 1; i < basis.size(); ++i) {
    unsigned y = 2;
    while (octet_sum(octet_product(static_cast<std::uint8_t>(y), static_cast<std::uint8_t>(y)), y) !=
           basis[i - 1]) {
      ++y;
    }
    basis[i] = static_cast<std::uint8_t>(y);
  }
  return basis;
}

/// X^2 + X = delta makes X the ninth element of the basis.
inline constexpr std::uint8_t delta = make_octet_basis()[7];

[[nodiscard]] constexpr element operator*(element a, element b) noexcept {
  const auto high = octet_product(a.high, b.high);
  return {octet_sum(octet_product(a.low, b.low), octet_product(high, delta)),
          octet_sum(octet_sum(octet_product(a.low, b.high), octet_product(a.high, b.low)), high)};
}

[[nodiscard]] constexpr std::array<element, 16> make_basis() noexcept {
  std::array<element, 16> basis{};
  for (std::size_t i = 0; i < 8; ++i) basis[i].low = make_octet_basis()[i];
  basis[8] = {0, 1};
  for (std::size_t i = 9; i < 16; ++i) {
    // (a + b X)^2 + (a + b X) = (a^2 + a + delta b^2) + (b^2 + b) X
    const element wanted = basis[i - 1];
    for (unsigned b = 0; b < 256 && basis[i] == element{}; ++b) {
      const auto square = octet_product(static_cast<std::uint8_t>(b), static_cast<std::uint8_t>(b));
      if (octet_sum(square, b) != wanted.high) continue;
      for (unsigned a = 0; a < 256; ++a) {
        const element y{static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b)};
        if (y * y + y != wanted) continue;
        basis[i] = y;
        break;
      }
    }
  }
  return basis;
}

inline constexpr std::array<element, 16> basis = make_basis();

/// The point of number i: the sum of those basis elements whose bit is set in i.
[[nodiscard]] constexpr element point(std::size_t number) noexcept {
  element sum{};
  for (std::size_t i = 0; i < basis.size(); ++i) {
    if ((number >> i & 1U) != 0) sum = sum + basis[i];
  }
  return sum;
}

/// What multiplies by t = low + high X: (a + b X) t = (a [0] + b [1]) + (a [2] + b [3]) X. Linear in t.
using factors = std::array<std::uint8_t, 4>;

[[nodiscard]] constexpr factors factors_of(element t) noexcept {
  return {t.low, octet_product(delta, t.high), t.high, octet_sum(t.low, t.high)};
}

/// factors_of(point(i)) is [0][i % 256] + [1][i / 256]; what is in [0] is in GF(2^8), so that [1] and [2] are 0 there.
[[nodiscard]] constexpr std::array<std::array<factors, 256>, 2> make_point_factors() noexcept {
  std::array<std::array<factors, 256>, 2> table{};
  for (std::size_t part = 0; part < 2; ++part) {
    for (std::size_t bit = 0; bit < 8; ++bit) {
      const factors of_bit = factors_of(basis[8 * part + bit]);
      for (std::size_t i = 0; i < std::size_t{1} << bit; ++i) {
        for (std::size_t f = 0; f < 4; ++f) {
          table[part][i + (std::size_t{1} << bit)][f] = octet_sum(table[part][i][f], of_bit[f]);
        }
      }
    }
  }
  return table;
}

inline constexpr std::array<std::array<factors, 256>, 2> point_factors = make_point_factors();

/// 128 bits: octet r of `low` and `high` are those of the element at place r; or 128 coefficients, `low` before `high`.
struct row {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

/// A polynomial of degree below 128 over GF(2) is as good as its values at 8 elements of GF(2^16) that are neither in
/// GF(2^8) nor conjugates of one another: their minimal polynomials are 8 different ones of degree 16 (Chinese
/// remainder theorem).
[[nodiscard]] constexpr std::array<element, 8> make_places() noexcept {
  std::array<element, 8> places{};
  std::size_t found = 0;
  for (std::size_t number = 256; found < places.size(); ++number) {
    const element candidate = point(number);
    bool fresh = true;
    element conjugate = candidate;
    for (int i = 0; i < 16; ++i) {
      for (std::size_t j = 0; j < found; ++j) fresh = fresh && conjugate != places[j];
      conjugate = conjugate * conjugate;
    }
    if (fresh) places[found++] = candidate;
  }
  return places;
}

/// Row i: the values of z^i at the 8 places.
[[nodiscard]] constexpr std::array<row, 128> make_values_of_powers() noexcept {
  std::array<row, 128> values{};
  const auto places = make_places();
  for (std::size_t r = 0; r < 8; ++r) {
    element power{1, 0};
    for (std::size_t i = 0; i < 128; ++i) {
      values[i].low |= std::uint64_t{power.low} << (8 * r);
      values[i].high |= std::uint64_t{power.high} << (8 * r);
      power = power * places[r];
    }
  }
  return values;
}

inline constexpr std::array<row, 128> values_of_powers = make_values_of_powers();

/// The inverse: row i is the polynomial of which bit i of the values, and no other, is set.
[[nodiscard]] constexpr std::array<row, 128> make_polynomials_of_values() noexcept {
  // Gauss and Jordan; row i of `left` is where z^i goes, and `right` follows every step.
  auto left = values_of_powers;
  std::array<row, 128> right{};
  for (std::size_t i = 0; i < 128; ++i)
    (i < 64 ? right[i].low : right[i].high) = std::uint64_t{1} << (i % 64);
  for (std::size_t column = 0; column < 128; ++column) {
    const auto has = [column](const row& r) {
      return ((column < 64 ? r.low : r.high) >> (column % 64) & 1U) != 0;
    };
    std::size_t pivot = column;
    while (!has(left[pivot])) ++pivot;
    const row pivot_left = left[pivot];
    const row pivot_right = right[pivot];
    left[pivot] = left[column];
    right[pivot] = right[column];
    left[column] = pivot_left;
    right[column] = pivot_right;
    for (std::size_t i = 0; i < 128; ++i) {
      if (i == column || !has(left[i])) continue;
      left[i] = {left[i].low ^ pivot_left.low, left[i].high ^ pivot_left.high};
      right[i] = {right[i].low ^ pivot_right.low, right[i].high ^ pivot_right.high};
    }
  }
  return right;
}

inline constexpr std::array<row, 128> polynomials_of_values = make_polynomials_of_values();

}  // namespace qkd004::software::gf65536
