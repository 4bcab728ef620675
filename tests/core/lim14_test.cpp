// Two decoys, after Lim et al., PRA 89, 022307 (2014), arXiv:1311.7129: mu3 2e-4, eta_Bob 0.1, p_dc 6e-7, p_ap 0.04,
// 0.2 dB/km, e_mis 5e-3, f_EC 1.16, eps_cor 1e-15, eps_sec 1e-15 for each secret bit.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/lim14.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "qkd004/finite_key.hpp"
#include "qkd004/key_forecast.hpp"
#include "relative.hpp"

using namespace qkd004;
using test::relative;

namespace {

constexpr double kappa = 1e-15;

decoy_bb84 lim_at(double km) {
  decoy_bb84 s = lim14_system();
  s.km = km;
  return s;
}

key_forecast forecast_at(double km, double block_bits) {
  return forecast_key(lim_at(km), {.block_bits = block_bits, .eps_per_bit = kappa});
}

/// The bound for the expected block, with `change` applied to its counts.
template <class Change>
key_bound bound_of(double block_bits, const Change& change) {
  auto counts = expected_statistics({}, block_bits);
  change(counts);
  return lim14({}, counts, expected_leak(counts, 1.16));
}

}  // namespace

TEST_CASE("lim14: gives the lengths that an independent evaluation of the formulas gave") {
  struct point {
    double km;
    double rate;    ///< secret bits per pulse
    double length;  ///< secret bits of a block of 10^7
  };
  // q_X 0.87, p 0.40 and 0.45, mu 0.45 and 0.20
  constexpr point points[]{{0, 5.9511e-3, 2.8511e6}, {50, 5.7062e-4, 2.6882e6}, {100, 5.1298e-5, 2.4031e6}};
  for (const auto& p : points) {
    const auto f = forecast_at(p.km, 1e7);
    INFO(p.km);
    CHECK(f.per_pulse == relative(p.rate, 1e-4));
    CHECK(f.bound.length == relative(p.length, 1e-4));
  }
}

TEST_CASE("lim14: follows the equations when they are evaluated one by one") {
  // small numbers, the terms of (1) to (5) written out as they are printed
  decoy_bb84 s;
  s.intensities = {{{0.5, 0.5}, {0.2, 0.3}, {0.01, 0.2}}};
  s.eps_sec = 1e-9;
  s.eps_cor = 1e-12;
  decoy_counts c;
  c.n_x = {600'000, 150'000, 20'000};
  c.n_z = {300'000, 75'000, 10'000};
  c.m_z = {3'000, 900, 100};

  const double e1 = std::exp(0.5) / 0.5;
  const double e2 = std::exp(0.2) / 0.3;
  const double e3 = std::exp(0.01) / 0.2;
  const double tau0 = 0.5 * std::exp(-0.5) + 0.3 * std::exp(-0.2) + 0.2 * std::exp(-0.01);
  const double tau1 = 0.25 * std::exp(-0.5) + 0.06 * std::exp(-0.2) + 0.002 * std::exp(-0.01);
  const auto s0 = [&](double n2, double n3, double d) {
    return tau0 * (0.2 * e3 * (n3 - d) - 0.01 * e2 * (n2 + d)) / 0.19;
  };
  const auto s1 = [&](double n1, double n2, double n3, double d) {
    const double bracket =
        e2 * (n2 - d) - e3 * (n3 + d) - (0.04 - 1e-4) / 0.25 * (e1 * (n1 + d) - s0(n2, n3, d) / tau0);
    return tau1 * 0.5 * bracket / (0.5 * 0.19 - 0.04 + 1e-4);
  };
  const double ln = std::log(21 / 1e-9);
  const double dx = std::sqrt(770'000 / 2.0 * ln);
  const double dz = std::sqrt(385'000 / 2.0 * ln);
  const double dm = std::sqrt(4'000 / 2.0 * ln);
  const double sx0 = s0(150'000, 20'000, dx);
  const double sx1 = s1(600'000, 150'000, 20'000, dx);
  const double sz1 = s1(300'000, 75'000, 10'000, dz);
  const double vz1 = tau1 * (e2 * (900 + dm)) / 0.19;  // m^-_3 is 0: 100 is less than dm
  const double b = vz1 / sz1;
  const double gamma = std::sqrt((sz1 + sx1) * (1 - b) * b / (sz1 * sx1 * std::log(2.0)) *
                                 std::log2((sz1 + sx1) / (sz1 * sx1 * (1 - b) * b) * 441 / 1e-18));
  const double phi = b + gamma;
  REQUIRE(phi < 0.5);
  const double h = -phi * std::log2(phi) - (1 - phi) * std::log2(1 - phi);
  const double l = sx0 + sx1 - sx1 * h - 50'000 - 6 * std::log2(21 / 1e-9) - std::log2(2 / 1e-12);

  const auto bound = lim14(s, to_statistics(c), 50'000);
  CHECK(bound.s_x0 == relative(sx0, 1e-10));
  CHECK(bound.s_x1 == relative(sx1, 1e-10));
  CHECK(bound.s_z1 == relative(sz1, 1e-10));
  CHECK(bound.v_z1 == relative(vz1, 1e-10));
  CHECK(bound.phi == relative(phi, 1e-10));
  CHECK(bound.length == relative(l, 1e-10));
  REQUIRE(l > 0);
  CHECK(secret_length(s, c, 50'000) == static_cast<std::uint64_t>(l));
}

TEST_CASE("lim14: clips what the bounds leave below nothing when a block is small") {
  // of 10,000 bits fewer than the deviation are the weakest decoy's
  const auto f = forecast_at(0, 1e4);
  CHECK(f.counts.n_x[2] < std::sqrt(1e4 / 2 * std::log(21 / 1e-11)));
  CHECK(f.bound.s_x0 == 0);
  CHECK(f.bound.s_x1 >= 0);
  CHECK(f.bound.s_z1 >= 0);
  CHECK_FALSE(f.has_key());
}

TEST_CASE("lim14: gives more of each bit when a block is larger, and less than an endless one") {
  for (const double km : {0.0, 50.0, 100.0, 150.0}) {
    double before = 0;
    for (double n = 1e4; n <= 1e14; n *= 1.5) {
      const auto f = forecast_at(km, n);
      INFO(km, " km, ", n, " bits");
      CHECK(f.per_pulse >= before);
      before = f.per_pulse;
    }
    const double endless = forecast_at(km, std::numeric_limits<double>::infinity()).per_pulse;
    CHECK(before > 0);
    CHECK(before < endless);
    CHECK(before > 0.999 * endless);
  }
}

TEST_CASE("lim14: gives less when there are more errors, and nothing when there are too many") {
  double before = 1e9;
  bool was_none = false;
  for (double rate = 0.005; rate <= 0.5; rate += 0.005) {
    const auto bound = bound_of(1e7, [&](decoy_statistics& c) {
      for (std::size_t k = 0; k < 3; ++k) {
        c.m_x[k] = c.n_x[k] * rate;
        c.m_z[k] = c.n_z[k] * rate;
      }
    });
    INFO(rate);
    CHECK((bound.length < before || before <= 0));
    CHECK(bound.phi <= 0.5);
    if (rate >= 0.08) {
      CHECK(secret_bits(bound) == 0);
      was_none = true;
    }
    before = bound.length;
  }
  CHECK(was_none);
}

TEST_CASE("lim14: gives no key when an eavesdropper has measured every pulse") {
  // intercept and resend: a quarter of the bits is wrong
  const auto bound = bound_of(1e9, [](decoy_statistics& c) {
    for (std::size_t k = 0; k < 3; ++k) {
      c.m_x[k] = c.n_x[k] / 4;
      c.m_z[k] = c.n_z[k] / 4;
    }
  });
  CHECK(secret_bits(bound) == 0);
}

TEST_CASE("lim14: gives no key when photon numbers were split") {
  // signals arrive, decoys do not: as if only pulses of two photons and more were let through
  const auto bound = bound_of(1e9, [](decoy_statistics& c) {
    c.n_x = {9e8, 5e7, 1e4};
    c.n_z = {2e7, 1.1e6, 2e2};
    c.m_x = {};
    c.m_z = {1e5, 5e3, 1e2};
  });
  CHECK(bound.s_x1 == 0);
  CHECK(secret_bits(bound) == 0);
}

TEST_CASE("lim14: takes every bit that was disclosed off the key") {
  const auto counts = to_counts(expected_statistics({}, 1e6));
  const auto length = secret_length({}, counts, 100'000);
  REQUIRE(length > 1000);
  CHECK(secret_length({}, counts, 100'001) == length - 1);
  CHECK(secret_length({}, counts, 100'000 + length) == 0);
  CHECK(secret_length({}, counts, 100'000 + length - 1) == 1);
  CHECK(secret_length({}, counts, std::numeric_limits<std::uint64_t>::max()) == 0);
}

TEST_CASE("lim14: does not believe in no phase errors when it saw none") {
  auto counts = expected_statistics({}, 1e6);
  counts.m_z = {};
  const auto bound = lim14({}, counts, 0);
  CHECK(bound.v_z1 == 0);
  CHECK(bound.phi > 1 / bound.s_z1);
  CHECK(bound.phi < 0.01);
}
