// key_forecast: what a decoy-state BB84 system is expected to distil: the model of its channel, put into its proof.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "qkd004/decoy_bb84.hpp"
#include "qkd004/decoy_channel.hpp"
#include "qkd004/finite_key.hpp"
#include "qkd004/key_bound.hpp"

namespace qkd004 {

/// How large a block is, and what it costs.
struct block_plan {
  /// Sifted bits of the X basis (n_X). Infinite: the limit of endless blocks.
  double block_bits = 1e7;
  /// Instead, if it is above 0: pulses that Alice sends for a block.
  double pulses = 0;
  double f_ec = 1.16;      ///< what reconciliation discloses, over the Shannon limit
  double eps_per_bit = 0;  ///< above 0: eps_sec is this for each secret bit (Lim's kappa), not the system's
};

/// What a system is expected to count and to distil.
struct key_forecast {
  decoy_statistics counts;  ///< of the block; in the limit, of one sifted bit
  key_bound bound;
  double pulses = 0;     ///< for one block
  double per_pulse = 0;  ///< secret bits, 0 or more

  [[nodiscard]] bool has_key() const noexcept { return per_pulse > 0; }
};

/// Returns no key for a plan or a system that cannot be.
[[nodiscard]] inline key_forecast forecast_key(const decoy_bb84& s, const block_plan& plan) noexcept {
  const bool is_endless = plan.pulses <= 0 && std::isinf(plan.block_bits);
  double bits = is_endless ? 1 : plan.block_bits;
  if (plan.pulses > 0) bits = plan.pulses * sifted_probability(s);
  key_forecast f;
  if (!(bits > 0)) return f;
  f.counts = expected_statistics(s, bits);
  f.pulses = expected_pulses(s, bits);
  const double leak = expected_leak(f.counts, plan.f_ec);
  if (is_endless) {
    f.bound = bound_key_asymptotic(s, f.counts, leak);
  } else if (plan.eps_per_bit > 0) {
    f.bound = bound_key_per_bit(s, f.counts, leak, plan.eps_per_bit);
  } else {
    f.bound = bound_key(s, f.counts, leak);
  }
  const double rate = f.bound.length / f.pulses;
  const bool is_some = is_endless ? rate > 0 : f.bound.length >= 1;  // no block has half a bit
  if (is_some) f.per_pulse = rate;
  return f;
}

}  // namespace qkd004
