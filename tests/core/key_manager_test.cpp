#include "qkd004/key_manager.hpp"

#include <doctest/doctest.h>

#include <set>

#include "two_sites.hpp"

using namespace testing;

namespace {

bool balanced(const two_sites& w, const site& at, const key_stream_id& id) {
  (void)w;
  const auto t = at.manager.stream_balance(id).value();
  return t.bound == t.acknowledged + t.expired + t.discarded + t.live;
}

}  // namespace

// GS QKD 004 V2.1.1, 6.2, sequence 1: undefined KSID
TEST_CASE("key_manager: gives both ends the same key when the KSID was made by the first") {
  two_sites w;
  const auto first = w.open(*w.a, w.conn_a, a_to_b);
  const auto opened = w.a->answers.at(first).open.value();
  CHECK(opened.outcome == status::peer_not_connected);
  CHECK_FALSE(opened.stream.is_null());
  CHECK((std::to_integer<int>(opened.stream.octets()[6]) >> 4) == 4);

  auto second = a_to_b;
  second.stream = opened.stream;
  const auto joined = w.a->answers.size();
  const auto t = w.open(*w.b, w.conn_b, second);
  CHECK(joined == 1);
  CHECK(w.b->answers.at(t).open->outcome == status::success);
  CHECK(w.b->answers.at(t).open->quality == opened.quality);

  std::set<std::vector<std::byte>> seen;
  for (std::uint64_t i = 0; i < 1'000; ++i) {
    const auto x = w.get(*w.a, w.conn_a, opened.stream, i);
    const auto y = w.get(*w.b, w.conn_b, opened.stream, i);
    REQUIRE(w.outcome(*w.a, x) == status::success);
    REQUIRE(w.outcome(*w.b, y) == status::success);
    REQUIRE(w.a->answers.at(x).key.size() == 32);
    REQUIRE(w.a->answers.at(x).key == w.b->answers.at(y).key);
    REQUIRE(seen.insert(w.a->answers.at(x).key).second);
    REQUIRE(balanced(w, *w.a, opened.stream));
  }
}

TEST_CASE("key_manager: delivers before the peer application has opened") {  // D10
  two_sites w;
  const auto t = w.open(*w.a, w.conn_a, a_to_b);
  const auto id = w.a->answers.at(t).open->stream;
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);
}

TEST_CASE("key_manager: insists on the peer application where it is told to") {  // D10
  two_sites::options o;
  o.a.insist_on_peer = true;
  two_sites w{o};
  const auto t = w.open(*w.a, w.conn_a, a_to_b);
  const auto id = w.a->answers.at(t).open->stream;
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::get_key_peer_not_connected);
  auto second = a_to_b;
  second.stream = id;
  w.open(*w.b, w.conn_b, second);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);
}

TEST_CASE("key_manager: delivers nothing that the peer has not confirmed") {  // D10, R1
  two_sites w;
  const auto t = w.open(*w.a, w.conn_a, a_to_b);
  const auto id = w.a->answers.at(t).open->stream;
  w.a->manager.get_key({w.conn_a, 900}, {id, 0, 0, false}, w.now);
  REQUIRE(w.a->answers.at(900).get->outcome == status::success);
  // the next window is bound, but nothing is carried
  for (std::uint64_t i = 1; i < 128; ++i) {
    w.a->manager.get_key({w.conn_a, 1'000 + i}, {id, i, 0, false}, w.now);
    REQUIRE(w.a->answers.at(1'000 + i).get->outcome == status::success);
  }
  w.a->manager.get_key({w.conn_a, 2'000}, {id, 128, 0, false}, w.now);
  CHECK_FALSE(w.a->answers.contains(2'000));
}

// sequence 2: the key managers cannot exchange
TEST_CASE("key_manager: registers and times out at GET_KEY when the peer is unreachable") {
  two_sites::options o;
  o.up = false;
  two_sites w{o};
  const auto t = w.open(*w.a, w.conn_a, a_to_b);
  REQUIRE(w.a->answers.at(t).open->outcome == status::peer_not_connected);
  const auto id = w.a->answers.at(t).open->stream;
  const auto g = w.get(*w.a, w.conn_a, id, 0);
  w.pass(4'999ms);
  CHECK_FALSE(w.outcome(*w.a, g).has_value());
  w.pass(2ms);
  CHECK(w.outcome(*w.a, g) == status::timeout);

  w.connect();  // the registration stayed
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);
}

// sequence 3: predefined KSID, either order
TEST_CASE("key_manager: lets the first opener of a predefined KSID wait for the second") {
  for (const bool a_first : {true, false}) {
    two_sites w;
    auto& one = a_first ? *w.a : *w.b;
    auto& two = a_first ? *w.b : *w.a;
    const auto c1 = a_first ? w.conn_a : w.conn_b;
    const auto c2 = a_first ? w.conn_b : w.conn_a;
    const auto t1 = w.open(one, c1, named(7));
    CHECK_FALSE(one.answers.contains(t1));
    w.pass(1s);
    CHECK_FALSE(one.answers.contains(t1));
    const auto t2 = w.open(two, c2, named(7));
    CHECK(two.answers.at(t2).open->outcome == status::success);
    REQUIRE(one.answers.contains(t1));
    CHECK(one.answers.at(t1).open->outcome == status::success);
    const auto x = w.get(one, c1, predefined(7), 0);
    const auto y = w.get(two, c2, predefined(7), 0);
    CHECK(w.outcome(one, x) == status::success);
    CHECK(one.answers.at(x).key == two.answers.at(y).key);
  }
}

// sequence 4: predefined and time-out
TEST_CASE("key_manager: answers 1 when nobody joins a predefined KSID in time") {  // D8
  two_sites w;
  auto r = named(9);
  r.quality.timeout_ms = 300;
  const auto t = w.open(*w.a, w.conn_a, r);
  w.pass(299ms);
  CHECK_FALSE(w.a->answers.contains(t));
  w.pass(2ms);
  REQUIRE(w.a->answers.contains(t));
  CHECK(w.a->answers.at(t).open->outcome == status::peer_not_connected);
  const auto t2 = w.open(*w.b, w.conn_b, named(9));
  CHECK(w.b->answers.at(t2).open->outcome == status::success);
  CHECK(w.b->answers.at(t2).open->quality.timeout_ms == 300);
}

TEST_CASE("key_manager: answers at once when the caller does not want to wait") {  // D8
  two_sites w;
  auto r = named(9);
  r.no_wait = true;
  const auto t = w.open(*w.a, w.conn_a, r);
  REQUIRE(w.a->answers.contains(t));
  CHECK(w.a->answers.at(t).open->outcome == status::peer_not_connected);
}

TEST_CASE("key_manager: returns what was registered first to whoever opens second") {
  two_sites w;
  auto first = a_to_b;
  first.quality.key_chunk_size = 48;
  first.quality.ttl_s = 77;
  const auto t = w.open(*w.a, w.conn_a, first);
  auto second = a_to_b;
  second.stream = w.a->answers.at(t).open->stream;
  second.quality.key_chunk_size = 16;
  second.quality.metadata_mimetype = "text/x-nonsense";
  const auto t2 = w.open(*w.b, w.conn_b, second);
  CHECK(w.b->answers.at(t2).open->outcome == status::success);
  CHECK(w.b->answers.at(t2).open->quality == w.a->answers.at(t).open->quality);
  CHECK(w.b->answers.at(t2).open->quality.key_chunk_size == 48);
}

TEST_CASE("key_manager: takes source and destination in either order from the second opener") {  // D9
  for (const bool swapped : {false, true}) {
    two_sites w;
    const auto t = w.open(*w.a, w.conn_a, a_to_b);
    auto second = swapped ? open_connect_request{"qkd://bob@B", "qkd://alice@A"} : a_to_b;
    second.stream = w.a->answers.at(t).open->stream;
    CHECK(w.b->answers.at(w.open(*w.b, w.conn_b, second)).open->outcome == status::success);
  }
  two_sites w;
  const auto t = w.open(*w.a, w.conn_a, a_to_b);
  open_connect_request other{"qkd://alice@A", "qkd://eve@B"};
  other.stream = w.a->answers.at(t).open->stream;
  CHECK(w.b->answers.at(w.open(*w.b, w.conn_b, other)).open->outcome == status::ksid_in_use);
}

TEST_CASE("key_manager: lets the allocator's registration win when opens cross") {  // D8
  two_sites w;
  const auto [from_a, from_b] = of_sizes(16, 64);
  w.open_crossing(from_a, from_b);
  REQUIRE(w.a->answers.contains(1));
  REQUIRE(w.b->answers.contains(2));
  CHECK(w.a->answers.at(1).open->outcome == status::success);
  CHECK(w.b->answers.at(2).open->outcome == status::success);
  CHECK(w.b->answers.at(2).open->quality.key_chunk_size == 16);
  const auto x = w.get(*w.a, w.conn_a, predefined(5), 3);
  const auto y = w.get(*w.b, w.conn_b, predefined(5), 3);
  CHECK(w.a->answers.at(x).key.size() == 16);
  CHECK(w.a->answers.at(x).key == w.b->answers.at(y).key);
}

TEST_CASE("key_manager: gives 5 to the other of two crossing opens that do not fit") {  // D8
  two_sites w;
  auto from_b = open_connect_request{"qkd://carol@A", "qkd://bob@B"};
  from_b.stream = predefined(5);
  w.open_crossing(named(5), from_b);
  REQUIRE(w.b->answers.contains(2));
  CHECK(w.b->answers.at(2).open->outcome == status::ksid_in_use);
  CHECK_FALSE(w.a->answers.contains(1));  // still waits for the other end
  const auto t = w.open(*w.b, w.conn_b, named(5));
  CHECK(w.b->answers.at(t).open->outcome == status::success);
  CHECK(w.a->answers.at(1).open->outcome == status::success);
}

TEST_CASE("key_manager: refuses URIs that are none, and routes that lead nowhere") {
  two_sites w;
  const auto outcome = [&](std::string from, std::string to) {
    return w.a->answers.at(w.open(*w.a, w.conn_a, {std::move(from), std::move(to)})).open->outcome;
  };
  CHECK(outcome("", "qkd://bob@B") == status::invalid_argument);
  CHECK(outcome("alice", "qkd://bob@B") == status::invalid_argument);
  CHECK(outcome("qkd://al ice@A", "qkd://bob@B") == status::invalid_argument);
  CHECK(outcome("qkd://alice@A", "qkd://" + std::string(2'000, 'x') + "@B") == status::invalid_argument);
  CHECK(outcome("qkd://alice@A", "qkd://bob@C") == status::no_qkd_connection);
  CHECK(outcome("qkd://alice@C", "qkd://bob@B") == status::no_qkd_connection);
  CHECK(outcome("qkd://alice@A", "qkd://bob@A") == status::no_qkd_connection);
  CHECK(outcome("alice@A", "bob@B") == status::peer_not_connected);
  CHECK(w.a->manager.totals().streams == 1);
}

TEST_CASE("key_manager: asks the access table who may open for a URI of its site") {  // D9
  two_sites::options o;
  o.b.may_open = [](std::string_view principal, std::string_view uri, std::string_view) {
    return principal == "bob" && uri == "qkd://bob@B";
  };
  two_sites w{o};
  const auto t = w.open(*w.a, w.conn_a, a_to_b);
  auto second = a_to_b;
  second.stream = w.a->answers.at(t).open->stream;
  const auto mallory = w.b->manager.connect("mallory");
  CHECK(w.b->answers.at(w.open(*w.b, mallory, second)).open->outcome == status::not_authorized);
  CHECK(w.b->answers.at(w.open(*w.b, w.conn_b, second)).open->outcome == status::success);
  second.stream = predefined(200);  // denied whatever the KSID
  CHECK(w.b->answers.at(w.open(*w.b, mallory, second)).open->outcome == status::not_authorized);
}

TEST_CASE("key_manager: proposes a QoS that it then accepts unchanged") {  // D5
  two_sites::options o;
  o.source.rate_bps = 1'000'000;
  two_sites w{o};
  auto r = a_to_b;
  r.quality.key_chunk_size = 10'000'000;
  r.quality.min_bps = 900'000;
  r.quality.max_bps = 10;
  r.quality.metadata_mimetype = "application/cbor";
  const auto t = w.open(*w.a, w.conn_a, r);
  const auto counter = w.a->answers.at(t).open.value();
  CHECK(counter.outcome == status::qos_not_met);
  CHECK(w.a->manager.totals().streams == 0);
  r.quality = counter.quality;
  const auto t2 = w.open(*w.a, w.conn_a, r);
  CHECK(w.a->answers.at(t2).open->outcome == status::peer_not_connected);
  CHECK(w.a->answers.at(t2).open->quality == counter.quality);
}

namespace {

/// What OPEN_CONNECT with that Min_bps comes to at a site, and what it is given.
std::optional<open_connect_response> open_with(two_sites& w, site& at, connection_id who,
                                               std::uint32_t min_bps) {
  auto r = a_to_b;
  r.quality.min_bps = min_bps;
  const auto ticket = w.open(at, who, r);
  return at.answers[ticket].open;
}

two_sites::options link_of(std::uint64_t rate_bps) {
  two_sites::options o;
  o.source.rate_bps = rate_bps;
  return o;
}

}  // namespace

TEST_CASE("key_manager: promises its half of the link alone and asks its peer for more") {  // D6
  two_sites w{link_of(1'000'000)};
  const auto first = open_with(w, *w.a, w.conn_a, 300'000);
  CHECK(first->outcome == status::peer_not_connected);
  const auto second = open_with(w, *w.a, w.conn_a, 300'000);  // 100,000 of it are the peer's
  CHECK(second->outcome == status::peer_not_connected);
  const auto third = open_with(w, *w.a, w.conn_a, 500'000);
  CHECK(third->outcome == status::qos_not_met);  // there are 400,000 left
  const auto there = open_with(w, *w.b, w.conn_b, 400'001);
  CHECK(there->outcome == status::qos_not_met);
  CHECK(there->quality.min_bps == 400'000);
  CHECK(open_with(w, *w.b, w.conn_b, 400'000)->outcome == status::peer_not_connected);
  // all is promised now
  CHECK(open_with(w, *w.a, w.conn_a, 1)->outcome == status::qos_not_met);
  CHECK(open_with(w, *w.b, w.conn_b, 1)->outcome == status::qos_not_met);
}

TEST_CASE("key_manager: gives back what it borrowed of the peer's half") {  // D6
  two_sites w{link_of(1'000'000)};
  const auto all = open_with(w, *w.a, w.conn_a, 900'000);
  REQUIRE(all->outcome == status::peer_not_connected);
  CHECK(open_with(w, *w.b, w.conn_b, 200'000)->outcome == status::qos_not_met);
  CHECK(w.close(*w.a, w.conn_a, all->stream) == status::success);
  CHECK(open_with(w, *w.b, w.conn_b, 900'000)->outcome == status::peer_not_connected);
}

TEST_CASE("key_manager: answers 6 when the peer does not say in time what it lends") {  // D6, D8
  two_sites w{link_of(1'000'000)};
  w.cut();
  CHECK(open_with(w, *w.a, w.conn_a, 500'000)->outcome == status::peer_not_connected);
  auto r = a_to_b;
  r.quality.min_bps = 100'000;
  r.quality.timeout_ms = 700;
  const auto waits = w.open(*w.a, w.conn_a, r);
  CHECK_FALSE(w.a->answers[waits].open);
  w.pass(600ms);
  CHECK_FALSE(w.a->answers[waits].open);
  w.pass(200ms);
  REQUIRE(w.a->answers[waits].open);
  CHECK(w.a->answers[waits].open->outcome == status::timeout);
  CHECK(w.a->manager.totals().waiting == 0);

  const auto again = w.open(*w.a, w.conn_a, r);  // and when the link comes up in time, it is asked
  w.connect();
  REQUIRE(w.a->answers[again].open);
  CHECK(w.a->answers[again].open->outcome == status::peer_not_connected);
}

TEST_CASE("key_manager: takes what was lent as still lent when the link comes back") {  // D6
  two_sites w{link_of(1'000'000)};
  REQUIRE(open_with(w, *w.a, w.conn_a, 900'000)->outcome == status::peer_not_connected);
  w.cut();
  w.connect();
  CHECK(open_with(w, *w.b, w.conn_b, 200'000)->outcome == status::qos_not_met);
  CHECK(open_with(w, *w.b, w.conn_b, 100'000)->outcome == status::peer_not_connected);
  CHECK(open_with(w, *w.a, w.conn_a, 100'000)->outcome == status::qos_not_met);
}

TEST_CASE("key_manager: answers those who wait for the peer's share though others keep asking") {  // D6
  two_sites w{link_of(1'000'000)};
  auto r = a_to_b;
  r.quality.min_bps = 600'000;
  std::vector<std::uint64_t> tickets;
  const auto ask = [&] {
    w.a->manager.open_connect({w.conn_a, ++w.tickets}, r, w.now);
    tickets.push_back(w.tickets);
  };
  ask();
  for (int i = 0; i < 5; ++i) {
    ask();  // before the peer has answered the one before
    w.carry(*w.a, *w.b);
    ask();
    w.carry(*w.b, *w.a);
  }
  REQUIRE(w.a->answers[tickets[0]].open);
  CHECK(w.a->answers[tickets[0]].open->outcome == status::peer_not_connected);
  w.settle();
  for (std::size_t i = 1; i < tickets.size(); ++i) {
    REQUIRE(w.a->answers[tickets[i]].open);
    CHECK(w.a->answers[tickets[i]].open->outcome == status::qos_not_met);  // there is one share only
  }
}

TEST_CASE("key_manager: keeps half of the link each when the peer speaks version 1") {  // D6
  two_sites w{link_of(1'000'000)};
  w.cut();
  w.up = true;
  w.a->manager.link_up(w.a->link, w.now);
  w.b->manager.link_up(w.b->link, w.now);
  std::get<peer::hello>(w.b->outbox.front()).version = 1;
  w.settle();
  CHECK(open_with(w, *w.a, w.conn_a, 500'001)->outcome == status::qos_not_met);
  CHECK(open_with(w, *w.a, w.conn_a, 500'000)->outcome == status::peer_not_connected);
}

TEST_CASE("key_manager: counts a Min_bps no more once either end has closed") {  // D6, D16
  two_sites w{link_of(1'000'000)};
  auto r = a_to_b;
  r.quality.min_bps = 1'000'000;
  const auto id = w.open_both(r);
  CHECK(w.close(*w.a, w.conn_a, id) == status::success);
  // B reads on, but nothing more is allocated
  CHECK(open_with(w, *w.a, w.conn_a, 1'000'000)->outcome == status::peer_not_connected);
}

TEST_CASE("key_manager: admits by what the link was seen to deliver") {  // D6
  auto o = link_of(1'000'000);
  two_sites w{o};
  auto r = a_to_b;
  r.quality.priority = 1;
  const auto id = w.open_both(r);
  // both ends read all there is, so that the link is asked for all it has
  std::uint64_t next = 0;
  const auto read_for = [&](boot_clock::duration d) {
    const auto until = w.now + d;
    while (w.now < until) {
      const auto at_a = w.get(*w.a, w.conn_a, id, next);
      const auto at_b = w.get(*w.b, w.conn_b, id, next);
      if (w.outcome(*w.a, at_a) != status::success || w.outcome(*w.b, at_b) != status::success) w.pass(10ms);
      if (w.outcome(*w.a, at_a) == status::success) ++next;
    }
  };
  read_for(4s);
  const auto measured = w.a->manager.report(w.conn_a, id, w.now).streams.at(0).link_bps;
  CHECK(measured > 900'000);
  CHECK(measured < 1'100'000);
}

TEST_CASE("link_rate: measures only while the source has nothing more") {
  link_rate rate{1'000};
  time_point now{1h};
  CHECK(rate.bps() == 1'000);
  rate.exhausted(now);
  rate.add(50);
  rate.exhausted(now += 500ms);
  CHECK_FALSE(rate.is_measured());
  rate.add(50);
  rate.exhausted(now += 500ms);
  CHECK(rate.bps() == 800);
  rate.sated();  // nobody asks for a minute
  rate.exhausted(now += 60s);
  CHECK(rate.bps() == 800);
  rate.add(200);
  rate.exhausted(now += 1s);
  CHECK(rate.bps() == 1'000);  // 800 and a quarter of the way to 1,600
  CHECK(rate.deviation() == 800);
  for (int i = 0; i < 60; ++i) rate.exhausted(now += 1s);
  CHECK(rate.bps() == 1);  // a link that has died promises nothing
  CHECK(link_rate{0}.bps() == 0);
}

TEST_CASE("key_manager: paces a stream with a Jitter within it") {  // D6
  two_sites w{link_of(1'000'000)};
  auto r = a_to_b;
  r.quality.min_bps = 8 * 32 * 100;  // 100 keys a second
  r.quality.jitter = 8 * 32 * 10;    // and no more than 110
  const auto id = w.open_both(r);
  std::uint64_t next = 0;
  std::vector<std::uint64_t> seconds;
  for (int i = 0; i < 5; ++i) {
    const auto until = w.now + 1s;
    const std::uint64_t before = next;
    while (w.now < until) {
      const auto at_a = w.get(*w.a, w.conn_a, id, next);
      (void)w.get(*w.b, w.conn_b, id, next);
      if (w.outcome(*w.a, at_a) == status::success) {
        ++next;
      } else {
        w.pass(2ms);
      }
    }
    seconds.push_back(next - before);
  }
  for (std::size_t i = 1; i < seconds.size(); ++i) {
    CHECK(seconds[i] >= 99);
    CHECK(seconds[i] <= 111);
  }
  CHECK(w.a->manager.report(w.conn_a, id, w.now).streams.at(0).deviation_bps <= 8 * 32 * 20);
}

TEST_CASE("key_manager: keeps a stream to its Max_bps and one chunk") {  // D6
  two_sites w;
  auto r = a_to_b;
  r.quality.max_bps = 8 * 32 * 100;  // 100 keys a second
  const auto id = w.open_both(r);
  std::uint64_t keys = 0;
  const auto from = w.now;
  while (w.now - from < 3s) {
    for (;;) {
      get_key_request g{id, keys, 0, true};
      const auto x = w.get(*w.a, w.conn_a, g);
      if (w.outcome(*w.a, x) != status::success) break;
      w.get(*w.b, w.conn_b, id, keys);
      ++keys;
    }
    const double passed = std::chrono::duration<double>(w.now - from).count();
    REQUIRE(static_cast<double>(keys) <= 100 * passed + 2.5);
    w.pass(10ms);
  }
  CHECK(keys >= 285);
}

TEST_CASE("key_manager: shares a link that is too small by Priority, and starves nobody") {  // D6
  two_sites::options o;
  o.source.rate_bps = 8 * 32 * 1'000;
  o.source.block_bytes = 1'024;
  two_sites w{o};
  auto low = a_to_b;
  auto high = a_to_b;
  high.quality.priority = 3;  // weight 4 against 1
  const auto slow = w.open_both(low);
  const auto fast = w.open_both(high);
  std::map<key_stream_id, std::uint64_t> keys;
  for (int step = 0; step < 1'000; ++step) {
    for (const auto& id : {slow, fast}) {
      for (;;) {
        const auto x = w.get(*w.a, w.conn_a, get_key_request{id, keys[id], 0, true});
        if (w.outcome(*w.a, x) != status::success) break;
        w.get(*w.b, w.conn_b, id, keys[id]++);
      }
    }
    w.pass(10ms);
  }
  CHECK(keys[slow] > 1'500);
  const double ratio = static_cast<double>(keys[fast]) / static_cast<double>(keys[slow]);
  CHECK(ratio > 3.5);
  CHECK(ratio < 4.5);
}

TEST_CASE("key_manager: resumes a stream for its principal only, and fences older connections") {  // D8, R3
  two_sites w;
  const auto id = w.open_both();
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);
  auto again = a_to_b;
  again.stream = id;
  const auto later = w.a->manager.connect("alice");
  const auto t = w.open(*w.a, later, again);
  CHECK(w.a->answers.at(t).open->outcome == status::success);
  CHECK(w.a->answers.at(t).open->epoch == 2);
  CHECK(w.a->answers.at(t).open->lowest_live_index == 1);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 1)) == status::not_authorized);
  CHECK(w.outcome(*w.a, w.get(*w.a, later, id, 1)) == status::success);
  CHECK(w.outcome(*w.a, w.get(*w.a, later, id, 0)) == status::success);  // not acknowledged: the same again

  const auto mallory = w.a->manager.connect("mallory");
  CHECK(w.a->answers.at(w.open(*w.a, mallory, again)).open->outcome == status::ksid_in_use);
  CHECK(w.outcome(*w.a, w.get(*w.a, mallory, id, 1)) == status::unknown_key_stream);
  CHECK(w.close(*w.a, mallory, id) == status::unknown_key_stream);
  CHECK(w.close(*w.a, w.conn_a, id) == status::not_authorized);
}

TEST_CASE(
    "key_manager: resumes for callers without identity only while no other connection uses the stream") {
  two_sites w;
  const auto one = w.a->manager.connect(std::string{anonymous_principal});
  const auto two = w.a->manager.connect(std::string{anonymous_principal});
  const auto t = w.open(*w.a, one, a_to_b);
  auto again = a_to_b;
  again.stream = w.a->answers.at(t).open->stream;
  CHECK(w.a->answers.at(w.open(*w.a, two, again)).open->outcome == status::ksid_in_use);
  w.a->manager.disconnect(one, w.now);
  CHECK(w.a->answers.at(w.open(*w.a, two, again)).open->outcome == status::peer_not_connected);
}

TEST_CASE("key_manager: gives the same bytes for an index until it is acknowledged") {  // D13, R4, R5
  two_sites w;
  const auto id = w.open_both();
  const auto first = w.get(*w.a, w.conn_a, id, 0);
  const auto again = w.get(*w.a, w.conn_a, id, 0);
  CHECK(w.a->answers.at(first).key == w.a->answers.at(again).key);
  // a plain client acknowledges index i - 64 by asking for i
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 63)) == status::success);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 64)) == status::success);
  const auto gone = w.get(*w.a, w.conn_a, id, 0);
  CHECK(w.outcome(*w.a, gone) == status::index_not_available);
  CHECK(w.a->answers.at(gone).get->index == 1);  // the lowest live index: 1 to 62 were not read
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 1)) == status::success);
  CHECK(balanced(w, *w.a, id));
  // the other side has read nothing, and has everything
  CHECK(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, 0)) == status::success);
}

TEST_CASE("key_manager: serves any index inside the window, in any order") {  // D12
  two_sites w;
  const auto id = w.open_both();
  for (const std::uint64_t i : {127U, 0U, 64U, 1U, 100U, 3U}) {
    const auto x = w.get(*w.a, w.conn_a, id, i);
    const auto y = w.get(*w.b, w.conn_b, id, i);
    REQUIRE(w.outcome(*w.a, x) == status::success);
    REQUIRE(w.a->answers.at(x).key == w.b->answers.at(y).key);
  }
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, last_index + 1)) == status::stream_exhausted);
}

TEST_CASE("key_manager: holds the side back that runs ahead, until the other reads") {  // D11
  two_sites w;
  const auto id = w.open_both();
  for (std::uint64_t i = 0; i < 128; ++i) {
    REQUIRE(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, i)) == status::success);
  }
  const auto ahead = w.get(*w.a, w.conn_a, id, 128);
  w.pass(1s);
  CHECK_FALSE(w.outcome(*w.a, ahead).has_value());
  // B acknowledges index 0 by asking for index 64
  for (std::uint64_t i = 0; i < 65; ++i) w.get(*w.b, w.conn_b, id, i);
  w.pass(100ms);
  CHECK(w.outcome(*w.a, ahead) == status::success);
  CHECK(w.a->answers.at(ahead).key == w.b->answers.at(w.get(*w.b, w.conn_b, id, 128)).key);
}

TEST_CASE("key_manager: answers 2 at once to a caller that does not wait") {  // D11
  two_sites::options o;
  o.up = false;
  two_sites w{o};
  const auto t = w.open(*w.a, w.conn_a, a_to_b);
  const auto g = w.get(*w.a, w.conn_a, get_key_request{w.a->answers.at(t).open->stream, 0, 0, true});
  CHECK(w.outcome(*w.a, g) == status::insufficient_key);
}

TEST_CASE("key_manager: gives metadata to whoever has room for it, and consumes nothing otherwise") {  // D14
  two_sites w;
  auto r = a_to_b;
  r.quality.metadata_mimetype = "application/json";
  const auto id = w.open_both(r);
  w.pass(250ms);
  const auto small = w.get(*w.a, w.conn_a, get_key_request{id, 0, 35, false});
  CHECK(w.outcome(*w.a, small) == status::metadata_size_insufficient);
  CHECK(w.a->answers.at(small).get->metadata_needed == 36);
  CHECK(w.a->answers.at(small).key.empty());
  const auto fits = w.get(*w.a, w.conn_a, get_key_request{id, 0, 36, false});
  CHECK(w.outcome(*w.a, fits) == status::success);
  CHECK(w.a->answers.at(fits).get->has_metadata);
  CHECK(w.a->answers.at(fits).get->metadata == key_metadata{250, 0});
  const auto none = w.get(*w.a, w.conn_a, get_key_request{id, 1, 0, false});
  CHECK(w.outcome(*w.a, none) == status::success);
  CHECK_FALSE(w.a->answers.at(none).get->has_metadata);
}

TEST_CASE("key_manager: lets keys die at their TTL, on each side by itself") {  // D15, R6
  two_sites w;
  auto r = a_to_b;
  r.quality.ttl_s = 10;
  const auto id = w.open_both(r);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::success);
  w.pass(9s);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 1)) == status::success);
  w.pass(2s);
  const auto old = w.get(*w.a, w.conn_a, id, 2);
  CHECK(w.outcome(*w.a, old) == status::index_not_available);
  const auto balance = w.a->manager.stream_balance(id).value();
  CHECK(balance.expired >= 100);
  CHECK(balanced(w, *w.a, id));
  CHECK(balanced(w, *w.b, id));
  const auto fresh = w.a->answers.at(old).get->index;
  const auto x = w.get(*w.a, w.conn_a, id, fresh);
  const auto y = w.get(*w.b, w.conn_b, id, fresh);
  CHECK(w.outcome(*w.a, x) == status::success);
  CHECK(w.a->answers.at(x).key == w.b->answers.at(y).key);
}

TEST_CASE("key_manager: does not refill a stream that nobody asked for a TTL long") {  // D15
  two_sites w;
  auto r = a_to_b;
  r.quality.ttl_s = 5;
  const auto id = w.open_both(r);
  w.pass(60s);
  CHECK(w.a->manager.stream_balance(id)->bound <= 256);
  CHECK(w.a->manager.stream_balance(id)->live == 0);
  const auto next = w.a->manager.stream_balance(id)->bound;
  SUBCASE("the allocator's side asks again") {
    CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, next)) == status::success);
  }
  SUBCASE("the other side asks again") {
    CHECK(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, next)) == status::success);
  }
}

TEST_CASE("key_manager: reads on after the peer has closed, then says so") {  // D16
  two_sites w;
  const auto id = w.open_both();
  CHECK(w.close(*w.b, w.conn_b, id) == status::success);
  CHECK(w.close(*w.b, w.conn_b, id) == status::success);
  const auto bound = w.a->manager.stream_balance(id)->bound;
  REQUIRE(bound == 128);
  for (std::uint64_t i = 0; i < bound; ++i) {
    REQUIRE(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, i)) == status::success);
  }
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, bound)) == status::get_key_peer_not_connected);
  CHECK(w.close(*w.a, w.conn_a, id) == status::success);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::unknown_key_stream);
  auto again = a_to_b;
  again.stream = id;
  CHECK(w.a->answers.at(w.open(*w.a, w.conn_a, again)).open->outcome == status::ksid_in_use);
  CHECK(w.b->answers.at(w.open(*w.b, w.conn_b, again)).open->outcome == status::ksid_in_use);
}

TEST_CASE("key_manager: answers calls blocked in GET_KEY at once when their side closes") {  // D16
  two_sites w;
  const auto id = w.open_both();
  const auto blocked = w.get(*w.a, w.conn_a, id, 500);
  CHECK_FALSE(w.outcome(*w.a, blocked).has_value());
  CHECK(w.close(*w.a, w.conn_a, id) == status::success);
  CHECK(w.outcome(*w.a, blocked) == status::unknown_key_stream);
}

TEST_CASE("key_manager: tells the peer of a CLOSE that happened while the link was down") {
  two_sites w;
  const auto id = w.open_both();
  w.cut();
  CHECK(w.close(*w.a, w.conn_a, id) == status::success);
  w.connect();
  for (std::uint64_t i = 0; i < 128; ++i) w.get(*w.b, w.conn_b, id, i);
  CHECK(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, 128)) == status::get_key_peer_not_connected);
}

TEST_CASE("key_manager: keeps streams and keys over a broken connection, wherever it broke") {
  for (int broken_after = 0; broken_after < 40; ++broken_after) {
    CAPTURE(broken_after);
    two_sites w;
    const auto id = w.open_both();
    std::map<std::uint64_t, std::vector<std::byte>> at_a;
    std::map<std::uint64_t, std::vector<std::byte>> at_b;
    const auto read = [&](site& at, connection_id who, std::uint64_t i, auto& into) {
      const auto t = w.get(at, who, get_key_request{id, i, 0, true});
      if (w.outcome(at, t) == status::success) into[i] = at.answers.at(t).key;
    };
    for (std::uint64_t i = 0; i < 100; ++i) {
      read(*w.a, w.conn_a, i, at_a);
      read(*w.b, w.conn_b, i, at_b);
    }
    // both sides go on while only some of the messages arrive
    for (std::uint64_t i = 100; i < 128; ++i) {
      w.a->manager.get_key({w.conn_a, 10'000 + i}, {id, i, 0, true}, w.now);
      at_a[i] = w.a->answers.at(10'000 + i).key;
      w.b->manager.get_key({w.conn_b, 20'000 + i}, {id, i, 0, true}, w.now);
      at_b[i] = w.b->answers.at(20'000 + i).key;
    }
    for (int n = 0; n < broken_after; ++n) {
      if (n % 3 == 2 ? !w.carry(*w.b, *w.a) : !w.carry(*w.a, *w.b)) w.carry(*w.b, *w.a);
    }
    w.cut();
    w.connect();
    REQUIRE(w.a->failures.empty());
    REQUIRE(w.b->failures.empty());
    for (std::uint64_t i = 128; i < 500; ++i) {
      read(*w.a, w.conn_a, i, at_a);
      read(*w.b, w.conn_b, i, at_b);
      w.pass(1ms);
    }
    REQUIRE(at_a.size() == 500);
    REQUIRE(at_a == at_b);
    std::set<std::vector<std::byte>> distinct;
    for (const auto& [i, key] : at_a) REQUIRE(distinct.insert(key).second);
  }
}

TEST_CASE("key_manager: ends the streams of a peer instance that died, and counts what they held") {
  two_sites w;
  const auto id = w.open_both();
  std::set<std::vector<std::byte>> old;
  for (std::uint64_t i = 0; i < 10; ++i) old.insert(w.a->answers.at(w.get(*w.a, w.conn_a, id, i)).key);
  const auto waiting = w.get(*w.a, w.conn_a, id, 1'000);
  w.restart_b();
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 10)) == status::success);  // the link is only down, so far
  w.connect();
  CHECK(w.outcome(*w.a, waiting) == status::unknown_key_stream);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 11)) == status::unknown_key_stream);
  CHECK(w.a->manager.totals().lost_chunks == 128);
  CHECK(w.a->manager.totals().lost_octets > 0);
  auto again = a_to_b;
  again.stream = id;
  CHECK(w.a->answers.at(w.open(*w.a, w.conn_a, again)).open->outcome == status::ksid_in_use);
  const auto t = w.open(*w.b, w.conn_b, again);  // the new instance learns it from the peer
  REQUIRE(w.b->answers.contains(t));
  CHECK(w.b->answers.at(t).open->outcome == status::ksid_in_use);

  const auto fresh = w.open_both();
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto x = w.get(*w.a, w.conn_a, fresh, i);
    const auto y = w.get(*w.b, w.conn_b, fresh, i);
    REQUIRE(w.outcome(*w.a, x) == status::success);
    REQUIRE(w.a->answers.at(x).key == w.b->answers.at(y).key);
    REQUIRE_FALSE(old.contains(w.a->answers.at(x).key));
  }
}

TEST_CASE("key_manager: hands a key out once when the stream is strict once") {  // R8
  two_sites w;
  auto r = a_to_b;
  r.strict_once = true;
  const auto id = w.open_both(r);
  const auto x = w.get(*w.a, w.conn_a, id, 0);
  const auto y = w.get(*w.b, w.conn_b, id, 0);
  CHECK(w.a->answers.at(x).key == w.b->answers.at(y).key);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::index_not_available);
  CHECK(w.outcome(*w.b, w.get(*w.b, w.conn_b, id, 0)) == status::index_not_available);
  CHECK(w.a->manager.totals().burned_chunks == 1);
}

TEST_CASE("key_manager: never shares bytes between streams") {
  two_sites w;
  std::vector<key_stream_id> ids;
  for (std::uint32_t n = 0; n < 20; ++n) {
    auto r = a_to_b;
    r.quality.key_chunk_size = 16 + 7 * n;  // chunks that lie across blocks
    ids.push_back(w.open_both(r));
  }
  std::set<std::vector<std::byte>> seen;
  for (std::uint64_t i = 0; i < 200; ++i) {
    for (const auto& id : ids) {
      const auto x = w.get(*w.a, w.conn_a, id, i);
      const auto y = w.get(*w.b, w.conn_b, id, i);
      REQUIRE(w.outcome(*w.a, x) == status::success);
      REQUIRE(w.a->answers.at(x).key == w.b->answers.at(y).key);
      auto head = w.a->answers.at(x).key;
      head.resize(16);
      REQUIRE(seen.insert(std::move(head)).second);
    }
  }
}

TEST_CASE("key_manager: refuses more streams, callers and memory than its limits") {
  two_sites::options o;
  o.a.limits.max_streams = 2;
  o.a.limits.max_waiting = 1;
  two_sites w{o};
  const auto id = w.open_both();
  w.open_both();
  CHECK(w.a->answers.at(w.open(*w.a, w.conn_a, a_to_b)).open->outcome == status::resource_limit);
  w.get(*w.a, w.conn_a, id, 1'000);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 1'001)) == status::resource_limit);

  two_sites::options tiny;
  tiny.memory.bytes = 768 * 1024;
  two_sites small{tiny};
  auto big = a_to_b;
  big.quality.key_chunk_size = 1'024;
  status outcome = status::peer_not_connected;
  int opened = -1;
  for (; outcome == status::peer_not_connected; ++opened) {
    outcome = small.a->answers.at(small.open(*small.a, small.conn_a, big)).open->outcome;
  }
  CHECK(outcome == status::resource_limit);
  CHECK(opened >= 1);
  CHECK(opened <= 5);
}

TEST_CASE("key_manager: refuses closed KSIDs by a bounded memory of them") {  // D8
  two_sites::options o;
  o.a.limits.max_retired = 4;
  two_sites w{o};
  for (int n = 0; n < 4; ++n) {
    const auto t = w.open(*w.a, w.conn_a, a_to_b);
    REQUIRE(w.a->answers.at(t).open->outcome == status::peer_not_connected);
    w.close(*w.a, w.conn_a, w.a->answers.at(t).open->stream);
  }
  CHECK(w.a->answers.at(w.open(*w.a, w.conn_a, a_to_b)).open->outcome == status::resource_limit);
}

TEST_CASE("key_manager: drops the waiting calls of a connection that went") {
  two_sites w;
  const auto id = w.open_both();
  const auto t = w.get(*w.a, w.conn_a, id, 1'000);
  w.a->manager.disconnect(w.conn_a, w.now);
  CHECK(w.a->manager.totals().waiting == 0);
  w.pass(10s);
  CHECK_FALSE(w.a->answers.contains(t));
}

TEST_CASE("key_manager: answers all that waits and destroys all key when it shuts down") {
  two_sites w;
  const auto id = w.open_both();
  const auto g = w.get(*w.a, w.conn_a, id, 1'000);
  const auto o = w.open(*w.a, w.conn_a, named(3));
  w.a->manager.shutdown(w.now);
  CHECK(w.outcome(*w.a, g) == status::shutting_down);
  CHECK(w.a->answers.at(o).open->outcome == status::shutting_down);
  CHECK(w.a->arena.used() == 0);
  CHECK(w.outcome(*w.a, w.get(*w.a, w.conn_a, id, 0)) == status::shutting_down);
}

TEST_CASE("key_manager: refuses a peer that is another, or whose key source is out of step") {
  const auto refused = [](auto&& change) {
    two_sites::options o;
    o.up = false;
    two_sites w{o};
    w.up = true;
    w.a->manager.link_up(w.a->link, w.now);
    w.b->manager.link_up(w.b->link, w.now);
    change(w.b->outbox.front(), w);
    w.settle();
    return w.a->failures.empty() ? std::string{} : w.a->failures.front();
  };
  CHECK(refused([](peer::message&, two_sites&) {}).empty());
  CHECK(refused([](peer::message& m, two_sites&) { std::get<peer::hello>(m).node = "C"; }).find("C") !=
        std::string::npos);
  CHECK_FALSE(refused([](peer::message& m, two_sites&) { std::get<peer::hello>(m).link = "x"; }).empty());
  CHECK_FALSE(
      refused([](peer::message& m, two_sites&) { std::get<peer::hello>(m).source_kind = "x"; }).empty());
  CHECK_FALSE(refused([](peer::message& m, two_sites&) { std::get<peer::hello>(m).version = 0; }).empty());
  CHECK_FALSE(refused([](peer::message& m, two_sites&) { m = peer::close{}; }).empty());
  const auto why = refused([](peer::message&, two_sites& w) {
    while (w.b->outbox.size() < 2) w.carry(*w.a, *w.b);
    std::get<peer::start>(w.b->outbox.back()).check[0] ^= std::byte{1};
  });
  CHECK(why.find("not in step") != std::string::npos);
}

TEST_CASE("key_manager: treats a binding that contradicts another as fatal") {  // R1
  const auto verdict = [](auto&& forge) {
    two_sites w;
    w.open_both();
    w.a->outbox.clear();
    // what B has confirmed last
    peer::bind b;
    b.stream = predefined(1);
    forge(b, w);
    w.b->manager.receive(w.b->link, b, w.now);
    return w.b->failures;
  };
  CHECK_FALSE(verdict([](peer::bind& b, two_sites&) { b.position = 0, b.count = 1, b.length = 32; }).empty());
  CHECK_FALSE(
      verdict([](peer::bind& b, two_sites&) { b.position = 1 << 20, b.count = 1, b.length = 32; }).empty());
  CHECK_FALSE(
      verdict([](peer::bind& b, two_sites&) { b.position = 4'096, b.count = 3, b.length = 32; }).empty());
  CHECK(verdict([](peer::bind& b, two_sites&) { b.position = 4'096, b.count = 1, b.length = 32; }).empty());
}

TEST_CASE("key_manager: is not harmed by any message of a peer that lies") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    two_sites w;
    const auto id = w.open_both();
    w.get(*w.b, w.conn_b, id, 0);
    seeded_random random{seed};
    const auto number = [&](std::uint64_t below) {
      std::array<std::byte, 8> o{};
      random(o);
      std::uint64_t n = 0;
      std::memcpy(&n, o.data(), 8);
      return n % below;
    };
    for (int n = 0; n < 20; ++n) {
      const auto stream = number(2) ? id : predefined(static_cast<std::uint8_t>(number(4)));
      peer::message m;
      switch (number(9)) {
        case 0:
          m = peer::announce{stream, number(9), "qkd://alice@A", "qkd://bob@B", {}, 128, true, false};
          break;
        case 1: m = peer::accept{stream, {}, static_cast<std::uint32_t>(number(300)), true, false}; break;
        case 2: m = peer::refuse{stream, number(9), static_cast<status>(number(9))}; break;
        case 3:
          m = peer::bind{stream,         number(300),    static_cast<std::uint32_t>(number(200)),
                         number(10'000), number(10'000), number(10'000)};
          break;
        case 4: m = peer::confirm{number(10'000), number(2) != 0}; break;
        case 5: m = peer::mark{stream, number(1'000), number(2) != 0}; break;
        case 6: m = peer::close{stream}; break;
        case 7: m = peer::closed{stream}; break;
        default: m = peer::start{}; break;
      }
      auto& victim = number(2) ? *w.a : *w.b;
      victim.manager.receive(victim.link, std::move(m), w.now);
      w.get(victim, &victim == w.a.get() ? w.conn_a : w.conn_b, id, number(130));
      w.pass(std::chrono::milliseconds{number(40)});
    }
  }
}

TEST_CASE("key_manager: keeps a Min_bps and lets nobody starve when blocks are larger than chunks") {  // D6
  for (const std::uint32_t jitter : {0U, 8'000U}) {
    CAPTURE(jitter);
    auto o = link_of(120'000);
    o.source.block_bytes = 1'500;  // ten a second
    two_sites w{o};
    std::vector<key_stream_id> ids;
    for (const std::uint32_t priority : {1U, 3U, 0U}) {
      auto r = a_to_b;
      r.quality.priority = priority;
      if (priority == 1) r.quality.min_bps = 40'000;
      if (priority == 1) r.quality.jitter = jitter;
      ids.push_back(w.open_both(r));
    }
    std::vector<std::uint64_t> next(3);
    std::vector<std::uint64_t> before;
    const auto begin = w.now;
    while (w.now - begin < 12s) {
      if (before.empty() && w.now - begin >= 2s) before = next;
      for (std::size_t i = 0; i < 3; ++i) {
        for (;;) {
          const auto at_a = w.get(*w.a, w.conn_a, ids[i], next[i]);
          (void)w.get(*w.b, w.conn_b, ids[i], next[i]);
          if (w.outcome(*w.a, at_a) != status::success) break;
          ++next[i];
        }
      }
      w.pass(5ms);
    }
    std::vector<double> bps;
    for (std::size_t i = 0; i < 3; ++i) bps.push_back(static_cast<double>(next[i] - before[i]) * 32 * 8 / 10);
    CAPTURE(bps[0]);
    CAPTURE(bps[1]);
    CAPTURE(bps[2]);
    CHECK(bps[0] >= 39'000);
    CHECK(bps[0] <= 52'000);
    CHECK(bps[2] >= 10'000);
    CHECK(bps[1] / bps[2] > 3);
    CHECK(bps[1] / bps[2] < 5);
  }
}
