// finite_key: how many secret bits a block of a decoy-state BB84 system holds, by the proof that the system names.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include "qkd004/decoy_bb84.hpp"
#include "qkd004/decoy_channel.hpp"
#include "qkd004/key_bound.hpp"
#include "qkd004/lim14.hpp"
#include "qkd004/w24.hpp"

namespace qkd004 {

/// What the system's proof says of a block, at its eps_sec and eps_cor.
[[nodiscard]] inline key_bound bound_key(const decoy_bb84& s, const decoy_statistics& counts,
                                         double leak_bits) noexcept {
  return s.proof == decoy_proof::lim14 ? lim14(s, counts, leak_bits) : w24(s, counts, leak_bits);
}

/// What it would say were the block endless.
[[nodiscard]] inline key_bound bound_key_asymptotic(const decoy_bb84& s, const decoy_statistics& counts,
                                                    double leak_bits) noexcept {
  return s.proof == decoy_proof::lim14 ? lim14_asymptotic(s, counts, leak_bits)
                                       : w24_asymptotic(s, counts, leak_bits);
}

/// What it says where eps_sec is `eps_per_bit` for each secret bit, which is how Lim et al. compare blocks of different
/// size (their kappa). The longest key that agrees with itself; the system's own eps_sec is not looked at.
[[nodiscard]] inline key_bound bound_key_per_bit(const decoy_bb84& s, const decoy_statistics& counts,
                                                 double leak_bits, double eps_per_bit) noexcept {
  decoy_bb84 at = s;
  at.eps_sec = eps_per_bit * counts.block_bits();
  key_bound bound = bound_key(at, counts, leak_bits);
  // a shorter key has a smaller eps_sec, which makes it shorter still: from above it falls to the first that agrees
  for (int i = 0; i < 100 && bound.length > 0; ++i) {
    const double before = bound.length;
    at.eps_sec = eps_per_bit * before;
    bound = bound_key(at, counts, leak_bits);
    if (std::abs(bound.length - before) < 1e-9 * before) break;
  }
  return bound;
}

/// Secret bits of a block: what both sites cut privacy amplification to. `leak_bits` is what was disclosed of it, both
/// ways where that counts. 0: no key, for whatever reason, and the block is discarded.
/// Both sites get the same number from the same counts if they run the same code on the same mathematical library; where
/// they do not, the verification of the block has to find out.
[[nodiscard]] inline std::uint64_t secret_length(const decoy_bb84& s, const decoy_counts& counts,
                                                 std::uint64_t leak_bits) noexcept {
  return secret_bits(bound_key(s, to_statistics(counts), static_cast<double>(leak_bits)));
}

}  // namespace qkd004
