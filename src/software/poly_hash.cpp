// SPDX-License-Identifier: Apache-2.0
#include "software/poly_hash.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "qkd004/secret.hpp"
#include "software/poly_hash_kernels.hpp"
#include "wire/octets.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qkd004::software {

namespace {

// The field, as the kernels see it. Read as a big-endian integer, a block has the coefficient of x^0 in its highest bit:
// as a polynomial in y it is V(y) = y^127 v(1/y), and the modulus becomes G(y) = y^128 + y^127 + y^126 + y^121 + 1. For
// d = a b then D = A B y^-127 modulo G. The powers of the key are kept as B y, so that D = A (B y) y^-128: a product
// without carries and Montgomery's reduction, which is cheap because the lower half of G is 1: to clear the lowest 64
// bits m of a product is to add m G, and what that adds above them is m (y^57 + y^62 + y^63) and m y^64.

__extension__ using uint128 = unsigned __int128;

struct element {
  std::uint64_t low;
  std::uint64_t high;
};

constexpr std::uint64_t folded = 0xc200000000000000;  // y^57 + y^62 + y^63

element load(const std::byte* octets) noexcept {
  element e{};
  std::memcpy(&e.high, octets, 8);
  std::memcpy(&e.low, octets + 8, 8);
  return {wire::big_endian(e.low), wire::big_endian(e.high)};
}

void store(std::byte* octets, const element& e) noexcept {
  const std::uint64_t high = wire::big_endian(e.high);
  const std::uint64_t low = wire::big_endian(e.low);
  std::memcpy(octets, &high, 8);
  std::memcpy(octets + 8, &low, 8);
}

/// e y modulo G.
element times_y(const element& e) noexcept {
  const std::uint64_t over = 0 - (e.high >> 63);
  return {e.low << 1 ^ (over & 1), (e.high << 1 | e.low >> 63) ^ (over & folded)};
}

// --- Portable: no branch and no address depends on a secret -------------------------------------------

/// The product of two polynomials over GF(2) of 64 coefficients, from products of integers: of each factor every fourth
/// bit is kept, so that the sums of the integer product, of 15 ones at most, do not reach the next bit that is wanted.
/// For that one factor has 60 bits; its other four are added one by one. Multiplication takes constant time on the
/// processors that this is for.
uint128 carryless(std::uint64_t a, std::uint64_t b) noexcept {
  constexpr std::uint64_t every_fourth = 0x1111111111111111;
  const std::uint64_t a60 = a & (~std::uint64_t{0} >> 4);
  std::array<uint128, 4> sums{};
  for (unsigned i = 0; i < 4; ++i) {
    for (unsigned j = 0; j < 4; ++j) {
      sums[(i + j) % 4] ^= static_cast<uint128>(a60 & every_fourth << i) * (b & every_fourth << j);
    }
  }
  constexpr uint128 wide = static_cast<uint128>(every_fourth) << 64 | every_fourth;
  uint128 product = 0;
  for (unsigned i = 0; i < 4; ++i) product ^= sums[i] & wide << i;
  for (unsigned i = 60; i < 64; ++i) {
    product ^= static_cast<uint128>(b & (0 - (a >> i & 1))) << i;
  }
  return product;
}

element multiply(const element& a, const element& b) noexcept {
  const uint128 low = carryless(a.low, b.low);
  const uint128 high = carryless(a.high, b.high);
  const uint128 middle = carryless(a.low ^ a.high, b.low ^ b.high) ^ low ^ high;  // Karatsuba
  std::array<std::uint64_t, 4> t{static_cast<std::uint64_t>(low),
                                 static_cast<std::uint64_t>(low >> 64) ^ static_cast<std::uint64_t>(middle),
                                 static_cast<std::uint64_t>(high) ^ static_cast<std::uint64_t>(middle >> 64),
                                 static_cast<std::uint64_t>(high >> 64)};
  for (unsigned i = 0; i < 2; ++i) {
    const std::uint64_t m = t[i];
    t[i + 1] ^= m << 57 ^ m << 62 ^ m << 63;
    t[i + 2] ^= m >> 7 ^ m >> 2 ^ m >> 1 ^ m;
  }
  return {t[2], t[3]};
}

bool always() noexcept { return true; }

void prepare_portable(poly_hash_powers& powers, const block128& key) noexcept {
  store(powers.of[0].data(), times_y(load(key.data())));
}

void absorb_portable(const poly_hash_powers& powers, block128& sum,
                     std::span<const std::byte> blocks) noexcept {
  const element key = load(powers.of[0].data());
  element value = load(sum.data());
  for (; !blocks.empty(); blocks = blocks.subspan(16)) {
    const element next = load(blocks.data());
    value = multiply({value.low ^ next.low, value.high ^ next.high}, key);
  }
  store(sum.data(), value);
}

#if defined(__x86_64__)

// g++ 12 warns of its own <immintrin.h>, whose unmasked forms pass a value that is deliberately undefined.
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// --- PCLMULQDQ: eight blocks before each reduction ----------------------------------------------------

#define QKD004_PCLMUL __attribute__((target("pclmul,ssse3")))
#define QKD004_PCLMUL_INLINE __attribute__((target("pclmul,ssse3"), always_inline)) inline

const __m128i* at128(const std::byte* octets) noexcept {
  return static_cast<const __m128i*>(static_cast<const void*>(octets));
}
__m128i* at128(std::byte* octets) noexcept { return static_cast<__m128i*>(static_cast<void*>(octets)); }

/// From octets to the integer that they are in big-endian order, and back.
QKD004_PCLMUL_INLINE __m128i reversed(__m128i block) noexcept {
  return _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/// A sum of products that was not reduced yet.
struct sum128 {
  __m128i low, middle, high;
};

QKD004_PCLMUL_INLINE void add_product(sum128& sum, __m128i a, __m128i b) noexcept {
  sum.low = _mm_xor_si128(sum.low, _mm_clmulepi64_si128(a, b, 0x00));
  sum.high = _mm_xor_si128(sum.high, _mm_clmulepi64_si128(a, b, 0x11));
  sum.middle = _mm_xor_si128(sum.middle, _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01),  //
                                                       _mm_clmulepi64_si128(a, b, 0x10)));
}

QKD004_PCLMUL_INLINE __m128i reduced(const sum128& sum) noexcept {
  const __m128i g = _mm_set1_epi64x(static_cast<long long>(folded));
  __m128i low = _mm_xor_si128(sum.low, _mm_slli_si128(sum.middle, 8));
  const __m128i high = _mm_xor_si128(sum.high, _mm_srli_si128(sum.middle, 8));
  low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, g, 0x00));
  low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, g, 0x00));
  return _mm_xor_si128(low, high);
}

QKD004_PCLMUL_INLINE __m128i product(__m128i a, __m128i b) noexcept {
  sum128 sum{};
  add_product(sum, a, b);
  return reduced(sum);
}

QKD004_PCLMUL_INLINE __m128i times_y_128(const block128& key) noexcept {
  const element e = times_y(load(key.data()));
  return _mm_set_epi64x(static_cast<long long>(e.high), static_cast<long long>(e.low));
}

bool has_pclmul() noexcept { return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3"); }

constexpr std::size_t most_at_once = 8;

/// of[8 - i] is key^i.
QKD004_PCLMUL void prepare_pclmul(poly_hash_powers& powers, const block128& key) noexcept {
  const __m128i first = times_y_128(key);
  __m128i power = first;
  for (std::size_t i = most_at_once; i-- > 0;) {
    _mm_storeu_si128(at128(powers.of[i].data()), power);
    power = product(power, first);
  }
}

/// (sum + b_1) key^count + b_2 key^(count-1) + ... + b_count key.
QKD004_PCLMUL_INLINE __m128i add_blocks(const poly_hash_powers& powers, __m128i sum, const std::byte* blocks,
                                        std::size_t count) noexcept {
  const block128* power = powers.of.data() + (most_at_once - count);
  sum128 wide{};
  for (std::size_t i = 0; i < count; ++i) {
    __m128i block = reversed(_mm_loadu_si128(at128(blocks + 16 * i)));
    if (i == 0) block = _mm_xor_si128(block, sum);
    add_product(wide, block, _mm_loadu_si128(at128(power[i].data())));
  }
  return reduced(wide);
}

QKD004_PCLMUL void absorb_pclmul(const poly_hash_powers& powers, block128& sum,
                                 std::span<const std::byte> blocks) noexcept {
  const std::byte* from = blocks.data();
  std::size_t left = blocks.size() / 16;
  __m128i value = reversed(_mm_loadu_si128(at128(sum.data())));
  for (; left >= most_at_once; left -= most_at_once, from += 16 * most_at_once) {
    value = add_blocks(powers, value, from, most_at_once);
  }
  if (left != 0) value = add_blocks(powers, value, from, left);
  _mm_storeu_si128(at128(sum.data()), reversed(value));
}

// --- VPCLMULQDQ: four lanes, each with every fourth block; eight groups of four before each reduction ---

#define QKD004_VPCLMUL __attribute__((target("avx512f,avx512bw,vpclmulqdq,pclmul")))
#define QKD004_VPCLMUL_INLINE \
  __attribute__((target("avx512f,avx512bw,vpclmulqdq,pclmul"), always_inline)) inline

constexpr int exclusive_or = 0x96;  // of three operands of VPTERNLOGQ

QKD004_VPCLMUL_INLINE __m512i reversed(__m512i blocks) noexcept {
  return _mm512_shuffle_epi8(
      blocks, _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}

struct sum512 {
  __m512i low, middle, high;
};

QKD004_VPCLMUL_INLINE void add_product(sum512& sum, __m512i a, __m512i b) noexcept {
  sum.low = _mm512_xor_si512(sum.low, _mm512_clmulepi64_epi128(a, b, 0x00));
  sum.high = _mm512_xor_si512(sum.high, _mm512_clmulepi64_epi128(a, b, 0x11));
  sum.middle = _mm512_ternarylogic_epi64(sum.middle, _mm512_clmulepi64_epi128(a, b, 0x01),
                                         _mm512_clmulepi64_epi128(a, b, 0x10), exclusive_or);
}

QKD004_VPCLMUL_INLINE __m512i reduced(const sum512& sum) noexcept {
  const __m512i g = _mm512_set1_epi64(static_cast<long long>(folded));
  __m512i low = _mm512_xor_si512(sum.low, _mm512_bslli_epi128(sum.middle, 8));
  const __m512i high = _mm512_xor_si512(sum.high, _mm512_bsrli_epi128(sum.middle, 8));
  low = _mm512_xor_si512(_mm512_shuffle_epi32(low, _MM_PERM_BADC), _mm512_clmulepi64_epi128(low, g, 0x00));
  return _mm512_ternarylogic_epi64(_mm512_shuffle_epi32(low, _MM_PERM_BADC),
                                   _mm512_clmulepi64_epi128(low, g, 0x00), high, exclusive_or);
}

bool has_vpclmul() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("vpclmulqdq") && has_pclmul();
}

constexpr std::size_t most_groups = 8;

/// of[8 - i] is key^4i, and the last four are key^4 to key.
QKD004_PCLMUL void prepare_vpclmul(poly_hash_powers& powers, const block128& key) noexcept {
  const __m128i first = times_y_128(key);
  __m128i power = first;
  for (std::size_t i = most_groups + 3; i-- > 0;) {
    _mm_storeu_si128(at128(powers.of[i].data()), power);
    const std::size_t step =
        i < most_groups ? most_groups - 1 : most_groups + 2;  // the place of key^4, of key
    power = product(power, _mm_loadu_si128(at128(powers.of[step].data())));
  }
}

/// Lane by lane: lanes key^(4 count) + g_1 key^(4 (count - 1)) + ... + g_count.
QKD004_VPCLMUL_INLINE __m512i add_groups(const poly_hash_powers& powers, __m512i lanes,
                                         const std::byte* groups, std::size_t count) noexcept {
  const block128* power = powers.of.data() + (most_groups - count);
  sum512 wide{};
  for (std::size_t i = 0; i < count; ++i) {
    add_product(wide, lanes, _mm512_broadcast_i32x4(_mm_loadu_si128(at128(power[i].data()))));
    lanes = reversed(_mm512_loadu_si512(groups + 64 * i));
  }
  return _mm512_xor_si512(reduced(wide), lanes);
}

QKD004_VPCLMUL void absorb_vpclmul(const poly_hash_powers& powers, block128& sum,
                                   std::span<const std::byte> blocks) noexcept {
  const std::byte* from = blocks.data();
  // what makes no whole group comes first, in the last lanes, so that the end is always the same
  const std::size_t count = blocks.size() / 16;
  const std::size_t first = (count - 1) % 4 + 1;
  const auto shift = static_cast<unsigned>(2 * (4 - first));
  const __m512i before = _mm512_castsi128_si512(reversed(_mm_loadu_si128(at128(sum.data()))));
  __m512i lanes = reversed(_mm512_maskz_expandloadu_epi64(static_cast<__mmask8>(0xffU << shift), from));
  lanes = _mm512_xor_si512(lanes, _mm512_maskz_expand_epi64(static_cast<__mmask8>(3U << shift), before));
  from += 16 * first;

  std::size_t groups = (count - first) / 4;
  for (; groups >= most_groups; groups -= most_groups, from += 64 * most_groups) {
    lanes = add_groups(powers, lanes, from, most_groups);
  }
  if (groups != 0) lanes = add_groups(powers, lanes, from, groups);

  sum512 wide{};
  add_product(wide, lanes, _mm512_loadu_si512(powers.of.data() + most_groups - 1));
  lanes = reduced(wide);
  const __m128i halves = _mm_xor_si128(_mm512_castsi512_si128(lanes), _mm512_extracti32x4_epi32(lanes, 1));
  const __m128i others =
      _mm_xor_si128(_mm512_extracti32x4_epi32(lanes, 2), _mm512_extracti32x4_epi32(lanes, 3));
  _mm_storeu_si128(at128(sum.data()), reversed(_mm_xor_si128(halves, others)));
}

#undef QKD004_PCLMUL
#undef QKD004_PCLMUL_INLINE
#undef QKD004_VPCLMUL
#undef QKD004_VPCLMUL_INLINE
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif

constexpr poly_hash_kernel kernels[] = {
#if defined(__x86_64__)
    {"vpclmulqdq", has_vpclmul, prepare_vpclmul, absorb_vpclmul},
    {"pclmulqdq", has_pclmul, prepare_pclmul, absorb_pclmul},
#endif
    {"portable", always, prepare_portable, absorb_portable},
};

const poly_hash_kernel& fastest() noexcept {
  static const poly_hash_kernel& found =
      *std::find_if(std::begin(kernels), std::end(kernels) - 1, [](const auto& k) { return k.runs_here(); });
  return found;
}

}  // namespace

std::span<const poly_hash_kernel> poly_hash_kernels() noexcept { return kernels; }

poly_hash::poly_hash(const block128& key) noexcept : poly_hash{key, fastest()} {}

poly_hash::poly_hash(const block128& key, const poly_hash_kernel& kernel) noexcept : kernel_{kernel} {
  kernel_.prepare(powers_, key);
}

poly_hash::~poly_hash() {
  wipe(&powers_, sizeof powers_);
  wipe(sum_.data(), sum_.size());
  wipe(rest_.data(), rest_.size());
}

void poly_hash::update(std::span<const std::byte> octets) noexcept {
  if (octets.empty()) return;
  const auto waiting = static_cast<std::size_t>(size_ % 16);
  size_ += octets.size();
  if (waiting != 0) {
    const std::size_t taken = std::min(16 - waiting, octets.size());
    std::memcpy(rest_.data() + waiting, octets.data(), taken);
    octets = octets.subspan(taken);
    if (waiting + taken < 16) return;
    kernel_.absorb(powers_, sum_, rest_);
  }
  const std::size_t whole = octets.size() / 16 * 16;
  if (whole != 0) kernel_.absorb(powers_, sum_, octets.first(whole));
  if (whole != octets.size()) std::memcpy(rest_.data(), octets.data() + whole, octets.size() - whole);
}

block128 poly_hash::finish() noexcept {
  std::array<std::byte, 32> last{};
  const auto waiting = static_cast<std::size_t>(size_ % 16);
  std::memcpy(last.data(), rest_.data(), waiting);
  const std::size_t filled = waiting == 0 ? 0 : 16;
  const std::uint64_t length = wire::big_endian(size_ * 8);
  std::memcpy(last.data() + filled, &length, sizeof length);
  kernel_.absorb(powers_, sum_, std::span{last}.first(filled + 16));
  wipe(last.data(), last.size());
  return sum_;
}

}  // namespace qkd004::software
