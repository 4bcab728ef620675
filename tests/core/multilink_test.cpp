// A site with three neighbours at the key manager: what one link does is nothing to the others.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "two_sites.hpp"

using namespace testing;

namespace {

using key = std::vector<std::byte>;

/// A key manager with several links, and what it says on each.
struct node : site_events {
  node(key_manager::options o, secret_options memory, std::uint64_t seed)
      : arena{memory}, manager{std::move(o), arena, seeded_random{seed}, *this} {}

  void send(link_id l, peer::message&& m) override { said.at(l).push_back(std::move(m)); }
  void link_failed(link_id l, const std::string& why) override {
    failures.push_back(std::to_string(l) + ": " + why);
  }

  secret_arena arena;
  key_manager manager;
  std::array<std::deque<peer::message>, 3> said;
  connection_id application = 0;
};

/// Site "M" with the neighbours "B", which allocates on their link, and "N" and "Z", for which M allocates.
struct star {
  static constexpr std::array<const char*, 3> names{"B", "N", "Z"};
  struct options {
    limits bounds{};
    secret_options memory{};
    memory_source_options source{};
    std::vector<std::string> destinations{};  ///< of the link to Z
  };

  explicit star(options o) : settings{std::move(o)} {
    hub =
        std::make_unique<node>(key_manager::options{"M", {}, settings.bounds, false, {}}, settings.memory, 1);
    hub->application = hub->manager.connect("alice");
    for (std::size_t i = 0; i < 3; ++i) {
      auto ends = make_memory_sources(settings.source);
      hub_sources[i] = std::move(ends.first);
      sources[i] = std::move(ends.second);
      key_manager::link_options l{"m" + std::to_string(i), names[i], {}};
      if (i == 2) l.destinations = settings.destinations;
      REQUIRE(hub->manager.add_link(l, *hub_sources[i]).value() == static_cast<link_id>(i));
      start(i);
    }
    for (std::size_t i = 0; i < 3; ++i) connect(i);
  }
  star() : star(options{}) {}

  void start(std::size_t i) {
    key_manager::options o{names[i], {}, settings.bounds, false, {}};
    if (i == 2) o.local_uris = settings.destinations;
    neighbours[i] = std::make_unique<node>(std::move(o), settings.memory, 100 * (i + 1) + ++births);
    neighbours[i]->application = neighbours[i]->manager.connect("bob");
    REQUIRE(neighbours[i]->manager.add_link({"m" + std::to_string(i), "M", {}}, *sources[i]));
  }
  void connect(std::size_t i) {
    up[i] = true;
    hub->manager.link_up(static_cast<link_id>(i), now);
    neighbours[i]->manager.link_up(0, now);
    settle();
  }
  void cut(std::size_t i) {
    up[i] = false;
    hub->said[i].clear();
    neighbours[i]->said[0].clear();
    hub->manager.link_down(static_cast<link_id>(i), now);
    neighbours[i]->manager.link_down(0, now);
  }
  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t i = 0; i < 3; ++i) {
        moved = carry(hub->said[i], neighbours[i]->manager, 0, i) || moved;
        moved = carry(neighbours[i]->said[0], hub->manager, static_cast<link_id>(i), i) || moved;
      }
    }
  }
  bool carry(std::deque<peer::message>& from, key_manager& to, link_id by, std::size_t i) {
    if (!up[i]) from.clear();
    if (from.empty() || deaf[i]) return false;
    auto m = std::move(from.front());
    from.pop_front();
    to.receive(by, std::move(m), now);
    return true;
  }
  void pass(boot_clock::duration d) {
    for (const auto until = now + d; now < until;) {
      now += 5ms;
      hub->manager.advance(now);
      for (const auto& n : neighbours) n->manager.advance(now);
      settle();
    }
  }

  static open_connect_request to(std::size_t i, std::uint32_t chunk = 32) {
    open_connect_request r{"qkd://alice@M", std::string{"qkd://bob@"} + names[i]};
    r.quality.key_chunk_size = chunk;
    return r;
  }
  open_connect_response open(node& at, const open_connect_request& r) {
    at.manager.open_connect({at.application, ++tickets}, r, now);
    settle();
    return at.answers[tickets].open.value();
  }
  key_stream_id open_both(std::size_t i) {
    auto r = to(i);
    r.stream = open(*hub, r).stream;
    REQUIRE(open(*neighbours[i], r).outcome == status::success);
    return r.stream;
  }
  /// The key at an index, if it is there.
  std::optional<key> get(node& at, const key_stream_id& id, std::uint64_t index) {
    get_key_request r;
    r.stream = id;
    r.index = index;
    r.no_wait = true;
    at.manager.get_key({at.application, ++tickets}, r, now);
    settle();
    outcome = at.answers[tickets].get.value().outcome;
    if (outcome != status::success) return std::nullopt;
    return at.answers[tickets].key;
  }
  /// Reads indices [from, to) at both ends, and fails unless they are there, equal, and keys that nobody had.
  void read(std::size_t i, const key_stream_id& id, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t k = from; k < to; ++k) {
      INFO("link " << i << " index " << k);
      auto here = get(*hub, id, k);
      if (!here) {
        pass(50ms);
        here = get(*hub, id, k);
      }
      REQUIRE(here);
      REQUIRE(get(*neighbours[i], id, k) == here);
      REQUIRE(seen.insert(*here).second);
    }
  }

  options settings;
  std::uint64_t births = 0;
  time_point now{std::chrono::hours{1}};
  std::array<std::unique_ptr<key_source>, 3> hub_sources;
  std::array<std::unique_ptr<key_source>, 3> sources;
  std::unique_ptr<node> hub;
  std::array<std::unique_ptr<node>, 3> neighbours;
  std::array<bool, 3> up{};
  std::array<bool, 3> deaf{};  ///< nothing on that link arrives, though it is up
  std::uint64_t tickets = 0;
  status outcome{};
  std::set<key> seen;
};

}  // namespace

TEST_CASE("multilink: gives equal keys with each of three neighbours, and none of one link to another") {
  star s;
  const std::array ids{s.open_both(0), s.open_both(1), s.open_both(2)};
  for (std::uint64_t k = 0; k < 300; ++k) {
    for (std::size_t i = 0; i < 3; ++i) s.read(i, ids[i], k, k + 1);
  }
  CHECK(s.seen.size() == 900);
  for (std::size_t i = 0; i < 3; ++i) {
    s.get(*s.neighbours[i], ids[(i + 1) % 3], 0);
    CHECK(s.outcome == status::unknown_key_stream);
  }
}

TEST_CASE("multilink: goes on with the others while one link is lost, and with that one when it is back") {
  for (std::size_t lost = 0; lost < 3; ++lost) {
    star s;
    const std::array ids{s.open_both(0), s.open_both(1), s.open_both(2)};
    for (std::size_t i = 0; i < 3; ++i) s.read(i, ids[i], 0, 50);
    s.cut(lost);
    for (std::uint64_t k = 50; k < 300; ++k) {
      for (std::size_t i = 0; i < 3; ++i) {
        if (i != lost) s.read(i, ids[i], k, k + 1);
      }
    }
    s.connect(lost);
    s.read(lost, ids[lost], 50, 300);
    CHECK(s.hub->manager.totals().lost_chunks == 0);
    CHECK(s.hub->failures.empty());
  }
}

TEST_CASE("multilink: ends the streams of a neighbour that restarts and nobody else's") {
  for (std::size_t dies = 0; dies < 3; ++dies) {
    star s;
    const std::array ids{s.open_both(0), s.open_both(1), s.open_both(2)};
    for (std::size_t i = 0; i < 3; ++i) s.read(i, ids[i], 0, 10);
    const auto held = s.hub->manager.stream_balance(ids[dies])->live;
    REQUIRE(held > 0);
    s.cut(dies);
    s.start(dies);
    s.connect(dies);
    s.get(*s.hub, ids[dies], 10);
    CHECK(s.outcome == status::unknown_key_stream);
    const auto t = s.hub->manager.totals();
    CHECK(t.lost_chunks == held);
    CHECK(t.streams == 2);
    CHECK(t.bound_chunks == t.acknowledged_chunks + t.expired_chunks + t.discarded_chunks);
    for (std::size_t i = 0; i < 3; ++i) {
      if (i != dies) s.read(i, ids[i], 10, 200);
    }
    s.read(dies, s.open_both(dies), 0, 200);
  }
}

TEST_CASE("multilink: routes by node first and then by patterns, and nowhere else") {
  star::options o;
  o.destinations = {"qkd://bob@far*", "relay", "qkd://eve@N"};
  star s{o};
  const auto open = [&](std::string from, std::string to) {
    return s.open(*s.hub, {std::move(from), std::move(to)}).outcome;
  };
  const auto streams = [&](std::size_t i) { return s.neighbours[i]->manager.totals().streams; };
  CHECK(open("qkd://alice@M", "qkd://bob@far-away") == status::peer_not_connected);
  CHECK(streams(2) == 1);
  CHECK(open("qkd://alice@M", "qkd://eve@N") == status::peer_not_connected);  // the node is a neighbour
  CHECK(streams(1) == 1);
  CHECK(streams(2) == 1);
  CHECK(open("qkd://alice@M", "qkd://carol@far-away") == status::no_qkd_connection);
  CHECK(open("qkd://bob@B", "qkd://bob@N") == status::no_qkd_connection);  // no relay between neighbours
  CHECK(open("qkd://alice@M", "qkd://bob@C") == status::no_qkd_connection);
  CHECK(s.hub->manager.totals().streams == 2);
}

TEST_CASE("multilink: takes nothing from a neighbour about another neighbour's stream") {
  star s;
  const auto id = s.open_both(1);
  s.read(1, id, 0, 3);
  const auto before = *s.hub->manager.stream_balance(id);
  // Z, who plays by the rules otherwise, speaks of the stream that M has with N
  const auto say = [&](peer::message m) {
    s.hub->manager.receive(2, std::move(m), s.now);
    s.settle();
  };
  peer::announce a;
  a.stream = id;
  a.serial = 1;
  a.source = "qkd://alice@M";
  a.destination = "qkd://bob@N";
  a.quality = {32, 0xffff'ffff, 0, 0, 0, 5'000, 3'600, {}};
  a.window = 128;
  a.opened = true;
  say(a);
  a.stream = predefined(9);  // nor may it register one
  say(a);
  say(peer::accept{id, a.quality, 2, true, false});
  say(peer::mark{id, 100, true});
  say(peer::refuse{id, 1, status::no_qkd_connection});
  say(peer::close{id});
  const auto after = *s.hub->manager.stream_balance(id);
  CHECK(after.live == before.live);
  CHECK(after.bound == before.bound);
  CHECK(s.hub->manager.totals().streams == 1);
  s.read(1, id, 3, 200);
}

TEST_CASE("multilink: leaves memory for the others when one neighbour confirms nothing") {
  star::options o;
  o.source.max_ahead = 1'000'000;  // as of a source whose ends do not know one another
  star s{o};
  s.deaf[2] = true;
  s.now += 1ms;
  // M accepts what Z announces, binds, and hears nothing: its key for Z piles up in the link's pool
  const auto give = [&](std::size_t i) {
    while (!s.neighbours[i]->said[0].empty()) {
      auto m = std::move(s.neighbours[i]->said[0].front());
      s.neighbours[i]->said[0].pop_front();
      s.hub->manager.receive(static_cast<link_id>(i), std::move(m), s.now);
    }
  };
  for (int n = 0; n < 100; ++n) {
    auto r = star::to(2, 4096);
    s.neighbours[2]->manager.open_connect({s.neighbours[2]->application, ++s.tickets}, r, s.now);
    give(2);
    if (n % 10 == 9) s.pass(20ms);
  }
  s.pass(100ms);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto id = s.open_both(i);
    s.read(i, id, 0, 20'000);  // more than what the links held before
  }
}

TEST_CASE("multilink: leaves streams for the others when one neighbour opens all it can") {
  star s;
  std::size_t taken = 0;
  for (int n = 0; n < 1'000; ++n) {
    if (s.open(*s.neighbours[2], star::to(2)).outcome == status::resource_limit) break;
    ++taken;
  }
  CHECK(taken > 100);  // it is not kept from having most
  s.pass(100ms);
  for (std::size_t i = 0; i < 2; ++i) {
    for (int n = 0; n < 20; ++n) s.read(i, s.open_both(i), 0, 10);
  }
}
