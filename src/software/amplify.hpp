// amplify: privacy amplification: a Toeplitz matrix over GF(2) times the key, exact, by an additive FFT.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "software/bits.hpp"

namespace qkd004::software {

/// Bits of the seed of an l x n Toeplitz matrix.
[[nodiscard]] constexpr std::size_t toeplitz_seed_bits(std::size_t n, std::size_t l) noexcept {
  return n == 0 || l == 0 ? 0 : n + l - 1;
}

/// Bit i of the result is the sum over j of seed bit (n - 1 + i - j) and key bit j: coefficients n - 1 to n + l - 2 of
/// the product of both as polynomials over GF(2). Exact; what is executed and which addresses are read depends on n and
/// l alone.
/// Requires, and asserts: l <= n = key.size(), and seed has (toeplitz_seed_bits(n, l) + 63) / 64 words or more, of which
/// bits past the last do not count.
/// Memory beside the result, wiped at the end: at most 2 MiB and 2 MiB for each 2.1 Mbit of l or part of them: 6 MiB
/// for n = 10^7 and l = 2.8 10^6. Throws std::bad_alloc.
[[nodiscard]] bits amplify(const bits& key, std::span<const std::uint64_t> seed, std::size_t l);

struct additive_fft;

/// The same with a chosen implementation, which the processor supports: for tests and benchmarks.
[[nodiscard]] bits amplify_with(const additive_fft& fft, const bits& key, std::span<const std::uint64_t> seed,
                                std::size_t l);

}  // namespace qkd004::software
