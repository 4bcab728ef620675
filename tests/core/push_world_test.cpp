// Push mode whole, with faults, from seeds.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdlib>

#include "push_world.hpp"

using namespace testing;

namespace {

std::uint64_t first_seed() {
  const char* const given = std::getenv("QKD004_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
}

}  // namespace

TEST_CASE("push world: the same keys at both key managers when nothing fails") {
  push_world w{{}};
  REQUIRE(w.run_until([&] { return w.delivered[0] >= 2'000 && w.delivered[1] >= 2'000; }));
  for (const std::size_t n : {0U, 1U}) {
    const auto r = w.managers[n]->source.report();
    CHECK(r.given_up == 0);
    CHECK(r.lost_here == 0);
    CHECK(r.repeated == 0);
    CHECK(r.streams == 1);
    w.check_nothing_lost(n);
  }
}

TEST_CASE(
    "push world: no key lost that was not acknowledged, none twice, over transports that lose, repeat and "
    "reorder") {
  const std::uint64_t base = first_seed();
  for (std::uint64_t seed = base; seed < base + 12; ++seed) {
    CAPTURE(seed);
    push_world::options o;
    o.seed = seed;
    o.loss = 15;
    o.repetition = 20;
    o.errors = 5;
    push_world w{o};
    REQUIRE(w.run_until([&] { return w.delivered[0] >= 400 && w.delivered[1] >= 400; }, 2000s));
    for (const std::size_t n : {0U, 1U}) {
      const auto r = w.managers[n]->source.report();
      CHECK(r.given_up == 0);
      CHECK(r.lost_here == 0);
      CHECK(r.different == 0);
      w.check_nothing_lost(n);
    }
  }
}

TEST_CASE("push world: the index wraps, and the streams underneath follow one another, with no key lost") {
  for (std::uint64_t seed = first_seed(); seed < first_seed() + 3; ++seed) {
    CAPTURE(seed);
    push_world::options o;
    o.seed = seed;
    o.loss = 5;
    o.first_index = (std::uint64_t{1} << 32) - 150;
    o.keys_below = 100;
    push_world w{o};
    REQUIRE(w.run_until([&] { return w.delivered[0] >= 500 && w.delivered[1] >= 500; }, 2000s));
    for (const std::size_t n : {0U, 1U}) {
      const auto r = w.managers[n]->source.report();
      CHECK(r.next_index > (std::uint64_t{1} << 32) + 300);
      CHECK(r.given_up == 0);
      CHECK(r.lost_here == 0);
      CHECK(r.streams == 1);
      w.check_nothing_lost(n);
    }
  }
}

TEST_CASE("push world: a key manager that restarts takes up what it had not acknowledged") {
  for (std::uint64_t seed = first_seed(); seed < first_seed() + 10; ++seed) {
    CAPTURE(seed);
    push_world::options o;
    o.seed = seed;
    o.loss = 10;
    push_world w{o};
    std::uint64_t wanted = 100;
    key_stream_id first;
    for (int round = 0; round < 6; ++round, wanted += 100) {
      CAPTURE(round);
      REQUIRE(w.run_until([&] { return w.delivered[0] >= wanted && w.delivered[1] >= wanted; }, 2000s));
      if (round == 0) first = w.managers[0]->source.stream();
      w.restart_kms(w.draw() % 2);
    }
    REQUIRE(w.run_until([&] { return w.delivered[0] >= wanted && w.delivered[1] >= wanted; }, 2000s));
    CHECK(w.different == 0);
    for (const std::size_t n : {0U, 1U}) {
      CHECK(w.managers[n]->source.stream() == first);
      w.check_nothing_lost(n);
    }
  }
}

TEST_CASE("push world: a device that restarts loses its stream, and another one takes its place") {
  for (std::uint64_t seed = first_seed(); seed < first_seed() + 10; ++seed) {
    CAPTURE(seed);
    push_world::options o;
    o.seed = seed;
    o.loss = 10;
    push_world w{o};
    std::uint64_t wanted = 100;
    for (int round = 0; round < 5; ++round, wanted += 100) {
      CAPTURE(round);
      REQUIRE(w.run_until([&] { return w.delivered[0] >= wanted && w.delivered[1] >= wanted; }, 2000s));
      w.restart_device(w.draw() % 2);
    }
    const key_stream_id before = w.managers[0]->stream;
    REQUIRE(w.run_until([&] { return w.delivered[0] >= wanted && w.delivered[1] >= wanted; }, 2000s));
    CHECK(w.managers[0]->stream == before);  // the application's own stream has gone on
    CHECK(w.managers[0]->source.report().streams == 6);
    CHECK(w.different == 0);
  }
}

TEST_CASE("push world: restarts of everything, in any order") {
#if defined(__SANITIZE_ADDRESS__)
  constexpr std::uint64_t seeds = 1;  // at a fiftieth of the speed
#else
  constexpr std::uint64_t seeds = 20;
#endif
  for (std::uint64_t seed = first_seed(); seed < first_seed() + seeds; ++seed) {
    CAPTURE(seed);
    push_world::options o;
    o.seed = seed;
    o.loss = 10;
    o.repetition = 10;
    o.errors = 3;
    o.first_index = seed % 2 == 0 ? 0 : (std::uint64_t{1} << 32) - 40;
    o.keys_below = seed % 3 == 0 ? 60 : last_index + 1;
    push_world w{o};
    for (int round = 0; round < 12; ++round) {
      w.run_for(std::chrono::milliseconds{w.draw() % 3'000});
      switch (w.draw() % 5) {
        case 0: w.restart_kms(w.draw() % 2); break;
        case 1: w.restart_device(w.draw() % 2); break;
        case 2: w.connect_kms(); break;
        case 3: w.connect_devices(); break;
        case 4: w.stalled[w.draw() % 2] ^= true; break;
      }
    }
    w.stalled[0] = w.stalled[1] = false;
    w.run_for(30s);
    const std::uint64_t at = std::min(w.delivered[0], w.delivered[1]);
    CHECK(w.run_until([&] { return std::min(w.delivered[0], w.delivered[1]) >= at + 100; }, 2000s));
    CHECK(w.different == 0);
  }
}

TEST_CASE("push world: keys whose life ends at a device are left out at both key managers") {
  push_world::options o;
  o.ttl_s = 5;
  push_world w{o};
  REQUIRE(w.run_until([&] { return w.delivered[0] >= 100 && w.delivered[1] >= 100; }));
  w.stalled[1] = true;
  w.run_for(40s);  // some at device B die
  w.stalled[1] = false;
  const std::uint64_t wanted = w.delivered[0] + 500;
  REQUIRE(w.run_until([&] { return w.delivered[0] >= wanted && w.delivered[1] >= wanted; }, 2000s));
  CHECK(w.managers[1]->source.report().given_up > 0);
  CHECK(w.managers[0]->source.report().lost_here > 0);
  w.check_nothing_lost(1);
}

TEST_CASE("push world: a key manager whose applications do not read holds back its devices") {
  push_world w{{}};
  REQUIRE(w.run_until([&] { return w.delivered[0] >= 100 && w.delivered[1] >= 100; }));
  w.reading = false;
  w.run_for(60s);
  for (const std::size_t n : {0U, 1U}) {
    CHECK(w.managers[n]->source.report().held <= w.settings.held + 8);  // and what filled gaps
    CHECK_FALSE(w.managers[n]->source.has_room());
  }
  w.reading = true;
  const std::uint64_t wanted = w.delivered[0] + 300;
  REQUIRE(w.run_until([&] { return w.delivered[0] >= wanted && w.delivered[1] >= wanted; }, 200s));
  CHECK(w.managers[0]->source.report().given_up == 0);
}
