// SPDX-License-Identifier: Apache-2.0
#include "software/bit_selection.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <array>
#include <bit>

namespace qkd004::software {

namespace {

std::uint64_t gather_word(std::uint64_t from, std::uint64_t mask) noexcept {
  std::uint64_t out = 0;
  for (unsigned at = 0; mask != 0; mask &= mask - 1, ++at) {
    out |= (from >> std::countr_zero(mask) & 1U) << at;
  }
  return out;
}

std::uint64_t scatter_word(std::uint64_t from, std::uint64_t mask) noexcept {
  std::uint64_t out = 0;
  for (; mask != 0; mask &= mask - 1, from >>= 1U) out |= (from & 1U) << std::countr_zero(mask);
  return out;
}

/// The bookkeeping of both, around whichever way to do one word.
template <class Word>
[[gnu::always_inline]] inline std::size_t gather_all(const std::uint64_t* from, const std::uint64_t* mask,
                                                     std::size_t words, std::uint64_t* out,
                                                     std::size_t filled, const Word& word) {
  for (std::size_t i = 0; i < words; ++i) {
    const auto count = static_cast<std::size_t>(std::popcount(mask[i]));
    if (count == 0) continue;
    const std::uint64_t taken = word(from[i], mask[i]);
    const std::size_t shift = filled % 64;
    if (shift == 0) {
      out[filled / 64] = taken;
    } else {
      out[filled / 64] |= taken << shift;
      if (shift + count > 64) out[filled / 64 + 1] = taken >> (64 - shift);
    }
    filled += count;
  }
  return filled;
}

template <class Word>
[[gnu::always_inline]] inline void scatter_all(const std::uint64_t* packed, const std::uint64_t* mask,
                                               std::size_t words, std::uint64_t* out, const Word& word) {
  std::size_t taken = 0;
  for (std::size_t i = 0; i < words; ++i) {
    const auto count = static_cast<std::size_t>(std::popcount(mask[i]));
    std::uint64_t next = 0;
    if (count > 0) {
      const std::size_t shift = taken % 64;
      next = packed[taken / 64] >> shift;
      if (shift + count > 64) next |= packed[taken / 64 + 1] << (64 - shift);
      taken += count;
    }
    out[i] = word(next, mask[i]);
  }
}

[[gnu::always_inline]] inline std::size_t count_all(const std::uint64_t* a, const std::uint64_t* b,
                                                    std::size_t words) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < words; ++i) count += static_cast<std::size_t>(std::popcount(a[i] & b[i]));
  return count;
}

std::size_t gather_portable(const std::uint64_t* from, const std::uint64_t* mask, std::size_t words,
                            std::uint64_t* out, std::size_t filled) {
  return gather_all(from, mask, words, out, filled, gather_word);
}
void scatter_portable(const std::uint64_t* packed, const std::uint64_t* mask, std::size_t words,
                      std::uint64_t* out) {
  scatter_all(packed, mask, words, out, scatter_word);
}
std::size_t count_common_portable(const std::uint64_t* a, const std::uint64_t* b, std::size_t words) {
  return count_all(a, b, words);
}

#if defined(__x86_64__)
[[gnu::target("bmi2,popcnt")]] std::size_t gather_bmi2(const std::uint64_t* from, const std::uint64_t* mask,
                                                       std::size_t words, std::uint64_t* out,
                                                       std::size_t filled) {
  return gather_all(
      from, mask, words, out, filled,
      [](std::uint64_t f, std::uint64_t m)
          __attribute__((target("bmi2,popcnt"))) { return std::uint64_t{_pext_u64(f, m)}; });
}
[[gnu::target("bmi2,popcnt")]] void scatter_bmi2(const std::uint64_t* packed, const std::uint64_t* mask,
                                                 std::size_t words, std::uint64_t* out) {
  scatter_all(
      packed, mask, words, out, [](std::uint64_t f, std::uint64_t m) __attribute__((target("bmi2,popcnt"))) {
        return std::uint64_t{_pdep_u64(f, m)};
      });
}
[[gnu::target("bmi2,popcnt")]] std::size_t count_common_bmi2(const std::uint64_t* a, const std::uint64_t* b,
                                                             std::size_t words) {
  return count_all(a, b, words);
}
#endif

}  // namespace

std::span<const bit_selection> bit_selections() noexcept {
  static constexpr std::array all {
#if defined(__x86_64__)
    bit_selection{"bmi2", gather_bmi2, scatter_bmi2, count_common_bmi2},
#endif
        bit_selection {
      "portable", gather_portable, scatter_portable, count_common_portable
    }
  };
#if defined(__x86_64__)
  static const bool has_bmi2 = __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  if (!has_bmi2) return std::span{all}.subspan(1);
#endif
  return all;
}

std::size_t gather(std::span<const std::uint64_t> from, std::span<const std::uint64_t> mask,
                   std::span<std::uint64_t> out, std::size_t filled) noexcept {
  return bit_selections().front().gather(from.data(), mask.data(), mask.size(), out.data(), filled);
}

void scatter(std::span<const std::uint64_t> packed, std::span<const std::uint64_t> mask,
             std::span<std::uint64_t> out) noexcept {
  bit_selections().front().scatter(packed.data(), mask.data(), mask.size(), out.data());
}

std::size_t count_ones(std::span<const std::uint64_t> words) noexcept { return count_common(words, words); }

std::size_t count_common(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) noexcept {
  return bit_selections().front().count_common(a.data(), b.data(), a.size());
}

}  // namespace qkd004::software
