// additive_fft: polynomials whose coefficients are polynomials of 64 bits, by their values at many points; what makes
// long products over GF(2) fast. One algorithm, three sets of instructions.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qkd004::software {

/// The additive FFT of Lin, Al-Naffouri, Han and Chung ("Novel polynomial basis with fast Fourier transform and its
/// application to Reed-Solomon erasure codes", IEEE Trans. Inf. Theory 62 (2016)) over a Cantor basis of GF(2^16).
///
/// A word is a polynomial in z of degree below 64 over GF(2), and 2^log words are the coefficients of a polynomial in x.
/// forward() evaluates z at 8 places (gf65536.hpp), which holds every product of two words, and x at the points
/// 0 to 2^log - 1 of the basis: 2^log times 128 bits, the spectrum. Its order is the implementation's own.
///
/// What inverse() returns is the product modulo s(x), which vanishes at these points: the sum of x^(2^j) over those j
/// whose bits are all set in `log` too (Cantor). `overflow` says what that means.
///
/// The instructions that are executed, and the addresses, depend on `log` alone.
/// Requires: 8 <= log <= 16 and even; words and spectra at multiples of 64 octets.
struct additive_fft {
  static constexpr unsigned least_log = 8;
  static constexpr unsigned most_log = 16;

  const char* name;
  bool (*supported)() noexcept;
  /// Values of the polynomial of 2^log words; destroys the words. The spectrum has 2 * 2^log words.
  void (*forward)(std::uint64_t* words, std::uint64_t* spectrum, unsigned log) noexcept;
  /// sum += left * right, value by value.
  void (*multiply_add)(std::uint64_t* sum, const std::uint64_t* left, const std::uint64_t* right,
                       unsigned log) noexcept;
  /// The polynomial of 2^log coefficients of 128 bits that has these values, as two halves; destroys the spectrum.
  void (*inverse)(std::uint64_t* spectrum, std::uint64_t* low, std::uint64_t* high, unsigned log) noexcept;
};

/// The distance by which what is beyond 2^log coefficients reaches down: with D coefficients too many in the product,
/// those from D + additive_fft_overflow(log) on are right. It is the second power of s(x), 2^j with j = log without its
/// lowest set bit.
[[nodiscard]] constexpr std::size_t additive_fft_overflow(unsigned log) noexcept {
  return std::size_t{1} << (log & (log - 1));
}

/// All implementations that were compiled, the fastest first; the last is portable. Ask supported().
[[nodiscard]] std::span<const additive_fft> additive_ffts() noexcept;

/// The fastest that this processor supports.
[[nodiscard]] const additive_fft& best_additive_fft() noexcept;

}  // namespace qkd004::software
