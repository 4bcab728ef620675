// What a hostile reading of the key manager found, each with the least that shows it.
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <vector>

#include "qkd004/self_link.hpp"
#include "two_sites.hpp"

using namespace testing;

TEST_CASE("key_manager: sends bindings before the CLOSE that followed them, after a reconnection") {
  two_sites w;
  const auto id = w.open_both();
  for (std::uint64_t i = 0; i < 128; ++i) {
    w.get(*w.b, w.conn_b, id, i);
  }
  // A reads 64 more than W without carrying: bindings go out and are lost
  for (std::uint64_t i = 0; i < 128; ++i) w.a->manager.get_key({w.conn_a, 5000 + i}, {id, i, 0, true}, w.now);
  w.a->manager.close({w.conn_a, 6000}, {id}, w.now);
  w.cut();
  w.connect();
  CHECK(w.b->failures.empty());
  CHECK(w.b->manager.link_ready(w.b->link));
  CHECK(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, 128)) == status::success);  // D16: was allocated
}

TEST_CASE("key_manager: gives up a crossing open whose terms it cannot hold, and keeps the link") {
  two_sites::options o;
  o.b.limits.max_chunk = 1024;
  two_sites w{o};
  const auto [from_a, from_b] = of_sizes(4096, 32);
  w.open_crossing(from_a, from_b);
  CHECK(w.b->failures.empty());
  CHECK(w.b->manager.link_ready(w.b->link));
}

TEST_CASE("key_manager: gives up a crossing open for which it has no memory") {
  two_sites::options o;
  o.up = false;
  two_sites w{o};
  const auto [from_a, from_b] = of_sizes(4096, 32);
  w.open_crossing(from_a, from_b);
  std::vector<secret_bytes> hog;
  const std::size_t want[] = {std::size_t{1} << 20, std::size_t{64} << 10};
  for (auto size : want)
    for (;;) {
      auto m = w.b->arena.allocate(size);
      if (!m) break;
      hog.push_back(std::move(*m));
    }
  // room for the pool, not for a ring of 4096-octet chunks: 24 blocks
  hog.resize(hog.size() - 3);
  w.connect();
  const auto x = w.get(*w.a, w.conn_a, predefined(5), 0);
  const auto y = w.get(*w.b, w.conn_b, predefined(5), 0);
  if (!w.a->answers.at(x).key.empty() && !w.b->answers[y].key.empty())
    CHECK(w.a->answers.at(x).key == w.b->answers.at(y).key);
}

TEST_CASE("key_manager: remembers that the peer waits, however little room there is") {
  two_sites w;
  const auto id = w.open_both();
  for (std::uint64_t i = 0; i < 128; ++i) w.get(*w.b, w.conn_b, id, i);
  const auto waits = w.get(*w.b, w.conn_b, id, 128);
  for (std::uint64_t i = 0; i < 80; ++i) w.get(*w.a, w.conn_a, id, i);  // acknowledges 0..16: room for 17
  w.pass(4s);
  CHECK(w.outcome(*w.b, waits) == status::success);
}

TEST_CASE("key_manager: serves the other side of a stream that is slower than its TTL") {
  two_sites w;
  auto r = a_to_b;
  r.quality.ttl_s = 1;
  r.quality.max_bps = 32 * 8 / 2;  // a chunk in two seconds
  const auto id = w.open_both(r);
  int got = 0;
  std::uint64_t next = 0;
  for (int n = 0; n < 40; ++n) {
    const auto t = w.get(*w.b, w.conn_b, id, next);
    w.pass(5100ms);
    if (w.outcome(*w.b, t) == status::success)
      ++got, ++next;
    else
      next = std::max(next, w.b->answers.at(t).get->index);
  }
  CHECK(got > 10);
}

TEST_CASE("key_manager: does not call a stream idle on which somebody waits") {
  two_sites w;
  auto r = a_to_b;
  r.quality.ttl_s = 1;
  r.quality.timeout_ms = 20'000;
  r.quality.max_bps = 32 * 8 / 2;
  const auto id = w.open_both(r);
  const auto t = w.get(*w.a, w.conn_a, id, 0);
  w.pass(19s);
  CHECK(w.outcome(*w.a, t) == status::success);
}

TEST_CASE("key_manager: goes on after a window was read from its end to its beginning") {
  two_sites w;
  const auto id = w.open_both();
  for (std::uint64_t i = 128; i-- > 0;) {
    REQUIRE(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, i)) == status::success);
    REQUIRE(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, i)) == status::success);
  }
  const auto t = w.get(*w.a, w.conn_a, id, 128);
  const auto u = w.get(*w.b, w.conn_b, id, 128);
  w.pass(6s);
  CHECK(w.outcome(*w.a, t) == status::success);
  CHECK(w.outcome(*w.b, u) == status::success);
}

TEST_CASE("key_manager: refuses a binding whose end wraps") {
  two_sites w;
  const auto id = w.open_both();
  w.a->outbox.clear();
  const auto pos = 4096U;
  peer::bind b;
  b.stream = predefined(1);
  b.first = 0;
  b.count = 1;
  b.position = pos;
  b.length = 0 - std::uint64_t{pos};
  w.b->manager.receive(w.b->link, b, w.now);
  peer::bind c;
  c.stream = id;
  c.first = 128;
  c.count = 1;
  c.position = 0;
  c.length = 32;
  for (std::uint64_t i = 0; i < 128; ++i) w.b->manager.get_key({w.conn_b, 100 + i}, {id, i, 0, true}, w.now);
  w.b->manager.receive(w.b->link, c, w.now);
  CHECK_FALSE(w.b->failures.empty());
  w.b->manager.get_key({w.conn_b, 1}, {id, 128, 0, true}, w.now);
  CHECK(w.b->answers[1].get->outcome != status::success);
}

TEST_CASE("key_manager: refuses a binding larger than any ring") {
  two_sites w;
  w.open_both();
  peer::bind b;
  b.stream = predefined(1);
  b.first = 0;
  b.count = 1;
  b.position = 4096;
  b.length = std::uint64_t{1} << 40;
  w.b->manager.receive(w.b->link, b, w.now);
  // the allocator's end goes on drawing (it is the peer's)
  for (int i = 0; i < 5'000; ++i) {
    (void)w.source_a->poll(w.a->arena, w.now);
    w.now += 1ms;
    w.b->manager.advance(w.now);
  }
  CHECK(w.b->arena.used() < std::size_t{2} << 20);
}

TEST_CASE("key_manager: keeps memory for key on its way when streams take the rest") {
  two_sites w;
  const auto id = w.open_both();
  status s{};
  do {
    auto r = a_to_b;
    r.quality.key_chunk_size = 2048;
    s = w.a->answers.at(w.open(*w.a, w.conn_a, r)).open->outcome;
  } while (s == status::peer_not_connected);
  do {
    auto r = a_to_b;
    s = w.a->answers.at(w.open(*w.a, w.conn_a, r)).open->outcome;
  } while (s == status::peer_not_connected);
  std::uint64_t got = 0;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    const auto x = w.get(*w.a, w.conn_a, {id, i, 0, true});
    w.get(*w.b, w.conn_b, {id, i, 0, true});
    if (w.outcome(*w.a, x) != status::success) break;
    ++got;
    if (i % 64 == 0) w.pass(30ms);
  }
  CHECK(got > 90'000);
}

TEST_CASE("key_manager: uses the smaller window when opens cross") {
  two_sites::options o;
  o.b.limits.ring_chunks = 8;
  o.b.limits.ring_bytes = 16 * 1024;
  two_sites w{o};
  const auto [from_a, from_b] = of_sizes(4000, 32);
  w.open_crossing(from_a, from_b);
  CHECK(w.b->failures.empty());
}

TEST_CASE("key_manager: starts over after a handshake that was lost half way") {
  two_sites::options o;
  o.up = false;
  two_sites w{o};
  w.up = true;
  w.a->manager.link_up(w.a->link, w.now);
  w.b->manager.link_up(w.b->link, w.now);
  w.carry(*w.b, *w.a);
  w.cut();
  for (int i = 0; i < 5; ++i) {
    w.connect();
    if (!w.a->manager.link_ready(w.a->link)) w.cut();
  }
  CHECK(w.a->manager.link_ready(w.a->link));
}

TEST_CASE("key_manager: bears a caller whose time is a little behind") {
  two_sites w;
  auto r = a_to_b;
  r.quality.max_bps = 1'000'000'000;
  const auto id = w.open_both(r);
  std::uint64_t n = 0;
  for (int i = 0; i < 300; ++i) {
    w.now += 1ms;
    // another thread's drive(now) with a time that it read 30 ms ago
    const auto then = w.now - 30ms;
    w.a->manager.advance(i % 2 ? then : w.now);
    w.settle();
    for (int k = 0; k < 40; ++k) {
      w.get(*w.b, w.conn_b, {id, n, 0, true});
      if (w.outcome(*w.a, w.get(*w.a, w.conn_a, {id, n, 0, true})) == status::success) ++n;
    }
  }
  CHECK(n > 1000);
}

TEST_CASE("key_manager: reads on after the peer has closed, though it insists on the peer") {
  two_sites::options o;
  o.a.insist_on_peer = true;
  two_sites w{o};
  const auto id = w.open_both();
  w.close(*w.b, w.conn_b, id);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);
}

TEST_CASE("key_manager: goes on when a ring is handed out after keys were served by call") {
  two_sites w;
  auto r = a_to_b;
  const auto id = w.open_both(r);
  REQUIRE(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);  // find_ring() had nothing yet
  auto x = w.a->manager.ring(w.conn_a, id);
  auto y = w.b->manager.ring(w.conn_b, id);
  std::array<std::byte, 32> out{};
  std::uint64_t got = 0;
  for (int i = 0; i < 3000; ++i) {
    w.pass(1ms);
    while (x->take_next(out, w.now).outcome == status::success) ++got;
    while (y->take_next(out, w.now).outcome == status::success) {}
  }
  CHECK(got > 1000);
}

TEST_CASE("key_manager: keeps what it promised with Min_bps, whoever else is hungry") {
  two_sites::options o;
  o.source.rate_bps = 8 * 32 * 1'000;
  o.source.block_bytes = 1'024;
  two_sites w{o};
  auto sure = a_to_b;
  sure.quality.min_bps = 8 * 32 * 400;
  const auto promised = w.open_both(sure);
  std::vector<key_stream_id> all{promised};
  for (int i = 0; i < 9; ++i) all.push_back(w.open_both());
  std::map<key_stream_id, std::uint64_t> keys;
  const auto from = w.now;
  while (w.now - from < 20s) {
    for (const auto& id : all)
      for (;;) {
        const auto x = w.get(*w.a, w.conn_a, get_key_request{id, keys[id], 0, true});
        if (w.outcome(*w.a, x) != status::success) break;
        w.get(*w.b, w.conn_b, id, keys[id]++);
      }
    w.pass(10ms);
  }
  CHECK(keys[promised] / 20 >= 390);
}

TEST_CASE("key_manager: takes up a link again with a new instance of a peer that broke its protocol") {
  two_sites w;
  w.open_both();
  peer::bind b;
  b.stream = predefined(1);
  b.count = 1;
  b.position = 1 << 20;
  b.length = 32;
  w.b->manager.receive(w.b->link, b, w.now);  // B: failed
  w.cut();
  auto a = w.make(w.settings.a, "B", *w.source_a, 9);
  w.a = std::move(a);
  w.connect();
  CHECK(w.b->manager.link_ready(w.b->link));  // "restart one of its sites"
}

TEST_CASE("self_link: refuses the owner of a closed side, and goes on with the other") {
  struct lone : site_events {
  } ev;
  secret_arena arena;
  seeded_random random;
  time_point now{1h};
  self_link s{{"S", {}, {}, false, {}}, arena, std::ref(random), ev};
  const auto alice = s.connect("alice"), bob = s.connect("bob");
  open_connect_request r{"qkd://x@S", "qkd://y@S"};
  s.open_connect({alice, 1}, r, now);
  r.stream = ev.answers[1].open->stream;
  s.open_connect({bob, 2}, r, now);
  s.close({alice, 3}, {r.stream}, now);
  s.open_connect({alice, 4}, r, now);
  CHECK(ev.answers[4].open->outcome == status::ksid_in_use);
  s.get_key({bob, 5}, {r.stream, 0, 0, true}, now);
  CHECK(ev.answers[5].get->outcome == status::success);
}

TEST_CASE("self_link: is not confused by a caller who owns neither side") {
  struct lone : site_events {
  } ev;
  secret_arena arena;
  seeded_random random;
  time_point now{1h};
  self_link s{{"S", {}, {}, false, {}}, arena, std::ref(random), ev};
  const auto alice = s.connect("alice"), bob = s.connect("bob"), mallory = s.connect("mallory");
  open_connect_request r{"qkd://x@S", "qkd://y@S"};
  s.open_connect({alice, 1}, r, now);
  r.stream = ev.answers[1].open->stream;
  s.open_connect({bob, 2}, r, now);
  s.get_key({mallory, 3}, {r.stream, 0, 0, true}, now);
  s.open_connect({mallory, 4}, r, now);
  for (std::uint64_t t = 5; t < 9; ++t) {
    s.get_key({s.connect("alice"), t}, {r.stream, t, 0, true}, now);
    CHECK(ev.answers[t].get->outcome == status::success);
  }
}

TEST_CASE("key_manager: bounds what is bound ahead of a peer without key") {
  two_sites::options o;
  o.memory.bytes = 64 << 20;
  two_sites w{o};
  std::vector<key_stream_id> ids;
  auto r = a_to_b;
  r.quality.key_chunk_size = 1;
  for (int i = 0; i < 1200; ++i) {
    ids.push_back(w.open_both(r));
  }
  std::vector<secret_bytes> hog;
  for (std::size_t size = 1 << 20; size >= 64; size /= 2)
    for (;;) {
      auto m = w.b->arena.allocate(size);
      if (!m) break;
      hog.push_back(std::move(*m));
    }
  for (int round = 0; round < 12 && w.b->failures.empty(); ++round)
    for (auto& id : ids) {
      const auto n = w.b->manager.stream_balance(id)->bound;
      for (std::uint64_t i = n - 128; i < n; ++i) {
        w.a->manager.get_key({w.conn_a, 1}, {id, i, 0, true}, w.now);
        w.b->manager.get_key({w.conn_b, 1}, {id, i, 0, true}, w.now);
      }
      w.settle();
    }
  CHECK(w.b->failures.empty());
}

TEST_CASE(
    "key_manager: takes the bindings from before a CLOSE that come again after a reconnection") {  // D16
  two_sites::options o;
  o.b.limits.ring_chunks = o.a.limits.ring_chunks = 64;
  o.source.rate_bps = 64 * 32 * 8;  // one ring in a second
  two_sites w{o};
  const auto id = w.open_both();
  w.pass(3s);
  // B's blocks are behind, so that what A binds has to wait there
  for (std::uint64_t i = 0; i < 60; ++i) {
    w.get(*w.a, w.conn_a, id, i);
    w.get(*w.b, w.conn_b, id, i);
  }
  for (int step = 0; step < 40; ++step) {
    w.now += 10ms;
    w.a->manager.advance(w.now);  // A only: it binds, B defers
    while (w.carry(*w.a, *w.b)) {}
  }
  w.close(*w.a, w.conn_a, id);  // reaches B
  w.cut();
  w.connect();
  w.pass(2s);
  CHECK(w.a->failures.empty());
  CHECK(w.b->failures.empty());
  CHECK(w.b->manager.link_ready(w.b->link));
  std::uint64_t index = 60;
  for (;; ++index) {
    const auto ticket = w.get(*w.b, w.conn_b, id, index);
    if (w.outcome(*w.b, ticket) != status::success) {
      CHECK(w.outcome(*w.b, ticket) == status::get_key_peer_not_connected);
      break;
    }
  }
}

TEST_CASE("key_manager: gives a fenced connection nothing of what it waits for") {  // R3
  two_sites w;
  open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
  r.strict_once = true;
  r.stream = w.open_both(r);
  const auto size = w.a->manager.report(w.conn_a, r.stream, w.now).streams.at(0).window;
  for (std::uint64_t i = 0; i < size; ++i) w.get(*w.a, w.conn_a, r.stream, i);
  const auto waits = w.get(*w.a, w.conn_a, r.stream, size);
  REQUIRE_FALSE(w.outcome(*w.a, waits));
  const auto second = w.a->manager.connect("alice");
  w.open(*w.a, second, r);
  CHECK(w.outcome(*w.a, waits) == status::not_authorized);
  for (std::uint64_t i = 0; i < size; ++i) w.get(*w.b, w.conn_b, r.stream, i);
  w.pass(100ms);
  const auto mine = w.get(*w.a, second, r.stream, size);
  CHECK(w.outcome(*w.a, mine) == status::success);
}

TEST_CASE("key_manager: refuses a crossing open at both ends, and leaves nothing of it at one") {
  two_sites::options o;
  o.up = false;
  two_sites w{o};
  const auto from_a = named(5);
  auto from_b = named(5);
  from_b.strict_once = true;  // which A's terms do not keep (R8)
  const auto at_a = w.open(*w.a, w.conn_a, from_a);
  const auto at_b = w.open(*w.b, w.conn_b, from_b);
  w.connect();
  REQUIRE(w.a->answers[at_a].open);
  REQUIRE(w.b->answers[at_b].open);
  CHECK(w.a->answers[at_a].open->outcome == status::ksid_in_use);
  CHECK(w.b->answers[at_b].open->outcome == status::ksid_in_use);
  CHECK(w.a->manager.totals().streams == 0);
  CHECK(w.b->manager.totals().streams == 0);
  auto again = named(5);  // other terms: what was left at B would not fit them
  again.quality.key_chunk_size = 333;
  again.no_wait = true;
  w.open(*w.a, w.conn_a, again);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, predefined(5), 0)) == status::success);
  CHECK(w.b->failures.empty());
}

TEST_CASE(
    "key_manager: has one Timeout for what the peer lends and for the peer's opening together") {  // D6, D8
  two_sites::options o;
  o.source.rate_bps = 1'000'000;
  two_sites w{o};
  w.cut();
  auto r = a_to_b;
  r.quality.min_bps = 500'000;
  REQUIRE(w.a->answers[w.open(*w.a, w.conn_a, r)].open->outcome == status::peer_not_connected);
  r = named(7);
  r.quality.min_bps = 100'000;
  r.quality.timeout_ms = 700;
  const auto waits = w.open(*w.a, w.conn_a, r);
  w.pass(600ms);
  w.connect();  // the peer lends; nobody opens there
  CHECK_FALSE(w.a->answers[waits].open);
  w.pass(110ms);
  REQUIRE(w.a->answers[waits].open);
  CHECK(w.a->answers[waits].open->outcome == status::peer_not_connected);
}

TEST_CASE(
    "key_manager: keeps a session that a hello from before it meets, on a connection that was overtaken") {
  two_sites::options o;
  o.up = false;
  two_sites w{o};
  w.a->manager.link_up(w.a->link, w.now);  // this connection is given up, and what was sent on it comes late
  REQUIRE(w.a->outbox.size() == 1);
  auto stale = std::move(w.a->outbox.front());
  w.connect();
  const auto id = w.open_both();
  CHECK(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, 0)) == status::success);

  w.b->manager.link_up(w.b->link, w.now);
  w.b->outbox.clear();
  w.b->manager.receive(w.b->link, std::move(stale), w.now);
  CHECK(w.b->failures.size() == 1);
  CHECK(w.b->manager.totals().lost_chunks == 0);
  w.cut();
  w.connect();
  CHECK(w.a->manager.link_ready(w.a->link));
  CHECK(w.b->manager.link_ready(w.b->link));
  CHECK(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, 1)) == status::success);
}

TEST_CASE("key_manager: keeps no more bindings to compare with than an allocator may send again") {
  two_sites w;
  constexpr std::uint64_t bindings = 1'100;
  constexpr std::uint64_t unconfirmed = 1'024;  // the most that an allocator has at a time
  const auto bind_again = [&](std::uint64_t n) {
    peer::bind b;
    b.stream = predefined(1);  // which B does not know: it confirms that it has stored nothing
    b.count = 1;
    b.position = 32 * n;
    b.length = 32;
    b.settled_below = 0;  // as if nothing had ever been confirmed
    w.b->manager.receive(w.b->link, b, w.now);
  };
  for (std::uint64_t n = 0; n < bindings; ++n) bind_again(n);
  REQUIRE(w.b->outbox.size() == bindings);

  bind_again(bindings - unconfirmed);  // all of these may come again
  CHECK(w.b->failures.empty());
  CHECK(std::get<peer::confirm>(w.b->outbox.back()).position == 32 * (bindings - unconfirmed));
  bind_again(bindings - unconfirmed - 1);  // and this one not: it is forgotten
  CHECK(w.b->failures.size() == 1);
}

TEST_CASE("key_manager: tells whoever opens another's stream nothing of its QoS") {
  two_sites w;
  auto r = a_to_b;
  r.quality.key_chunk_size = 48;
  r.quality.priority = 7;
  r.stream = w.open_both(r);
  auto mine = a_to_b;
  mine.stream = r.stream;
  const auto mallory = w.a->manager.connect("mallory");
  const auto refused = w.a->answers[w.open(*w.a, mallory, mine)].open.value();
  CHECK(refused.outcome == status::ksid_in_use);
  CHECK(refused.quality == mine.quality);
  // nor does it differ from what a closed KSID gets
  w.close(*w.a, w.conn_a, r.stream);
  CHECK(w.a->answers[w.open(*w.a, mallory, mine)].open->quality == refused.quality);
}
