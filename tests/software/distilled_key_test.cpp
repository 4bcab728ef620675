// What comes out of the whole pipeline, both ends in one thread, seeds fixed. That key looks random says nothing about
// its secrecy: here it is worked out from a seed that both ends print into one another's messages, and looks as it must.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "qkd004/finite_key.hpp"
#include "software/sp800_22.hpp"
#include "software/two_distillers.hpp"

using namespace qkd004;
using namespace qkd004::software;

namespace {

/// Bits of key of a run, no block of which may differ.
tests::sp800_22::sequence distil(const software_link_options& o, std::size_t wanted) {
  two_distillers w{o, 20'261'122};
  REQUIRE(w.start());
  tests::sp800_22::sequence made;
  while (made.size() < wanted) {
    w.run_for(1);
    REQUIRE_FALSE(w.of_alice.empty());
    REQUIRE(w.agree());
    const bits& key = w.of_alice.front().key;
    for (std::size_t i = 0; i < key.size() && made.size() < wanted; ++i) made.push_back(key[i] ? 1 : 0);
    w.of_alice.erase(w.of_alice.begin());
    w.of_bob.erase(w.of_bob.begin());
  }
  return made;
}

void check_all(const tests::sp800_22::sequence& s) {
  for (const auto& [test, p] : tests::sp800_22::all_of(s)) {
    CAPTURE(test);
    CHECK(p > tests::least_p);
    CHECK(p <= 1);
  }
}

}  // namespace

TEST_CASE("distilled key: passes the tests of SP 800-22, a million bits at a time") {
  software_link_options o;
  o.sampling = photon_sampling::blocks;
  constexpr std::size_t million = 1'000'000;
  const auto all = distil(o, 4 * million);
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    const auto from = all.begin() + static_cast<std::ptrdiff_t>(i * million);
    check_all({from, from + million});
  }
}

TEST_CASE("distilled key: of photons that were drawn one by one passes them as well") {
  check_all(distil(software_link_options{}, 1'000'000));
}

TEST_CASE("distilled key: is as much as the formula says, at 0, 25 and 50 km") {
  // What reconciliation discloses has no closed form: the formula is given the mean of what it did; how good that is,
  // cascade_test.cpp looks at.
#ifdef __SANITIZE_ADDRESS__
  constexpr std::size_t blocks = 5;  // a tenth of the speed: the statistics are for builds without
  const std::vector<double> distances{25.0};
#else
  constexpr std::size_t blocks = 20;
  const std::vector<double> distances{0.0, 25.0, 50.0};
#endif
  for (const double km : distances) {
    CAPTURE(km);
    software_link_options o;
    o.system.km = km;
    o.blocks_in_flight = 1;  // none is half done when it ends
    two_distillers w{o, static_cast<std::uint64_t>(1 + km)};
    REQUIRE(w.start());
    w.run([&] { return w.bob->report().accepted >= blocks && w.alice->report().accepted >= blocks; });
    REQUIRE(w.of_bob.size() >= blocks);
    REQUIRE(w.agree());
    const auto r = w.bob->report();
    CHECK(r.accepted == w.of_bob.size());
    CHECK(r.no_key + r.unequal + r.over_limit == 0);

    // bits of key per block, those that refill the pads included
    double leak = 0;
    double square = 0;
    const auto n = static_cast<double>(w.of_bob.size());
    const double mean = static_cast<double>(r.secret + r.auth_returned) / n;
    const double refilled = static_cast<double>(r.auth_returned) / n;
    for (const auto& made : w.of_bob) {
      leak += static_cast<double>(made.provenance.leak_alice) / n;
      square += std::pow(static_cast<double>(made.key.size()) + refilled - mean, 2);
    }
    const double error_of_mean = std::sqrt(square / (n - 1) / n);
    const auto expected = expected_statistics(o.system, o.block_bits);
    const double length = bound_key(o.system, expected, leak).length;
    MESSAGE(km, " km: ", mean, " bits per block, by the formula ", length, ", standard error ",
            error_of_mean);
    CHECK(std::abs(mean - length) < 5 * error_of_mean);
    CHECK(std::abs(mean - length) < 0.02 * length);

    // and pulses for a block: detections among them to 5 standard errors (twice, for after-pulses come with others); what
    // a block does not need of its last batch, a sixteenth of the block at most, is lost
    const double seen = static_cast<double>(r.detections) / static_cast<double>(r.pulses);
    CHECK(std::abs(seen / detection_probability(o.system) - 1) <
          10 / std::sqrt(static_cast<double>(r.detections)));
    const double sifted = static_cast<double>(r.sifted) / static_cast<double>(r.pulses) *
                          expected_pulses(o.system, o.block_bits) / o.block_bits;
    CHECK(sifted < 1.001);
    CHECK(sifted > 1 - 1.0 / 16);
    MESSAGE("sifted bits per pulse: ", sifted, " of the formula's");
  }
}
