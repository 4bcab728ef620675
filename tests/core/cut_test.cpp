// The wire between two key managers, cut at every message: no key is lost, none comes twice, and the sums add up.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "two_sites.hpp"

using namespace testing;

namespace {

using keys = std::map<std::uint64_t, std::vector<std::byte>>;

/// Has its blocks a little later than the other end: bindings arrive before the key that they name.
struct late_source final : key_source {
  const key_source_capabilities& capabilities() const noexcept override { return of->capabilities(); }
  std::uint64_t position() const noexcept override { return of->position(); }
  result<key_source_check> start(const key_source_session& s, time_point now) override {
    return of->start(s, now);
  }
  result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) override {
    if (++polls % 4 != 0) return std::optional<key_block>{};
    return of->poll(arena, now);
  }
  time_point ready_at(time_point now) const noexcept override { return of->ready_at(now); }
  void stop() noexcept override { of->stop(); }

  key_source* of = nullptr;
  std::uint64_t polls = 0;
};

/// Two sites whose wire breaks at the messages that were named, counted from the first of the first session on.
struct cut_wire : two_sites {
  static two_sites::options small(bool strict) {
    two_sites::options o;
    o.a.limits.ring_chunks = o.b.limits.ring_chunks = strict ? 4 : 8;
    o.a.limits.pool_bytes = o.b.limits.pool_bytes = 256;  // blocks arrive while bindings are under way
    o.source.block_bytes = 96;
    o.up = false;
    return o;
  }
  explicit cut_wire(std::set<std::uint64_t> at, bool strict = false)
      : two_sites{small(strict)}, breaks{std::move(at)}, is_strict{strict} {
    late.of = source_b.get();
    b = make(settings.b, "A", late, 2);
    conn_b = b->manager.connect("bob");
    mend();
  }
  ~cut_wire() { b.reset(); }  // before the key source that it asks

  void mend() {
    up = true;
    a->manager.link_up(a->link, now);
    b->manager.link_up(b->link, now);
  }
  /// Carries messages until there are none, and breaks on the way where it is to.
  void run() {
    for (;;) {
      if (breaks.contains(carried + 1) && (!a->outbox.empty() || !b->outbox.empty())) {
        breaks.erase(carried + 1);
        cut();
        mend();
      }
      // the one that has said more comes first, so that answers pass requests on the way
      site& first = a->outbox.size() >= b->outbox.size() ? *a : *b;
      site& second = &first == a.get() ? *b : *a;
      if (!carry(first, second) && !carry(second, first)) return;
      ++carried;
      check_sums();
    }
  }
  void wait(boot_clock::duration d) {
    now += d;
    a->manager.advance(now);
    b->manager.advance(now);
    run();
  }

  void check_sums() {
    for (site* const s : {a.get(), b.get()}) {
      if (const auto t = s->manager.stream_balance(id)) {
        REQUIRE(t->bound == t->acknowledged + t->expired + t->discarded + t->live);
        REQUIRE(t->expired == 0);
        REQUIRE(t->discarded == 0);
      }
    }
  }

  void open(site& at, connection_id who) {
    open_connect_request r{"qkd://alice@A", "qkd://bob@B"};
    r.stream = id;
    r.strict_once = is_strict;
    at.manager.open_connect({who, ++tickets}, r, now);
    const auto& opened = at.answers[tickets].open;
    if (opened) id = opened->stream;
    run();
  }
  /// Asks until it is there; the wire may break meanwhile.
  void read(site& at, connection_id who, std::uint64_t index, keys& into) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      get_key_request r;
      r.stream = id;
      r.index = index;
      r.no_wait = true;
      at.manager.get_key({who, ++tickets}, r, now);
      const auto answered = at.answers[tickets];
      REQUIRE(answered.get);
      run();
      if (answered.get->outcome == status::success) {
        into[index] = answered.key;
        return;
      }
      REQUIRE(answered.get->outcome == status::insufficient_key);
      wait(5ms);
    }
    FAIL("key " << index << " does not come");
  }

  late_source late;
  std::set<std::uint64_t> breaks;
  bool is_strict;
  std::uint64_t carried = 0;
  key_stream_id id;
};

constexpr std::uint64_t many = 40;

/// A stream's life from the first greeting on. Returns how many messages it took.
std::uint64_t live(std::set<std::uint64_t> breaks, bool strict = false) {
  cut_wire w{std::move(breaks), strict};
  w.run();
  keys at_a;
  keys at_b;
  w.open(*w.a, w.conn_a);
  w.open(*w.b, w.conn_b);
  for (std::uint64_t i = 0; i < many; ++i) {
    w.read(*w.a, w.conn_a, i, at_a);
    if (i % 3 == 0) w.wait(25ms);  // time for a mark
    w.read(*w.b, w.conn_b, i, at_b);
  }
  REQUIRE(w.id != key_stream_id{});
  REQUIRE(at_a == at_b);
  std::set<std::vector<std::byte>> distinct;
  for (const auto& [i, key] : at_a) REQUIRE(distinct.insert(key).second);
  REQUIRE(distinct.size() == many);
  for (site* const s : {w.a.get(), w.b.get()}) {
    REQUIRE(s->failures.empty());
    const auto t = s->manager.totals();
    REQUIRE(t.lost_chunks == 0);
    REQUIRE(t.burned_octets == 0);
    REQUIRE(t.burned_chunks == 0);
  }
  // what A closed is gone at B once it is read, whatever was lost on the way
  w.a->manager.close({w.conn_a, ++w.tickets}, {w.id}, w.now);
  w.run();
  get_key_request last;
  last.stream = w.id;
  last.index = many + 100;
  w.b->manager.get_key({w.conn_b, ++w.tickets}, last, w.now);
  w.run();
  REQUIRE(w.b->answers[w.tickets].get);
  REQUIRE(w.b->answers[w.tickets].get->outcome == status::get_key_peer_not_connected);
  w.b->manager.close({w.conn_b, ++w.tickets}, {w.id}, w.now);
  w.run();
  for (site* const s : {w.a.get(), w.b.get()}) {
    const auto t = s->manager.totals();
    REQUIRE(t.streams == 0);
    REQUIRE(t.bound_chunks == t.acknowledged_chunks + t.expired_chunks + t.discarded_chunks);
  }
  return w.carried;
}

}  // namespace

TEST_CASE("cut: loses and repeats no key when the wire breaks before any one message") {
  for (const bool strict : {false, true}) {
    const std::uint64_t messages = live({}, strict);
    REQUIRE(messages > 40);
    for (std::uint64_t n = 1; n <= messages; ++n) {
      CAPTURE(n);
      live({n}, strict);
    }
  }
}

TEST_CASE("cut: loses and repeats no key when the wire breaks again before the session was taken up") {
  const std::uint64_t messages = live({});
  for (std::uint64_t n = 1; n <= messages; ++n) {
    for (std::uint64_t more = 1; more <= 8; ++more) {
      CAPTURE(n);
      CAPTURE(more);
      live({n, n + more, n + more + 3});
    }
  }
}
