// oracle_test: made-up histories, each of which breaks one promise: the oracle finds that one, and nothing in the
// history that breaks none.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "oracle.hpp"

namespace {

using namespace simulation;  // NOLINT: tests only

constexpr instance at_a{0, 0};
constexpr instance at_b{1, 0};

/// A stream between A and B with rings of four chunks, so that serving i acknowledges i - 2, and a TTL of 2 s.
struct history {
  history() {
    qkd004::limits l;
    l.ring_chunks = 4;
    judge = std::make_unique<oracle>(oracle::options{{l, l}, 10ms});
    judge->started(at_a, now);
    judge->started(at_b, now);
    judge->ends(id, 0, 1);
  }

  std::uint64_t ask(const instance& at, unsigned line, const std::string& principal, request r) {
    judge->asked({++tickets, principal, at, line, std::move(r)}, now);
    return tickets;
  }
  void open(const instance& at, unsigned line, std::uint64_t epoch, bool strict_once = false) {
    open_connect_request r{"qkd://alice@A", "qkd://bob@B", {}, id};
    r.quality.ttl_s = 2;
    r.strict_once = strict_once;
    const auto ticket = ask(at, line, "alice", r);
    open_connect_response done;
    done.stream = id;
    done.epoch = epoch;
    hear(at, line, ticket, {done, {}});
  }
  void hear(const instance& at, unsigned line, std::uint64_t ticket, answer a) {
    now += 1ms;
    judge->answered(at, line, ticket, a, now);
    now += 1ms;
  }
  std::uint64_t ask_for(const instance& at, std::uint64_t index, unsigned line = 1,
                        const std::string& principal = "alice") {
    get_key_request r;
    r.stream = id;
    r.index = index;
    return ask(at, line, principal, r);
  }
  void give(const instance& at, std::uint64_t ticket, std::uint64_t index, std::vector<std::byte> key,
            unsigned line = 1) {
    get_key_response r;
    r.index = index;
    hear(at, line, ticket, {r, {std::move(key)}});
  }
  void refuse(const instance& at, std::uint64_t ticket, status why, std::uint64_t lowest_live = 0) {
    get_key_response r;
    r.outcome = why;
    r.index = lowest_live;
    hear(at, 1, ticket, {r, {}});
  }
  void read(const instance& at, std::uint64_t index) { give(at, ask_for(at, index), index, key_of(index)); }
  void bound(const instance& at, std::uint64_t many, std::uint64_t acknowledged = 0) {
    judge->balance(at, id, {many, acknowledged, 0, 0, many - acknowledged}, now);
  }
  /// Both ends have opened, and so many chunks are bound.
  void begin(std::uint64_t many) {
    open(at_a, 1, 1);
    open(at_b, 1, 1);
    bound(at_a, many);
    bound(at_b, many);
  }
  std::uint64_t ask_for_run(const instance& at, std::uint64_t first, std::uint16_t count,
                            std::uint64_t acknowledge_below = 0, std::uint64_t epoch = 1) {
    get_keys_request r;
    r.stream = id;
    r.epoch = epoch;
    r.first = first;
    r.count = count;
    r.acknowledge_below = acknowledge_below;
    return ask(at, 1, "alice", r);
  }
  static answer run_of(std::uint64_t first, std::uint64_t count) {
    get_keys_response r;
    r.first = first;
    r.chunk_size = 32;
    answer a{r, {}};
    for (std::uint64_t i = 0; i < count; ++i) a.keys.push_back(key_of(first + i));
    return a;
  }
  static answer no_run(status why, std::uint64_t lowest_live = 0) {
    get_keys_response r;
    r.outcome = why;
    r.first = lowest_live;
    return {r, {}};
  }
  void read_run(const instance& at, std::uint64_t first, std::uint16_t count,
                std::uint64_t acknowledge_below = 0) {
    hear(at, 1, ask_for_run(at, first, count, acknowledge_below), run_of(first, count));
  }
  void acknowledge(const instance& at, std::uint64_t below, status outcome = status::success) {
    acknowledge_response r;
    r.outcome = outcome;
    hear(at, 1, ask(at, 1, "alice", acknowledge_request{id, 1, below}), {r, {}});
  }
  void subscribe(const instance& at, std::uint64_t first, std::uint32_t credit) {
    judge->subscribing(at, 1, {id, 1, first, credit});
    judge->subscribed(at, id);
  }
  /// Handed over at the site, and heard.
  void deliver(const instance& at, std::uint64_t first, std::uint64_t count, unsigned line = 1) {
    const answer a = run_of(first, count);
    const std::vector<served_key> keys(count);
    auto r = std::get<get_keys_response>(a.what);
    r.keys = keys;
    const auto sent = now;
    judge->delivered(at, line, id, r, now);
    now += 1ms;
    judge->heard(at, line, "alice", id, a, sent, now);
  }
  void suspend(const instance& at, status outcome) {
    judge->subscribing(at, 1, {id, 1, 0, 0});
    judge->delivered(at, 1, id, std::get<get_keys_response>(no_run(outcome).what), now);
    judge->subscribed(at, id);
  }
  status wait_for_peer(const instance& at, status outcome) {
    wait_peer_response r;
    r.outcome = outcome;
    hear(at, 1, ask(at, 1, "alice", wait_peer_request{id, 50}), {r, {}});
    return outcome;
  }
  static std::vector<std::byte> key_of(std::uint64_t index) {
    chance c{index};
    std::vector<std::byte> key(32);
    c.fill(key);
    return key;
  }
  std::string found() const { return judge->found() ? judge->found()->promise : ""; }

  key_stream_id id = *key_stream_id::parse("00000000-0000-4000-8000-000000000001");
  time_point now = time_line::began;
  std::uint64_t tickets = 0;
  std::unique_ptr<oracle> judge;
};

}  // namespace

TEST_CASE("oracle: finds nothing in a history that keeps every promise") {
  history h;
  h.begin(4);
  for (const auto& at : {at_a, at_b}) {
    for (std::uint64_t i = 0; i < 4; ++i) h.read(at, i);
    h.read(at, 3);                                                   // a retransmission
    h.refuse(at, h.ask_for(at, 0), status::index_not_available, 4);  // acknowledged by serving 2
    h.judge->lost(h.ask_for(at, 4));
  }
  h.bound(at_b, 8, 3);
  h.bound(at_a, 8, 3);
  h.open(at_a, 2, 2);
  h.give(at_a, h.ask_for(at_a, 5, 2), 5, history::key_of(5), 2);
  h.now += 2s;
  h.judge->balance(at_a, h.id, {8, 3, 5, 0, 0}, h.now);
  h.refuse(at_a, h.ask_for(at_a, 6, 1), status::index_not_available, 8);  // expired
  h.judge->calm(h.now);
  h.judge->balance(at_a, h.id, {9, 3, 5, 0, 1}, h.now);
  h.judge->balance(at_b, h.id, {9, 3, 5, 0, 1}, h.now);
  CHECK(h.judge->starved(h.id, at_a, at_b) == "A0 got no key of 000000000001[0]");
  h.give(at_a, h.ask_for(at_a, 8, 2), 8, history::key_of(8), 2);
  CHECK(h.judge->starved(h.id, at_a, at_b).empty());
  h.judge->lost_chunks(at_a, 3, 3);
  h.judge->end();
  CHECK(h.found() == "");
  CHECK(h.judge->seen().one_by_one == 12);
}

TEST_CASE("oracle: finds a call that is answered twice, never, late, or elsewhere") {
  history twice;
  twice.begin(1);
  twice.read(at_a, 0);
  twice.give(at_a, twice.tickets, 0, history::key_of(0));
  CHECK(twice.found() == "each call is answered once");

  history elsewhere;
  elsewhere.begin(1);
  elsewhere.give(at_a, elsewhere.ask_for(at_a, 0, 1), 0, history::key_of(0), 2);
  CHECK(elsewhere.found() == "each call is answered once");

  history never;
  never.begin(1);
  never.ask_for(at_a, 0);
  never.judge->end();
  CHECK(never.found() == "each call is answered once");

  history late;
  late.begin(1);
  const auto ticket = late.ask_for(at_a, 1);
  late.now += 5'020ms;  // Timeout is 5 s
  late.refuse(at_a, ticket, status::timeout);
  CHECK(late.found() == "calls are answered in time");
}

TEST_CASE("oracle: finds an answer that does not fit, and key in a failure") {
  history other;
  other.begin(2);
  other.give(at_a, other.ask_for(at_a, 0), 1, history::key_of(1));
  CHECK(other.found() == "an answer fits its question");

  history failure;
  failure.begin(1);
  get_key_response r;
  r.outcome = status::timeout;
  failure.hear(at_a, 1, failure.ask_for(at_a, 0), {r, {history::key_of(0)}});
  CHECK(failure.found() == "a failure carries no key");
}

TEST_CASE("oracle: finds other bytes under one index, at one end and between the two") {
  history again;
  again.begin(1);
  again.read(at_a, 0);
  again.give(at_a, again.ask_for(at_a, 0), 0, history::key_of(7));
  CHECK(again.found() == "an index has one key");

  history across;
  across.begin(1);
  across.read(at_a, 0);
  across.give(at_b, across.ask_for(at_b, 0), 0, history::key_of(7));
  CHECK(across.found() == "both ends have the same key");
}

TEST_CASE("oracle: finds the same bytes under two indices, wherever they lie") {
  history same;
  same.begin(2);
  same.read(at_a, 0);
  same.give(at_a, same.ask_for(at_a, 1), 1, history::key_of(0));
  CHECK(same.found() == "no key twice");

  std::size_t seen = 0;  // an overlap of half a long key, moved by an odd number of octets
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    history part;
    part.begin(2);
    std::vector<std::byte> octets(2'000);
    chance{seed}.fill(octets);
    part.give(at_a, part.ask_for(at_a, 0), 0, {octets.begin(), octets.begin() + 1'000});
    part.give(at_a, part.ask_for(at_a, 1), 1, {octets.begin() + 501, octets.begin() + 1'501});
    seen += part.found() == "no key twice" ? 1U : 0U;
  }
  CHECK(seen == 20);

  history restarted;  // another start of the site gives out what an earlier one did
  restarted.begin(1);
  restarted.read(at_b, 0);
  const instance anew{1, 1};
  restarted.judge->died(at_b, restarted.now);
  restarted.judge->started(anew, restarted.now);
  restarted.bound(anew, 1);
  restarted.read(anew, 0);
  CHECK(restarted.found() == "no key twice");

  history wiped;
  wiped.begin(1);
  wiped.give(at_a, wiped.ask_for(at_a, 0), 0, std::vector<std::byte>(32));
  CHECK(wiped.found() == "no key twice");
}

TEST_CASE("oracle: finds key for two principals of one side") {
  history h;
  h.begin(2);
  h.read(at_a, 0);
  h.give(at_a, h.ask_for(at_a, 1, 2, "mallory"), 1, history::key_of(1), 2);
  CHECK(h.found() == "one principal a side");
}

TEST_CASE("oracle: finds a connection that reads on after another has resumed the stream") {
  history h;
  h.begin(2);
  h.read(at_a, 0);
  h.open(at_a, 2, 2);
  h.read(at_a, 1);
  CHECK(h.found() == "an older connection is fenced off");

  history epoch;
  epoch.begin(1);
  epoch.read(at_a, 0);
  epoch.open(at_a, 2, 1);
  CHECK(epoch.found() == "an epoch counts up");
}

TEST_CASE("oracle: finds key that was acknowledged, and that came back") {
  history h;
  h.begin(4);
  h.read(at_a, 0);
  h.read(at_a, 2);
  h.read(at_a, 0);
  CHECK(h.found() == "acknowledged is gone");

  history back;
  back.begin(4);
  back.read(at_a, 0);
  back.read(at_a, 2);
  back.refuse(at_a, back.ask_for(at_a, 0), status::index_not_available, 1);
  back.read(at_a, 0);
  CHECK(back.found() == "what is gone stays gone");

  history strict;
  strict.open(at_a, 1, 1, true);
  strict.open(at_b, 1, 1, true);
  strict.bound(at_a, 1);
  strict.bound(at_b, 1);
  strict.read(at_a, 0);
  strict.read(at_a, 0);
  CHECK(strict.found() == "strict once");
}

TEST_CASE("oracle: finds key that is gone though nobody had it, or nobody acknowledged it") {
  history unread;
  unread.begin(4);
  unread.refuse(at_a, unread.ask_for(at_a, 0), status::index_not_available);
  CHECK(unread.found() == "what is not acknowledged is there");

  history early;
  early.begin(4);
  early.read(at_a, 0);
  early.read(at_a, 1);
  early.refuse(at_a, early.ask_for(at_a, 0), status::index_not_available, 2);
  CHECK(early.found() == "what is not acknowledged is there");

  history skipped;
  skipped.begin(4);
  skipped.refuse(at_a, skipped.ask_for(at_a, 4), status::timeout, 2);
  CHECK(skipped.found() == "what is not acknowledged is there");
}

TEST_CASE("oracle: finds key at one end alone, and key that was never bound") {
  history alone;
  alone.begin(1);
  alone.bound(at_a, 2);
  alone.read(at_a, 1);
  CHECK(alone.found() == "no key at one end alone");

  history unbound;
  unbound.begin(1);
  unbound.read(at_b, 1);
  CHECK(unbound.found() == "what is served is bound");
}

TEST_CASE("oracle: finds key that outlives its TTL") {
  history h;
  h.begin(1);
  h.now += 2s;
  h.read(at_a, 0);
  CHECK(h.found() == "nothing lives longer than TTL");
}

TEST_CASE("oracle: finds a balance that is wrong") {
  const auto found_in = [](const key_ring::balance& b, duration later) {
    history h;
    h.begin(4);
    h.read(at_a, 0);
    h.now += later;
    h.judge->balance(at_a, h.id, b, h.now);
    const std::string text = h.judge->found() ? h.judge->found()->text : "";
    const auto from = text.find(": ");
    return from == std::string::npos ? "" : text.substr(from + 2, text.find(" (") - from - 2);
  };
  CHECK(found_in({4, 1, 0, 0, 3}, 0ms) == "");
  CHECK(found_in({4, 0, 4, 0, 0}, 2s) == "");
  CHECK(found_in({4, 1, 0, 0, 2}, 0ms) == "it does not add up");
  CHECK(found_in({4, 1, 0, 1, 2}, 0ms) == "discarded, though nobody closed");
  CHECK(found_in({4, 2, 0, 0, 2}, 0ms) == "more is acknowledged than was asked for");
  CHECK(found_in({3, 1, 0, 0, 2}, 0ms) == "it went back");
  CHECK(found_in({4, 1, 1, 0, 2}, 1s) == "expired before its TTL");
  CHECK(found_in({4, 1, 0, 0, 3}, 3s) == "live after its TTL");

  history lost;
  lost.judge->lost_chunks(at_a, 3, 2);
  CHECK(lost.found() == "lost is counted");
}

TEST_CASE("oracle: finds a reader that gets nothing, and one that lacks what the other has") {
  history h;
  h.begin(4);
  h.read(at_b, 0);
  h.judge->calm(h.now);
  h.read(at_a, 1);
  h.read(at_b, 1);
  CHECK(h.judge->starved(h.id, at_a, at_b) == "A0 did not get 000000000001[0], which B0 has");
  CHECK(h.judge->starved(h.id, at_b, at_a).empty());
  CHECK(h.found() == "");
}

TEST_CASE("oracle: finds nothing in runs and subscriptions that keep every promise") {
  history h;
  h.begin(8);
  h.read_run(at_a, 0, 4);
  h.read_run(at_a, 0, 4);     // the window acknowledges nothing
  h.read_run(at_a, 4, 1, 2);  // 0 and 1 are with the application
  h.hear(at_a, 1, h.ask_for_run(at_a, 1, 1), history::no_run(status::index_not_available, 5));
  h.judge->lost(h.ask_for_run(at_a, 5, 3));
  h.acknowledge(at_a, 5);
  h.bound(at_a, 8, 5);
  h.subscribe(at_b, 0, 5);
  h.deliver(at_b, 0, 3);
  h.deliver(at_b, 3, 2);
  h.subscribe(at_b, 0, 2);  // credit; the position stays
  h.deliver(at_b, 5, 1);
  h.suspend(at_b, status::insufficient_key);
  h.subscribe(at_b, 2, 2);
  h.deliver(at_b, 2, 2);
  CHECK(h.wait_for_peer(at_a, status::success) == status::success);
  h.judge->end();
  CHECK(h.found() == "");
  CHECK(h.judge->seen().in_runs == 9);
  CHECK(h.judge->seen().subscribed == 8);
}

TEST_CASE("oracle: finds a run that does not fit, and one of an older epoch") {
  history longer;
  longer.begin(4);
  longer.hear(at_a, 1, longer.ask_for_run(at_a, 0, 2), history::run_of(0, 3));
  CHECK(longer.found() == "an answer fits its question");

  history old;
  old.begin(4);
  old.read_run(at_a, 0, 1);
  old.open(at_a, 1, 2);
  old.read_run(at_a, 1, 1);  // the same connection, but epoch 1
  CHECK(old.found() == "an older epoch gets nothing");
}

TEST_CASE("oracle: finds key that is there or gone against what was acknowledged by word") {
  history back;
  back.begin(4);
  back.read_run(at_a, 0, 2);
  back.acknowledge(at_a, 2);
  back.read_run(at_a, 1, 1);
  CHECK(back.found() == "acknowledged is gone");

  history window;  // what serving 3 would have acknowledged for a plain reader
  window.begin(4);
  window.read_run(at_a, 0, 1);
  window.read_run(at_a, 3, 1);
  window.hear(at_a, 1, window.ask_for_run(at_a, 0, 1), history::no_run(status::index_not_available, 4));
  CHECK(window.found() == "what is not acknowledged is there");

  history refused;  // an acknowledgement that was refused does nothing
  refused.begin(4);
  refused.read_run(at_a, 0, 1);
  refused.acknowledge(at_a, 1, status::not_authorized);
  refused.hear(at_a, 1, refused.ask_for_run(at_a, 0, 1), history::no_run(status::index_not_available, 4));
  CHECK(refused.found() == "what is not acknowledged is there");
}

TEST_CASE("oracle: finds a subscription beyond its credit, out of its order, or with a gap") {
  history more;
  more.begin(4);
  more.subscribe(at_a, 0, 2);
  more.deliver(at_a, 0, 3);
  CHECK(more.found() == "credit is not exceeded");

  history gap;
  gap.begin(4);
  gap.subscribe(at_a, 0, 4);
  gap.deliver(at_a, 1, 1);
  CHECK(gap.found() == "what is not acknowledged is there");

  history again;
  again.begin(4);
  again.subscribe(at_a, 0, 4);
  again.deliver(at_a, 0, 2);
  again.deliver(at_a, 1, 1);
  CHECK(again.found() == "a subscription is as it was asked for");

  history elsewhere;
  elsewhere.begin(4);
  elsewhere.subscribe(at_a, 0, 4);
  elsewhere.deliver(at_a, 0, 1, 2);
  CHECK(elsewhere.found() == "a subscription is as it was asked for");

  history after;
  after.begin(4);
  after.subscribe(at_a, 0, 4);
  after.suspend(at_a, status::insufficient_key);
  after.deliver(at_a, 0, 1);
  CHECK(after.found() == "a subscription is as it was asked for");

  history silent;
  silent.begin(4);
  silent.subscribe(at_a, 0, 0);
  CHECK(silent.found() == "a subscription is as it was asked for");
}

TEST_CASE("oracle: finds a peer that is not there, and a timeout before its time") {
  history alone;
  alone.open(at_a, 1, 1);
  alone.wait_for_peer(at_a, status::success);
  CHECK(alone.found() == "a peer that is waited for is there");

  history early;
  early.open(at_a, 1, 1);
  early.wait_for_peer(at_a, status::timeout);
  CHECK(early.found() == "nobody times out early");
}

TEST_CASE("oracle: finds more promised than a link has, of streams that are there") {
  const auto promised = [](std::uint32_t each, bool closed) {
    oracle judge{{{qkd004::limits{}, qkd004::limits{}}, 10ms, 1'000'000}};
    time_point now = time_line::began;
    judge.started(at_a, now);
    judge.started(at_b, now);
    std::uint64_t ticket = 0;
    for (const char* text :
         {"00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"}) {
      const auto id = *key_stream_id::parse(text);
      judge.ends(id, 0, 1);
      open_connect_request r{"qkd://alice@A", "qkd://bob@B", {}, id};
      r.quality.min_bps = each;
      judge.asked({++ticket, "alice", at_a, 1, r}, now);
      open_connect_response done;
      done.stream = id;
      done.quality = r.quality;
      done.epoch = 1;
      judge.answered(at_a, 1, ticket, {done, {}}, now += 1ms);
      if (closed) judge.asked({++ticket, "alice", at_a, 1, close_request{id}}, now);
    }
    return judge.found() ? judge.found()->promise : "";
  };
  CHECK(promised(500'000, false) == "");
  CHECK(promised(500'001, false) == "no more is promised than there is");
  CHECK(promised(600'000, true) == "");
}
