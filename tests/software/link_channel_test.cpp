// SPDX-License-Identifier: Apache-2.0
#include "software/link_channel.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

using namespace qkd004;
using namespace qkd004::software;

namespace {

octet_run numbered(std::uint64_t number, std::size_t size) {
  octet_run out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(number * 31 + i);
  return out;
}

struct both_ends {
  link_channel a{[] {}};
  link_channel b{[] {}};

  void up() {
    a.up();
    b.up();
  }
  void down() {
    a.down();
    b.down();
  }
  /// Carries one message if there is one.
  static bool carry(link_channel& from, link_channel& to) {
    octet_run m;
    if (!from.next(m)) return false;
    REQUIRE(m.size() <= classical_channel::largest_message);
    REQUIRE(to.receive(m));
    return true;
  }
  void settle() {
    while (carry(a, b) || carry(b, a)) {}
  }
  static std::deque<octet_run> taken(link_channel& at) {
    std::deque<octet_run> out;
    REQUIRE(at.take(out));
    return out;
  }
};

}  // namespace

TEST_CASE("link_channel: carries messages of any size, whole and in order") {
  both_ends w;
  w.up();
  const std::array<std::size_t, 6> sizes{0, 1, 59'999, 60'000, 200'001, 3};
  for (std::size_t i = 0; i < sizes.size(); ++i) w.a.send(numbered(i, sizes[i]));
  w.settle();
  const auto got = both_ends::taken(w.b);
  REQUIRE(got.size() == sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) CHECK(got[i] == numbered(i, sizes[i]));
}

TEST_CASE("link_channel: says nothing without a connection, and all of it once there is one") {
  both_ends w;
  w.a.send(numbered(1, 100));
  octet_run m;
  CHECK_FALSE(w.a.next(m));
  w.up();
  w.settle();
  CHECK(both_ends::taken(w.b).size() == 1);
}

TEST_CASE("link_channel: says again what was on its way when a connection broke, and nothing twice") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    both_ends w;
    std::deque<octet_run> got_a, got_b;
    std::uint64_t sent_a = 0, sent_b = 0;
    for (int connection = 0; connection < 5; ++connection) {
      w.up();
      for (int i = 0; i < 60; ++i) {
        switch (random() % 6) {
          case 0: w.a.send(numbered(sent_a++, random() % 90'000)); break;
          case 1: w.b.send(numbered(sent_b++, random() % 90'000)); break;
          case 2: both_ends::carry(w.a, w.b); break;
          case 3: both_ends::carry(w.b, w.a); break;
          case 4: REQUIRE(w.a.take(got_a)); break;
          default: REQUIRE(w.b.take(got_b));
        }
      }
      octet_run lost;  // whatever was handed over and not received
      while (w.a.next(lost) && random() % 4 != 0) {}
      while (w.b.next(lost) && random() % 4 != 0) {}
      w.down();
    }
    w.up();
    w.settle();
    REQUIRE(w.a.take(got_a));
    REQUIRE(w.b.take(got_b));
    REQUIRE(got_b.size() == sent_a);
    REQUIRE(got_a.size() == sent_b);
    for (std::size_t i = 0; i < sent_a; ++i) REQUIRE(got_b[i] == numbered(i, got_b[i].size()));
    for (std::size_t i = 0; i < sent_b; ++i) REQUIRE(got_a[i] == numbered(i, got_a[i].size()));
  }
}

TEST_CASE("link_channel: has no more than a window on its way to an end that takes nothing") {
  both_ends w;
  w.up();
  for (int i = 0; i < 100; ++i) w.a.send(numbered(1, 100'000));
  w.settle();
  CHECK(w.a.unsent() >= 100 * 100'000 - link_channel::window);
  std::size_t got = 0;
  for (int i = 0; i < 20; ++i) {
    got += both_ends::taken(w.b).size();
    w.settle();
  }
  CHECK(got == 100);
  CHECK(w.a.unsent() == 0);
}

TEST_CASE("link_channel: carries a message that is larger than the window") {
  both_ends w;
  w.up();
  const octet_run large = numbered(3, link_channel::window * 2 + 5);
  w.a.send(large);
  std::deque<octet_run> got;
  for (int i = 0; i < 10 && got.empty(); ++i) {
    w.settle();
    REQUIRE(w.b.take(got));
  }
  REQUIRE(got.size() == 1);
  CHECK((got[0] == large));
}

TEST_CASE("link_channel: refuses what its other end cannot have said, and keeps no more than its bound") {
  std::mt19937_64 random{5};
  unsigned refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    both_ends w;
    w.up();
    w.a.send(numbered(1, 50));
    octet_run m;
    REQUIRE(w.a.next(m));
    if (round % 2 == 0) {
      REQUIRE(w.b.receive(m));
      both_ends::carry(w.b, w.a);
      REQUIRE(w.a.next(m));
    }
    if (m.size() > 1 && random() % 2 == 0) m.resize(random() % m.size());
    if (!m.empty()) m[random() % std::min<std::size_t>(m.size(), 17)] ^= std::byte{1};
    refused += w.b.receive(m) ? 0U : 1U;
  }
  CHECK(refused > 15'000);  // the octet changed may be of a number that nobody relies on

  link_channel end{[] {}};
  end.up();
  octet_run resume(17);
  resume[0] = std::byte{1};
  REQUIRE(end.receive(resume));
  octet_run flood(60'000);
  flood[0] = std::byte{2};
  std::uint64_t position = 0;
  bool accepted = true;
  for (int i = 0; i < 1'000 && accepted; ++i) {
    for (unsigned o = 0; o < 8; ++o) flood[1 + o] = static_cast<std::byte>(position >> (56 - 8 * o));
    accepted = end.receive(flood).has_value();
    position += flood.size() - 17;
  }
  CHECK_FALSE(accepted);
  CHECK(position <= 2 * link_channel::window + flood.size());
}

TEST_CASE("link_channel: wakes who listens once for all that goes together") {
  int woken = 0;
  both_ends w;
  w.a.on_ready([&woken] { ++woken; });
  w.up();
  w.a.send(numbered(1, 10));
  w.a.send(numbered(2, 10));
  CHECK(woken == 0);
  w.a.wake();
  CHECK(woken == 1);
  w.a.on_ready({});
  w.a.wake();
  CHECK(woken == 1);
}
