// One decoy, after Wiesemann et al., arXiv:2405.16578.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/w24.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>

#include "qkd004/finite_key.hpp"
#include "qkd004/key_forecast.hpp"
#include "relative.hpp"

using namespace qkd004;
using test::relative;

namespace {

constexpr double pulse_rate = 625e6;

/// The defaults of the program that the authors published: 200 dark counts a second in all, so half of that for each of
/// two detectors, at 625 MHz; the loss is the fibre's alone.
decoy_bb84 published(double km) {
  decoy_bb84 s;
  s.proof = decoy_proof::w24;
  s.km = km;
  s.efficiency = 1;
  s.dark_count = 200 / pulse_rate / 2;
  s.afterpulse = 0;
  s.misalignment = 0.02;
  s.x_basis = 0.9;
  s.intensities = {{{0.5, 0.9}, {0.15, 0.1}, {}}};
  s.eps_sec = 1e-12;
  s.eps_cor = 1e-12;
  return s;
}

}  // namespace

TEST_CASE("w24: gives the rates that the authors' program gives") {
  struct point {
    double pulses;  ///< for a block
    double km;
    double bps;  ///< printed by the program with its defaults, f_EC 1.16, Hoeffding
  };
  constexpr point points[]{{1e10, 0, 7.471e7}, {1e10, 50, 4.962e6}, {1e12, 0, 7.748e7}, {1e12, 50, 5.964e6}};
  for (const auto& p : points) {
    const auto f = forecast_key(published(p.km), {.pulses = p.pulses});
    INFO(p.pulses, " pulses, ", p.km, " km");
    CHECK(f.per_pulse * pulse_rate == relative(p.bps, 1e-3));
    CHECK(f.pulses == relative(p.pulses, 1e-9));
  }
}

TEST_CASE("w24: follows the equations when they are evaluated one by one") {
  decoy_bb84 s;
  s.proof = decoy_proof::w24;
  s.intensities = {{{0.5, 0.7}, {0.15, 0.3}, {}}};
  s.eps_sec = 1e-9;
  s.eps_cor = 1e-12;
  decoy_counts c;
  c.n_x = {900'000, 120'000, 0};
  c.n_z = {450'000, 60'000, 0};
  c.m_x = {9'000, 1'300, 0};
  c.m_z = {4'500, 700, 0};

  const double ln = std::log(15 / 1e-9);
  const auto delta = [&](double n) { return std::sqrt(n * ln / 2); };
  const double e1 = std::exp(0.5) / 0.7;
  const double e2 = std::exp(0.15) / 0.3;
  const double tau0 = 0.7 * std::exp(-0.5) + 0.3 * std::exp(-0.15);
  const double tau1 = 0.35 * std::exp(-0.5) + 0.045 * std::exp(-0.15);
  const auto s1 = [&](double n1, double n2, double c1, double c2) {
    const double d = delta(n1 + n2);
    const double dc = delta(c1 + c2);
    const double s0 = 2 * std::min(tau0 * e1 * (c1 + dc) + d, tau0 * e2 * (c2 + dc) + d);
    return 0.5 * tau1 / (0.15 * 0.35) *
           (e2 * (n2 - d) - 0.0225 / 0.25 * e1 * (n1 + d) - (0.25 - 0.0225) / (0.25 * tau0) * s0);
  };
  const double sx1 = s1(900'000, 120'000, 9'000, 1'300);
  const double sz1 = s1(450'000, 60'000, 4'500, 700);
  const double vz1 = tau1 / 0.35 * (e1 * (4'500 + delta(5'200)) - e2 * (700 - delta(5'200)));
  const double phi =
      vz1 / sz1 + std::sqrt((sx1 + sz1) / (sx1 * sz1) * (sz1 + 1) / sz1 * ln);  // Serfling: Z is the sample
  REQUIRE(phi < 0.5);
  const double h = -phi * std::log2(phi) - (1 - phi) * std::log2(1 - phi);
  const double l =
      sx1 * (1 - h) - 60'000 - std::log2(2 / 1e-12) - 4 * std::log2(15 / (1e-9 * std::pow(2, 0.25)));

  const auto bound = w24(s, to_statistics(c), 60'000);
  CHECK(bound.s_x0 == 0);
  CHECK(bound.s_x1 == relative(sx1, 1e-10));
  CHECK(bound.s_z1 == relative(sz1, 1e-10));
  CHECK(bound.v_z1 == relative(vz1, 1e-10));
  CHECK(bound.phi == relative(phi, 1e-10));
  CHECK(bound.length == relative(l, 1e-10));
  REQUIRE(l > 0);
  CHECK(secret_length(s, c, 60'000) == static_cast<std::uint64_t>(l));
}

TEST_CASE("w24: gives more of each bit when a block is larger") {
  for (const double km : {0.0, 50.0, 100.0}) {
    double before = 0;
    for (double pulses = 1e5; pulses <= 1e15; pulses *= 2) {
      const auto f = forecast_key(published(km), {.pulses = pulses});
      INFO(km, " km, ", pulses, " pulses");
      CHECK(f.per_pulse >= before);
      before = f.per_pulse;
    }
    const double endless = forecast_key(published(km), {.block_bits = HUGE_VAL}).per_pulse;
    CHECK(before > 0.99 * endless);
    CHECK(before < endless);
  }
}

TEST_CASE("w24: gives less when there are more errors, and nothing when there are too many") {
  const auto s = published(20);
  double before = 1e9;
  for (double rate = 0.005; rate <= 0.5; rate += 0.005) {
    auto c = expected_statistics(s, 1e7);
    for (std::size_t k = 0; k < 2; ++k) {
      c.m_x[k] = c.n_x[k] * rate;
      c.m_z[k] = c.n_z[k] * rate;
    }
    const auto bound = w24(s, c, expected_leak(c, 1.16));
    INFO(rate);
    CHECK((bound.length < before || before <= 0));
    CHECK((rate < 0.08 || secret_bits(bound) == 0));
    before = bound.length;
  }
  CHECK(before <= 0);
}

TEST_CASE("w24: stays between nothing and all when a block is small") {
  for (double bits = 1; bits < 1e5; bits *= 3) {
    const auto c = expected_statistics(published(100), bits);
    const auto bound = w24(published(100), c, expected_leak(c, 1.16));
    INFO(bits);
    CHECK(bound.s_x1 >= 0);
    CHECK(bound.s_x1 <= bits);
    CHECK(bound.v_z1 >= 0);
    CHECK(bound.phi <= 0.5);
    CHECK(bound.length < bits);
  }
}

TEST_CASE("w24: gives no key when something was counted of an intensity that there is not") {
  const auto s = published(10);
  auto c = to_counts(expected_statistics(s, 1e7));
  REQUIRE(secret_length(s, c, 0) > 0);
  c.n_x[2] = 1;
  CHECK(secret_length(s, c, 0) == 0);
}
