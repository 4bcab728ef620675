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

namespace detail {

/// Detections per pulse, were no detector ever blind.
[[nodiscard]] inline double free_detection_probability(const decoy_bb84& s) noexcept {
  double all = 0;
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    all += s.intensities[k].probability * respond(s, s.intensities[k].mean_photons).detection;
  }
  return all;
}

/// What dead time makes of a system. Detectors are four, two for each basis, as behind a passive choice: of r0 counts per
/// pulse one that is blind for t pulses after each makes r0 / (1 + r0 t). After-pulses come of clicks that were seen, when
/// the detector sees again, and then have to be seen themselves.
struct detector_load {
  decoy_bb84 free;  ///< the system with detectors that are never blind, and so many after-pulses as are left
  double seeing_x = 1;  ///< the part of the pulses at which a detector of the X basis is not blind
  double seeing_z = 1;
};

[[nodiscard]] inline detector_load load_of(const decoy_bb84& s) noexcept {
  detector_load l{s};
  if (s.dead_pulses == 0) return l;
  double seeing = 1;
  // each round is off by less than after-pulses are likely times what the one before was
  for (int i = 0; i < 50; ++i) {
    l.free.afterpulse = s.afterpulse * seeing;
    const double counts = free_detection_probability(l.free) / 2 * s.dead_pulses;
    l.seeing_x = 1 / (1 + s.x_basis * counts);
    l.seeing_z = 1 / (1 + (1 - s.x_basis) * counts);
    const double before = seeing;
    seeing = s.x_basis * l.seeing_x + (1 - s.x_basis) * l.seeing_z;
    if (std::abs(seeing - before) <= 1e-12 * seeing) break;
  }
  return l;
}

}  // namespace detail

/// Detections per pulse, whatever the bases.
[[nodiscard]] inline double detection_probability(const decoy_bb84& s) noexcept {
  const auto l = detail::load_of(s);
  return detail::free_detection_probability(l.free) * (s.x_basis * l.seeing_x + (1 - s.x_basis) * l.seeing_z);
}

/// Sifted bits of the X basis per pulse.
[[nodiscard]] inline double sifted_probability(const decoy_bb84& s) noexcept {
  const auto l = detail::load_of(s);
  return s.x_basis * s.x_basis * detail::free_detection_probability(l.free) * l.seeing_x;
}

/// Pulses that Alice is expected to send until there are `block_bits` sifted bits of the X basis.
[[nodiscard]] inline double expected_pulses(const decoy_bb84& s, double block_bits) noexcept {
  return block_bits / sifted_probability(s);
}

/// What a block of `block_bits` sifted bits of the X basis is expected to come with.
[[nodiscard]] inline decoy_statistics expected_statistics(const decoy_bb84& s, double block_bits) noexcept {
  const auto l = detail::load_of(s);
  const double of_x = block_bits / detail::free_detection_probability(l.free);
  const double z_basis = 1 - s.x_basis;
  const double z_per_x = z_basis * z_basis * l.seeing_z / (s.x_basis * s.x_basis * l.seeing_x);
  decoy_statistics e;
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    const auto response = respond(l.free, s.intensities[k].mean_photons);
    const double seen =
        of_x * s.intensities[k].probability;  // pulses of this kind, both in X and no detector blind
    e.n_x[k] = seen * response.detection;
    e.m_x[k] = seen * response.error;
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
