// SPDX-License-Identifier: Apache-2.0
//
// The additive FFT over whatever vector an implementation has. Included by one source file for each set of
// instructions, inside its unnamed namespace, because a template cannot take a target from its parameter. Before it:
//   QKD004_TARGET                       attributes of every function
//   vec, lanes                          a vector of that many words; has ^
//   load(p), store(p, v)                at any address
//   narrow_multiplier, wide_multiplier  (index) multiply by point(index); narrow: index < 256
//   lane_multiplier                     (index, step): lane q multiplies by point(index + step * q)
//   product(multiplier, pair)
//   octet_products(vec, vec), delta_products(vec)
//   transpose(vec[lanes])               lane j of vector i <-> lane i of vector j; and of pairs
//   expand(words, spectrum, count)      words to their values; contract(spectrum, low, high, count) back

// --- Change of basis -----------------------------------------------------------------------------
//
// From 1, x, x^2, .. to the products of s_j(x) over the set bits j of i, where s_j vanishes at the first 2^j points.
// With e a power of two, s_e(x) = x^(2^e) + x, and s_(e + j)(x) = s_j(s_e(x)): write the polynomial in powers of s_e
// (the generalised Taylor expansion of Gao and Mateer, 2010), then convert its coefficients, which are polynomials of
// degree below 2^e, and the polynomial in s_e itself. All of it is addition of words.

QKD004_TARGET inline void add_range(std::uint64_t* to, const std::uint64_t* from,
                                    std::size_t count) noexcept {
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) store(to + i, load(to + i) ^ load(from + i));
  for (; i < count; ++i) to[i] ^= from[i];
}

/// f = f0 + f1 x^half, half = 2^(log - 1), becomes g0 + g1 s_e^t with half = t 2^e, and so do g0 and g1.
/// An element is `stride` words.
QKD004_TARGET void expand_in_powers(std::uint64_t* words, unsigned log, unsigned e,
                                    std::size_t stride) noexcept {
  const std::size_t half = stride << (log - 1);
  const std::size_t t = half >> e;
  add_range(words + half, words + 2 * half - t, t);
  add_range(words + t, words + half, half - t);
  if (log - 1 == e) return;
  expand_in_powers(words, log - 1, e, stride);
  expand_in_powers(words + half, log - 1, e, stride);
}

QKD004_TARGET void collect_powers(std::uint64_t* words, unsigned log, unsigned e,
                                  std::size_t stride) noexcept {
  const std::size_t half = stride << (log - 1);
  const std::size_t t = half >> e;
  if (log - 1 != e) {
    collect_powers(words, log - 1, e, stride);
    collect_powers(words + half, log - 1, e, stride);
  }
  add_range(words + t, words + half, half - t);
  add_range(words + half, words + 2 * half - t, t);
}

/// The conversion of 16 elements, in registers: expand_in_powers(.., 4, 2, ..), then the same of 4 elements, twice.
QKD004_TARGET inline void to_novel_16(std::uint64_t* words, std::size_t stride) noexcept {
  for (std::size_t i = 0; i < stride; i += lanes) {
    vec w[16];
#pragma GCC unroll 16
    for (std::size_t j = 0; j < 16; ++j) w[j] = load(words + j * stride + i);
    w[8] = w[8] ^ w[14];
    w[9] = w[9] ^ w[15];
#pragma GCC unroll 6
    for (std::size_t j = 0; j < 6; ++j) w[2 + j] = w[2 + j] ^ w[8 + j];
#pragma GCC unroll 2
    for (std::size_t at = 0; at < 16; at += 8) {
      w[at + 4] = w[at + 4] ^ w[at + 7];
#pragma GCC unroll 3
      for (std::size_t j = 1; j < 4; ++j) w[at + j] = w[at + j] ^ w[at + j + 3];
    }
#pragma GCC unroll 4
    for (std::size_t j = 8; j < 12; ++j) w[j] = w[j] ^ w[j + 4];
#pragma GCC unroll 4
    for (std::size_t j = 4; j < 8; ++j) w[j] = w[j] ^ w[j + 4];
#pragma GCC unroll 4
    for (std::size_t at = 0; at < 16; at += 4) {
      w[at + 2] = w[at + 2] ^ w[at + 3];
      w[at + 1] = w[at + 1] ^ w[at + 2];
    }
#pragma GCC unroll 16
    for (std::size_t j = 0; j < 16; ++j) store(words + j * stride + i, w[j]);
  }
}

/// The same steps backwards.
QKD004_TARGET inline void from_novel_16(std::uint64_t* words, std::size_t stride) noexcept {
  for (std::size_t i = 0; i < stride; i += lanes) {
    vec w[16];
#pragma GCC unroll 16
    for (std::size_t j = 0; j < 16; ++j) w[j] = load(words + j * stride + i);
#pragma GCC unroll 4
    for (std::size_t at = 0; at < 16; at += 4) {
      w[at + 1] = w[at + 1] ^ w[at + 2];
      w[at + 2] = w[at + 2] ^ w[at + 3];
    }
#pragma GCC unroll 4
    for (std::size_t j = 4; j < 8; ++j) w[j] = w[j] ^ w[j + 4];
#pragma GCC unroll 4
    for (std::size_t j = 8; j < 12; ++j) w[j] = w[j] ^ w[j + 4];
#pragma GCC unroll 2
    for (std::size_t at = 0; at < 16; at += 8) {
#pragma GCC unroll 3
      for (std::size_t j = 1; j < 4; ++j) w[at + j] = w[at + j] ^ w[at + j + 3];
      w[at + 4] = w[at + 4] ^ w[at + 7];
    }
#pragma GCC unroll 6
    for (std::size_t j = 0; j < 6; ++j) w[2 + j] = w[2 + j] ^ w[8 + j];
    w[8] = w[8] ^ w[14];
    w[9] = w[9] ^ w[15];
#pragma GCC unroll 16
    for (std::size_t j = 0; j < 16; ++j) store(words + j * stride + i, w[j]);
  }
}

/// The largest power of two below log, which is 2 or more.
constexpr unsigned split_of(unsigned log) noexcept { return log > 4 ? 4 : log > 2 ? 2 : 1; }

/// Of 2^log elements, log <= 8, of `stride` words, a multiple of lanes.
QKD004_TARGET void to_novel(std::uint64_t* words, unsigned log, std::size_t stride) noexcept {
  if (log < 2) return;
  if (log == 4) return to_novel_16(words, stride);
  const unsigned e = split_of(log);
  expand_in_powers(words, log, e, stride);
  to_novel(words, log - e, stride << e);
  for (std::size_t i = 0; i < std::size_t{1} << (log - e); ++i)
    to_novel(words + i * (stride << e), e, stride);
}

QKD004_TARGET void from_novel(std::uint64_t* words, unsigned log, std::size_t stride) noexcept {
  if (log < 2) return;
  if (log == 4) return from_novel_16(words, stride);
  const unsigned e = split_of(log);
  for (std::size_t i = 0; i < std::size_t{1} << (log - e); ++i) {
    from_novel(words + i * (stride << e), e, stride);
  }
  from_novel(words, log - e, stride << e);
  collect_powers(words, log, e, stride);
}

/// 256 words of as many blocks as there are lanes, the blocks side by side.
struct side_by_side {
  alignas(64) std::uint64_t words[256 * lanes];
};

QKD004_TARGET inline void gather(const std::uint64_t* blocks, std::size_t count, side_by_side& to) noexcept {
  for (std::size_t i = 0; i < 256; i += lanes) {
    vec r[lanes];
#pragma GCC unroll 8
    for (std::size_t j = 0; j < lanes; ++j) r[j] = load(blocks + 256 * (j < count ? j : 0) + i);
    transpose(r);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < lanes; ++j) store(to.words + (i + j) * lanes, r[j]);
  }
}

QKD004_TARGET inline void scatter(const side_by_side& from, std::size_t count,
                                  std::uint64_t* blocks) noexcept {
  for (std::size_t i = 0; i < 256; i += lanes) {
    vec r[lanes];
#pragma GCC unroll 8
    for (std::size_t j = 0; j < lanes; ++j) r[j] = load(from.words + (i + j) * lanes);
    transpose(r);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < lanes; ++j) {
      if (j < count) store(blocks + 256 * j + i, r[j]);
    }
  }
}

/// The whole conversion, of 2^log words, log >= 8: the last step is that of the blocks of 256 words.
QKD004_TARGET void change_basis(std::uint64_t* words, unsigned log) noexcept {
  if (log > 8) {
    expand_in_powers(words, log, 8, 1);
    to_novel(words, log - 8, 256);
  }
  side_by_side some;
  const std::size_t blocks = std::size_t{1} << (log - 8);
  for (std::size_t i = 0; i < blocks; i += lanes) {
    const std::size_t count = blocks - i < lanes ? blocks - i : lanes;
    gather(words + 256 * i, count, some);
    to_novel(some.words, 8, lanes);
    scatter(some, count, words + 256 * i);
  }
  wipe(&some, sizeof(some));
}

QKD004_TARGET void change_basis_back(std::uint64_t* words, unsigned log) noexcept {
  side_by_side some;
  const std::size_t blocks = std::size_t{1} << (log - 8);
  for (std::size_t i = 0; i < blocks; i += lanes) {
    const std::size_t count = blocks - i < lanes ? blocks - i : lanes;
    gather(words + 256 * i, count, some);
    from_novel(some.words, 8, lanes);
    scatter(some, count, words + 256 * i);
  }
  wipe(&some, sizeof(some));
  if (log > 8) {
    from_novel(words, log - 8, 256);
    collect_powers(words, log, 8, 1);
  }
}

// --- Butterflies ---------------------------------------------------------------------------------
//
// In that basis f = u + s_j(x) v. At the points w + (first 2^j points) it is u + s_j(w) v, at those moved on by
// basis[j] it is u + (s_j(w) + 1) v. Block b of 2^(j + 1) points starts at w = point(b 2^(j + 1)), where
// s_j(w) = point(2 b): a table of points is all the constants there are, and while 2 b < 256 they are in GF(2^8).

QKD004_TARGET inline pair load_pair(const std::uint64_t* at) noexcept { return {load(at), load(at + lanes)}; }

QKD004_TARGET inline void store_pair(std::uint64_t* at, const pair& values) noexcept {
  store(at, values.low);
  store(at + lanes, values.high);
}

QKD004_TARGET inline void add_to(pair& sum, const pair& other) noexcept {
  sum.low = sum.low ^ other.low;
  sum.high = sum.high ^ other.high;
}

template <class Multiplier>
QKD004_TARGET inline void forward_butterfly(const Multiplier& by, pair& u, pair& v) noexcept {
  add_to(u, product(by, v));
  add_to(v, u);
}

template <class Multiplier>
QKD004_TARGET inline void inverse_butterfly(const Multiplier& by, pair& u, pair& v) noexcept {
  add_to(v, u);
  add_to(u, product(by, v));
}

/// Two layers at once: 4 quarters of `quarter` words.
template <class Multiplier>
QKD004_TARGET void forward_layers(std::uint64_t* at, std::size_t quarter, std::size_t block) noexcept {
  const Multiplier whole{2 * block};
  const Multiplier first{4 * block};
  const Multiplier second{4 * block + 2};
  for (std::size_t i = 0; i < quarter; i += 2 * lanes) {
    pair a = load_pair(at + i);
    pair b = load_pair(at + quarter + i);
    pair c = load_pair(at + 2 * quarter + i);
    pair d = load_pair(at + 3 * quarter + i);
    forward_butterfly(whole, a, c);
    forward_butterfly(whole, b, d);
    forward_butterfly(first, a, b);
    forward_butterfly(second, c, d);
    store_pair(at + i, a);
    store_pair(at + quarter + i, b);
    store_pair(at + 2 * quarter + i, c);
    store_pair(at + 3 * quarter + i, d);
  }
}

template <class Multiplier>
QKD004_TARGET void inverse_layers(std::uint64_t* at, std::size_t quarter, std::size_t block) noexcept {
  const Multiplier whole{2 * block};
  const Multiplier first{4 * block};
  const Multiplier second{4 * block + 2};
  for (std::size_t i = 0; i < quarter; i += 2 * lanes) {
    pair a = load_pair(at + i);
    pair b = load_pair(at + quarter + i);
    pair c = load_pair(at + 2 * quarter + i);
    pair d = load_pair(at + 3 * quarter + i);
    inverse_butterfly(first, a, b);
    inverse_butterfly(second, c, d);
    inverse_butterfly(whole, a, c);
    inverse_butterfly(whole, b, d);
    store_pair(at + i, a);
    store_pair(at + quarter + i, b);
    store_pair(at + 2 * quarter + i, c);
    store_pair(at + 3 * quarter + i, d);
  }
}

constexpr unsigned lanes_log = lanes == 8 ? 3 : lanes == 4 ? 2 : lanes == 2 ? 1 : 0;

/// The last 2 log2(lanes) layers of lanes * lanes points, in registers: half of them with vectors as they are, half
/// with lane q of all vectors holding what vector q held. They stay so: nobody needs them back before the inverse.
QKD004_TARGET inline void forward_registers(std::uint64_t* at, std::size_t block) noexcept {
  pair r[lanes];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < lanes; ++i) r[i] = load_pair(at + 2 * lanes * i);
#pragma GCC unroll 3
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    const std::size_t blocks = lanes / (2 * half);
#pragma GCC unroll 4
    for (std::size_t m = 0; m < blocks; ++m) {
      const wide_multiplier by{lanes / half * block + 2 * m};
#pragma GCC unroll 4
      for (std::size_t i = 0; i < half; ++i)
        forward_butterfly(by, r[2 * half * m + i], r[2 * half * m + half + i]);
    }
  }
  transpose(r);
#pragma GCC unroll 3
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    const std::size_t blocks = lanes / (2 * half);
#pragma GCC unroll 4
    for (std::size_t m = 0; m < blocks; ++m) {
      const lane_multiplier by{lanes / half * lanes * block + 2 * m, lanes / half};
#pragma GCC unroll 4
      for (std::size_t i = 0; i < half; ++i)
        forward_butterfly(by, r[2 * half * m + i], r[2 * half * m + half + i]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < lanes; ++i) store_pair(at + 2 * lanes * i, r[i]);
}

QKD004_TARGET inline void inverse_registers(std::uint64_t* at, std::size_t block) noexcept {
  pair r[lanes];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < lanes; ++i) r[i] = load_pair(at + 2 * lanes * i);
#pragma GCC unroll 3
  for (std::size_t half = 1; half < lanes; half *= 2) {
    const std::size_t blocks = lanes / (2 * half);
#pragma GCC unroll 4
    for (std::size_t m = 0; m < blocks; ++m) {
      const lane_multiplier by{lanes / half * lanes * block + 2 * m, lanes / half};
#pragma GCC unroll 4
      for (std::size_t i = 0; i < half; ++i)
        inverse_butterfly(by, r[2 * half * m + i], r[2 * half * m + half + i]);
    }
  }
  transpose(r);
#pragma GCC unroll 3
  for (std::size_t half = 1; half < lanes; half *= 2) {
    const std::size_t blocks = lanes / (2 * half);
#pragma GCC unroll 4
    for (std::size_t m = 0; m < blocks; ++m) {
      const wide_multiplier by{lanes / half * block + 2 * m};
#pragma GCC unroll 4
      for (std::size_t i = 0; i < half; ++i)
        inverse_butterfly(by, r[2 * half * m + i], r[2 * half * m + half + i]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < lanes; ++i) store_pair(at + 2 * lanes * i, r[i]);
}

/// Depth first: as soon as a block fits into a cache, all its layers are done there.
QKD004_TARGET void forward_block(std::uint64_t* at, unsigned log, std::size_t block) noexcept {
  if (log == 2 * lanes_log) {
    if constexpr (lanes > 1) forward_registers(at, block);
    return;
  }
  const std::size_t quarter = std::size_t{2} << (log - 2);
  if (block < 64) {
    forward_layers<narrow_multiplier>(at, quarter, block);
  } else {
    forward_layers<wide_multiplier>(at, quarter, block);
  }
  for (std::size_t i = 0; i < 4; ++i) forward_block(at + i * quarter, log - 2, 4 * block + i);
}

QKD004_TARGET void inverse_block(std::uint64_t* at, unsigned log, std::size_t block) noexcept {
  if (log == 2 * lanes_log) {
    if constexpr (lanes > 1) inverse_registers(at, block);
    return;
  }
  const std::size_t quarter = std::size_t{2} << (log - 2);
  for (std::size_t i = 0; i < 4; ++i) inverse_block(at + i * quarter, log - 2, 4 * block + i);
  if (block < 64) {
    inverse_layers<narrow_multiplier>(at, quarter, block);
  } else {
    inverse_layers<wide_multiplier>(at, quarter, block);
  }
}

// --- The three operations ------------------------------------------------------------------------

QKD004_TARGET void forward(std::uint64_t* words, std::uint64_t* spectrum, unsigned log) noexcept {
  change_basis(words, log);
  expand(words, spectrum, std::size_t{1} << log);
  forward_block(spectrum, log, 0);
}

QKD004_TARGET void multiply_add(std::uint64_t* sum, const std::uint64_t* left, const std::uint64_t* right,
                                unsigned log) noexcept {
  for (std::size_t i = 0; i < std::size_t{2} << log; i += 2 * lanes) {
    // Karatsuba: (a + b X)(c + d X) = (ac + delta bd) + ((a + b)(c + d) + ac) X
    const pair a = load_pair(left + i);
    const pair c = load_pair(right + i);
    const vec low = octet_products(a.low, c.low);
    const vec high = octet_products(a.high, c.high);
    const vec both = octet_products(a.low ^ a.high, c.low ^ c.high);
    pair to = load_pair(sum + i);
    add_to(to, {low ^ delta_products(high), both ^ low});
    store_pair(sum + i, to);
  }
}

QKD004_TARGET void inverse(std::uint64_t* spectrum, std::uint64_t* low, std::uint64_t* high,
                           unsigned log) noexcept {
  inverse_block(spectrum, log, 0);
  contract(spectrum, low, high, std::size_t{1} << log);
  change_basis_back(low, log);
  change_basis_back(high, log);
}
