// SPDX-License-Identifier: Apache-2.0
//
// The additive FFT with AVX-512 and GFNI, whose gf2p8mulb multiplies 64 octets in GF(2^8) and whose gf2p8affineqb
// multiplies 64 octets by 8 x 8 matrices over GF(2): Intel since Ice Lake, AMD since Zen 4.
#if defined(__x86_64__)

// g++ 12 takes the undefined operand that its own intrinsics pass for one of ours (GCC bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "qkd004/secret.hpp"
#include "software/additive_fft_implementations.hpp"
#include "software/gf65536.hpp"

namespace qkd004::software {

namespace {

#define QKD004_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,gfni")))
#define QKD004_INLINE QKD004_TARGET __attribute__((always_inline)) inline

using vec = __m512i;
constexpr std::size_t lanes = 8;

struct pair {
  vec low, high;
};

QKD004_INLINE vec load(const std::uint64_t* at) noexcept { return _mm512_loadu_si512(at); }
QKD004_INLINE void store(std::uint64_t* at, vec value) noexcept { _mm512_storeu_si512(at, value); }

QKD004_INLINE vec octet_products(vec a, vec b) noexcept { return _mm512_gf2p8mul_epi8(a, b); }
QKD004_INLINE vec delta_products(vec octets) noexcept {
  return _mm512_gf2p8mul_epi8(octets, _mm512_set1_epi8(static_cast<char>(gf65536::delta)));
}

// --- Multiplication by points --------------------------------------------------------------------

constexpr std::uint64_t repeated(std::uint8_t octet) noexcept {
  return octet * std::uint64_t{0x0101010101010101};
}

/// gf65536::point_factors, each octet four times: to be broadcast from memory.
struct point_table {
  alignas(64) std::uint32_t factors[2][256][4] = {};
  constexpr point_table() noexcept {
    for (std::size_t part = 0; part < 2; ++part) {
      for (std::size_t i = 0; i < 256; ++i) {
        for (std::size_t f = 0; f < 4; ++f) {
          factors[part][i][f] = static_cast<std::uint32_t>(repeated(gf65536::point_factors[part][i][f]));
        }
      }
    }
  }
};
constexpr point_table points;

/// [s][f][q]: factor f of point(step * q), step = 2 << s.
struct lane_table {
  alignas(64) std::uint64_t factors[3][4][8] = {};
  constexpr lane_table() noexcept {
    for (std::size_t s = 0; s < 3; ++s) {
      for (std::size_t f = 0; f < 4; ++f) {
        for (std::size_t q = 0; q < 8; ++q) {
          factors[s][f][q] = repeated(gf65536::factors_of(gf65536::point((std::size_t{2} << s) * q))[f]);
        }
      }
    }
  }
};
constexpr lane_table lane_points;

struct narrow_multiplier {
  vec by;
  QKD004_INLINE explicit narrow_multiplier(std::size_t index) noexcept
      : by{_mm512_set1_epi32(static_cast<int>(points.factors[0][index][0]))} {}
};

QKD004_INLINE pair product(const narrow_multiplier& by, const pair& values) noexcept {
  return {octet_products(values.low, by.by), octet_products(values.high, by.by)};
}

struct wide_multiplier {
  vec low_low, high_low, low_high, high_high;
  QKD004_INLINE explicit wide_multiplier(std::size_t index) noexcept
      : low_low{factor(index, 0)},
        high_low{factor(index, 1)},
        low_high{factor(index, 2)},
        high_high{factor(index, 3)} {}

 private:
  QKD004_INLINE static vec factor(std::size_t index, std::size_t which) noexcept {
    return _mm512_set1_epi32(
        static_cast<int>(points.factors[0][index % 256][which] ^ points.factors[1][index / 256][which]));
  }
};

struct lane_multiplier : wide_multiplier {
  QKD004_INLINE lane_multiplier(std::size_t index, std::size_t step) noexcept : wide_multiplier{index} {
    const auto& factors = lane_points.factors[step / 4];  // 2, 4, 8
    low_low = low_low ^ load(factors[0]);
    high_low = high_low ^ load(factors[1]);
    low_high = low_high ^ load(factors[2]);
    high_high = high_high ^ load(factors[3]);
  }
};

QKD004_INLINE pair product(const wide_multiplier& by, const pair& values) noexcept {
  return {octet_products(values.low, by.low_low) ^ octet_products(values.high, by.high_low),
          octet_products(values.low, by.low_high) ^ octet_products(values.high, by.high_high)};
}

// --- Transposing ---------------------------------------------------------------------------------

QKD004_INLINE void transpose(vec (&r)[8]) noexcept {
  vec t[8];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
  }
  vec s[8];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (std::size_t j = 0; j < 2; ++j) {
      s[i + j] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0x88);
      s[i + j + 2] = _mm512_shuffle_i64x2(t[i + j], t[i + j + 2], 0xdd);
    }
  }
#pragma GCC unroll 4
  for (std::size_t j = 0; j < 4; ++j) {
    r[j] = _mm512_shuffle_i64x2(s[j], s[j + 4], 0x88);
    r[j + 4] = _mm512_shuffle_i64x2(s[j], s[j + 4], 0xdd);
  }
}

QKD004_INLINE void transpose(pair (&r)[8]) noexcept {
  vec low[8];
  vec high[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) {
    low[i] = r[i].low;
    high[i] = r[i].high;
  }
  transpose(low);
  transpose(high);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) r[i] = {low[i], high[i]};
}

/// Octet 8 i + j is octet 8 j + i.
QKD004_INLINE vec transpose_octets(vec octets) noexcept {
  alignas(64) static constexpr std::uint8_t order[64] = {
      0,  8,  16, 24, 32, 40, 48, 56, 1,  9,  17, 25, 33, 41, 49, 57, 2,  10, 18, 26, 34, 42,
      50, 58, 3,  11, 19, 27, 35, 43, 51, 59, 4,  12, 20, 28, 36, 44, 52, 60, 5,  13, 21, 29,
      37, 45, 53, 61, 6,  14, 22, 30, 38, 46, 54, 62, 7,  15, 23, 31, 39, 47, 55, 63};
  return _mm512_permutexvar_epi8(_mm512_load_si512(order), octets);
}

// --- Words to values and back --------------------------------------------------------------------

/// For gf2p8affineqb: the matrix that takes octet `from` of what the rows take to octet `to` of what they give.
constexpr std::uint64_t matrix(const std::array<gf65536::row, 128>& rows, std::size_t from,
                               std::size_t to) noexcept {
  std::uint64_t all = 0;
  for (std::size_t column = 0; column < 8; ++column) {
    const auto& row = rows[8 * from + column];
    const std::uint64_t octet = (to < 8 ? row.low : row.high) >> (to % 8 * 8) & 0xff;
    for (std::size_t bit = 0; bit < 8; ++bit) all |= (octet >> bit & 1) << (8 * (7 - bit) + column);
  }
  return all;
}

/// [from / 8][to / 8][d][j]: from octet (j + d) % 8 to octet j.
struct matrix_table {
  alignas(64) std::uint64_t of[2][2][8][8] = {};
  constexpr explicit matrix_table(const std::array<gf65536::row, 128>& rows) noexcept {
    for (std::size_t from = 0; from < 2; ++from) {
      for (std::size_t to = 0; to < 2; ++to) {
        for (std::size_t d = 0; d < 8; ++d) {
          for (std::size_t j = 0; j < 8; ++j)
            of[from][to][d][j] = matrix(rows, 8 * from + (j + d) % 8, 8 * to + j);
        }
      }
    }
  }
};
constexpr matrix_table to_values{gf65536::values_of_powers};
constexpr matrix_table to_polynomials{gf65536::polynomials_of_values};

/// Sum over the octets i of lane i of `octets` (octet i of 8 words) times matrices: lane j is octet j of 8 images.
QKD004_INLINE void add_images(const std::uint64_t (&low)[8][8], const std::uint64_t (&high)[8][8], vec octets,
                              pair& images) noexcept {
#define QKD004_STEP(d)                                                                   \
  {                                                                                      \
    const vec turned = _mm512_alignr_epi64(octets, octets, d);                           \
    images.low = images.low ^ _mm512_gf2p8affine_epi64_epi8(turned, load(low[d]), 0);    \
    images.high = images.high ^ _mm512_gf2p8affine_epi64_epi8(turned, load(high[d]), 0); \
  }
    QKD004_STEP(0) QKD004_STEP(1) QKD004_STEP(2) QKD004_STEP(3) QKD004_STEP(4) QKD004_STEP(5) QKD004_STEP(6)
        QKD004_STEP(7)
#undef QKD004_STEP
}

QKD004_TARGET void expand(const std::uint64_t* words, std::uint64_t* spectrum, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; i += lanes) {
    pair values{_mm512_setzero_si512(), _mm512_setzero_si512()};
    add_images(to_values.of[0][0], to_values.of[0][1], transpose_octets(load(words + i)), values);
    store(spectrum + 2 * i, transpose_octets(values.low));
    store(spectrum + 2 * i + lanes, transpose_octets(values.high));
  }
}

QKD004_TARGET void contract(const std::uint64_t* spectrum, std::uint64_t* low, std::uint64_t* high,
                            std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; i += lanes) {
    pair halves{_mm512_setzero_si512(), _mm512_setzero_si512()};
    add_images(to_polynomials.of[0][0], to_polynomials.of[0][1], transpose_octets(load(spectrum + 2 * i)),
               halves);
    add_images(to_polynomials.of[1][0], to_polynomials.of[1][1],
               transpose_octets(load(spectrum + 2 * i + lanes)), halves);
    store(low + i, transpose_octets(halves.low));
    store(high + i, transpose_octets(halves.high));
  }
}

#include "software/additive_fft.ipp"

bool supported() noexcept {
  return __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512vbmi") != 0 && __builtin_cpu_supports("gfni") != 0;
}

}  // namespace

const additive_fft avx512_additive_fft{"AVX-512 and GFNI", supported, forward, multiply_add, inverse};

}  // namespace qkd004::software

#endif
