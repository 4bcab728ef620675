// Calls that wait over a wire: how they are cancelled and interrupted, and that no key is lost or had twice by that.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/waiting.hpp"

#include <doctest/doctest.h>

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "core/waiting_call.hpp"
#include "net/proxy.hpp"
#include "net/sites.hpp"
#include "qkd004/client.hpp"

using namespace test;

namespace {

const auto canceled = std::make_error_code(std::errc::operation_canceled);

enum class manner { extended, plain, ahead, http };
constexpr manner manners[]{manner::extended, manner::plain, manner::ahead, manner::http};

/// Streams at both ends of two sites with a window of 4 keys.
struct streams {
  explicit streams(manner how, bool strict = false, std::uint32_t timeout_ms = 20'000) {
    net::connect_options o;
    o.plain = how == manner::plain;
    via = connect_to(sites.a->site->addresses().at(how == manner::http ? 1 : 0), o);
    a.emplace(via, secret_arena{some_memory()});
    open_connect_request r{"qkd://alice@a", "qkd://bob@b"};
    r.quality.timeout_ms = timeout_ms;
    r.strict_once = strict;
    alice.emplace(a->open_connect(r).value());
    r.stream = alice->id();
    bob.emplace(b.open_connect(r).value());
    if (how == manner::ahead) REQUIRE(alice->prefetch(2));
  }
  void drain() {
    for (int i = 0; i < 4; ++i) REQUIRE(alice->next_key());
  }
  /// Makes room for more.
  void read_on() {
    for (int i = 0; i < 3; ++i) REQUIRE(bob->next_key());  // each acknowledges the one before
  }

  two_sites sites{[](net::site_options& o) {
    o.listen.push_back("http://127.0.0.1:0");
    o.manager.limits.ring_chunks = 4;
  }};
  std::shared_ptr<exchange> via;
  std::optional<client> a;
  client b{connect_to(sites.b->address()), secret_arena{some_memory()}};
  std::optional<key_stream> alice;
  std::optional<key_stream> bob;
};

}  // namespace

TEST_CASE(
    "waiting: calls over a wire are cancelled at once, and the key that comes then is the next call's") {
  for (const manner how : manners) {
    CAPTURE(static_cast<int>(how));
    streams s{how};
    s.drain();
    waiting_call one{[&] { return s.alice->next_key(); }};
    waiting_call two{[&] { return s.alice->next_key(); }};
    const auto since = boot_clock::now();
    s.alice->cancel();
    CHECK(one.end() == canceled);
    CHECK(two.end() == canceled);
    CHECK(boot_clock::now() - since < 10s);
    s.read_on();
    CHECK(s.alice->next_key().value().index == 4);
    CHECK(s.alice->next_key().value().index == 5);
  }
}

TEST_CASE("waiting: the key that a cancelled call asked for comes to who only tries, too") {
  streams s{manner::extended};
  s.drain();
  waiting_call one{[&] { return s.alice->next_key(); }};
  s.alice->cancel();
  REQUIRE(one.end() == canceled);
  s.read_on();
  auto k = s.alice->try_next_key();
  for (const auto end = boot_clock::now() + 10s; !k && boot_clock::now() < end;) {
    REQUIRE(to_status(k.error()) == status::insufficient_key);
    k = s.alice->try_next_key();
  }
  CHECK(k.value().index == 4);
}

TEST_CASE("waiting: a client cancels OPEN_CONNECT and the waiting for a peer, and opens the stream later") {
  two_sites sites;
  auto a = std::make_unique<client>(connect_to(sites.a->address()), secret_arena{some_memory()});
  open_connect_request r{"qkd://alice@a", "qkd://bob@b"};
  r.quality.timeout_ms = 20'000;
  r.stream = *key_stream_id::parse("11111111-2222-4333-8444-555555555555");
  waiting_call open{[&] { return a->open_connect(r); }};
  a->cancel();
  CHECK(open.end() == canceled);
  a.reset();  // on this connection the answer to the first would have to come first
  client again{connect_to(sites.a->address()), secret_arena{some_memory()}};
  r.no_wait = true;
  auto opened = again.open_connect(r);
  for (const auto end = boot_clock::now() + patience; !opened && boot_clock::now() < end;) {
    opened = again.open_connect(r);  // until the site has seen that the other connection is gone
  }
  auto& alice = opened.value();
  waiting_call peer{[&] { return alice.wait_for_peer(); }};
  again.cancel();
  CHECK(peer.end() == canceled);
  alice.detach();
}

TEST_CASE("waiting: no key is lost or had twice while calls are cancelled whenever one has come") {
  for (const manner how : manners) {
    CAPTURE(static_cast<int>(how));
    streams s{how};
    constexpr std::size_t keys = 150;
    std::mutex mutex;
    std::map<std::uint64_t, std::vector<std::byte>> had;
    std::atomic<std::size_t> count{0};
    const auto read = [&] {
      while (count < keys) {
        const auto k = s.alice->next_key();
        if (!k) {
          REQUIRE_MESSAGE(k.error() == canceled, k.error().message());
          continue;
        }
        const std::lock_guard lock{mutex};
        REQUIRE(had.emplace(k->index, std::vector<std::byte>{k->bytes().begin(), k->bytes().end()}).second);
        count += 1;
      }
    };
    std::thread one{read};
    std::thread two{read};
    std::map<std::uint64_t, std::vector<std::byte>> theirs;
    std::thread other{[&] {
      while (theirs.size() < keys + 2) {
        const auto k = s.bob->next_key();
        if (to_status(k.error()) == status::timeout && k.error()) continue;
        if (!k) break;
        theirs.emplace(k->index, std::vector<std::byte>{k->bytes().begin(), k->bytes().end()});
      }
    }};
    for (std::size_t seen = 0; seen < keys;) {
      s.alice->cancel();
      while (count == seen) std::this_thread::yield();
      seen = count;
    }
    while (count < keys) s.alice->cancel();
    s.alice->cancel();
    one.join();
    two.join();
    if (had.rbegin()->first !=
        had.size() - 1) {  // the last call of one of them was cancelled: its key is next
      const auto k = s.alice->next_key();
      REQUIRE_MESSAGE(k, k.error().message());
      had.emplace(k->index, std::vector<std::byte>{k->bytes().begin(), k->bytes().end()});
    }
    CHECK(s.bob->close());
    other.join();
    CHECK(had.size() >= keys);
    CHECK(had.begin()->first == 0);
    std::size_t compared = 0;
    for (const auto& [index, key] : had) {
      if (!theirs.contains(index)) continue;
      REQUIRE(theirs.at(index) == key);
      ++compared;
    }
    CHECK(compared >= keys - 4);
    CHECK(had.rbegin()->first == had.size() - 1);
  }
}

TEST_CASE("waiting: with strict once no key is burned by a cancelled call") {  // R8
  for (const manner how : {manner::extended, manner::http}) {
    CAPTURE(static_cast<int>(how));
    streams s{how, true};
    const auto burned = [&] {
      return s.sites.a->on_manager([](key_manager& m) { return m.totals().burned_chunks; });
    };
    s.drain();
    for (int i = 0; i < 2; ++i) {
      waiting_call one{[&] { return s.alice->next_key(); }};
      s.alice->cancel();
      CHECK(one.end() == canceled);
    }
    s.read_on();
    const auto at_a = s.alice->next_key().value();
    CHECK(at_a.index == 4);
    CHECK(s.alice->next_key().value().index == 5);
    CHECK(burned() == 0);
    CHECK(s.bob->next_key());
    const auto at_b = s.bob->next_key().value();
    CHECK(at_b.index == 4);
    CHECK(equal_in_constant_time(at_a.bytes(), at_b.bytes()));
  }
}

TEST_CASE("waiting: the answer to a call that ran out of time is its heir's, whoever looks at the clock") {
  for (const manner how : {manner::extended, manner::plain, manner::http}) {
    for (const bool drives : {false, true}) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(drives);
      streams s{how, how != manner::plain};
      s.drain();
      get_key_call late{s.alice->id(), 4};
      get_key_call heir{s.alice->id(), 4};
      late.heir = &heir;
      if (drives) {
        late.deadline = boot_clock::now() + 20ms;
        call* const one = &late;
        s.via->start(std::span{&one, 1});
        while (!late.done()) s.via->drive(boot_clock::now());
      } else {
        ask(*s.via, late, 20ms);
      }
      CHECK(late.error == make_error_code(status::timeout));
      REQUIRE(heir.inherits());
      heir.deadline = boot_clock::now() + patience;
      s.read_on();
      s.via->wait(heir);
      CHECK_FALSE(heir.error);
      CHECK(heir.answer().outcome == status::success);
      CHECK(heir.answer().index == 4);
      CHECK(s.sites.a->on_manager([](key_manager& m) { return m.totals().burned_chunks; }) == 0);
    }
  }
}

TEST_CASE("waiting: close ends calls of other threads promptly, also those for keys that are sent ahead") {
  for (const manner how : manners) {
    CAPTURE(static_cast<int>(how));
    streams s{how};
    s.drain();
    waiting_call one{[&] { return s.alice->next_key(); }};
    waiting_call two{[&] { return s.alice->next_key(); }};
    const auto since = boot_clock::now();
    CHECK(s.alice->close());
    CHECK(to_status(one.end()) == status::unknown_key_stream);
    CHECK(to_status(two.end()) == status::unknown_key_stream);
    CHECK(boot_clock::now() - since < 10s);
  }
}

TEST_CASE(
    "waiting_hook: is asked by who reads for all and by who sleeps meanwhile, and ends its own call only") {
  for (const manner how : manners) {
    CAPTURE(static_cast<int>(how));
    streams s{how};
    s.drain();
    std::atomic<int> asked[2] = {0, 0};
    std::atomic<bool> ends[2] = {false, false};
    std::error_code errors[2];
    const auto wait = [&](std::size_t i) {
      const waiting_hook hook{[&asked, &ends, i] {
        asked[i] += 1;
        return !ends[i];
      }};
      errors[i] = s.alice->next_key().error();
    };
    std::thread one{wait, 0};
    std::thread two{wait, 1};
    while (asked[0] < 2 || asked[1] < 2) std::this_thread::yield();
    ends[0] = true;
    one.join();
    CHECK(errors[0] == canceled);
    const int before = asked[1];
    while (asked[1] < before + 2) std::this_thread::yield();  // who is left reads on
    ends[1] = true;
    two.join();
    CHECK(errors[1] == canceled);
    s.read_on();
    CHECK(s.alice->next_key().value().index == 4);
  }
}

namespace {
std::atomic<bool> signalled{false};
void on_signal(int) { signalled = true; }
}  // namespace

TEST_CASE("waiting_hook: a signal ends a call that waits") {
  struct sigaction mine {};
  struct sigaction before {};
  mine.sa_handler = on_signal;
  ::sigaction(SIGUSR1, &mine, &before);
  signalled = false;
  streams s{manner::extended};
  s.drain();
  std::atomic<bool> waits{false};
  std::error_code error;
  std::thread reader{[&] {
    const waiting_hook hook{[&] {
      waits = true;
      return !signalled;
    }};
    error = s.alice->next_key().error();
  }};
  while (!waits) std::this_thread::yield();
  ::pthread_kill(reader.native_handle(), SIGUSR1);
  reader.join();
  CHECK(error == canceled);
  ::sigaction(SIGUSR1, &before, nullptr);
  s.read_on();
  CHECK(s.alice->next_key().value().index == 4);
}

TEST_CASE("waiting_hook: a signal without a hook ends nothing") {
  struct sigaction mine {};
  struct sigaction before {};
  mine.sa_handler = on_signal;
  ::sigaction(SIGUSR1, &mine, &before);
  signalled = false;
  streams s{manner::extended};
  s.drain();
  std::optional<result<key_chunk>> got;
  std::thread reader{[&] { got.emplace(s.alice->next_key()); }};
  for (int i = 0; i < 20; ++i) ::pthread_kill(reader.native_handle(), SIGUSR1);
  s.read_on();
  reader.join();
  REQUIRE(got->has_value());
  CHECK(got->value().index == 4);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("waiting_hook: ends connect() to a server that does not answer") {
  for (const auto spoken : {net::protocol::frames, net::protocol::http}) {
    asio::io_context context;
    tcp::acceptor silent{context, {asio::ip::address_v4::loopback(), 0}};
    int asked = 0;
    const waiting_hook hook{[&] { return ++asked < 3; }};
    net::connect_options o;
    o.connect_timeout = 20s;
    const auto since = boot_clock::now();
    std::string why;
    const auto made = net::connect(net::to_uri(silent.local_endpoint(), net::scheme::plain, spoken),
                                   secret_arena{some_memory()}, o, &why);
    CHECK(made.error() == canceled);
    CHECK(why == "interrupted");
    CHECK(boot_clock::now() - since < 10s);
  }
}
