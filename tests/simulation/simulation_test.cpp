// simulation_test: many seeds of the simulated world, and that a seed is a world.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "life.hpp"

namespace {

/// All seeds are spread over the cases below, so that they run on all processors.
void eighth(std::uint64_t which) {
  constexpr std::uint64_t many = QKD004_SIMULATION_SEEDS / 8;
  simulation::oracle::tally seen;
  std::uint64_t streams = 0;
  for (std::uint64_t seed = which * many + 1; seed <= (which + 1) * many; ++seed) {
    const simulation::outcome o = simulation::life{seed, false}.run();
    seen.add(o.seen);
    streams += o.read_at_both_ends;
    if (o.found) {
      FAIL("seed " << seed << " breaks \"" << o.found->promise << "\": " << o.found->text
                   << "\nrepeat it with: " QKD004_SIMULATION " -v --seed " << seed);
    }
  }
  // a world in which nothing happens proves nothing; of a few seeds no mean can be asked
  if (many < 100) return;
  CHECK(seen.one_by_one > 20 * many);
  CHECK(seen.in_runs > 20 * many);
  CHECK(seen.subscribed > 20 * many);
  CHECK(seen.promises > many / 4);
  CHECK(streams > many / 4);
}

}  // namespace

TEST_CASE("world: keeps the delivery rule under faults, seeds of the first eighth") { eighth(0); }
TEST_CASE("world: keeps the delivery rule under faults, seeds of the second eighth") { eighth(1); }
TEST_CASE("world: keeps the delivery rule under faults, seeds of the third eighth") { eighth(2); }
TEST_CASE("world: keeps the delivery rule under faults, seeds of the fourth eighth") { eighth(3); }
TEST_CASE("world: keeps the delivery rule under faults, seeds of the fifth eighth") { eighth(4); }
TEST_CASE("world: keeps the delivery rule under faults, seeds of the sixth eighth") { eighth(5); }
TEST_CASE("world: keeps the delivery rule under faults, seeds of the seventh eighth") { eighth(6); }
TEST_CASE("world: keeps the delivery rule under faults, seeds of the last eighth") { eighth(7); }

TEST_CASE("world: the same seed gives the same trace, another seed another one") {
  std::uint64_t before = 0;
  for (std::uint64_t seed = 5'001; seed <= 5'005; ++seed) {
    const auto once = simulation::life{seed, false}.run();
    const auto again = simulation::life{seed, false}.run();
    CHECK(once.hash == again.hash);
    CHECK(once.seen == again.seen);
    CHECK(once.hash != before);
    before = once.hash;
  }
}

TEST_CASE("wire: gives a prefix in order when it breaks, and nothing after its end") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    simulation::chance luck{seed};
    simulation::time_line time{false};
    const auto over = std::make_shared<simulation::wire>(time, luck, simulation::wire::options{});
    std::string came;
    unsigned downs = 0;
    over->on_down(1, [&] { ++downs; });
    for (char c = 'a'; c <= 'j'; ++c) {
      time.in(luck.between(std::chrono::milliseconds{0}, std::chrono::milliseconds{5}), [] {});
      over->send(0, [&came, &downs, c] {
        CHECK(downs == 0);
        came += c;
      });
    }
    time.in(luck.between(std::chrono::milliseconds{0}, std::chrono::milliseconds{3}), [&] { over->cut(); });
    while (time.step()) {}
    CHECK(std::string{"abcdefghij"}.starts_with(came));
    CHECK(downs == 1);
    CHECK(!over->is_up(0));
  }
}
