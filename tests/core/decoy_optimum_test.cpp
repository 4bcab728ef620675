// The optimum of Lim et al., PRA 89, 022307 (2014): over q_X, p_1, p_2, mu_1 and mu_2.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/decoy_optimum.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "relative.hpp"

using namespace qkd004;
using test::relative;

namespace {

constexpr double endless = std::numeric_limits<double>::infinity();

decoy_optimum optimum_of(double block_bits, double km) {
  decoy_bb84 s;
  s.km = km;
  return optimise(s, {.block_bits = block_bits, .eps_per_bit = 1e-15});
}

}  // namespace

TEST_CASE("nelder-mead: finds the bottom of a curved valley") {
  // Rosenbrock, Computer Journal 3, 175 (1960)
  const auto valley = [](const std::array<double, 2>& x) {
    return 100 * std::pow(x[1] - x[0] * x[0], 2) + std::pow(1 - x[0], 2);
  };
  const auto found = nelder_mead(valley, std::array{-1.2, 1.0}, {.tolerance = 1e-16});
  CHECK(found.at[0] == relative(1, 1e-4));
  CHECK(found.at[1] == relative(1, 1e-4));
}

TEST_CASE("nelder-mead: stops when it has looked often enough") {
  std::size_t count = 0;
  const auto slope = [&](const std::array<double, 3>& x) {
    ++count;
    return x[0] + x[1] + x[2];
  };
  (void)nelder_mead(slope, std::array{0.0, 0.0, 0.0}, {.evaluations = 200});
  CHECK(count >= 200);
  CHECK(count < 210);
}

TEST_CASE("optimum: is what an independent search found") {
  struct row {
    double block_bits;
    std::array<double, 4> rates;  ///< secret bits per pulse at 0, 50, 100 and 150 km
    double tolerance;             ///< half a digit of the last one printed
  };
  constexpr std::array rows{row{1e5, {1.58e-3, 1.49e-4, 1.19e-5, 1.2e-7}, 0.042},
                            row{1e6, {3.70e-3, 3.52e-4, 3.07e-5, 1.10e-6}, 0.005},
                            row{1e7, {5.99e-3, 5.74e-4, 5.16e-5, 2.64e-6}, 0.003},
                            row{1e9, {9.93e-3, 9.57e-4, 8.80e-5, 5.86e-6}, 0.001},
                            row{endless, {1.72e-2, 1.68e-3, 1.64e-4, 1.31e-5}, 0.005}};
  for (const auto& r : rows) {
    for (std::size_t i = 0; i < r.rates.size(); ++i) {
      const double km = 50 * static_cast<double>(i);
      INFO(r.block_bits, " bits, ", km, " km");
      const double rate = optimum_of(r.block_bits, km).forecast.per_pulse;
      CHECK(rate == relative(r.rates[i], i < 3 ? 0.005 : r.tolerance));
    }
  }
}

TEST_CASE("optimum: gains from larger blocks what Lim et al. state") {
  // "about 1.75" at 100 km
  const double ratio = optimum_of(1e9, 100).forecast.per_pulse / optimum_of(1e7, 100).forecast.per_pulse;
  CHECK(ratio == relative(1.75, 0.05));
}

TEST_CASE("optimum: reaches as far with small blocks as Lim et al. state") {
  // 10,000 bits: "up to 135 km"
  CHECK(optimum_of(1e4, 0.9 * 135).forecast.has_key());
  CHECK_FALSE(optimum_of(1e4, 1.1 * 135).forecast.has_key());
}

TEST_CASE("optimum: finds the little key that is left near the end of the reach") {
  // the best of 200 searches from random starts
  CHECK(optimum_of(1e4, 120).forecast.per_pulse == relative(7.728e-8, 1e-3));
  CHECK(optimum_of(1e4, 127).forecast.per_pulse == relative(5.740e-9, 1e-3));
  CHECK(optimum_of(1e5, 157).forecast.per_pulse == relative(1.010e-8, 1e-3));
  CHECK(optimum_of(1e7, 176).forecast.per_pulse == relative(1.472e-8, 1e-3));
  CHECK(optimum_of(1e9, 182).forecast.per_pulse == relative(2.188e-8, 1e-3));
  decoy_bb84 s;
  s.proof = decoy_proof::w24;
  s.km = 45;
  CHECK(optimise(s, {.block_bits = 1e4, .eps_per_bit = 1e-15}).forecast.per_pulse ==
        relative(3.573e-6, 1e-3));
}

TEST_CASE("optimum: is a system that the proof holds for, and better than the one it came from") {
  for (const auto proof : {decoy_proof::lim14, decoy_proof::w24}) {
    for (const double km : {0.0, 60.0, 120.0}) {
      decoy_bb84 s;
      s.proof = proof;
      s.km = km;
      if (proof == decoy_proof::w24) s.intensities = {{{0.45, 0.7}, {0.15, 0.3}, {}}};
      const block_plan plan{.block_bits = 1e7};
      const auto o = optimise(s, plan);
      INFO(km);
      CHECK(o.forecast.per_pulse > forecast_key(s, plan).per_pulse);
      CHECK(forecast_key(o.system, plan).per_pulse == o.forecast.per_pulse);
      CHECK(o.system.km == km);
      CHECK(o.system.intensities[2].mean_photons == s.intensities[2].mean_photons);
      CHECK(o.system.x_basis > 0.5);
      CHECK(o.system.x_basis < 1);
    }
  }
}

TEST_CASE("optimum: is the same each time") {
  const auto a = optimum_of(1e6, 80);
  const auto b = optimum_of(1e6, 80);
  CHECK(a.forecast.per_pulse == b.forecast.per_pulse);
  CHECK(a.system.x_basis == b.system.x_basis);
  CHECK(a.system.intensities[0].mean_photons == b.system.intensities[0].mean_photons);
}

TEST_CASE("optimum: cannot be beaten by a small change") {
  const auto o = optimum_of(1e7, 50);
  const block_plan plan{.block_bits = 1e7, .eps_per_bit = 1e-15};
  for (const double factor : {0.98, 1.02}) {
    auto s = o.system;
    s.x_basis *= factor;
    CHECK(forecast_key(s, plan).per_pulse < o.forecast.per_pulse);
    s = o.system;
    s.intensities[0].mean_photons *= factor;
    CHECK(forecast_key(s, plan).per_pulse < o.forecast.per_pulse);
    s = o.system;
    s.intensities[1].mean_photons *= factor;
    CHECK(forecast_key(s, plan).per_pulse < o.forecast.per_pulse);
    s = o.system;
    s.intensities[0].probability *= factor;
    s.intensities[1].probability += o.system.intensities[0].probability - s.intensities[0].probability;
    CHECK(forecast_key(s, plan).per_pulse < o.forecast.per_pulse);
  }
}

TEST_CASE("optimum: is the system as it came when nothing gives a key") {
  const auto o = optimum_of(1e5, 300);
  CHECK_FALSE(o.forecast.has_key());
  CHECK(o.system.x_basis == decoy_bb84{}.x_basis);
}
