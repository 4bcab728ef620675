// SPDX-License-Identifier: Apache-2.0
#include "software/geometric_gap.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of g++ 12's own intrinsics (GCC bug 105593)
#endif

namespace qkd004::software {

#if defined(__x86_64__)

/// Line by line what operator() of one word does; the tables are in registers.
__attribute__((target("avx512f,avx512cd"))) void geometric_gap::eight_at_a_time(
    const words& from, std::uint32_t* to) const noexcept {
  std::array<std::uint64_t, 16> pairs{};
  std::array<std::uint64_t, 16> twists{};
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    pairs[i] = std::uint64_t{sections.bend[i]} << 32 | sections.slope[i];
    twists[i] = sections.twist[i];
  }
  const __m512i start_0 = _mm512_loadu_si512(sections.start.data());
  const __m512i start_8 = _mm512_loadu_si512(sections.start.data() + 8);
  const __m512i pair_0 = _mm512_loadu_si512(pairs.data());
  const __m512i pair_8 = _mm512_loadu_si512(pairs.data() + 8);
  const __m512i twist_0 = _mm512_loadu_si512(twists.data());
  const __m512i twist_8 = _mm512_loadu_si512(twists.data() + 8);
  const __m512i middle = _mm512_set1_epi64(0x8000);
  const __m512i factor = _mm512_set1_epi64(factor_);
  const __m512i longest = _mm512_set1_epi64(most - 1);
  const __m512i one = _mm512_set1_epi64(1);
  const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(shift_));
  for (std::size_t n = 0; n < from.size; n += 8) {
    const auto* const low_at = reinterpret_cast<const __m256i*>(from.low + n);
    const auto* const high_at = reinterpret_cast<const __m128i*>(from.high + n);
    const __m512i low = _mm512_cvtepu32_epi64(_mm256_loadu_si256(low_at));
    const __m512i high = _mm512_cvtepu16_epi64(_mm_loadu_si128(high_at));
    const __m512i u =
        _mm512_or_si512(_mm512_or_si512(_mm512_slli_epi64(high, 48), _mm512_slli_epi64(low, 16)), middle);
    const __m512i zeros = _mm512_lzcnt_epi64(u);
    const __m512i x = _mm512_sllv_epi64(u, zeros);
    const __m512i i = _mm512_srli_epi64(x, 59);     // its lowest four bits count
    const __m512i into = _mm512_srli_epi64(x, 27);  // its lowest 32 bits count
    const __m512i pair = _mm512_permutex2var_epi64(pair_0, i, pair_8);
    const __m512i twist = _mm512_permutex2var_epi64(twist_0, i, twist_8);
    const __m512i bend =
        _mm512_sub_epi64(_mm512_srli_epi64(pair, 32), _mm512_srli_epi64(_mm512_mul_epu32(twist, into), 32));
    // Both differences are 0 or more and below 2^32: what stands above in `pair` does not count.
    const __m512i slope = _mm512_sub_epi64(pair, _mm512_srli_epi64(_mm512_mul_epu32(bend, into), 32));
    const __m512i start = _mm512_permutex2var_epi64(start_0, i, start_8);
    const __m512i log = _mm512_sub_epi64(_mm512_add_epi64(_mm512_slli_epi64(zeros, log2_places), start),
                                         _mm512_srli_epi64(_mm512_mul_epu32(slope, into), 10));
    const __m512i product = _mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(log, 32), factor),
                                             _mm512_srli_epi64(_mm512_mul_epu32(log, factor), 32));
    const __m512i failures = _mm512_min_epu64(_mm512_srl_epi64(product, shift), longest);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + n),
                        _mm512_cvtepi64_epi32(_mm512_add_epi64(failures, one)));
  }
}

#endif

void geometric_gap::operator()(const words& from, std::uint32_t* to) const noexcept {
#if defined(__x86_64__)
  static const bool vectors =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512cd") != 0;
  if (vectors) return eight_at_a_time(from, to);
#endif
  for (std::size_t i = 0; i < from.size; ++i)
    to[i] = (*this)(std::uint64_t{from.high[i]} << 32 | from.low[i]);
}

}  // namespace qkd004::software
