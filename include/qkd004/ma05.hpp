// ma05: the key rate of endless blocks: Ma, Qi, Zhao, Lo, "Practical decoy state for quantum key distribution", PRA 72,
// 012326 (2005), arXiv:quant-ph/0503005. For comparison with the literature; no block gets its key by it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "qkd004/binary_entropy.hpp"
#include "qkd004/decoy_bb84.hpp"
#include "qkd004/decoy_channel.hpp"

namespace qkd004 {

/// Per pulse of the signal.
struct ma05_rate {
  double secret_bits = 0;  ///< secret bits; below 0: so many are missing
  double gain = 0;         ///< Q_mu: probability of a detection
  double qber = 0;         ///< E_mu
  double y1 = 0;           ///< Y_1: probability that one photon is detected, at least
  double e1 = 0.5;         ///< e_1: error rate of one photon, at most
};

/// The system of Gobby, Yuan, Shields, APL 84, 3762 (2004), as Ma et al. take it, at 0 km. Every pulse counts as one of
/// the signal, and half of them are sifted; the third intensity is the vacuum. Y_0 = 1.7e-6 are two detectors' dark counts.
[[nodiscard]] inline decoy_bb84 gys_system() noexcept {
  decoy_bb84 s;
  s.km = 0;
  s.loss_db_per_km = 0.21;
  s.efficiency = 0.045;
  s.dark_count = 1.7e-6 / 2;
  s.afterpulse = 0;
  s.misalignment = 0.033;
  s.x_basis = 0.5;
  s.intensities = {{{0.48, 1}, {0.05, 0}, {0, 0}}};
  return s;
}

namespace detail {

/// Gain and error probability of a pulse: Y_0 + 1 - exp(-eta mu) and Y_0/2 + e_detector (1 - exp(-eta mu)).
struct ma05_pulse {
  ma05_pulse(const decoy_bb84& s, double mean_photons) noexcept
      : gain{2 * s.dark_count - std::expm1(-transmittance(s) * mean_photons)},
        error{s.dark_count - s.misalignment * std::expm1(-transmittance(s) * mean_photons)} {}
  double gain;
  double error;
};

/// R = q (-Q_mu f h(E_mu) + Q_1 (1 - h(e_1))), where q is the part that sifting leaves.
[[nodiscard]] inline ma05_rate ma05_from_single(const decoy_bb84& s, double f_ec, double y1,
                                                double e1) noexcept {
  const double mu = s.intensities[0].mean_photons;
  const ma05_pulse signal{s, mu};
  ma05_rate r;
  r.gain = signal.gain;
  r.qber = std::min(0.5, signal.error / signal.gain);
  r.y1 = std::max(0.0, y1);
  r.e1 = y1 > 0 ? std::clamp(e1, 0.0, 0.5) : 0.5;
  const double sifted = s.x_basis * s.x_basis + (1 - s.x_basis) * (1 - s.x_basis);
  const double q1 = r.y1 * mu * std::exp(-mu);
  r.secret_bits = sifted * (q1 * (1 - binary_entropy(r.e1)) - f_ec * r.gain * binary_entropy(r.qber));
  return std::isfinite(r.secret_bits) && std::isfinite(r.qber) ? r : ma05_rate{};
}

}  // namespace detail

/// With one weak decoy, the second intensity, and the vacuum. `f_ec` is the efficiency of reconciliation, 1 at the
/// Shannon limit. Requires for a rate: mu > nu > 0.
[[nodiscard]] inline ma05_rate ma05_vacuum_weak(const decoy_bb84& s, double f_ec) noexcept {
  const double mu = s.intensities[0].mean_photons;
  const double nu = s.intensities[1].mean_photons;
  if (!(mu > nu && nu > 0)) return {};
  const double y0 = 2 * s.dark_count;  // the vacuum shows it
  const detail::ma05_pulse signal{s, mu};
  const detail::ma05_pulse decoy{s, nu};
  // (21) and (25) of the paper
  const double y1 = mu / (mu * nu - nu * nu) *
                    (decoy.gain * std::exp(nu) - signal.gain * std::exp(mu) * nu * nu / (mu * mu) -
                     (mu * mu - nu * nu) / (mu * mu) * y0);
  const double e1 = (decoy.error * std::exp(nu) - y0 / 2) / (y1 * nu);
  return detail::ma05_from_single(s, f_ec, y1, e1);
}

/// With so many decoys that what one photon does is known exactly.
[[nodiscard]] inline ma05_rate ma05_infinite(const decoy_bb84& s, double f_ec) noexcept {
  const double y0 = 2 * s.dark_count;
  const double eta = transmittance(s);
  return detail::ma05_from_single(s, f_ec, y0 + eta, (y0 / 2 + s.misalignment * eta) / (y0 + eta));
}

}  // namespace qkd004
