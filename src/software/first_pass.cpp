// SPDX-License-Identifier: Apache-2.0
#include "software/first_pass.hpp"

#include <bit>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "software/parity_tree.hpp"

namespace qkd004::software {

namespace {

constexpr std::uint64_t even_bits = 0x5555'5555'5555'5555;

struct portable_words {
  /// The bits of a word that a mask chooses, moved together.
  static std::uint64_t extract(std::uint64_t from, std::uint64_t mask) noexcept {
    std::uint64_t taken = 0;
    for (std::uint64_t to = 1; mask != 0; mask &= mask - 1, to <<= 1)
      taken |= (from & mask & (0 - mask)) != 0 ? to : 0;
    return taken;
  }
  /// The inverse: the lowest bits go to where the mask has ones.
  static std::uint64_t deposit(std::uint64_t from, std::uint64_t mask) noexcept {
    std::uint64_t given = 0;
    for (; mask != 0; mask &= mask - 1, from >>= 1) given |= (from & 1) != 0 ? mask & (0 - mask) : 0;
    return given;
  }
  static std::uint64_t extract_even(std::uint64_t x) noexcept { return every_second_bit(x); }
  static std::uint64_t deposit_even(std::uint64_t x) noexcept {
    x &= 0xFFFF'FFFF;
    x = (x | x << 16) & 0x0000'FFFF'0000'FFFF;
    x = (x | x << 8) & 0x00FF'00FF'00FF'00FF;
    x = (x | x << 4) & 0x0F0F'0F0F'0F0F'0F0F;
    x = (x | x << 2) & 0x3333'3333'3333'3333;
    return (x | x << 1) & even_bits;
  }
};

template <class Words>
[[gnu::always_inline]] inline void fold(const std::uint64_t* words, unsigned top,
                                        std::uint64_t* levels) noexcept {
  const std::uint64_t* below = words;
  for (unsigned level = 1; level <= top; ++level) {
    std::uint64_t* const here = levels + level_words::begin(level);
    for (std::size_t i = 0; i < level_words::count(level); ++i) {
      const std::uint64_t low = below[2 * i];
      const std::uint64_t high = below[2 * i + 1];
      here[i] = Words::extract_even(low ^ low >> 1) | Words::extract_even(high ^ high >> 1) << 32;
    }
    below = here;
  }
}

/// Calls f with each word of the level below, the left children of odd nodes in it, and which of these have no sibling
/// with bits: those are odd, without asking.
template <class Words, class F>
[[gnu::always_inline]] inline void each_word(const first_pass_step& step, F f) {
  const std::uint32_t last = (step.size - 1) >> (step.level - 1);
  const std::uint64_t last_alone = last % 2 == 0 ? std::uint64_t{1} << last % 64 : 0;
  for (std::size_t i = 0; i < level_words::count(step.level - 1); ++i) {
    const std::uint64_t left = Words::deposit_even(step.odd[i / 2] >> (i % 2 * 32));
    f(i, left, i == last / 64 ? left & last_alone : 0);
  }
}

template <class Words>
[[gnu::always_inline]] inline void ask(const first_pass_step& step, const std::uint64_t* parities,
                                       packed_bits& asked) {
  each_word<Words>(step, [&](std::size_t i, std::uint64_t left, std::uint64_t alone) {
    const std::uint64_t compared = left ^ alone;
    asked.push(Words::extract(parities[i], compared), static_cast<unsigned>(std::popcount(compared)));
  });
}

template <class Words>
[[gnu::always_inline]] inline std::size_t learn(const first_pass_step& step, const packed_bits& outcomes,
                                                std::size_t at, std::uint64_t* odd) {
  each_word<Words>(step, [&](std::size_t i, std::uint64_t left, std::uint64_t alone) {
    const std::uint64_t compared = left ^ alone;
    const std::uint64_t left_odd = Words::deposit(outcomes.read(at), compared) | alone;
    odd[i] = left_odd | (left ^ left_odd) << 1;
    at += static_cast<std::size_t>(std::popcount(compared));
  });
  return at;
}

void fold_portable(const std::uint64_t* words, unsigned top, std::uint64_t* levels) noexcept {
  fold<portable_words>(words, top, levels);
}
void ask_portable(const first_pass_step& step, const std::uint64_t* parities, packed_bits& asked) {
  ask<portable_words>(step, parities, asked);
}
std::size_t learn_portable(const first_pass_step& step, const packed_bits& outcomes, std::size_t at,
                           std::uint64_t* odd) {
  return learn<portable_words>(step, outcomes, at, odd);
}

constexpr first_pass_kernels portable_kernels{fold_portable, ask_portable, learn_portable};

#if defined(__x86_64__)

struct bmi2_words {
  [[gnu::target("bmi2,popcnt")]] static std::uint64_t extract(std::uint64_t from,
                                                              std::uint64_t mask) noexcept {
    return _pext_u64(from, mask);
  }
  [[gnu::target("bmi2,popcnt")]] static std::uint64_t deposit(std::uint64_t from,
                                                              std::uint64_t mask) noexcept {
    return _pdep_u64(from, mask);
  }
  [[gnu::target("bmi2,popcnt")]] static std::uint64_t extract_even(std::uint64_t from) noexcept {
    return _pext_u64(from, even_bits);
  }
  [[gnu::target("bmi2,popcnt")]] static std::uint64_t deposit_even(std::uint64_t from) noexcept {
    return _pdep_u64(from, even_bits);
  }
};

[[gnu::target("bmi2,popcnt")]] void fold_bmi2(const std::uint64_t* words, unsigned top,
                                              std::uint64_t* levels) noexcept {
  fold<bmi2_words>(words, top, levels);
}
[[gnu::target("bmi2,popcnt")]] void ask_bmi2(const first_pass_step& step, const std::uint64_t* parities,
                                             packed_bits& asked) {
  ask<bmi2_words>(step, parities, asked);
}
[[gnu::target("bmi2,popcnt")]] std::size_t learn_bmi2(const first_pass_step& step,
                                                      const packed_bits& outcomes, std::size_t at,
                                                      std::uint64_t* odd) {
  return learn<bmi2_words>(step, outcomes, at, odd);
}

constexpr first_pass_kernels bmi2_kernels{fold_bmi2, ask_bmi2, learn_bmi2};

#endif

}  // namespace

const first_pass_kernels& first_pass_kernels::best() noexcept {
#if defined(__x86_64__)
  static const bool has_bmi2 = __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  if (has_bmi2) return bmi2_kernels;
#endif
  return portable_kernels;
}

const first_pass_kernels& first_pass_kernels::portable() noexcept { return portable_kernels; }

}  // namespace qkd004::software
