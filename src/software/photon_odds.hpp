// photon_odds: the probabilities of the simulated quantum layer, as fractions of 2^64 that come out the same on every
// machine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "qkd004/decoy_bb84.hpp"
#include "software/geometric_gap.hpp"

namespace qkd004::software {

/// Each in units of 2^-64; what is certain is 2^64 - 1.
///
/// The model is that of Lim et al. 2014, section IV, with the transmittance eta of the whole system (fibre and Bob): a
/// pulse of intensity k clicks with D_k = 1 - (1 - 2 p_dc) exp(-eta k), and in error, the bases being equal, with
/// p_dc + e_mis (1 - exp(-eta k)), in which the random bits of double clicks are counted. Each click has an after-pulse
/// with probability p_ap; half of these are errors, and R_k = D_k (1 + p_ap) makes their intensities distributed as
/// those of the clicks are. Of a pulse that was intercepted and sent again half are measured in the wrong basis, and of
/// these half are errors.
struct photon_odds {
  std::uint64_t z_basis = 0;                 ///< that Alice chooses Z, and that Bob does
  std::uint64_t click = 0;                   ///< that a pulse clicks, after-pulses apart
  std::uint64_t afterpulse = 0;              ///< that a click has one
  std::array<std::uint64_t, 3> intensity{};  ///< that a click is of this intensity
  std::array<std::uint64_t, 3>
      click_error{};                     ///< that a click of this intensity, in equal bases, is an error
  std::array<std::uint64_t, 3> error{};  ///< the same of all detections, so after-pulses too

  /// Computed from the system by products of two numbers, exact scalings by powers of two and integer arithmetic: each of
  /// these has one correct result.
  photon_odds(const decoy_bb84& system, double intercept_resend) noexcept;
};

/// `p`, 0 to 1, in units of 2^-64; exact but for what is below 2^-64.
[[nodiscard]] std::uint64_t odds_of(double p) noexcept;

/// exp(-x) in units of 2^-64, x in units of 2^-64; wrong by less than 2^-50.
[[nodiscard]] std::uint64_t exp_minus(uint128 x) noexcept;

}  // namespace qkd004::software
