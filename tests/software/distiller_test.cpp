// SPDX-License-Identifier: Apache-2.0
#include "software/distiller.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "software/two_distillers.hpp"

using namespace qkd004;
using namespace qkd004::software;

namespace {

message_kind kind_of(const std::vector<std::byte>& message) {
  link_message m;
  REQUIRE(parse_message(message, m));
  return m.kind;
}

}  // namespace

TEST_CASE("distiller: both ends accept equal keys in equal order") {
  for (const auto sampling : {photon_sampling::blocks, photon_sampling::events}) {
    auto o = small_blocks();
    o.sampling = sampling;
    two_distillers w{o};
    REQUIRE(w.start());
    w.run_for(6);
    REQUIRE(w.of_alice.size() >= 6);
    REQUIRE(w.of_bob.size() >= 6);
    CHECK(w.agree());
    for (const auto& made : w.of_alice) CHECK(made.key.size() > 8'000);
    const auto r = w.bob->report();
    CHECK(r.accepted >= 6);
    CHECK(r.forged == 0);
  }
}

TEST_CASE("distiller: no two blocks have the same key") {
  two_distillers w{small_blocks()};
  REQUIRE(w.start());
  w.run_for(8);
  std::set<std::uint64_t> first_words;
  for (const auto& made : w.of_alice) first_words.insert(made.key.words()[0]);
  CHECK(first_words.size() == w.of_alice.size());
}

TEST_CASE("distiller: works with one decoy as well") {
  auto o = small_blocks();
  o.system.proof = decoy_proof::w24;
  o.system.intensities = {{{0.5, 0.5}, {0.12, 0.5}, {}}};
  o.system.x_basis = 0.7;
  o.block_bits = 1'048'576;
  for (const auto sampling : {photon_sampling::blocks, photon_sampling::events}) {
    o.sampling = sampling;
    two_distillers w{o};
    REQUIRE(w.start());
    w.run_for(1);
    REQUIRE_FALSE(w.of_alice.empty());
    CHECK(w.agree());
    CHECK(w.of_alice[0].provenance.model == "w24");
  }
}

TEST_CASE("distiller: says of a block what it was made of") {
  two_distillers w{small_blocks()};
  REQUIRE(w.start());
  w.run_for(1);
  REQUIRE_FALSE(w.of_alice.empty());
  const key_provenance& a = w.of_alice[0].provenance;
  key_provenance b = w.of_bob[0].provenance;
  CHECK(a == b);
  CHECK(a.qber == doctest::Approx(0.0246).epsilon(0.1));
  CHECK(a.phase_error > a.qber);
  CHECK(a.phase_error < 0.3);
  CHECK(a.eps_sec == 1e-10);
  CHECK(a.eps_auth < 1e-18);
  CHECK(a.sifted == 65'536);
  CHECK(a.efficiency == doctest::Approx(1.05).epsilon(0.05));
  CHECK(a.leak_alice > 8'000);
  CHECK(a.reconciliation == "cascade");
  CHECK(a.authentication == "its");
}

TEST_CASE(
    "distiller: what reconciliation tells shortens the key, in both directions where that is the account") {
  auto o = small_blocks();
  o.block_bits = 262'144;
  two_distillers one{o};
  REQUIRE(one.start());
  one.run_for(1);
  o.leak = leak_account::both_directions;
  two_distillers two{o};
  REQUIRE(two.start());
  two.run_for(1);
  REQUIRE_FALSE(one.of_alice.empty());
  REQUIRE_FALSE(two.of_alice.empty());
  const auto& more = two.of_alice[0];
  const std::uint64_t bob = more.provenance.leak_bob;
  CHECK(bob > 40'000);
  // the photons are the same
  const double difference = static_cast<double>(one.of_alice[0].key.size() - more.key.size());
  CHECK(difference == doctest::Approx(static_cast<double>(bob)).epsilon(0.02));
}

TEST_CASE("distiller: an eavesdropper who measures every pulse gets no key made, in 1000 blocks") {
  auto o = small_blocks();
  o.intercept_resend = 1;
  two_distillers w{o};
  REQUIRE(w.start());
  w.run([&] { return w.bob->report().over_limit >= 1'000; });
  const auto r = w.bob->report();
  CHECK(r.over_limit >= 1'000);
  CHECK(r.qber > 0.22);
  CHECK(r.secret == 0);
  CHECK(r.accepted == 0);
  CHECK(w.alice->report().secret == 0);
  CHECK(w.of_alice.empty());
  CHECK(r.auth_used == 32 * 8);  // those of the session: a block that is given up takes no pad
}

TEST_CASE("distiller: a QBER above the limit discards the block, one below does not") {
  auto o = small_blocks();
  o.block_bits = 262'144;
  o.qber_limit = 0.02;
  two_distillers strict{o};
  REQUIRE(strict.start());
  strict.run([&] { return strict.bob->report().over_limit >= 3 || !strict.of_bob.empty(); });
  CHECK(strict.of_bob.empty());
  CHECK(strict.bob->report().over_limit >= 3);
  o.qber_limit = 0.03;
  two_distillers lenient{o};
  REQUIRE(lenient.start());
  lenient.run_for(1);
  CHECK(lenient.of_bob.size() >= 1);
}

TEST_CASE("distiller: where nothing secret is left there is no key, and no pad is used") {
  auto o = small_blocks();
  o.system.eps_sec = 1e-30;
  o.system.km = 150;  // dark counts, and blocks that are too small
  o.qber_limit = 0.11;
  two_distillers w{o};
  REQUIRE(w.start());
  w.run([&] { return w.bob->report().no_key + w.bob->report().over_limit >= 5 || !w.of_bob.empty(); });
  CHECK(w.of_bob.empty());
  CHECK(w.of_alice.empty());
  CHECK(w.bob->report().no_key > 0);
  CHECK(w.alice->report().no_key == w.bob->report().no_key);
  CHECK(w.alice->report().auth_used == 32 * 8);
}

TEST_CASE(
    "distiller: a block of which a message was changed, cut, doubled, sent back or swapped is not accepted") {
  enum class way { flipped, shortened, lengthened, doubled, reflected, swapped };
  std::map<message_kind, int> seen;
  int forged = 0;
  for (unsigned seed = 1; seed <= 120; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    auto o = small_blocks();
    o.blocks_in_flight = 1;
    two_distillers w{o, seed};
    REQUIRE(w.start());
    const auto how = static_cast<way>(seed % 6);
    const auto which = static_cast<message_kind>(2 + seed % 14);
    bool done = false;
    std::uint32_t block = 0;
    std::vector<std::byte> held;
    w.changes = [&](side from, std::vector<std::byte>& m) {
      if (!held.empty()) {  // after the one that it followed
        auto first = std::exchange(held, {});
        (from == side::alice ? *w.bob : *w.alice).receive(m);
        m = std::move(first);
        return true;
      }
      if (done || kind_of(m) != which) return true;
      done = true;
      ++seen[which];
      link_message parts;
      REQUIRE(parse_message(m, parts));
      block = parts.block;
      switch (how) {
        case way::flipped:
          m[5 + random() % (m.size() - 5)] ^= static_cast<std::byte>(1U << (random() % 8));
          break;
        case way::shortened: m.resize(m.size() - 1 - random() % (m.size() - 5)); break;
        case way::lengthened: m.push_back(std::byte{0}); break;
        case way::doubled: (from == side::alice ? *w.bob : *w.alice).receive(m); break;
        case way::reflected: (from == side::alice ? *w.alice : *w.bob).receive(m); return true;
        case way::swapped: held = m; return false;
      }
      return true;
    };
    w.run([&] { return w.of_alice.size() >= 2 && w.of_bob.size() >= 2; });
    REQUIRE(w.agree());
    if (!done) continue;
    const auto alice = w.alice->report(), bob = w.bob->report();
    // what was swapped with nothing after it has not been changed at all
    if (how == way::swapped && alice.forged + bob.forged + bob.unequal == 0) continue;
    ++forged;
    // A wrong parity, or wrong errors, may be found by the comparison of the keys; all else by a tag at the latest.
    CHECK(alice.forged + bob.forged + bob.unequal >= 1);
    const auto is_it = [&](const secret_block& b) { return b.provenance.first_block == block; };
    CHECK(std::none_of(w.of_bob.begin(), w.of_bob.end(), is_it));
    // Alice accepts by Bob's tag: she has the block already if that came to her as it was
    const bool hers = which == message_kind::accepted ||
                      (which == message_kind::tag_bob && (how == way::doubled || how == way::reflected));
    if (!hers) CHECK(std::none_of(w.of_alice.begin(), w.of_alice.end(), is_it));
  }
  CHECK(forged > 60);
  CHECK(seen.size() >= 10);
}

TEST_CASE("distiller: an end that is left in doubt about a block never has another key for it") {
  // Bob's verdict hangs on Alice's last message: whatever is made of it, he has her key or none
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    auto o = small_blocks();
    o.blocks_in_flight = 3;
    two_distillers w{o, seed};
    REQUIRE(w.start());
    unsigned count = 0;
    w.changes = [&](side, std::vector<std::byte>& m) {
      if (kind_of(m) == message_kind::accepted && ++count == 1 + seed % 4) m.back() ^= std::byte{1};
      return true;
    };
    w.run([] { return false; });
    CHECK(w.of_alice.size() > w.of_bob.size());
    CHECK(w.agree());
    CHECK(w.bob->failure() == make_error_code(status::protocol_error));
    // the next session goes on with fresh pads, and with what both have of them
    w.changes = {};
    w.of_alice.clear();
    w.of_bob.clear();
    REQUIRE(w.start());
    w.run_for(2);
    CHECK(w.of_bob.size() >= 2);
    CHECK(w.agree());
  }
}

TEST_CASE("distiller: pads are given back by each block, and up to a stock of them") {
  two_distillers w{small_blocks(), 3, 512};
  REQUIRE(w.start());
  w.run_for(40);
  REQUIRE(w.of_alice.size() >= 40);
  const auto a = w.alice->report();
  CHECK(a.auth_returned > a.auth_used);
  CHECK(a.auth_left >= 512 * 8 - 32 * 8);
  CHECK(a.auth_left <= (enough_pads + 2 * block_pads::size) * 8);
  CHECK(w.bob->report().auth_left + 4 * 8 * block_pads::size >= a.auth_left);
}

TEST_CASE("distiller: bears detections that come after the block is full") {
  auto o = small_blocks();
  o.sampling = photon_sampling::events;
  o.block_bits =
      66'048;  // 37 batches are as likely to be enough as not, and Bob says 38 before he hears of the first
  two_distillers w{o, 5};
  REQUIRE(w.start());
  std::deque<std::vector<std::byte>> to_bob;
  std::size_t batches = 0;
  for (std::size_t step = 0; step < 50'000 && w.of_bob.size() < 8; ++step) {
    w.now += std::chrono::microseconds{10};
    (void)w.alice->work(0);
    for (auto& message : std::exchange(w.alice->messages(), {})) to_bob.push_back(std::move(message));
    if (w.bob->work(0)) {
      w.cross(*w.bob, *w.alice, side::bob);
      batches += 1;
      continue;  // what she says is under way for as long as there are photons
    }
    if (to_bob.empty()) continue;
    w.bob->receive(to_bob.front());
    to_bob.pop_front();
    w.cross(*w.bob, *w.alice, side::bob);
    w.collect(*w.alice, w.of_alice);
    w.collect(*w.bob, w.of_bob);
  }
  CHECK(batches > 8 * 37);
  CHECK(w.alice->report().failure.empty());
  CHECK(w.bob->report().failure.empty());
  REQUIRE(w.of_bob.size() >= 8);
  CHECK(w.agree());
}

TEST_CASE("distiller: stops for good when the pads are used up, and says so") {
  two_distillers w{small_blocks(), 4, 512};
  w.changes = [](side, const std::vector<std::byte>& m) { return kind_of(m) == message_kind::hello; };
  int sessions = 0;
  for (; sessions < 100 && w.start(); ++sessions) w.run([] { return false; });  // each takes 32 octets
  CHECK(sessions == (512 - 16) / 32);
  CHECK(w.of_alice.empty());
}

TEST_CASE("distiller: without enough pads for a block none is begun") {
  two_distillers w{small_blocks(), 5, 512};
  w.changes = [](side, const std::vector<std::byte>& m) { return kind_of(m) == message_kind::hello; };
  for (int i = 0; i < 14; ++i) {
    REQUIRE(w.start());
    w.run([] { return false; });
  }
  w.changes = {};
  REQUIRE(w.start());  // then 16 octets are left
  w.run([] { return false; });
  CHECK(w.of_bob.empty());
  CHECK(w.alice->failure() == make_error_code(status::no_qkd_connection));
  CHECK(w.alice->report().failure.find("authentication key") != std::string::npos);
}

TEST_CASE("distiller: ends whose pads begin at different places do not agree") {
  two_distillers w{small_blocks()};
  key_source_session session;
  session.link = "link";
  session.first_block = 100;
  const auto a = w.alice->start(session);
  session.first_block = 140;
  const auto b = w.bob->start(session);
  REQUIRE(a);
  REQUIRE(b);
  CHECK(*a != *b);
}

TEST_CASE("distiller: sessions that never come about use no pads") {
  two_distillers w{small_blocks()};
  w.bob = std::make_unique<distiller>(w.options(small_blocks(), side::bob), made_pool(2, 4'096));
  for (int i = 0; i < 1'000; ++i) CHECK_FALSE(w.start());
  CHECK(w.alice->position() == 0);
  CHECK(w.alice->report().auth_used == 0);
}

TEST_CASE("distiller: ends with other options, pads or sides do not agree") {
  auto o = small_blocks();
  two_distillers w{o};
  auto other = o;
  other.qber_limit = 0.07;
  w.bob = std::make_unique<distiller>(w.options(other, side::bob), made_pool(1, 4'096));
  CHECK_FALSE(w.start());
  w.bob = std::make_unique<distiller>(w.options(o, side::bob), made_pool(2, 4'096));
  CHECK_FALSE(w.start());
  w.bob = std::make_unique<distiller>(w.options(o, side::alice), made_pool(1, 4'096));
  static_cast<void>(w.start());
  w.run([] { return false; });
  CHECK(w.bob->report().failure == "both ends are Alice, or both Bob");
}

TEST_CASE("distiller: an end that died at any message leaves nothing that differs, and both go on") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    auto o = small_blocks();
    o.sampling = seed % 2 == 0 ? photon_sampling::blocks : photon_sampling::events;
    two_distillers w{o, seed, 16'384};
    REQUIRE(w.start());
    std::size_t left = 3 + 17 * seed % 400;
    w.changes = [&](side, std::vector<std::byte>&) { return left > 0 && left-- > 0; };
    w.run([&] { return left == 0; });
    REQUIRE(w.agree());
    // what it had is lost; its pads are those that it had stored
    w.changes = {};
    w.of_alice.clear();
    w.of_bob.clear();
    REQUIRE(w.start());
    w.run_for(1);
    CHECK(w.of_alice.size() >= 1);
    CHECK(w.of_bob.size() >= 1);
    CHECK(w.agree());
  }
}

TEST_CASE("distiller: Alice's laser sets the pace where there is one") {
  auto o = small_blocks();
  o.sampling = photon_sampling::events;
  o.pulse_rate = 1'000'000'000;
  two_distillers w{o};
  REQUIRE(w.start());
  // 10 microseconds pass in each round of run()
  const auto begun = w.now;
  w.run([&] {
    w.now = std::max(w.now, std::min(w.bob->work_at(), w.now + std::chrono::milliseconds{5}));
    return w.of_bob.size() >= 3;
  });
  const std::chrono::duration<double> took = w.now - begun;
  const double pulses = static_cast<double>(w.bob->report().pulses);
  CHECK(pulses / took.count() < 1.3e9);
}
