// key_bound: what a proof says of one block of a decoy-state BB84 system, and which input it has anything to say about.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "qkd004/decoy_bb84.hpp"
#include "qkd004/decoy_channel.hpp"

namespace qkd004 {

/// In bits and detections of one block. All numbers are finite. Without arguments: no key.
struct key_bound {
  double length = 0;  ///< of the secret key, before it is rounded down; below 0: so much is missing
  double phi = 0.5;   ///< the phase error rate of the X basis' single photons is at most this
  double s_x0 = 0;    ///< detections in X of pulses without a photon: at least so many (w24: not counted, 0)
  double s_x1 = 0;    ///< detections in X of pulses of one photon: at least so many
  double s_z1 = 0;    ///< detections in Z of pulses of one photon: at least so many
  double v_z1 = 0;    ///< errors among these: at most so many
};

/// Whole secret bits: 0 where there is no key, and then not some bits of it.
[[nodiscard]] inline std::uint64_t secret_bits(const key_bound& bound) noexcept {
  const double whole = std::floor(bound.length);
  return whole >= 1 && whole < 0x1p63 ? static_cast<std::uint64_t>(whole) : 0;
}

namespace detail {

[[nodiscard]] inline bool is_probability(double p) noexcept { return p > 0 && p < 1; }

/// Probability that Alice sends n photons (0 or 1), over all intensities: tau_n.
[[nodiscard]] inline double photon_probability(const decoy_bb84& s, std::size_t n) noexcept {
  double sum = 0;
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    const auto& i = s.intensities[k];
    sum += i.probability * std::exp(-i.mean_photons) * (n == 0 ? 1 : i.mean_photons);
  }
  return sum;
}

/// Whether there is a block that counts so: nothing negative, no more errors than bits, exact as real numbers.
[[nodiscard]] inline bool is_countable(const std::array<double, 3>& n,
                                       const std::array<double, 3>& m) noexcept {
  for (std::size_t k = 0; k < 3; ++k) {
    if (!(n[k] >= 0 && m[k] >= 0 && m[k] <= n[k] && n[k] < 0x1p51)) return false;
  }
  return decoy_statistics::sum(n) > 0;
}

/// `bound` with what must not leave a proof taken out of it.
[[nodiscard]] inline key_bound finite_or_none(const key_bound& bound) noexcept {
  const std::array<double, 6> all{bound.length, bound.phi, bound.s_x0, bound.s_x1, bound.s_z1, bound.v_z1};
  const auto is_finite = [](double x) { return std::isfinite(x); };
  return std::all_of(all.begin(), all.end(), is_finite) ? bound : key_bound{};
}

}  // namespace detail

/// Whether the system's proof holds for its intensities, their probabilities, eps_sec and eps_cor: mu1 > mu2 + mu3 and
/// mu2 > mu3 >= 0, where w24 has no mu3; all of them are sent, and nothing else.
[[nodiscard]] inline bool is_provable(const decoy_bb84& s) noexcept {
  double sum = 0;  // and below: what is not a number fails every comparison
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    const auto& i = s.intensities[k];
    if (!detail::is_probability(i.probability) || !(i.mean_photons >= 0 && i.mean_photons < 100))
      return false;
    sum += i.probability;
  }
  const double mu1 = s.intensities[0].mean_photons;
  const double mu2 = s.intensities[1].mean_photons;
  const double mu3 = s.intensity_count() == 3 ? s.intensities[2].mean_photons : 0;
  return std::abs(sum - 1) < 1e-6 && mu1 > mu2 + mu3 && mu2 > mu3 && detail::is_probability(s.eps_sec) &&
         detail::is_probability(s.eps_cor);
}

}  // namespace qkd004
