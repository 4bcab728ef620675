// SPDX-License-Identifier: Apache-2.0
#include "software/entropy_health.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "software/two_distillers.hpp"

using namespace qkd004;
using namespace qkd004::software;

namespace {

using octet_run = std::vector<std::byte>;

octet_run random_octets(std::size_t count, unsigned seed) {
  std::mt19937_64 random{seed};
  octet_run made(count);
  for (auto& octet : made) octet = static_cast<std::byte>(random());
  return made;
}

/// Hands it over in pieces of random size. How many octets it had taken when it said no; all: it never did.
std::size_t accepted(const octet_run& all, unsigned seed) {
  std::mt19937_64 random{seed};
  entropy_health health;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t size =
        std::min<std::size_t>(1 + random() % (random() % 4 == 0 ? 9'000 : 40), all.size() - at);
    if (!health.accepts(std::span{all}.subspan(at, size))) return at;
    at += size;
  }
  return all.size();
}

}  // namespace

TEST_CASE("entropy health: has the cutoffs of SP 800-90B, 4.4") {
  // its formula for the first; its table for windows of 512 and 2^-20 for the second
  CHECK(repetition_cutoff(8, 20) == 4);
  CHECK(repetition_cutoff(2, 20) == 11);
  CHECK(repetition_cutoff(8, false_alarm_bits) == 9);
  CHECK(proportion_cutoff(1, 20) == 311);
  CHECK(proportion_cutoff(2, 20) == 177);
  CHECK(proportion_cutoff(4, 20) == 62);
  CHECK(proportion_cutoff(8, 20) == 13);
}

TEST_CASE("entropy health: a sound source never fails, whatever the pieces it comes in") {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    const auto all = random_octets(4'000'000, seed);
    CHECK(accepted(all, seed) == all.size());
  }
}

TEST_CASE("entropy health: nine equal octets fail and eight do not, wherever they stand") {
  const auto sound = random_octets(12'000, 5);
  for (unsigned seed = 1; seed <= 400; ++seed) {
    CAPTURE(seed);
    const std::size_t at = 1 + seed * 2'654'435'761U % 10'000;
    for (const std::size_t length : {8U, 9U}) {
      auto all = sound;
      const std::byte stuck = ~all[at - 1] ^ std::byte{1};
      for (std::size_t i = 0; i < length; ++i) all[at + i] = stuck;
      if (all[at + length] == stuck) all[at + length] ^= std::byte{2};
      if (all[at - 1] == stuck) continue;
      CHECK((accepted(all, seed) == all.size()) == (length == 8));
    }
  }
}

TEST_CASE("entropy health: sees nine equal octets that come in two pieces, and eight are not nine") {
  const auto sound = random_octets(250, 9);
  for (std::size_t cut = 100; cut < 104; ++cut) {
    for (std::size_t before = 0; before <= 9; ++before) {
      for (const std::size_t length : {8U, 9U}) {
        CAPTURE(cut);
        CAPTURE(before);
        CAPTURE(length);
        auto all = sound;
        const std::size_t at = cut - before;
        for (std::size_t i = 0; i < length; ++i) all[at + i] = ~sound[at - 1];
        all[at + length] = sound[at - 1];
        entropy_health health;
        const bool passed =
            health.accepts(std::span{all}.first(cut)) && health.accepts(std::span{all}.subspan(cut));
        CHECK(passed == (length == 8));
      }
    }
  }
}

TEST_CASE("entropy health: two runs of one octet with others between are no long one") {
  auto all = random_octets(100, 10);
  for (auto& octet : all) octet |= std::byte{1};
  for (std::size_t i = 1; i <= 6; ++i) all[i] = std::byte{0};
  for (std::size_t i = 93; i <= 95; ++i) all[i] = std::byte{0};
  CHECK(entropy_health{}.accepts(all));
}

TEST_CASE("entropy health: fails where one octet fills too much of a window, and not a little below") {
  const std::size_t cutoff = proportion_cutoff(8, false_alarm_bits);
  CHECK(cutoff > 20);
  CHECK(cutoff < 40);
  for (const std::size_t count : {cutoff - 1, cutoff}) {
    octet_run all(3 * health_window);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::byte>(1 + i % 251);
    auto window = std::span{all}.subspan(health_window, health_window);
    window[0] = std::byte{0};  // and the others at its end
    for (std::size_t i = 1; i < count; ++i) window[health_window - 2 * i + 1] = std::byte{0};
    for (unsigned seed = 1; seed <= 20; ++seed) {
      CAPTURE(seed);
      CHECK((accepted(all, seed) == all.size()) == (count < cutoff));
    }
  }
}

TEST_CASE("entropy health: a source with a stuck bit or half the octets fails soon") {
  auto all = random_octets(1'000'000, 6);
  for (auto& octet : all) octet &= std::byte{0x0f};
  CHECK(accepted(all, 1) < 10'000);
  all = random_octets(1'000'000, 7);
  for (std::size_t i = 0; i < all.size(); i += 5) all[i] = std::byte{0x55};
  CHECK(accepted(all, 1) < 100'000);
}

TEST_CASE("entropy health: a failure is for good, and nothing goes out with it") {
  int calls = 0;
  const auto source = tested([&](std::span<std::byte> out) {
    ++calls;
    const auto some = random_octets(out.size(), static_cast<unsigned>(calls));
    std::copy(some.begin(), some.end(), out.begin());
    if (calls == 3) std::fill(out.begin(), out.end(), std::byte{0x41});
  });
  octet_run out(64);
  CHECK(calls == 1);  // the test at the start
  source(out);
  CHECK_THROWS_AS(source(out), entropy_failure);
  CHECK(out == octet_run(64));
  CHECK_THROWS_AS(source(out), entropy_failure);
  CHECK_THROWS_AS(source({}), entropy_failure);
  CHECK(calls == 3);
  CHECK_THROWS_AS(static_cast<void>(tested(
                      [](std::span<std::byte> all) { std::fill(all.begin(), all.end(), std::byte{0}); })),
                  entropy_failure);
}

TEST_CASE("entropy health: a link whose source fails ends, says why, and begins no session any more") {
  for (const std::uint64_t sound : {0U, 40U, 20'000U, 60'000U}) {
    CAPTURE(sound);
    two_distillers w{small_blocks()};
    std::uint64_t left = sound + health_at_start;
    auto o = w.options(small_blocks(), side::alice);
    o.random = tested([&](std::span<std::byte> out) {
      w.random.fill(out);
      if (out.size() > left) std::fill(out.begin(), out.end(), std::byte{0x5a});
      left -= std::min<std::uint64_t>(left, out.size());
    });
    w.alice = std::make_unique<distiller>(o, made_pool(1, 4'096));
    REQUIRE(w.start());
    w.run_for(20);
    CHECK(w.of_alice.size() < 20);
    CHECK(w.alice->failure() == make_error_code(status::no_qkd_connection));
    CHECK(w.alice->report().failure == "the system's random generator failed its health test");
    CHECK(w.alice->report().forged == 0);
    CHECK(w.agree());
    const auto used = w.alice->position();
    CHECK_FALSE(w.start());
    CHECK(w.alice->position() == used);  // nor does it use pads up in trying
  }
}
