// SPDX-License-Identifier: Apache-2.0
#include "software/photon_odds.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace qkd004::software {

static_assert(FLT_EVAL_METHOD == 0, "a product of two doubles has to be a double");

namespace {

constexpr std::uint64_t certain = ~std::uint64_t{0};

/// x, 0 or more, in units of 2^-places; what is too large or no number becomes what fits, or 0.
std::uint64_t fixed(double x, int places) noexcept {
  const double units = std::ldexp(x, places);  // exact
  if (!(units > 0)) return 0;
  return units >= 0x1p64 ? certain : static_cast<std::uint64_t>(units);
}

/// a / b as a fraction, at most 1.
std::uint64_t ratio(uint128 a, uint128 b) noexcept {
  if (a >= b) return certain;
  while (b >> 64 != 0) {
    a >>= 1;
    b >>= 1;
  }
  return static_cast<std::uint64_t>((a << 64) / b);
}

}  // namespace

std::uint64_t odds_of(double p) noexcept { return fixed(p, 64); }

std::uint64_t exp_minus(uint128 x) noexcept {
  if (x >> 70 != 0) return 0;  // exp(-64) is below 2^-64
  // The series converges fast once x is below 1/2; the result is squared as often as x was halved.
  unsigned halved = 0;
  for (; x >> 63 != 0; x >>= 1) ++halved;
  uint128 even = static_cast<uint128>(1) << 64;
  uint128 odd = 0;
  uint128 term = even;
  for (unsigned n = 1; term != 0; ++n) {
    term = (term * x >> 64) / n;
    (n % 2 == 0 ? even : odd) += term;
  }
  const uint128 sum = even - odd;
  std::uint64_t result = sum >> 64 != 0 ? certain : static_cast<std::uint64_t>(sum);
  for (; halved > 0; --halved) result = scaled(result, result);
  return result;
}

photon_odds::photon_odds(const decoy_bb84& system, double intercept_resend) noexcept {
  constexpr double ln10_by_10 = 0.23025850929940457;
  constexpr int places = 56;  // of means of photons: below 256, and 2e-4 still has 43 digits
  double exponent = system.loss_db_per_km * system.km;
  exponent *= ln10_by_10;
  const std::uint64_t fibre = exp_minus(static_cast<uint128>(fixed(exponent, places)) << (64 - places));
  const std::uint64_t system_transmittance = scaled(fibre, odds_of(system.efficiency));
  const std::uint64_t dark = odds_of(system.dark_count);
  const std::uint64_t intercepted = odds_of(intercept_resend);
  z_basis = certain - odds_of(system.x_basis);
  afterpulse = odds_of(system.afterpulse);

  std::array<std::uint64_t, 3> clicks{};  // p_k D_k
  uint128 all = 0;
  for (std::size_t k = 0; k < clicks.size(); ++k) {
    if (k >= system.intensity_count()) break;
    const auto photons =
        static_cast<uint128>(system_transmittance) * fixed(system.intensities[k].mean_photons, places) >>
        places;
    const std::uint64_t nothing = exp_minus(photons);
    const std::uint64_t light = certain - nothing;
    const uint128 clicked =
        std::min<uint128>(static_cast<uint128>(light) + 2 * uint128{scaled(dark, nothing)}, certain);
    const std::uint64_t wrong = scaled(odds_of(system.misalignment), light);
    const uint128 half_of_clicks = (clicked + 1) / 2;
    click_error[k] = ratio(std::min(static_cast<uint128>(wrong) + dark, half_of_clicks), clicked);
    clicks[k] = scaled(static_cast<std::uint64_t>(clicked), odds_of(system.intensities[k].probability));
    all += clicks[k];
  }
  click = static_cast<std::uint64_t>(std::min<uint128>(all, certain));
  for (std::size_t k = 0; k < clicks.size(); ++k) {
    if (all != 0) intensity[k] = ratio(clicks[k], all);
    click_error[k] = click_error[k] - scaled(click_error[k], intercepted / 2) + intercepted / 4;
    error[k] = ratio(static_cast<uint128>(click_error[k]) + afterpulse / 2,
                     (static_cast<uint128>(1) << 64) + afterpulse);
  }
}

}  // namespace qkd004::software
