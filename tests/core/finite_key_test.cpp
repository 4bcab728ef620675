// SPDX-License-Identifier: Apache-2.0
#include "qkd004/finite_key.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>

#include "qkd004/key_forecast.hpp"
#include "relative.hpp"

using namespace qkd004;
using test::relative;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

decoy_bb84 system_of(decoy_proof proof) {
  decoy_bb84 s;
  s.proof = proof;
  s.km = 10;
  if (proof == decoy_proof::w24) s.intensities = {{{0.45, 0.7}, {0.15, 0.3}, {}}};
  return s;
}

constexpr std::array proofs{decoy_proof::lim14, decoy_proof::w24};

}  // namespace

TEST_CASE("finite key: is a part of the block for either proof") {
  for (const auto proof : proofs) {
    const auto s = system_of(proof);
    const auto statistics = expected_statistics(s, 1e7);
    const auto leak = static_cast<std::uint64_t>(expected_leak(statistics, 1.16));
    const auto length = secret_length(s, to_counts(statistics), leak);
    CHECK(length > 1'000'000);
    CHECK(length < 10'000'000 - leak);
  }
}

TEST_CASE("finite key: is the bound rounded down, and nothing when that is below one bit") {
  CHECK(secret_bits({.length = 2.999}) == 2);
  CHECK(secret_bits({.length = 1}) == 1);
  CHECK(secret_bits({.length = 0.999}) == 0);
  CHECK(secret_bits({.length = -1e9}) == 0);
  CHECK(secret_bits({.length = 1e19}) == 0);  // no block is so large
  CHECK(secret_bits({.length = not_a_number}) == 0);
  CHECK(secret_bits({.length = infinity}) == 0);
  CHECK(secret_bits({}) == 0);
}

TEST_CASE("finite key: is nothing when nothing, or what cannot be, was counted") {
  for (const auto proof : proofs) {
    const auto s = system_of(proof);
    const auto counts = to_counts(expected_statistics(s, 1e7));
    REQUIRE(secret_length(s, counts, 0) > 0);
    CHECK(secret_length(s, {}, 0) == 0);
    for (std::size_t k = 0; k < 2; ++k) {
      auto c = counts;
      c.m_z[k] = c.n_z[k] + 1;  // more errors than bits
      CHECK(secret_length(s, c, 0) == 0);
      c = counts;
      c.n_x[k] = most;
      CHECK(secret_length(s, c, 0) == 0);
      c.n_x[k] = std::uint64_t{1} << 52;
      CHECK(secret_length(s, c, 0) == 0);
      c = counts;
      c.n_z[k] = most;
      CHECK(secret_length(s, c, 0) == 0);
    }
    auto c = counts;
    c.n_z = {};
    c.m_z = {};
    CHECK(secret_length(s, c, 0) == 0);
  }
}

TEST_CASE("finite key: is nothing for a system that the proof does not hold for") {
  for (const auto proof : proofs) {
    const auto good = system_of(proof);
    const auto counts = to_counts(expected_statistics(good, 1e7));
    const auto length_with = [&](const auto& change) {
      auto s = good;
      change(s);
      return secret_length(s, counts, 0);
    };
    REQUIRE(length_with([](decoy_bb84&) {}) > 0);
    for (const double wrong : {0.0, 1.0, -0.1, not_a_number, infinity}) {
      INFO(wrong);
      CHECK(length_with([&](decoy_bb84& s) { s.eps_sec = wrong; }) == 0);
      CHECK(length_with([&](decoy_bb84& s) { s.eps_cor = wrong; }) == 0);
      CHECK(length_with([&](decoy_bb84& s) { s.intensities[0].probability = wrong; }) == 0);
    }
    for (const double wrong : {-0.1, not_a_number, infinity}) {
      CHECK(length_with([&](decoy_bb84& s) { s.intensities[0].mean_photons = wrong; }) == 0);
      CHECK(length_with([&](decoy_bb84& s) { s.intensities[1].mean_photons = wrong; }) == 0);
    }
    // mu1 > mu2 + mu3, mu2 > mu3, and the probabilities add up
    CHECK(length_with([&](decoy_bb84& s) { s.intensities[1].mean_photons = 0.45; }) == 0);
    CHECK(length_with([&](decoy_bb84& s) { s.intensities[1].mean_photons = 0; }) == 0);
    CHECK(length_with([&](decoy_bb84& s) { s.intensities[1].probability -= 0.01; }) == 0);
  }
  auto s = system_of(decoy_proof::lim14);
  const auto counts = to_counts(expected_statistics(s, 1e7));
  s.intensities[2].mean_photons = 0.2;
  CHECK(secret_length(s, counts, 0) == 0);
  s.intensities[1].mean_photons = 0.3;
  CHECK(secret_length(s, counts, 0) == 0);
}

TEST_CASE("finite key: is never more than the block, whatever is counted") {
  constexpr std::uint64_t seed = 4;
  std::mt19937_64 random{seed};
  INFO("seed ", seed);
  for (const auto proof : proofs) {
    const auto s = system_of(proof);
    for (int i = 0; i < 20'000; ++i) {
      decoy_counts c;
      std::uint64_t block = 0;
      for (std::size_t k = 0; k < s.intensity_count(); ++k) {
        c.n_x[k] = random() >> (random() % 64);
        c.n_z[k] = random() >> (random() % 64);
        c.m_x[k] = c.n_x[k] >> (random() % 16);
        c.m_z[k] = c.n_z[k] >> (random() % 16);
        block = c.n_x[k] > most - block ? most : block + c.n_x[k];
      }
      CHECK(secret_length(s, c, random() >> (random() % 64)) <= block);
      const auto bound = bound_key(s, to_statistics(c), 0);
      CHECK(std::isfinite(bound.length));
      CHECK((bound.phi >= 0 && bound.phi <= 0.5));
    }
  }
}

TEST_CASE("finite key: is nothing when more was disclosed than there is a number for") {
  for (const auto proof : proofs) {
    const auto s = system_of(proof);
    const auto counts = expected_statistics(s, 1e7);
    REQUIRE(bound_key(s, counts, 0).length > 0);
    for (const double leak : {infinity, not_a_number, -1.0}) {
      INFO(leak);
      CHECK(bound_key(s, counts, leak).length <= 0);
      CHECK(std::isfinite(bound_key(s, counts, leak).length));
      CHECK(bound_key_asymptotic(s, counts, leak).length == 0);
    }
  }
}

TEST_CASE("finite key: agrees with its own eps_sec when that is given for each secret bit") {
  for (const auto proof : proofs) {
    auto s = system_of(proof);
    const auto counts = expected_statistics(s, 1e7);
    const double leak = expected_leak(counts, 1.16);
    const auto bound = bound_key_per_bit(s, counts, leak, 1e-15);
    REQUIRE(bound.length > 1000);
    s.eps_sec = 1e-15 * bound.length;
    CHECK(bound_key(s, counts, leak).length == relative(bound.length, 1e-8));
  }
}

TEST_CASE("finite key: is nothing for each bit when there is none at the eps_sec of the whole block") {
  const auto s = system_of(decoy_proof::lim14);
  const auto counts = expected_statistics(s, 1e6);
  CHECK(bound_key_per_bit(s, counts, 1e6, 1e-15).length < 0);
  CHECK(secret_bits(bound_key_per_bit(s, counts, 1e6, 1e-15)) == 0);
}

TEST_CASE("key forecast: has no key for a plan that cannot be") {
  const auto s = system_of(decoy_proof::lim14);
  REQUIRE(forecast_key(s, {.block_bits = 1e6}).has_key());
  for (const double wrong : {0.0, -1.0, not_a_number, 1e300}) {
    INFO(wrong);
    const auto f = forecast_key(s, {.block_bits = wrong});
    CHECK_FALSE(f.has_key());
    CHECK(f.per_pulse == 0);
    CHECK(std::isfinite(f.bound.length));
    CHECK((wrong > 0 || f.pulses == 0));
  }
  CHECK_FALSE(forecast_key(s, {.pulses = infinity}).has_key());
  CHECK_FALSE(forecast_key(s, {.f_ec = not_a_number}).has_key());
}
