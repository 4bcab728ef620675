// lim14: the length of key that two decoys prove: Lim, Curty, Walenta, Xu, Zbinden, "Concise security bounds for practical
// decoy-state quantum key distribution", PRA 89, 022307 (2014), arXiv:1311.7129. Equations (1) to (5).
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

/// One basis: detections of no photon and of one (at least), errors of one (at most).
struct lim14_photons {
  double s0 = 0;
  double s1 = 0;
  double v1 = 0;
};

/// (2), (3), (4). `half_log` is ln(21/eps_sec)/2, or 0 in the limit of endless blocks. What a bound from below leaves
/// under 0 is 0: true, and small blocks have no key without it.
[[nodiscard]] inline lim14_photons lim14_basis(const decoy_bb84& s, const std::array<double, 3>& n,
                                               const std::array<double, 3>& m, double half_log) noexcept {
  const double n_off = std::sqrt(decoy_statistics::sum(n) * half_log);
  const double m_off = std::sqrt(decoy_statistics::sum(m) * half_log);
  const auto per = [&](std::size_t k) {
    return std::exp(s.intensities[k].mean_photons) / s.intensities[k].probability;
  };
  const auto low = [&](const auto& of, std::size_t k, double off) {
    return per(k) * std::max(0.0, of[k] - off);
  };
  const auto high = [&](const auto& of, std::size_t k, double off) { return per(k) * (of[k] + off); };

  const double mu1 = s.intensities[0].mean_photons;
  const double mu2 = s.intensities[1].mean_photons;
  const double mu3 = s.intensities[2].mean_photons;
  const double tau0 = photon_probability(s, 0);
  const double tau1 = photon_probability(s, 1);
  const double all = decoy_statistics::sum(n);

  lim14_photons p;
  p.s0 = std::clamp(tau0 * (mu2 * low(n, 2, n_off) - mu3 * high(n, 1, n_off)) / (mu2 - mu3), 0.0, all);
  const double decoys = mu2 * mu2 - mu3 * mu3;
  const double more = decoys / (mu1 * mu1) * (high(n, 0, n_off) - p.s0 / tau0);  // of two photons and above
  p.s1 = std::clamp(tau1 * mu1 * (low(n, 1, n_off) - high(n, 2, n_off) - more) / (mu1 * (mu2 - mu3) - decoys),
                    0.0, all);
  p.v1 = std::max(0.0, tau1 * (high(m, 1, m_off) - low(m, 2, m_off)) / (mu2 - mu3));
  return p;
}

/// (5): how much the rate of d bits may exceed rate b of c others, drawn from the same lot, but for a probability
/// that eps is. The inner logarithm is natural, the outer binary; below 0 it says that eps is generous enough without.
[[nodiscard]] inline double lim14_gamma(double eps, double b, double c, double d) noexcept {
  const double spread = (c + d) / (c * d * (1 - b) * b);
  const double ln2 = 0.693147180559945309417;
  const double outer = std::max(0.0, std::log2(spread * 21 * 21 / (eps * eps)));
  return std::sqrt((c + d) * (1 - b) * b / (c * d * ln2) * outer);
}

/// All but the constants of (1). `half_log` as above.
[[nodiscard]] inline key_bound lim14_leading(const decoy_bb84& s, const decoy_statistics& counts,
                                             double leak_bits, double half_log) noexcept {
  if (s.proof != decoy_proof::lim14 || !is_provable(s) || !(leak_bits >= 0)) return {};
  if (!is_countable(counts.n_x, {}) || !is_countable(counts.n_z, counts.m_z)) return {};
  const auto x = lim14_basis(s, counts.n_x, {}, half_log);
  const auto z = lim14_basis(s, counts.n_z, counts.m_z, half_log);
  key_bound bound;
  bound.s_x0 = std::min(x.s0, counts.block_bits() - x.s1);
  bound.s_x1 = x.s1;
  bound.s_z1 = z.s1;
  bound.v_z1 = z.v1;
  if (x.s1 > 0 && z.s1 > 0) {
    // without an error gamma would be 0, however few were looked at: it comes from an approximation that fails there
    const double rate = half_log > 0 ? std::max(z.v1, 1.0) / z.s1 : z.v1 / z.s1;
    const double excess = half_log > 0 && rate < 0.5 ? lim14_gamma(s.eps_sec, rate, z.s1, x.s1) : 0;
    bound.phi = std::min(0.5, rate + excess);
  }
  bound.length = bound.s_x0 + bound.s_x1 * (1 - binary_entropy(bound.phi)) - leak_bits;
  return bound;
}

}  // namespace detail

/// The system of Lim et al., section IV, at 0 km, with the settings that they find best for blocks of 10^7 bits there.
[[nodiscard]] inline decoy_bb84 lim14_system() noexcept {
  decoy_bb84 s;
  s.km = 0;
  s.x_basis = 0.87;
  s.intensities = {{{0.45, 0.40}, {0.20, 0.45}, {2e-4, 0.15}}};
  return s;
}

/// `leak_bits` is what reconciliation disclosed; m_x is not looked at.
/// Returns no key where the proof does not hold: intensities other than mu1 > mu2 + mu3, mu2 > mu3 >= 0, probabilities
/// that are none or do not add up, counts that cannot be.
[[nodiscard]] inline key_bound lim14(const decoy_bb84& s, const decoy_statistics& counts,
                                     double leak_bits) noexcept {
  auto bound = detail::lim14_leading(s, counts, leak_bits, std::log(21 / s.eps_sec) / 2);
  bound.length -= 6 * std::log2(21 / s.eps_sec) + std::log2(2 / s.eps_cor);
  return detail::finite_or_none(bound);
}

/// The same for a block that is endless, of which `counts` is the part that came: nothing fluctuates, and what a block
/// costs once costs nothing.
[[nodiscard]] inline key_bound lim14_asymptotic(const decoy_bb84& s, const decoy_statistics& counts,
                                                double leak_bits) noexcept {
  return detail::finite_or_none(detail::lim14_leading(s, counts, leak_bits, 0));
}

}  // namespace qkd004
