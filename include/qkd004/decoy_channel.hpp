// decoy_channel: what a decoy-state BB84 system is expected to count, in closed form: a model of fibre and detectors.
// Draws nothing and proves nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "qkd004/binary_entropy.hpp"
#include "qkd004/decoy_bb84.hpp"

namespace qkd004 {

/// Counts of one block as real numbers: expectations, or what was counted. Elements as in decoy_counts.
struct decoy_statistics {
  std::array<double, 3> n_x{};
  std::array<double, 3> n_z{};
  std::array<double, 3> m_x{};
  std::array<double, 3> m_z{};

  [[nodiscard]] static constexpr double sum(const std::array<double, 3>& of) noexcept {
    return of[0] + of[1] + of[2];
  }
  /// Sifted bits of the X basis, and the fraction of them that is wrong; 0 if there are none.
  [[nodiscard]] constexpr double block_bits() const noexcept { return sum(n_x); }
  [[nodiscard]] constexpr double qber() const noexcept {
    return block_bits() > 0 ? sum(m_x) / block_bits() : 0;
  }
};

/// The same as real numbers: exact below 2^53.
[[nodiscard]] constexpr decoy_statistics to_statistics(const decoy_counts& c) noexcept {
  decoy_statistics s;
  for (std::size_t k = 0; k < 3; ++k) {
    s.n_x[k] = static_cast<double>(c.n_x[k]);
    s.n_z[k] = static_cast<double>(c.n_z[k]);
    s.m_x[k] = static_cast<double>(c.m_x[k]);
    s.m_z[k] = static_cast<double>(c.m_z[k]);
  }
  return s;
}

/// The nearest whole counts. Requires: all are finite, 0 or more, and below 2^63.
[[nodiscard]] inline decoy_counts to_counts(const decoy_statistics& s) noexcept {
  const auto nearest = [](double x) { return static_cast<std::uint64_t>(std::llround(x)); };
  decoy_counts c;
  for (std::size_t k = 0; k < 3; ++k) {
    c.n_x[k] = nearest(s.n_x[k]);
    c.n_z[k] = nearest(s.n_z[k]);
    c.m_x[k] = nearest(s.m_x[k]);
    c.m_z[k] = nearest(s.m_z[k]);
  }
  return c;
}

/// The probability that a photon which Alice sends reaches a detector of Bob's and is seen.
[[nodiscard]] inline double transmittance(const decoy_bb84& s) noexcept {
  return s.efficiency * std::pow(10, -s.loss_db_per_km * s.km / 10);
}

/// Probabilities of one pulse, where both chose the same basis.
struct pulse_response {
  double click = 0;      ///< D_k: a photon or a dark count
  double detection = 0;  ///< R_k: the same, and the after-pulses it brings
  double error = 0;      ///< e_k: a detection of the wrong bit, a joint probability and not the QBER
};

/// Lim et al. 2014, section IV. The print has the channel's transmittance alone in e_k; with it their curves come out
/// ten times too low, with that of the system, which is here, their Fig. 1 is met.
[[nodiscard]] inline pulse_response respond(const decoy_bb84& s, double mean_photons) noexcept {
  const double dark = s.dark_count;
  const double missed = std::exp(-transmittance(s) * mean_photons);
  const double seen =
      -std::expm1(-transmittance(s) * mean_photons);  // 1 - missed, of which few digits would be left
  pulse_response r;
  r.click = seen + 2 * dark * missed;
  r.detection = r.click * (1 + s.afterpulse);
  r.error = dark + s.misalignment * seen + s.afterpulse * r.click / 2;
  return r;
}

/// Detections per pulse, whatever the bases. A detector that is blind for t pulses after each count makes r of the
/// r0 = half of all clicks that it would otherwise have: r = r0 / (1 + r0 t), for each of two detectors.
[[nodiscard]] inline double detection_probability(const decoy_bb84& s) noexcept {
  double all = 0;
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    all += s.intensities[k].probability * respond(s, s.intensities[k].mean_photons).detection;
  }
  return all / (1 + all / 2 * s.dead_pulses);
}

/// Pulses that Alice is expected to send until there are `block_bits` sifted bits of the X basis.
[[nodiscard]] inline double expected_pulses(const decoy_bb84& s, double block_bits) noexcept {
  return block_bits / (s.x_basis * s.x_basis * detection_probability(s));
}

/// What a block of `block_bits` sifted bits of the X basis is expected to come with. Dead time makes it later and not
/// otherwise.
[[nodiscard]] inline decoy_statistics expected_statistics(const decoy_bb84& s, double block_bits) noexcept {
  std::array<pulse_response, 3> response{};
  double detections = 0;
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    response[k] = respond(s, s.intensities[k].mean_photons);
    detections += s.intensities[k].probability * response[k].detection;
  }
  const double unsifted = block_bits / detections;  // pulses, were every one in X and no detector ever blind
  const double z_per_x = (1 - s.x_basis) * (1 - s.x_basis) / (s.x_basis * s.x_basis);
  decoy_statistics e;
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    const double pulses = unsifted * s.intensities[k].probability;
    e.n_x[k] = pulses * response[k].detection;
    e.m_x[k] = pulses * response[k].error;
    e.n_z[k] = e.n_x[k] * z_per_x;
    e.m_z[k] = e.m_x[k] * z_per_x;
  }
  return e;
}

/// Bits that reconciliation is expected to disclose, at `efficiency` times the Shannon limit. For planning: of a block
/// that is there the bits are counted which were sent.
[[nodiscard]] inline double expected_leak(const decoy_statistics& s, double efficiency) noexcept {
  return efficiency * s.block_bits() * binary_entropy(s.qber());
}

}  // namespace qkd004
