// decoy_optimum: which intensities, and how often which of them and which basis, give the most key over a given fibre.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include "qkd004/decoy_bb84.hpp"
#include "qkd004/key_forecast.hpp"
#include "qkd004/nelder_mead.hpp"

namespace qkd004 {

/// The system with the best settings that were found, and what it is expected to distil with them.
struct decoy_optimum {
  decoy_bb84 system;
  key_forecast forecast;
};

namespace detail {

/// The share of a range in which a number without bounds puts a parameter, and back. Neither end is ever reached.
[[nodiscard]] inline double share_of(double x) noexcept { return 1e-5 + (1 - 2e-5) / (1 + std::exp(-x)); }
[[nodiscard]] inline double unbounded(double share) noexcept { return std::log(share / (1 - share)); }

/// The parameters that are free: X basis, probability of the signal, its intensity, the first decoy's in shares of what
/// is possible; with two decoys, which part of the rest the first of them gets.
using decoy_shares = std::array<double, 5>;

inline constexpr double brightest = 1.5;  ///< photons of a signal; more never pays

[[nodiscard]] inline decoy_bb84 with_shares(decoy_bb84 s, const decoy_shares& share) noexcept {
  auto& [signal, decoy, weak] = s.intensities;
  const bool is_three = s.intensity_count() == 3;
  if (!is_three) weak = {};
  s.x_basis = share[0];
  signal.probability = share[1];
  decoy.probability = is_three ? (1 - share[1]) * share[4] : 1 - share[1];
  if (is_three) weak.probability = 1 - signal.probability - decoy.probability;
  // mu1 > mu2 + mu3 and mu2 > mu3, whatever the shares
  const double mu3 = weak.mean_photons;
  signal.mean_photons = 2 * mu3 + share[2] * (brightest - 2 * mu3);
  decoy.mean_photons = mu3 + share[3] * (signal.mean_photons - 2 * mu3);
  return s;
}

}  // namespace detail

/// The most key per pulse that can be found by choice of x_basis and of the intensities and their probabilities; the
/// weakest of three intensities stays as it is, and so does all else. The same each time. Where nothing gives a key, the
/// system as it came.
/// Requires: with lim14, a third intensity below 0.1 photons.
[[nodiscard]] inline decoy_optimum optimise(const decoy_bb84& system, const block_plan& plan) {
  using detail::decoy_shares;
  const auto at = [&](const decoy_shares& x) {
    decoy_shares share;
    for (std::size_t i = 0; i < share.size(); ++i) share[i] = detail::share_of(x[i]);
    return detail::with_shares(system, share);
  };
  // Where there is no key it is the least that is missing that leads to where there is some.
  const auto cost = [&](const decoy_shares& x) {
    const key_forecast f = forecast_key(at(x), plan);
    if (f.has_key()) return -std::log(f.per_pulse);
    const double missing = -f.bound.length / f.counts.block_bits();
    return std::isfinite(missing) ? 1e3 + missing : 1e9;
  };
  // Signals prevail in large blocks, decoys in small ones; at the end of the reach Z has to be looked at more.
  constexpr std::array<decoy_shares, 8> starts{{{0.95, 0.80, 0.30, 0.30, 0.70},
                                                {0.87, 0.40, 0.30, 0.45, 0.75},
                                                {0.70, 0.10, 0.33, 0.30, 0.70},
                                                {0.50, 0.04, 0.35, 0.20, 0.55},
                                                {0.20, 0.04, 0.33, 0.20, 0.55},
                                                {0.20, 0.12, 0.28, 0.35, 0.60},
                                                {0.30, 0.60, 0.23, 0.40, 0.65},
                                                {0.15, 0.85, 0.24, 0.20, 0.60}}};
  nelder_mead_minimum<5> best;
  best.value = 1e9;
  for (const auto& start : starts) {
    decoy_shares x;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = detail::unbounded(start[i]);
    const auto found = nelder_mead(cost, x, {.step = 0.5, .tolerance = 1e-9, .evaluations = 800});
    if (found.value < best.value) best = found;
  }
  const decoy_bb84 s = at(best.at);
  const key_forecast f = forecast_key(s, plan);
  if (f.has_key()) return {s, f};
  return {system, forecast_key(system, plan)};
}

}  // namespace qkd004
