// verify: whether both ends hold the same after reconciliation: 64 bits that one end tells the other.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "software/bits.hpp"
#include "software/poly_hash.hpp"

namespace qkd004::software {

/// Public, and uniformly random. Drawn for each block by the end that did not correct its bits, and sent once no bit of
/// it changes any more: errors that were there before the key cannot have been chosen to fit it. After a mismatch the
/// block is discarded at both ends; who tries again with the same key asks a question whose answer is known.
using verification_key = std::array<std::byte, 32>;

/// Bits that a tag tells of its block: they count as disclosed. Bits of it may be cut off for tests only.
inline constexpr unsigned verification_tag_bits = 64;

/// The block hashed to 128 bits by poly_hash with the first half of the key; these by poly_hash with the second half,
/// of which 64 bits are kept. One polynomial over GF(2^64) would not do: its probability of collision grows with the
/// length, to 2^-46.7 at 10^7 bits.
[[nodiscard]] std::uint64_t verification_tag(const bits& block, const verification_key& key) noexcept;
/// Of octets; another hash than that of bits.
[[nodiscard]] std::uint64_t verification_tag(std::span<const std::byte> octets,
                                             const verification_key& key) noexcept;

/// Most that the probability can be, over the keys, that two different blocks of so many bits have the same tag.
/// That of the first hash, and 2^-64: the difference d of two messages of one block makes a difference of d k^2 in the
/// second, which is uniform as k is, and so are 64 bits of it.
[[nodiscard]] constexpr double verification_error(std::uint64_t block_bits) noexcept {
  const auto blocks = static_cast<double>((block_bits + 127) / 128 + 1);  // one for the number of bits
  return (blocks + 1) * 0x1p-128 + 0x1p-64;
}

}  // namespace qkd004::software
