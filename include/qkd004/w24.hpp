// w24: the length of key that one decoy proves: Wiesemann, Krause, Tupkary, Luetkenhaus, Rusca, Walenta, "A consolidated and
// accessible security proof for finite-size decoy-state quantum key distribution", arXiv:2405.16578.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "qkd004/binary_entropy.hpp"
#include "qkd004/decoy_bb84.hpp"
#include "qkd004/decoy_channel.hpp"
#include "qkd004/key_bound.hpp"

namespace qkd004 {

namespace detail {

/// One basis: detections of one photon (at least), errors of one (at most).
struct w24_photons {
  double s1 = 0;
  double v1 = 0;
};

/// n detections with c errors. `half_log` is ln(1/eps_0)/2 of Hoeffding's inequality, or 0 in the limit of endless
/// blocks. Each bound stays between nothing and all.
[[nodiscard]] inline w24_photons w24_basis(const decoy_bb84& s, const std::array<double, 3>& n,
                                           const std::array<double, 3>& c, double half_log) noexcept {
  const double n_all = n[0] + n[1];
  const double c_all = c[0] + c[1];
  const double n_off = std::sqrt(n_all * half_log);
  const double c_off = std::sqrt(c_all * half_log);
  const double mu1 = s.intensities[0].mean_photons;
  const double mu2 = s.intensities[1].mean_photons;
  const double per1 = std::exp(mu1) / s.intensities[0].probability;
  const double per2 = std::exp(mu2) / s.intensities[1].probability;
  const double tau0 = photon_probability(s, 0);
  const double tau1 = photon_probability(s, 1);

  const double n1 = per1 * std::min(n_all, n[0] + n_off);
  const double n2 = per2 * std::max(0.0, n[1] - n_off);
  const double c1 = per1 * std::min(c_all, c[0] + c_off);
  const double c2_high = per2 * std::min(c_all, c[1] + c_off);
  const double c2_low = per2 * std::max(0.0, c[1] - c_off);

  // without a photon every second bit is wrong
  const double s0 = std::clamp(2 * (tau0 * std::min(c1, c2_high) + n_off), 0.0, n_all);
  const double square = mu1 * mu1;
  w24_photons p;
  p.s1 = mu1 * tau1 / (mu2 * (mu1 - mu2)) *
         (n2 - mu2 * mu2 / square * n1 - (square - mu2 * mu2) / (square * tau0) * s0);
  p.s1 = std::clamp(p.s1, 0.0, n_all);
  p.v1 = std::clamp(tau1 / (mu1 - mu2) * (c1 - c2_low), 0.0, n_all);
  return p;
}

/// Serfling: how much the rate of c bits may exceed that of d others, drawn from the same lot, but for eps_0.
[[nodiscard]] inline double w24_gamma(double log_inverse_eps, double c, double d) noexcept {
  return std::sqrt((c + d) / (c * d) * (d + 1) / d * log_inverse_eps);
}

/// Without what a block costs once. `log_inverse_eps` is ln(1/eps_0), or 0.
[[nodiscard]] inline key_bound w24_leading(const decoy_bb84& s, const decoy_statistics& counts,
                                           double leak_bits, double log_inverse_eps) noexcept {
  if (s.proof != decoy_proof::w24 || !is_provable(s) || !(leak_bits >= 0)) return {};
  if (!is_countable(counts.n_x, counts.m_x) || !is_countable(counts.n_z, counts.m_z)) return {};
  if (counts.n_x[2] != 0 || counts.n_z[2] != 0) return {};  // of an intensity that there is not
  const auto x = w24_basis(s, counts.n_x, counts.m_x, log_inverse_eps / 2);
  const auto z = w24_basis(s, counts.n_z, counts.m_z, log_inverse_eps / 2);
  key_bound bound;
  bound.s_x1 = x.s1;
  bound.s_z1 = z.s1;
  bound.v_z1 = z.v1;
  if (x.s1 > 0 && z.s1 > 0) {
    bound.phi = std::min(0.5, std::min(0.5, z.v1 / z.s1) + w24_gamma(log_inverse_eps, x.s1, z.s1));
  }
  bound.length = bound.s_x1 * (1 - binary_entropy(bound.phi)) - leak_bits;
  return bound;
}

}  // namespace detail

/// `leak_bits` is what reconciliation disclosed; m_x is known once it has corrected them. Detections of no photon are
/// not counted for the key.
/// Returns no key where the proof does not hold: intensities other than mu1 > mu2 > 0, probabilities that are none or do
/// not add up, counts that cannot be.
[[nodiscard]] inline key_bound w24(const decoy_bb84& s, const decoy_statistics& counts,
                                   double leak_bits) noexcept {
  auto bound = detail::w24_leading(s, counts, leak_bits, std::log(15 / s.eps_sec));
  bound.length -=
      std::log2(2 / s.eps_cor) + 4 * std::log2(15 / s.eps_sec) - 1;  // 4 log2(15 / (eps_sec 2^(1/4)))
  return detail::finite_or_none(bound);
}

/// The same for a block that is endless, of which `counts` is the part that came: nothing fluctuates, and what a block
/// costs once costs nothing.
[[nodiscard]] inline key_bound w24_asymptotic(const decoy_bb84& s, const decoy_statistics& counts,
                                              double leak_bits) noexcept {
  return detail::finite_or_none(detail::w24_leading(s, counts, leak_bits, 0));
}

}  // namespace qkd004
