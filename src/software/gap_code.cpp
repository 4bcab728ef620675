// SPDX-License-Identifier: Apache-2.0
#include "software/gap_code.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>

#include "wire/octets.hpp"

namespace qkd004::software {

static_assert(std::endian::native == std::endian::little, "words are written as they are");

namespace {

constexpr std::size_t head_octets = 5;
constexpr unsigned most_zeros = 20;  ///< and more are an escape
constexpr unsigned most_parameter = 31;

// A code is read from 8 octets at any bit of the first of them: 57 bits.
static_assert(most_zeros + most_parameter + 1 <= 57 && most_zeros + 1 + 32 + 1 <= 57);

constexpr std::uint64_t low(unsigned count) noexcept { return (std::uint64_t{1} << count) - 1; }

/// For geometric gaps the best Rice parameter is the least r with (1 - P)^(2^r) below the golden section (Kiely, IPN
/// Progress Report 42-159, 2004). The result depends on libm; what it is stands in the message.
unsigned parameter_for(double detection_probability) noexcept {
  constexpr double golden = 0.6180339887498949;
  const double p = std::clamp(detection_probability, 1e-12, 0.999);
  const double run = std::log2(std::log(golden) / std::log1p(-p));
  return static_cast<unsigned>(std::clamp(std::ceil(run), 0.0, double{most_parameter}));
}

struct code {
  std::uint64_t bits;
  unsigned length;  ///< 54 at most
};

code code_of(std::uint32_t gap, std::uint64_t basis, unsigned parameter) noexcept {
  const std::uint64_t value = gap - 1;
  const std::uint64_t zeros = value >> parameter;
  if (zeros >= most_zeros) [[unlikely]] {
    return {std::uint64_t{1} << most_zeros | value << (most_zeros + 1) | basis << (most_zeros + 33),
            most_zeros + 34};
  }
  const auto shift = static_cast<unsigned>(zeros);
  return {(1 | (value & low(parameter)) << 1 | basis << (parameter + 1)) << shift, shift + parameter + 2};
}

std::uint64_t word_at(const std::byte* from) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

}  // namespace

void encode_gaps(std::span<const std::uint32_t> gaps, std::span<const std::uint64_t> bases,
                 double detection_probability, std::vector<std::byte>& message) {
  assert(bases.size() * 64 >= gaps.size());
  const unsigned parameter = parameter_for(detection_probability);
  const std::size_t before = message.size();
  // As many octets as the codes can need, a part of the message at a time.
  constexpr std::size_t part = 1024;
  constexpr std::size_t part_octets = part * (most_zeros + 34) / 8 + 2 * sizeof(std::uint64_t);
  message.resize(before + head_octets);
  wire::octet_writer head{std::span{message}.subspan(before)};
  head.u32(static_cast<std::uint32_t>(gaps.size()));
  head.u8(static_cast<std::uint8_t>(parameter));

  std::size_t written = message.size();
  std::uint64_t pending = 0;
  unsigned held = 0;  ///< bits of `pending`, fewer than 8 between two detections
  for (std::size_t begin = 0; begin < gaps.size(); begin += part) {
    if (message.size() - written < part_octets) {
      const std::size_t needed = written + part_octets;
      message.resize(std::max(needed, written + (written - before) / (begin + 1) * (gaps.size() - begin)));
    }
    std::byte* to = message.data() + written;
    const std::size_t end = std::min(begin + part, gaps.size());
    for (std::size_t i = begin; i < end; ++i) {
      const code c = code_of(gaps[i], bases[i / 64] >> (i % 64) & 1, parameter);
      pending |= c.bits << held;
      held += c.length;  // 61 at most
      std::memcpy(to, &pending, sizeof pending);
      to += held / 8;
      pending >>= held & ~7U;
      held %= 8;
    }
    written = static_cast<std::size_t>(to - message.data());
  }
  if (held != 0) {
    if (written == message.size()) message.resize(written + 1);
    message[written++] = static_cast<std::byte>(pending);
  }
  message.resize(written);
}

bool decode_gaps(std::span<const std::byte> message, std::size_t most, decoded_gaps& out) {
  wire::octet_reader head{message};
  const std::size_t count = head.u32();
  const unsigned parameter = head.u8();
  if (!head.ok() || count > most || parameter > most_parameter) return false;
  const std::span<const std::byte> codes = message.subspan(head_octets);
  if (codes.size() * 8 / (parameter + 2) < count) return false;
  out.gaps.resize(count);
  out.bases.assign((count + 63) / 64, 0);

  // The last octets are read from a copy that goes on with zeros: so no code is read past the end, and one that
  // would go on there is seen by where it ends.
  constexpr std::size_t spare = 2 * sizeof(std::uint64_t);
  std::byte last[2 * spare] = {};
  const std::size_t direct =
      codes.size() > spare ? codes.size() - spare : 0;  ///< octets at which a word may begin
  std::copy(codes.begin() + static_cast<std::ptrdiff_t>(direct), codes.end(), last);
  const std::uint64_t end = codes.size() * 8;
  std::uint64_t at = 0;  ///< bits
  std::uint64_t bases = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t octet = at / 8;
    if (at >= end) return false;
    const std::uint64_t word = word_at(octet < direct ? &codes[octet] : &last[octet - direct]) >> (at % 8);
    if ((word & low(most_zeros + 1)) == 0) return false;
    const auto zeros = static_cast<unsigned>(std::countr_zero(word));
    std::uint64_t value = 0;
    std::uint64_t basis = 0;
    if (zeros < most_zeros) [[likely]] {
      const std::uint64_t rest = word >> (zeros + 1);
      value = std::uint64_t{zeros} << parameter | (rest & low(parameter));
      basis = rest >> parameter & 1;
      at += zeros + parameter + 2;
    } else {
      value = word >> (most_zeros + 1) & low(32);
      basis = word >> (most_zeros + 33) & 1;
      at += most_zeros + 34;
      if (value >> parameter < most_zeros) return false;  // it has a shorter code
    }
    if (value >= 0xffffffff) return false;
    out.gaps[i] = static_cast<std::uint32_t>(value + 1);
    bases |= basis << (i % 64);
    if (i % 64 == 63) {
      out.bases[i / 64] = bases;
      bases = 0;
    }
  }
  if (count % 64 != 0) out.bases.back() = bases;
  if (at > end || end - at >= 8) return false;
  return at % 8 == 0 || std::to_integer<unsigned>(codes.back()) >> (at % 8) == 0;
}

}  // namespace qkd004::software
