// What the client library does with a server that announces more than the three calls: several keys at once, keys
// ahead, waiting for the peer, reports; over plain TCP and through a proxy that cuts.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy.hpp"
#include "qkd004/client.hpp"
#include "sites.hpp"

using namespace qkd004;
using namespace test;
using namespace std::chrono_literals;

namespace {

client client_at(const std::string& address, net::connect_options options = {}) {
  return {connect_to(address, options), secret_arena{some_memory()}};
}

struct ends {
  key_stream alice;
  key_stream bob;
};

ends open_both(client& a, client& b, qos quality = {}) {
  auto alice = a.open_connect({"qkd://alice@a", "qkd://bob@b", quality});
  REQUIRE(alice);
  auto bob = b.open_connect({"qkd://alice@a", "qkd://bob@b", {}, alice->id()});
  REQUIRE(bob);
  return {std::move(*alice), std::move(*bob)};
}

using keys = std::map<std::uint64_t, std::vector<std::byte>>;

void take(key_stream& from, keys& into, std::size_t count) {
  while (into.size() < count) {
    auto key = from.next_key();
    REQUIRE_MESSAGE(key, key.error().message());
    const auto bytes = key->bytes();
    REQUIRE(into.emplace(key->index, std::vector<std::byte>{bytes.begin(), bytes.end()}).second);
  }
}

/// Both ends take that many keys, and have the same, without a gap.
void take_equal(ends& e, std::size_t count) {
  keys at_a;
  keys at_b;
  std::thread other{[&] { take(e.bob, at_b, count); }};
  take(e.alice, at_a, count);
  other.join();
  CHECK(at_a == at_b);
  CHECK(at_a.begin()->first == 0);
  CHECK(at_a.rbegin()->first == count - 1);
}

}  // namespace

TEST_CASE("extension: is announced by our server, and not spoken where it is not wanted") {
  two_sites sites;
  CHECK(connect_to(sites.a->address())->supports() == extensions{true, true, true, true, true});
  net::connect_options plain;
  plain.plain = true;
  const auto via = connect_to(sites.a->address(), plain);
  CHECK(via->supports() == extensions{});
  call c;
  c.request = get_keys_request{};
  ask(*via, c);
  CHECK(c.error == std::errc::operation_not_supported);
}

TEST_CASE("extension: next keys come in runs, and are acknowledged as they are asked for") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  std::vector<std::byte> room(32 * 40);
  std::vector<std::byte> same(32 * 40);
  std::uint64_t next = 0;
  while (next < 400) {
    const auto run = e.alice.next_keys_into(room);
    REQUIRE_MESSAGE(run, run.error().message());
    CHECK(run->first == next);
    for (std::size_t had = 0; had < run->count;) {
      const auto theirs = e.bob.next_keys_into(std::span{same}.subspan(had * 32, (run->count - had) * 32));
      REQUIRE_MESSAGE(theirs, theirs.error().message());
      CHECK(theirs->first == next + had);
      had += theirs->count;
    }
    CHECK(
        std::equal(same.begin(), same.begin() + static_cast<std::ptrdiff_t>(run->count * 32), room.begin()));
    next += run->count;
  }
  const auto balance =
      sites.a->on_manager([id = e.alice.id()](key_manager& m) { return m.stream_balance(id).value(); });
  CHECK(balance.acknowledged >= next - 40);
  CHECK(balance.bound == balance.acknowledged + balance.expired + balance.discarded + balance.live);
}

TEST_CASE("extension: try_next_key says at once that there is none") {
  two_sites sites{[](net::site_options& o) { o.manager.limits.ring_chunks = 4; }};
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  for (int i = 0; i < 4; ++i) CHECK(e.alice.next_key());
  const auto before = boot_clock::now();
  const auto none = e.alice.try_next_key();
  CHECK(none.error() == make_error_code(status::insufficient_key));
  CHECK(boot_clock::now() - before < 2s);
  CHECK(e.bob.next_key());
  CHECK(e.bob.next_key());  // acknowledges the first
  CHECK(e.alice.next_key());
}

TEST_CASE("extension: a closed stream has had everything acknowledged that was returned") {  // R5
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  for (int i = 0; i < 3; ++i) CHECK(e.alice.next_key());
  CHECK(e.alice.close());
  const auto totals = sites.a->on_manager([](key_manager& m) { return m.totals(); });
  CHECK(totals.acknowledged_chunks == 3);
}

TEST_CASE("prefetch: a closed stream has had everything acknowledged that was returned") {  // R5
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  REQUIRE(e.alice.prefetch(8));
  for (int i = 0; i < 3; ++i) CHECK(e.alice.next_key());
  CHECK(e.alice.close());
  const auto totals = sites.a->on_manager([](key_manager& m) { return m.totals(); });
  CHECK(totals.acknowledged_chunks == 3);
}

TEST_CASE("prefetch: a stream read to its end has had everything acknowledged that was returned") {  // R5
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  REQUIRE(
      e.alice.prefetch(1'000));  // more than there will be, so that no credit is given again before the end
  CHECK(e.alice.next_key());
  CHECK(e.bob.close());
  const auto give_up = boot_clock::now() + patience;
  const auto bound = [&] {
    return sites.a->on_manager([&](key_manager& m) { return m.stream_balance(e.alice.id()).value().bound; });
  };
  // until nothing is under way any more, so that the end has come before the last key is taken
  for (auto last = bound(); boot_clock::now() < give_up; last = bound()) {
    std::this_thread::sleep_for(100ms);
    if (bound() == last) break;
  }
  std::uint64_t taken = 1;
  auto key = e.alice.try_next_key();
  for (; key; key = e.alice.try_next_key()) ++taken;
  CHECK(to_status(key.error()) == status::get_key_peer_not_connected);
  CHECK(e.alice.close());
  const auto totals = sites.a->on_manager([](key_manager& m) { return m.totals(); });
  CHECK(totals.acknowledged_chunks == taken);
  CHECK(totals.discarded_chunks == 0);
}

TEST_CASE("prefetch: keys are for who resumed the stream, also over the same connection") {  // R3
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  qos quality;
  quality.timeout_ms = 2'000;
  ends e = open_both(a, b, quality);
  REQUIRE(e.alice.prefetch(8));
  CHECK(e.alice.next_key());
  e.alice.detach();
  auto again = a.open_connect({"qkd://alice@a", "qkd://bob@b", {}, e.alice.id()});
  REQUIRE(again);
  REQUIRE(again->prefetch(8));
  keys got;
  take(*again, got, 5);
  for (int i = 0; i < 7; ++i) CHECK(e.alice.next_key());  // those that had come, which nobody else gets
  for (int i = 0; i < 2; ++i) CHECK(to_status(e.alice.next_key().error()) == status::not_authorized);
  take(*again, got, 40);
  { const key_stream gone = std::move(e.alice); }
  take(*again, got, 80);
  CHECK(got.rbegin()->first - got.begin()->first == 79);
}

TEST_CASE("prefetch: keys come ahead, in order, equal at both ends") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  REQUIRE(e.alice.prefetch(32));
  REQUIRE(e.bob.prefetch(7));
  take_equal(e, 1'000);
}

TEST_CASE("prefetch: is nothing to a transport that cannot do it") {
  two_sites sites;
  net::connect_options plain;
  plain.plain = true;
  auto a = client_at(sites.a->address(), plain);
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  CHECK(e.alice.prefetch(32));
  take_equal(e, 50);
}

TEST_CASE("prefetch: loses and repeats nothing when it is stopped and begun again") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  keys at_a;
  keys at_b;
  for (std::size_t round = 1; round <= 10; ++round) {
    REQUIRE(e.alice.prefetch(round % 3 == 0 ? 0 : 16));
    take(e.alice, at_a, 9 * round);
    take(e.bob, at_b, 9 * round);
  }
  CHECK(at_a == at_b);
  CHECK(at_a.rbegin()->first == 89);
}

TEST_CASE("prefetch: a reader who does not wait gets what has come") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  REQUIRE(e.alice.prefetch(8));
  const auto until = boot_clock::now() + patience;
  auto key = e.alice.try_next_key();
  while (!key && boot_clock::now() < until) {
    CHECK(key.error() == make_error_code(status::insufficient_key));
    std::this_thread::sleep_for(1ms);
    key = e.alice.try_next_key();
  }
  REQUIRE(key);
  CHECK(key->index == 0);
}

TEST_CASE("prefetch: waits no longer than QoS Timeout") {
  two_sites sites{[](net::site_options& o) { o.manager.limits.ring_chunks = 4; }};
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  qos q;
  q.timeout_ms = 300;
  ends e = open_both(a, b, q);
  REQUIRE(e.alice.prefetch(16));
  for (int i = 0; i < 4; ++i) REQUIRE(e.alice.next_key());
  const auto before = boot_clock::now();
  CHECK(e.alice.next_key().error() == make_error_code(status::timeout));  // the other end has read nothing
  CHECK(boot_clock::now() - before < 3s);
  keys at_b;
  take(e.bob, at_b, 3);
  CHECK(e.alice.next_key());
}

TEST_CASE("prefetch: tells when the stream is closed under it") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  REQUIRE(e.alice.prefetch(4));
  REQUIRE(e.alice.next_key());
  const auto via = connect_to(sites.a->address());
  CHECK(test::close(*via, e.alice.id()) == status::success);
  std::error_code error;
  for (int i = 0; i < 200 && !error; ++i) error = e.alice.next_key().error();
  CHECK(error == make_error_code(status::unknown_key_stream));
  e.alice.detach();
}

TEST_CASE("prefetch: serves many threads, each key to one of them") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  REQUIRE(e.alice.prefetch(16));
  std::mutex mutex;
  keys at_a;
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        auto key = e.alice.next_key();
        const std::lock_guard lock{mutex};
        if (!key) {
          failed = true;
          return;
        }
        const auto bytes = key->bytes();
        if (!at_a.emplace(key->index, std::vector<std::byte>{bytes.begin(), bytes.end()}).second)
          failed = true;
      }
    });
  }
  keys at_b;
  take(e.bob, at_b, 400);
  for (auto& t : threads) t.join();
  CHECK_FALSE(failed);
  CHECK(at_a == at_b);
}

TEST_CASE("extension: nothing is lost or had twice when connections break again and again") {
  two_sites sites;
  proxy between;
  between.lead_to(sites.a->address());
  for (const std::uint32_t ahead : {0U, 12U}) {
    CAPTURE(ahead);
    auto a = client_at(between.address());
    auto b = client_at(sites.b->address());
    ends e = open_both(a, b);
    REQUIRE(e.alice.prefetch(ahead));
    std::atomic<bool> done{false};
    std::thread saboteur{[&] {
      while (!done) {
        std::this_thread::sleep_for(7ms);
        between.cut();
      }
    }};
    keys at_a;
    keys at_b;
    std::thread other{[&] { take(e.bob, at_b, 600); }};
    std::size_t broken = 0;
    const auto until = boot_clock::now() + patience;
    while (at_a.size() < 600 && boot_clock::now() < until) {
      auto key = e.alice.next_key();
      if (!key) {
        ++broken;
        continue;
      }
      const auto bytes = key->bytes();
      const bool fresh = at_a.emplace(key->index, std::vector<std::byte>{bytes.begin(), bytes.end()}).second;
      if (!fresh) FAIL_CHECK("an index twice");
    }
    done = true;
    saboteur.join();
    other.join();
    MESSAGE("errors seen by the reader: " << broken);
    CHECK(at_a == at_b);
    CHECK(at_a.rbegin()->first == 599);
  }
}

TEST_CASE("extension: answers that are there before their turn are bounded, and take nobody else's memory") {
  two_sites sites{[](net::site_options& o) { o.memory.bytes = std::size_t{15} << 20; }};
  const auto greedy = connect_to(sites.a->address());
  open_connect_request request{"qkd://alice@a", "qkd://bob@b"};
  request.quality.key_chunk_size = 8 * 1024;
  request.quality.timeout_ms = 60'000;
  call opened;
  opened.request = request;
  ask(*greedy, opened);
  REQUIRE_FALSE(opened.error);
  const auto stream = std::get<open_connect_response>(opened.response);
  get_key_call seventh{stream.stream, 6, 0, 8 * 1024};
  ask(*greedy, seventh);
  REQUIRE(seventh.answer().outcome == status::success);

  // the first waits for bob, who does not come; the answers to the others, 14 MB of them, wait for that one
  call head;
  head.request = wait_peer_request{stream.stream, 60'000};
  head.deadline = boot_clock::now() + patience;
  std::vector<call> others(254);
  std::vector<call*> all{&head};
  for (call& c : others) {
    get_keys_request r;
    r.stream = stream.stream;
    r.epoch = stream.epoch;
    r.count = 7;
    c.request = r;
    c.deadline = head.deadline;
    all.push_back(&c);
  }
  greedy->start(all);
  std::this_thread::sleep_for(200ms);
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  open_connect_request modest{"qkd://carol@a", "qkd://dave@b"};
  modest.quality.key_chunk_size = 8 * 1024;
  auto carol = a.open_connect(modest);
  CHECK_MESSAGE(carol, carol.error().message());
  if (carol) CHECK(carol->next_key());
  for (call* const c : all) greedy->cancel(*c);
}

TEST_CASE("extension: who keeps most answers back has to go, and nobody else") {
  two_sites sites{[](net::site_options& o) { o.memory.bytes = std::size_t{15} << 20; }};
  auto bystander = connect_to(sites.a->address());
  struct greedy {
    std::shared_ptr<exchange> via;
    std::vector<call> calls{200};
  };
  std::vector<greedy> all(6);  // of 0.9 MB each; 3.75 MB may be parked
  for (greedy& g : all) {
    g.via = connect_to(sites.a->address());
    open_connect_request request{"qkd://alice@a", "qkd://bob@b"};
    request.quality.key_chunk_size = 8 * 1024;
    call opened;
    opened.request = request;
    ask(*g.via, opened);
    REQUIRE_FALSE(opened.error);
    const auto stream = std::get<open_connect_response>(opened.response);
    REQUIRE(stream.outcome == status::peer_not_connected);
    get_key_call seventh{stream.stream, 6, 0, 8 * 1024};
    ask(*g.via, seventh);
    REQUIRE(seventh.answer().outcome == status::success);
    std::vector<call*> started;
    for (call& c : g.calls) {
      get_keys_request r;
      r.stream = stream.stream;
      r.epoch = stream.epoch;
      r.count = 7;
      c.request = r;
      c.deadline = boot_clock::now() + patience;
      started.push_back(&c);
    }
    g.calls[0].request = wait_peer_request{stream.stream, 60'000};
    g.via->start(started);
  }
  CHECK(sites.a->log.has("leaves too many answers unread"));
  std::this_thread::sleep_for(100ms);
  CHECK(sites.a->log.count_now("leaves too many answers unread") <= 3);  // 4 of 6 have room
  const auto opened = open_connect(*bystander);                          // over the connection that it had
  CHECK(opened.stream != key_stream_id{});
  for (greedy& g : all) {
    for (call& c : g.calls) g.via->cancel(c);
  }
}

TEST_CASE("wait_for_peer: returns when the other end has opened the stream") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  auto alice = a.open_connect({"qkd://alice@a", "qkd://bob@b"});
  REQUIRE(alice);
  CHECK(alice->wait_for_peer(100ms).error() == make_error_code(status::timeout));
  std::thread other{[&] {
    std::this_thread::sleep_for(50ms);
    auto bob = b.open_connect({"qkd://alice@a", "qkd://bob@b", {}, alice->id()});
    if (bob) bob->detach();
  }};
  CHECK(alice->wait_for_peer(10s));
  other.join();
}

TEST_CASE("report: counts more streams than it shows") {
  two_sites sites{[](net::site_options& o) { o.manager.limits.max_reported = 2; }};
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends all[] = {open_both(a, b), open_both(a, b), open_both(a, b)};
  const auto text = a.report();
  REQUIRE(text);
  CHECK(text->find(R"("streams_open":3,"streams_shown":2,)") != std::string::npos);
  CHECK(text->find(all[1].alice.id().to_string()) != std::string::npos);
  CHECK(text->find(all[2].alice.id().to_string()) == std::string::npos);
  const auto last = a.report(all[2].alice.id());
  REQUIRE(last);
  CHECK(last->find(all[2].alice.id().to_string()) != std::string::npos);
}

TEST_CASE("report: is JSON with the caller's streams") {
  two_sites sites;
  auto a = client_at(sites.a->address());
  auto b = client_at(sites.b->address());
  ends e = open_both(a, b);
  CHECK(e.alice.next_key());
  const auto all = a.report();
  REQUIRE(all);
  CHECK(all->find(R"("node":"a")") != std::string::npos);
  CHECK(all->find(R"("key_stream_id":")" + e.alice.id().to_string()) != std::string::npos);
  CHECK(all->find(R"("next_index":1)") != std::string::npos);
  const auto one = a.report(e.alice.id());
  REQUIRE(one);
  CHECK(*one == *all);
  const auto none = a.report(*key_stream_id::parse("00112233-4455-4677-8899-aabbccddeeff"));
  CHECK(none.error() == make_error_code(status::unknown_key_stream));
}
