// SPDX-License-Identifier: Apache-2.0
#include "qkd004/decoy_channel.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "relative.hpp"

using namespace qkd004;
using test::relative;

TEST_CASE("channel: sees the dark counts of two detectors and nothing else when no photon is sent") {
  const decoy_bb84 s;
  const auto r = respond(s, 0);
  CHECK(r.click == relative(1.2e-6, 1e-12));
  CHECK(r.detection == relative(1.2e-6 * 1.04, 1e-12));
  // half of what is seen is wrong
  CHECK(r.error == relative(r.detection / 2, 1e-12));
}

TEST_CASE("channel: loses photons by fibre and receiver") {
  decoy_bb84 s;
  s.km = 50;  // 10 dB
  CHECK(transmittance(s) == relative(0.01, 1e-12));
  s.dark_count = 0;
  s.afterpulse = 0;
  const auto r = respond(s, 0.5);
  CHECK(r.click == relative(1 - std::exp(-0.005), 1e-10));
  CHECK(r.error == relative(0.005 * (1 - std::exp(-0.005)), 1e-10));
}

TEST_CASE("channel: loses no digits when almost every photon is lost") {
  decoy_bb84 s;
  s.km = 700;
  s.dark_count = 0;
  CHECK(respond(s, 0.5).click == relative(0.5 * 1e-15, 1e-9));
}

TEST_CASE("channel: expects a QBER of some per cent with the receiver's loss in the errors, too") {
  // Lim et al. 2014, section IV, in e_k of which eta_ch stands for eta_sys: with that it would be 7 %
  CHECK(expected_statistics({}, 1e6).qber() == relative(0.0241, 0.01));
}

TEST_CASE("channel: expects a block of the size asked for, in the shares of intensity and basis") {
  decoy_bb84 s;
  s.x_basis = 0.87;
  const auto e = expected_statistics(s, 1e6);
  CHECK(e.block_bits() == relative(1e6, 1e-12));
  for (std::size_t k = 0; k < 3; ++k) {
    const auto r = respond(s, s.intensities[k].mean_photons);
    CHECK(e.n_x[k] / e.n_x[0] ==
          relative(s.intensities[k].probability * r.detection /
                       (s.intensities[0].probability * respond(s, s.intensities[0].mean_photons).detection),
                   1e-9));
    CHECK(e.n_z[k] / e.n_x[k] == relative(0.13 * 0.13 / (0.87 * 0.87), 1e-9));
    CHECK(e.m_z[k] / e.n_z[k] == relative(r.error / r.detection, 1e-9));
  }
  const double pulses = expected_pulses(s, 1e6);
  CHECK(pulses * 0.87 * 0.87 * detection_probability(s) == relative(1e6, 1e-9));
}

TEST_CASE("channel: takes longer for a block when detectors have dead time, most where they see most") {
  decoy_bb84 s;
  s.km = 0;
  s.x_basis = 0.87;
  s.afterpulse = 0;
  const double all = detection_probability(s);
  const double without = expected_pulses(s, 1e6);
  const auto counted = expected_statistics(s, 1e6);
  s.dead_pulses = 100;
  // of four detectors two share a basis
  const double x = 1 / (1 + 100 * 0.87 * all / 2);
  const double z = 1 / (1 + 100 * 0.13 * all / 2);
  CHECK(detection_probability(s) == relative(all * (0.87 * x + 0.13 * z), 1e-9));
  CHECK(sifted_probability(s) == relative(0.87 * 0.87 * all * x, 1e-9));
  CHECK(expected_pulses(s, 1e6) == relative(without / x, 1e-9));
  const auto e = expected_statistics(s, 1e6);
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(e.n_x[k] == relative(counted.n_x[k], 1e-9));
    CHECK(e.m_x[k] == relative(counted.m_x[k], 1e-9));
    CHECK(e.n_z[k] == relative(counted.n_z[k] * z / x, 1e-9));
    CHECK(e.m_z[k] == relative(counted.m_z[k] * z / x, 1e-9));
  }
}

TEST_CASE("channel: sees fewer after-pulses when detectors have dead time") {
  // both bases alike, so that all detectors see the same part of the pulses, and one equation says which
  decoy_bb84 s;
  s.km = 0;
  s.x_basis = 0.5;
  s.misalignment = 0;
  s.dark_count = 0;
  s.afterpulse = 0;
  const double clicks = detection_probability(s);
  s.afterpulse = 0.3;
  s.dead_pulses = 200;
  const double counts = detection_probability(s) / clicks;  // of a click, with its after-pulses
  // every second after-pulse is wrong, and nothing else
  const double part = 2 * expected_statistics(s, 1e6).qber();
  const double seen = counts * (1 - part);
  CHECK(part / (1 - part) == relative(0.3 * seen, 1e-9));
  CHECK(seen == relative(1 / (1 + 200 * clicks / 4 * (1 + 0.3 * seen)), 1e-9));
  CHECK(seen < 0.5);
}

TEST_CASE("channel: counts once in a dead time when there is always light") {
  decoy_bb84 s;
  s.km = 0;
  s.efficiency = 1;
  s.afterpulse = 0;
  s.dark_count = 0;
  s.intensities = {{{50, 0.4}, {40, 0.45}, {30, 0.15}}};
  s.dead_pulses = 1'000'000;
  CHECK(detection_probability(s) == relative(4.0 / 1'000'000, 1e-4));  // four detectors
}

TEST_CASE("channel: rounds to whole counts and gives them back as they are") {
  const auto counts = to_counts(expected_statistics({}, 1'048'576));
  CHECK(counts.n_x[0] + counts.n_x[1] + counts.n_x[2] >= 1'048'575);
  CHECK(counts.n_x[0] + counts.n_x[1] + counts.n_x[2] <= 1'048'577);
  CHECK(to_counts({.n_x = {2.6, 2.4, 0}}).n_x == std::array<std::uint64_t, 3>{3, 2, 0});
  const auto back = to_counts(to_statistics(counts));
  CHECK(back.n_x == counts.n_x);
  CHECK(back.n_z == counts.n_z);
  CHECK(back.m_x == counts.m_x);
  CHECK(back.m_z == counts.m_z);
}

TEST_CASE("channel: discloses what the efficiency of reconciliation costs") {
  auto e = expected_statistics({}, 1e6);
  e.m_x = {50'000, 0, 0};
  CHECK(expected_leak(e, 1.1) == relative(1.1e6 * 0.28639695711595625, 1e-9));  // h(0.05)
  e.m_x = {};
  CHECK(expected_leak(e, 1.1) == 0);
}

TEST_CASE("binary entropy: is 1 at a half, 0 at both ends, and keeps its digits near 0") {
  CHECK(binary_entropy(0.5) == relative(1, 1e-15));
  CHECK(binary_entropy(0.11) == relative(0.499915958164528, 1e-12));
  CHECK(binary_entropy(0.89) == relative(binary_entropy(0.11), 1e-12));
  CHECK(binary_entropy(0) == 0);
  CHECK(binary_entropy(1) == 0);
  CHECK(binary_entropy(-1) == 0);
  CHECK(binary_entropy(std::nan("")) == 0);
  const double small = 1e-12;  // h(x) is x (log2(1/x) + 1/ln 2) but for terms of x^2
  CHECK(binary_entropy(small) == relative(small * (std::log2(1 / small) + 1 / std::log(2.0)), 1e-11));
}
