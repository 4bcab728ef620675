// SPDX-License-Identifier: Apache-2.0
//
// The additive FFT with AVX2: products in GF(2^8) by a constant are two lookups of 4 bits in registers (vpshufb, whose
// time does not depend on what is looked up).
#if defined(__x86_64__)

// g++ 12 unrolls loops over half the lanes to more steps than they have, and then warns of those.
#pragma GCC diagnostic ignored "-Warray-bounds"
#include <immintrin.h>

#include "qkd004/secret.hpp"
#include "software/additive_fft_implementations.hpp"
#include "software/gf65536.hpp"

namespace qkd004::software {

namespace {

#define QKD004_TARGET __attribute__((target("avx2")))
#define QKD004_INLINE QKD004_TARGET __attribute__((always_inline)) inline

using vec = __m256i;
constexpr std::size_t lanes = 4;

struct pair {
  vec low, high;
};

QKD004_INLINE vec load(const std::uint64_t* at) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}
QKD004_INLINE void store(std::uint64_t* at, vec value) noexcept {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), value);
}

// --- Multiplication in GF(2^8) -------------------------------------------------------------------

/// What 16 values of 4 bits become, for vpshufb.
using lookup = std::array<std::uint8_t, 16>;

QKD004_INLINE vec twice(const lookup& table) noexcept {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data())));
}

/// [octet]: its products with 0 to 15, and with 0 to 15 times 16.
constexpr std::array<std::array<lookup, 2>, 256> make_products() noexcept {
  std::array<std::array<lookup, 2>, 256> table{};
  for (std::size_t octet = 0; octet < 256; ++octet) {
    for (std::size_t part = 0; part < 2; ++part) {
      for (std::size_t i = 0; i < 16; ++i) {
        table[octet][part][i] = gf65536::octet_product(static_cast<std::uint8_t>(octet),
                                                       static_cast<std::uint8_t>(i << (4 * part)));
      }
    }
  }
  return table;
}
constexpr auto products = make_products();

/// Each octet as two of 4 bits.
struct nibbles {
  vec first, second;
  QKD004_INLINE explicit nibbles(vec octets) noexcept
      : first{_mm256_and_si256(octets, _mm256_set1_epi8(15))},
        second{_mm256_and_si256(_mm256_srli_epi16(octets, 4), _mm256_set1_epi8(15))} {}
};

struct octet_multiplier {
  vec first, second;
  QKD004_INLINE explicit octet_multiplier(std::uint8_t octet) noexcept
      : first{twice(products[octet][0])}, second{twice(products[octet][1])} {}
};

QKD004_INLINE vec product(const octet_multiplier& by, const nibbles& octets) noexcept {
  return _mm256_shuffle_epi8(by.first, octets.first) ^ _mm256_shuffle_epi8(by.second, octets.second);
}

QKD004_INLINE vec delta_products(vec octets) noexcept {
  return product(octet_multiplier{gf65536::delta}, nibbles{octets});
}

QKD004_INLINE vec octet_products(vec a, vec b) noexcept {
  const vec zero = _mm256_setzero_si256();
  vec sum = zero;
#pragma GCC unroll 8
  for (int bit = 0; bit < 8; ++bit) {
    const vec carry = _mm256_and_si256(_mm256_cmpgt_epi8(zero, sum), _mm256_set1_epi8(0x1b));
    sum = _mm256_add_epi8(sum, sum) ^ carry ^ _mm256_and_si256(_mm256_cmpgt_epi8(zero, b), a);
    b = _mm256_add_epi8(b, b);
  }
  return sum;
}

// --- Multiplication by points --------------------------------------------------------------------

struct narrow_multiplier {
  octet_multiplier by;
  QKD004_INLINE explicit narrow_multiplier(std::size_t index) noexcept
      : by{gf65536::point_factors[0][index][0]} {}
};

QKD004_INLINE pair product(const narrow_multiplier& by, const pair& values) noexcept {
  return {product(by.by, nibbles{values.low}), product(by.by, nibbles{values.high})};
}

struct wide_multiplier {
  octet_multiplier low_low, high_low, low_high, high_high;
  QKD004_INLINE explicit wide_multiplier(std::size_t index) noexcept
      : low_low{factor(index, 0)},
        high_low{factor(index, 1)},
        low_high{factor(index, 2)},
        high_high{factor(index, 3)} {}

 private:
  QKD004_INLINE static std::uint8_t factor(std::size_t index, std::size_t which) noexcept {
    return gf65536::octet_sum(gf65536::point_factors[0][index % 256][which],
                              gf65536::point_factors[1][index / 256][which]);
  }
};

QKD004_INLINE pair product(const wide_multiplier& by, const pair& values) noexcept {
  const nibbles low{values.low};
  const nibbles high{values.high};
  return {product(by.low_low, low) ^ product(by.high_low, high),
          product(by.low_high, low) ^ product(by.high_high, high)};
}

/// point(index + step q) is the sum of point(index) and, for the bits of q, of point(step) and point(2 step).
struct lane_multiplier {
  wide_multiplier all;
  narrow_multiplier odd;    ///< lanes 1 and 3
  narrow_multiplier upper;  ///< lanes 2 and 3
  QKD004_INLINE lane_multiplier(std::size_t index, std::size_t step) noexcept
      : all{index}, odd{step}, upper{2 * step} {}
};

QKD004_INLINE pair product(const lane_multiplier& by, const pair& values) noexcept {
  const vec odd = _mm256_set_epi64x(-1, 0, -1, 0);
  const vec upper = _mm256_set_epi64x(-1, -1, 0, 0);
  const pair of_all = product(by.all, values);
  const pair of_odd = product(by.odd, values);
  const pair of_upper = product(by.upper, values);
  return {of_all.low ^ _mm256_and_si256(odd, of_odd.low) ^ _mm256_and_si256(upper, of_upper.low),
          of_all.high ^ _mm256_and_si256(odd, of_odd.high) ^ _mm256_and_si256(upper, of_upper.high)};
}

// --- Transposing ---------------------------------------------------------------------------------

QKD004_INLINE void transpose(vec& a, vec& b, vec& c, vec& d) noexcept {
  const vec ab_even = _mm256_unpacklo_epi64(a, b);
  const vec ab_odd = _mm256_unpackhi_epi64(a, b);
  const vec cd_even = _mm256_unpacklo_epi64(c, d);
  const vec cd_odd = _mm256_unpackhi_epi64(c, d);
  a = _mm256_permute2x128_si256(ab_even, cd_even, 0x20);
  b = _mm256_permute2x128_si256(ab_odd, cd_odd, 0x20);
  c = _mm256_permute2x128_si256(ab_even, cd_even, 0x31);
  d = _mm256_permute2x128_si256(ab_odd, cd_odd, 0x31);
}

QKD004_INLINE void transpose(vec (&r)[4]) noexcept { transpose(r[0], r[1], r[2], r[3]); }

QKD004_INLINE void transpose(pair (&r)[4]) noexcept {
  transpose(r[0].low, r[1].low, r[2].low, r[3].low);
  transpose(r[0].high, r[1].high, r[2].high, r[3].high);
}

/// r[i] and r[i + distance] interleaved, octet by octet, for all 4 such i.
template <std::size_t distance>
QKD004_INLINE void interleave(vec (&r)[8]) noexcept {
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) {
    if ((i & distance) != 0) continue;
    const vec a = r[i];
    const vec b = r[i + distance];
    r[i] = _mm256_unpacklo_epi8(a, b);
    r[i + distance] = _mm256_unpackhi_epi8(a, b);
  }
}

/// Each interleaving moves the highest bit of an octet's place in its 16 octets to the register's number, and a bit of
/// that to the lowest. After four of them, octet i of 32 words is in the register that this names; where in it a word
/// is does not matter, since words_of() goes the same way on.
constexpr std::size_t register_of_octet[8] = {0, 1, 4, 5, 2, 3, 6, 7};

QKD004_INLINE void octets_of(vec (&r)[8]) noexcept {
  interleave<1>(r);
  interleave<2>(r);
  interleave<4>(r);
  interleave<1>(r);
}

/// After three more the octets of a word are together again, and the registers' numbers have their bits in another
/// order.
constexpr std::size_t register_of_words[8] = {0, 2, 4, 6, 1, 3, 5, 7};

QKD004_INLINE void words_of(vec (&r)[8]) noexcept {
  interleave<2>(r);
  interleave<4>(r);
  interleave<1>(r);
}

// --- Words to values and back --------------------------------------------------------------------

/// [to][from]: octet `to` of what the rows give for the 4 bits number `from`.
using image_table = std::array<std::array<lookup, 32>, 16>;

constexpr image_table make_images(const std::array<gf65536::row, 128>& rows) noexcept {
  image_table table{};
  for (std::size_t to = 0; to < 16; ++to) {
    for (std::size_t from = 0; from < 32; ++from) {
      for (std::size_t bit = 0; bit < 4; ++bit) {
        const auto& row = rows[4 * from + bit];
        const auto octet = static_cast<std::uint8_t>((to < 8 ? row.low : row.high) >> (to % 8 * 8));
        for (std::size_t i = 0; i < 16; ++i) {
          if ((i >> bit & 1) != 0) table[to][from][i] = gf65536::octet_sum(table[to][from][i], octet);
        }
      }
    }
  }
  return table;
}
constexpr image_table to_values = make_images(gf65536::values_of_powers);
constexpr image_table to_polynomials = make_images(gf65536::polynomials_of_values);

/// The images of 32 groups of `from` times 8 octets, by octet: the nibbles of octet i are at 2 i and 2 i + 1.
template <std::size_t from>
QKD004_INLINE void images(const image_table& table, const vec (&of)[16 * from], vec (&low)[8],
                          vec (&high)[8]) noexcept {
  for (std::size_t to = 0; to < 16; ++to) {
    vec sum = _mm256_setzero_si256();
#pragma GCC unroll 32
    for (std::size_t i = 0; i < 16 * from; ++i) sum = sum ^ _mm256_shuffle_epi8(twice(table[to][i]), of[i]);
    // Not (to < 8 ? low : high)[..]: g++ 12 with -fsanitize=undefined stores that into a copy.
    vec* const half = to < 8 ? low : high;
    half[register_of_octet[to % 8]] = sum;
  }
}

QKD004_INLINE void split(const vec (&octets)[8], vec* of) noexcept {
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) {
    const nibbles both{octets[register_of_octet[i]]};
    of[2 * i] = both.first;
    of[2 * i + 1] = both.second;
  }
}

QKD004_TARGET void expand(const std::uint64_t* words, std::uint64_t* spectrum, std::size_t count) noexcept {
  vec low[8];
  vec high[8];
  vec of[16];
  for (std::size_t at = 0; at < count; at += 32) {
    for (std::size_t i = 0; i < 8; ++i) low[i] = load(words + at + 4 * i);
    octets_of(low);
    split(low, of);
    images<1>(to_values, of, low, high);
    words_of(low);
    words_of(high);
    for (std::size_t i = 0; i < 8; ++i) {
      store(spectrum + 2 * at + 8 * i, low[register_of_words[i]]);
      store(spectrum + 2 * at + 8 * i + 4, high[register_of_words[i]]);
    }
  }
  wipe(low, sizeof(low));
  wipe(high, sizeof(high));
  wipe(of, sizeof(of));
}

QKD004_TARGET void contract(const std::uint64_t* spectrum, std::uint64_t* low_words,
                            std::uint64_t* high_words, std::size_t count) noexcept {
  vec low[8];
  vec high[8];
  vec of[32];
  for (std::size_t at = 0; at < count; at += 32) {
    for (std::size_t i = 0; i < 8; ++i) {
      low[i] = load(spectrum + 2 * at + 8 * i);
      high[i] = load(spectrum + 2 * at + 8 * i + 4);
    }
    octets_of(low);
    octets_of(high);
    split(low, of);
    split(high, of + 16);
    images<2>(to_polynomials, of, low, high);
    words_of(low);
    words_of(high);
    for (std::size_t i = 0; i < 8; ++i) {
      store(low_words + at + 4 * i, low[register_of_words[i]]);
      store(high_words + at + 4 * i, high[register_of_words[i]]);
    }
  }
  wipe(low, sizeof(low));
  wipe(high, sizeof(high));
  wipe(of, sizeof(of));
}

#include "software/additive_fft.ipp"

bool supported() noexcept { return __builtin_cpu_supports("avx2") != 0; }

}  // namespace

const additive_fft avx2_additive_fft{"AVX2", supported, forward, multiply_add, inverse};

}  // namespace qkd004::software

#endif
