// The calls beyond the standard's three, at the key manager: several keys at once, acknowledgement, subscription,
// waiting for the peer, reports.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <vector>

#include "two_sites.hpp"

using namespace testing;

namespace {

get_keys_request keys_of(const key_stream_id& id, std::uint64_t first, std::uint16_t count,
                         std::uint64_t acknowledge_below = 0) {
  get_keys_request r;
  r.stream = id;
  r.epoch = 1;
  r.first = first;
  r.count = count;
  r.acknowledge_below = acknowledge_below;
  return r;
}

/// What GET_KEYS came to, if it was answered.
testing::answer ask(two_sites& w, site& at, connection_id who, const get_keys_request& r) {
  at.manager.get_keys({who, ++w.tickets}, r, w.now);
  w.settle();
  return at.answers[w.tickets];
}

void subscribe(two_sites& w, site& at, connection_id who, const key_stream_id& id, std::uint64_t first,
               std::uint32_t credit, std::uint64_t epoch = 1) {
  at.manager.subscribe({who, 0}, {id, epoch, first, credit}, w.now);
  w.settle();
}

std::size_t delivered(const site& at) {
  std::size_t keys = 0;
  for (const auto& d : at.deliveries) keys += d.keys.size();
  return keys;
}

status acknowledge(two_sites& w, site& at, connection_id who, const key_stream_id& id, std::uint64_t below,
                   std::uint64_t epoch = 1) {
  at.manager.acknowledge({who, ++w.tickets}, {id, epoch, below}, w.now);
  w.settle();
  return at.answers[w.tickets].acknowledged->outcome;
}

two_sites::options small_ring(std::uint32_t chunks) {
  two_sites::options o;
  o.a.limits.ring_chunks = chunks;
  o.b.limits.ring_chunks = chunks;
  return o;
}

}  // namespace

TEST_CASE("get_keys: gives the run that is there, equal at both ends") {
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  const auto a = ask(w, *w.a, w.conn_a, keys_of(id, 0, 100));
  REQUIRE(a.several);
  CHECK(a.several->outcome == status::success);
  CHECK(a.several->first == 0);
  CHECK(a.several->chunk_size == 32);
  REQUIRE(a.keys.size() == 8);
  const auto b = ask(w, *w.b, w.conn_b, keys_of(id, 3, 2));
  REQUIRE(b.keys.size() == 2);
  CHECK(b.several->first == 3);
  CHECK(b.keys[0] == a.keys[3]);
  CHECK(b.keys[1] == a.keys[4]);
  CHECK(a.keys[0] != a.keys[1]);
}

TEST_CASE("get_keys: gives the same keys again until they are acknowledged") {  // R4, R5
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  const auto first = ask(w, *w.a, w.conn_a, keys_of(id, 0, 4));
  const auto again = ask(w, *w.a, w.conn_a, keys_of(id, 0, 4));
  CHECK(first.keys == again.keys);
  const auto next = ask(w, *w.a, w.conn_a, keys_of(id, 4, 4, 2));  // 0 and 1 are with the application
  CHECK(next.keys.size() == 4);
  const auto gone = ask(w, *w.a, w.conn_a, keys_of(id, 1, 1));
  CHECK(gone.several->outcome == status::index_not_available);
  CHECK(gone.several->first == 8);  // the lowest live index
  const auto kept = ask(w, *w.a, w.conn_a, keys_of(id, 2, 2));
  REQUIRE(kept.keys.size() == 2);
  CHECK(kept.keys[0] == first.keys[2]);
}

TEST_CASE("get_keys: acknowledges nothing by itself, so that unread answers can be had again") {  // R5
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  for (std::uint64_t i = 0; i < 8; ++i) CHECK(ask(w, *w.a, w.conn_a, keys_of(id, i, 1)).keys.size() == 1);
  for (std::uint64_t i = 0; i < 8; ++i) CHECK(ask(w, *w.a, w.conn_a, keys_of(id, i, 1)).keys.size() == 1);
  CHECK(w.a->manager.stream_balance(id)->acknowledged == 0);
  CHECK(w.a->manager.stream_balance(id)->live == 8);
}

TEST_CASE("get_keys: leaves unserved keys alone when an acknowledgement reaches beyond them") {  // R5
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 5, 1)).keys.size() == 1);
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 0, 2, std::numeric_limits<std::uint64_t>::max())).keys.size() ==
        2);
  CHECK(w.a->manager.stream_balance(id)->acknowledged == 1);  // index 5
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 4, 1)).keys.size() == 1);
}

TEST_CASE("get_keys: waits for the first key only, up to Timeout") {  // D11
  two_sites w{small_ring(4)};
  open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
  r.quality.timeout_ms = 300;
  const auto id = w.open_both(r);
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 0, 4)).keys.size() == 4);
  auto later = keys_of(id, 4, 4);
  CHECK_FALSE(ask(w, *w.a, w.conn_a, later).several);
  const auto waiting = w.tickets;
  later.no_wait = true;
  CHECK(ask(w, *w.a, w.conn_a, later).several->outcome == status::insufficient_key);
  // B reads and acknowledges two, A acknowledges two: there is room for two more
  ask(w, *w.b, w.conn_b, keys_of(id, 0, 2));
  acknowledge(w, *w.b, w.conn_b, id, 2);
  acknowledge(w, *w.a, w.conn_a, id, 2);
  w.pass(100ms);
  REQUIRE(w.a->answers[waiting].several);
  CHECK(w.a->answers[waiting].several->outcome == status::success);
  CHECK(w.a->answers[waiting].keys.size() >= 1);
  CHECK_FALSE(ask(w, *w.a, w.conn_a, keys_of(id, 7, 1)).several);
  const auto late = w.tickets;
  w.pass(400ms);
  REQUIRE(w.a->answers[late].several);
  CHECK(w.a->answers[late].several->outcome == status::timeout);
}

TEST_CASE("get_keys: refuses what cannot be") {
  two_sites w;
  const auto id = w.open_both();
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 0, 0)).several->outcome == status::invalid_argument);
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, last_index + 1, 1)).several->outcome == status::stream_exhausted);
  CHECK(ask(w, *w.a, w.conn_a, keys_of(predefined(9), 0, 1)).several->outcome == status::unknown_key_stream);
  auto old = keys_of(id, 0, 1);
  old.epoch = 0;
  CHECK(ask(w, *w.a, w.conn_a, old).several->outcome == status::not_authorized);
  const auto mallory = w.a->manager.connect("mallory");
  old.epoch = 7;  // whoever it does not belong to learns nothing of it, not even its epoch
  CHECK(ask(w, *w.a, mallory, old).several->outcome == status::unknown_key_stream);
}

TEST_CASE("get_keys: hands out one key at a time of a strict-once stream") {  // R8
  two_sites w{small_ring(8)};
  open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
  r.strict_once = true;
  const auto id = w.open_both(r);
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 0, 8)).keys.size() == 1);
  CHECK(w.a->manager.totals().burned_chunks == 0);
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 0, 1)).several->outcome == status::index_not_available);
  CHECK(w.a->manager.totals().burned_chunks == 1);
  CHECK(ask(w, *w.a, w.conn_a, keys_of(id, 0, 1)).several->outcome == status::index_not_available);
  CHECK(w.a->manager.totals().burned_chunks == 1);  // a key burns once
}

TEST_CASE("strict once: does not count an expired key as burned") {  // R8
  two_sites w{small_ring(8)};
  open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
  r.strict_once = true;
  r.quality.ttl_s = 1;
  const auto id = w.open_both(r);
  w.get(*w.a, w.conn_a, id, 0);
  w.pass(3s);
  const auto expired = w.get(*w.a, w.conn_a, id, 1);
  CHECK(w.outcome(*w.a, expired) == status::index_not_available);
  CHECK(w.a->manager.totals().burned_chunks == 0);
}

TEST_CASE("strict once: is not given to a second opener as something else") {  // R8
  two_sites w;
  const auto id = w.open_both();
  w.close(*w.b, w.conn_b, id);
  open_connect_request r{"qkd://alice@A", "qkd://bob@B", {}, predefined(3)};
  r.no_wait = true;
  w.open(*w.a, w.conn_a, r);
  r.strict_once = true;
  const auto second = w.open(*w.b, w.conn_b, r);
  CHECK(w.b->answers[second].open->outcome == status::ksid_in_use);
}

TEST_CASE("get_keys: keeps within what an answer holds") {
  two_sites::options o;
  o.a.limits.max_frame = 2'048;
  two_sites w{o};
  const auto id = w.open_both();
  const auto a = ask(w, *w.a, w.conn_a, keys_of(id, 0, 100));
  CHECK(a.keys.size() == (2'048 - 256) / (32 + 8));
}

TEST_CASE("get_keys: adds vendor metadata only where it is asked for") {  // D14
  two_sites w;
  const auto id = w.open_both();
  auto r = keys_of(id, 0, 1);
  CHECK(ask(w, *w.a, w.conn_a, r).several->outcome == status::success);
  CHECK(w.a->vendor.empty());
  r.vendor_metadata = true;
  CHECK(ask(w, *w.a, w.conn_a, r).several->outcome == status::success);
  CHECK(w.a->vendor == R"({"x_security":"simulated-insecure"})");
}

TEST_CASE("acknowledge: frees what was served, once, for its owner in its epoch") {  // R3, R5
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  ask(w, *w.a, w.conn_a, keys_of(id, 0, 4));
  CHECK(acknowledge(w, *w.a, w.conn_a, id, 3, 0) == status::not_authorized);
  CHECK(acknowledge(w, *w.a, w.a->manager.connect("mallory"), id, 3) == status::unknown_key_stream);
  CHECK(w.a->manager.stream_balance(id)->acknowledged == 0);
  CHECK(acknowledge(w, *w.a, w.conn_a, id, 3) == status::success);
  CHECK(acknowledge(w, *w.a, w.conn_a, id, 3) == status::success);
  CHECK(w.a->manager.stream_balance(id)->acknowledged == 3);
  CHECK(w.b->manager.stream_balance(id)->acknowledged == 0);  // R6
}

TEST_CASE(
    "close: acknowledges what a plain reader was served, and nothing of one that says so itself") {  // R5
  two_sites w{small_ring(8)};
  const auto plain = w.open_both();
  w.get(*w.a, w.conn_a, plain, 0);
  w.get(*w.a, w.conn_a, plain, 1);
  w.close(*w.a, w.conn_a, plain);
  auto t = w.a->manager.totals();
  CHECK(t.acknowledged_chunks == 2);
  CHECK(t.discarded_chunks == 6);
  const auto explicitly = w.open_both();
  ask(w, *w.a, w.conn_a, keys_of(explicitly, 0, 3));
  acknowledge(w, *w.a, w.conn_a, explicitly, 1);
  w.close(*w.a, w.conn_a, explicitly);
  t = w.a->manager.totals();
  CHECK(t.acknowledged_chunks == 3);
  CHECK(t.discarded_chunks == 13);
  CHECK(t.bound_chunks == t.acknowledged_chunks + t.expired_chunks + t.discarded_chunks);
}

TEST_CASE("subscribe: delivers as keys come, while credit lasts") {
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  subscribe(w, *w.a, w.conn_a, id, 0, 5);
  CHECK(delivered(*w.a) == 5);
  CHECK(w.a->deliveries.at(0).to == w.conn_a);
  CHECK(w.a->deliveries.at(0).stream == id);
  subscribe(w, *w.a, w.conn_a, id, 0, 100);  // adds credit; the position stays
  CHECK(delivered(*w.a) == 8);
  std::vector<std::vector<std::byte>> all;
  std::uint64_t next = 0;
  for (const auto& d : w.a->deliveries) {
    CHECK(d.first == next);
    next += d.keys.size();
    all.insert(all.end(), d.keys.begin(), d.keys.end());
  }
  // both sides let go of four: four more come by themselves
  ask(w, *w.b, w.conn_b, keys_of(id, 0, 4));
  acknowledge(w, *w.b, w.conn_b, id, 4);
  acknowledge(w, *w.a, w.conn_a, id, 4);
  w.pass(100ms);
  CHECK(delivered(*w.a) == 12);
  CHECK(all[4] == ask(w, *w.b, w.conn_b, keys_of(id, 4, 1)).keys.at(0));
}

TEST_CASE("subscribe: is suspended by credit 0, which is confirmed, and begins anew where it is told to") {
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  subscribe(w, *w.a, w.conn_a, id, 0, 3);
  subscribe(w, *w.a, w.conn_a, id, 0, 0);
  CHECK(delivered(*w.a) == 3);
  CHECK(w.a->deliveries.back().outcome == status::insufficient_key);
  subscribe(w, *w.a, w.conn_a, id, 1, 2);
  CHECK(delivered(*w.a) == 5);
  CHECK(w.a->deliveries.back().first == 1);
  CHECK(w.a->deliveries.back().keys[0] == w.a->deliveries.front().keys[1]);
}

TEST_CASE("subscribe: gives again what was lost with a connection") {
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  subscribe(w, *w.a, w.conn_a, id, 0, 8);
  const auto first = w.a->deliveries.at(0).keys;
  w.a->manager.disconnect(w.conn_a, w.now);
  w.conn_a = w.a->manager.connect("alice");
  w.a->deliveries.clear();
  subscribe(w, *w.a, w.conn_a, id, 3, 2);
  REQUIRE(delivered(*w.a) == 2);
  CHECK(w.a->deliveries.at(0).first == 3);
  CHECK(w.a->deliveries.at(0).keys[0] == first[3]);
}

TEST_CASE("subscribe: leaves out what has expired") {
  two_sites w{small_ring(8)};
  open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
  r.quality.ttl_s = 1;
  const auto id = w.open_both(r);
  w.pass(3s);
  subscribe(w, *w.a, w.conn_a, id, 0, 4);
  w.pass(100ms);
  REQUIRE(delivered(*w.a) > 0);
  CHECK(w.a->deliveries.at(0).outcome == status::success);
  CHECK(w.a->deliveries.at(0).first >= 8);
}

TEST_CASE("subscribe: is nobody else's, of one epoch and ends with the stream") {  // R3
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  const auto mallory = w.a->manager.connect("mallory");
  subscribe(w, *w.a, mallory, id, 0, 8);
  REQUIRE(w.a->deliveries.size() == 1);
  CHECK(w.a->deliveries[0].outcome == status::unknown_key_stream);
  CHECK(w.a->deliveries[0].to == mallory);
  subscribe(w, *w.a, w.conn_a, id, 0, 8, 2);
  CHECK(w.a->deliveries.at(1).outcome == status::not_authorized);

  subscribe(w, *w.a, w.conn_a, id, 0, 4);
  const auto other = w.a->manager.connect("alice");
  subscribe(w, *w.a, other, id, 0, 4);  // takes its place
  CHECK(w.a->deliveries.at(3).to == w.conn_a);
  CHECK(w.a->deliveries.at(3).outcome == status::not_authorized);
  CHECK(w.a->deliveries.at(4).to == other);
  CHECK(w.a->deliveries.at(4).keys == w.a->deliveries.at(2).keys);

  open_connect_request again{"qkd://alice@A", "qkd://bob@B", {}, id};
  w.open(*w.a, w.conn_a, again);  // epoch 2 fences the one of epoch 1
  CHECK(w.a->deliveries.at(5).outcome == status::not_authorized);
  w.a->deliveries.clear();
  subscribe(w, *w.a, w.conn_a, id, 8, 4, 2);
  CHECK(w.a->deliveries.empty());
  w.close(*w.a, w.conn_a, id);
  REQUIRE(w.a->deliveries.size() == 1);
  CHECK(w.a->deliveries[0].outcome == status::unknown_key_stream);
}

TEST_CASE("subscribe: ends with the failure that a later SUBSCRIBE of another epoch gets") {  // R3
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  subscribe(w, *w.a, w.conn_a, id, 0, 2);
  subscribe(w, *w.a, w.conn_a, id, 0, 4, 9);
  CHECK(w.a->deliveries.back().outcome == status::not_authorized);
  subscribe(w, *w.a, w.conn_a, id, 1, 1);  // begins anew, where it says
  CHECK(w.a->deliveries.back().first == 1);
  CHECK(delivered(*w.a) == 3);
}

TEST_CASE("open_connect: never gives a KSID that was told to somebody to another stream") {  // D5, D8
  two_sites::options o;
  o.b.limits.max_chunk = 16;  // B refuses what A grants
  two_sites w{o};
  open_connect_request r{"qkd://alice@A", "qkd://bob@B", {}, predefined(5)};
  const auto waited = w.open(*w.a, w.conn_a, r);
  CHECK(w.a->answers[waited].open->outcome == status::no_qkd_connection);
  r.quality.key_chunk_size = 16;  // nobody was told of it: it is not consumed
  r.no_wait = true;
  CHECK(w.a->answers[w.open(*w.a, w.conn_a, r)].open->outcome == status::peer_not_connected);

  r.quality.key_chunk_size = 32;
  r.stream = predefined(6);
  CHECK(w.a->answers[w.open(*w.a, w.conn_a, r)].open->outcome == status::peer_not_connected);
  r.quality.key_chunk_size = 16;
  CHECK(w.a->answers[w.open(*w.a, w.conn_a, r)].open->outcome == status::ksid_in_use);
}

TEST_CASE("wait_peer: is answered when the peer application opens, or is gone, or at its own Timeout") {
  two_sites w;
  open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
  const auto opened = w.open(*w.a, w.conn_a, r);
  r.stream = w.a->answers[opened].open->stream;
  const auto wait = [&](std::uint32_t ms) {
    w.a->manager.wait_peer({w.conn_a, ++w.tickets}, {r.stream, ms}, w.now);
    w.settle();
    return w.tickets;
  };
  const auto short_one = wait(50);
  const auto long_one = wait(0);  // QoS Timeout: 5 s
  CHECK_FALSE(w.a->answers[short_one].waited);
  w.pass(100ms);
  REQUIRE(w.a->answers[short_one].waited);
  CHECK(w.a->answers[short_one].waited->outcome == status::timeout);
  CHECK_FALSE(w.a->answers[long_one].waited);
  w.open(*w.b, w.conn_b, r);
  REQUIRE(w.a->answers[long_one].waited);
  CHECK(w.a->answers[long_one].waited->outcome == status::success);
  CHECK(w.a->answers[wait(50)].waited->outcome == status::success);
  w.close(*w.b, w.conn_b, r.stream);
  CHECK(w.a->answers[wait(50)].waited->outcome == status::get_key_peer_not_connected);
  w.a->manager.wait_peer({w.a->manager.connect("mallory"), ++w.tickets}, {r.stream, 50}, w.now);
  CHECK(w.a->answers[w.tickets].waited->outcome == status::unknown_key_stream);
}

TEST_CASE("report: shows the caller's streams and nobody else's") {
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  const auto second = w.open_both();
  ask(w, *w.a, w.conn_a, keys_of(id, 0, 3, 0));
  acknowledge(w, *w.a, w.conn_a, id, 2);
  const auto all = w.a->manager.report(w.conn_a, {}, w.now);
  CHECK(all.open == 2);
  REQUIRE(all.streams.size() == 2);
  const auto [open, one] = w.a->manager.report(w.conn_a, id, w.now);
  CHECK(open == 1);
  REQUIRE(one.size() == 1);
  CHECK(one[0].stream == id);
  CHECK(one[0].peer_open);
  CHECK(one[0].next_index == 3);
  CHECK(one[0].acknowledged == 2);
  CHECK(one[0].bound == one[0].acknowledged + one[0].expired + one[0].discarded + one[0].live);
  const auto mallory = w.a->manager.connect("mallory");
  for (const auto& asked : {key_stream_id{}, second}) {
    const auto none = w.a->manager.report(mallory, asked, w.now);
    CHECK(none.open == 0);
    CHECK(none.streams.empty());
  }
}

TEST_CASE("report: counts all of the caller's streams and tells of the first of them only") {
  auto o = small_ring(2);
  o.a.limits.max_reported = 3;
  two_sites w{o};
  std::vector<key_stream_id> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(w.open_both());
  w.close(*w.a, w.conn_a, ids[1]);
  w.open(*w.b, w.conn_b, {"qkd://alice@A", "qkd://bob@B"});  // registered here, and not open
  const auto [open, streams] = w.a->manager.report(w.conn_a, {}, w.now);
  CHECK(open == 5);
  REQUIRE(streams.size() == 3);
  CHECK(streams[0].stream == ids[0]);
  CHECK(streams[1].stream == ids[2]);
  CHECK(streams[2].stream == ids[3]);
  const auto last = w.a->manager.report(w.conn_a, ids[5], w.now);
  REQUIRE(last.streams.size() == 1);
  CHECK(last.streams[0].stream == ids[5]);
  w.restart_b();
  w.connect();  // with another instance: they ended
  CHECK(w.a->manager.report(w.conn_a, {}, w.now).open == 0);
}

TEST_CASE("get_key: no more of a stream wait than its acknowledgement window has") {  // R5
  two_sites w{small_ring(8)};
  const auto id = w.open_both();
  for (std::uint64_t i = 0; i < 8; ++i) w.get(*w.a, w.conn_a, id, i);
  std::vector<std::uint64_t> tickets;
  for (std::uint64_t i = 0; i < 5; ++i) tickets.push_back(w.get(*w.a, w.conn_a, id, 100 + i));
  for (std::size_t i = 0; i < 4; ++i) CHECK_FALSE(w.outcome(*w.a, tickets[i]));
  CHECK(w.outcome(*w.a, tickets[4]) == status::resource_limit);
}

TEST_CASE(
    "open_connect: a counter-proposal is accepted when it is sent back at once, 10000 times over") {  // D5
  two_sites::options o;
  o.source.rate_bps = 1'000'000;
  o.memory.bytes = std::size_t{256} << 20;
  o.memory.allow_unlocked = true;
  std::optional<two_sites> sites;
  std::minstd_rand draw{20};
  const auto pick = [&draw](std::initializer_list<std::uint32_t> of) {
    return of.begin()[draw() % of.size()];
  };
  std::uint64_t countered = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (i % 50 == 0) sites.emplace(o);  // closed streams keep their memory at the other end until TTL
    two_sites& w = *sites;
    open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
    r.quality.key_chunk_size = pick({0, 1, 16, 32, 4096, 65536, 65537, 0xffffffff});
    r.quality.max_bps = pick({0, 1, 1000, 500'000, 2'000'000, 0xffffffff});
    r.quality.min_bps = pick({0, 0, 1, 1000, 300'000, 600'000, 1'000'001, 0xffffffff});
    r.quality.jitter = pick({0, 1, 1000, 0xffffffff});
    r.quality.priority = pick({0, 1, 7, 0xffffffff});
    r.quality.timeout_ms = pick({0, 1, 1000, 0xffffffff});
    r.quality.ttl_s = pick({0, 1, 60, 0xffffffff});
    r.quality.metadata_mimetype = std::vector<std::string>{"", "application/json", "text/plain"}[draw() % 3];
    const bool at_a = draw() % 2 == 0;
    site& at = at_a ? *w.a : *w.b;
    const auto who = at_a ? w.conn_a : w.conn_b;
    auto answer = at.answers[w.open(at, who, r)].open;
    REQUIRE(answer);
    if (answer->outcome == status::qos_not_met) {
      ++countered;
      const auto before = at.manager.totals().streams;
      r.quality = answer->quality;
      answer = at.answers[w.open(at, who, r)].open;
      REQUIRE(answer);
      INFO("request " << i);
      REQUIRE(answer->outcome == status::peer_not_connected);
      CHECK(answer->quality == r.quality);
      CHECK(at.manager.totals().streams == before + 1);
    }
    REQUIRE(answer->outcome == status::peer_not_connected);
    if (draw() % 8 != 0 || at.manager.totals().streams > 6) w.close(at, who, answer->stream);
    at.answers.clear();
  }
  CHECK(countered > 1'000);
}
