// base64: key as text and back, in a time that depends on its length only; with padding, and no other text of the same
// octets.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

/// Clause: RFC 4648, 4. No table and no branch depends on an octet: caches and predictors tell nothing of a key.
namespace qkd004::wire::base64 {

[[nodiscard]] constexpr std::size_t encoded_size(std::size_t octets) noexcept { return (octets + 2) / 3 * 4; }

namespace detail {

/// All ones if low <= c <= high, else zero. Requires: all below 256.
[[nodiscard]] constexpr unsigned within(unsigned c, unsigned low, unsigned high) noexcept {
  return 0U - (((c - low) | (high - c)) >> 31 ^ 1U);
}

/// Requires: value < 64.
[[nodiscard]] constexpr char digit(unsigned value) noexcept {
  return static_cast<char>((within(value, 0, 25) & (value + 'A')) |
                           (within(value, 26, 51) & (value - 26 + 'a')) |
                           (within(value, 52, 61) & (value - 52 + '0')) | (within(value, 62, 62) & '+') |
                           (within(value, 63, 63) & '/'));
}

/// The value of a digit; of what is none, with the bit 64 set.
[[nodiscard]] constexpr unsigned value(char digit) noexcept {
  const auto c = static_cast<unsigned>(static_cast<unsigned char>(digit));
  const unsigned upper = within(c, 'A', 'Z');
  const unsigned lower = within(c, 'a', 'z');
  const unsigned number = within(c, '0', '9');
  const unsigned plus = within(c, '+', '+');
  const unsigned slash = within(c, '/', '/');
  return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (number & (c - '0' + 52)) | (plus & 62) |
         (slash & 63) | (~(upper | lower | number | plus | slash) & 64);
}

}  // namespace detail

/// Requires: `to` has encoded_size(from.size()) octets.
inline void encode(std::span<const std::byte> from, std::span<char> to) noexcept {
  assert(to.size() == encoded_size(from.size()));
  std::size_t at = 0;
  std::size_t i = 0;
  const auto octet = [from](std::size_t n) { return std::to_integer<unsigned>(from[n]); };
  for (; i + 3 <= from.size(); i += 3) {
    const unsigned bits = octet(i) << 16 | octet(i + 1) << 8 | octet(i + 2);
    to[at++] = detail::digit(bits >> 18);
    to[at++] = detail::digit(bits >> 12 & 63);
    to[at++] = detail::digit(bits >> 6 & 63);
    to[at++] = detail::digit(bits & 63);
  }
  if (i == from.size()) return;
  const bool two = i + 2 == from.size();
  const unsigned bits = octet(i) << 16 | (two ? octet(i + 1) << 8 : 0);
  to[at++] = detail::digit(bits >> 18);
  to[at++] = detail::digit(bits >> 12 & 63);
  to[at++] = two ? detail::digit(bits >> 6 & 63) : '=';
  to[at] = '=';
}

/// Octets of what decode() makes of a text of which only the length and the padding are looked at; none if a text
/// cannot have that length.
[[nodiscard]] constexpr std::optional<std::size_t> decoded_size(std::string_view text) noexcept {
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  return text.size() / 4 * 3 - padding;
}

/// Whether `text` was base64 of `to.size()` octets, which are in `to` then; else `to` holds nothing of use. Refuses
/// white space, padding that lacks or is elsewhere, and bits that no octet uses unless they are 0.
/// Requires: `to` has decoded_size(text) octets.
[[nodiscard]] inline bool decode(std::string_view text, std::span<std::byte> to) noexcept {
  assert(decoded_size(text) == to.size());
  const std::size_t whole = to.size() / 3 * 4;
  unsigned wrong = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < whole; i += 4) {
    const unsigned a = detail::value(text[i]);
    const unsigned b = detail::value(text[i + 1]);
    const unsigned c = detail::value(text[i + 2]);
    const unsigned d = detail::value(text[i + 3]);
    wrong |= a | b | c | d;
    const unsigned bits = a << 18 | b << 12 | c << 6 | d;
    to[at++] = static_cast<std::byte>(bits >> 16 & 255);
    to[at++] = static_cast<std::byte>(bits >> 8 & 255);
    to[at++] = static_cast<std::byte>(bits & 255);
  }
  unsigned slack = 0;
  if (whole < text.size()) {
    const unsigned a = detail::value(text[whole]);
    const unsigned b = detail::value(text[whole + 1]);
    wrong |= a | b;
    to[at++] = static_cast<std::byte>((a << 2 | b >> 4) & 255);
    if (at < to.size()) {
      const unsigned c = detail::value(text[whole + 2]);
      wrong |= c;
      slack = c & 3;
      to[at] = static_cast<std::byte>((b << 4 | c >> 2) & 255);
    } else {
      slack = b & 15;
    }
  }
  return ((wrong & 64) | slack) == 0;
}

}  // namespace qkd004::wire::base64
