// async_client over a wire: an event loop that watches one descriptor, broken connections, cancelled calls, and blocking
// callers on the same exchange.
// SPDX-License-Identifier: Apache-2.0
#include "qkd004/async_client.hpp"

#include <doctest/doctest.h>

#include <poll.h>

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "net/proxy.hpp"
#include "net/sites.hpp"
#include "qkd004/client.hpp"

using namespace test;

namespace {

const auto canceled = std::make_error_code(std::errc::operation_canceled);
using keys = std::map<std::uint64_t, std::vector<std::byte>>;

enum class manner { extended, plain, ahead, http };
constexpr manner manners[]{manner::extended, manner::plain, manner::ahead, manner::http};

/// Where site `a` listens for it.
std::string address_for(manner how, const two_sites& sites) {
  return sites.a->site->addresses().at(how == manner::http ? 1 : 0);
}
void listen_to_all(net::site_options& o) { o.listen.push_back("http://127.0.0.1:0"); }
void keep_four(net::site_options& o) {
  listen_to_all(o);
  o.manager.limits.ring_chunks = 4;
}

/// Waits as an event loop does, for one descriptor and until the time that drive() returned.
class loop {
 public:
  explicit loop(async_client& c) : client_{c}, descriptor_{c.descriptor()} { REQUIRE(descriptor_ >= 0); }
  template <class Done>
  void until(Done done) {
    const auto end = boot_clock::now() + patience;
    while (!done()) {
      REQUIRE(boot_clock::now() < end);
      REQUIRE(client_.descriptor() == descriptor_);
      pollfd watched{descriptor_, POLLIN, 0};
      const auto left = std::min(due_, end) - boot_clock::now();
      const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
      (void)::poll(&watched, 1, static_cast<int>(std::max<std::int64_t>(ms, 0)));
      due_ = client_.drive();
      rounds += 1;
    }
  }
  int rounds = 0;

 private:
  async_client& client_;
  const int descriptor_;
  time_point due_ = time_point::max();
};

struct streams {
  explicit streams(manner how, const std::string& to, running_site& b, std::uint32_t timeout_ms = 20'000)
      : way{how} {
    net::connect_options o;
    o.plain = how == manner::plain;
    via = connect_to(to, o);
    a.emplace(via, secret_arena{some_memory()});
    events.emplace(*a);
    open_connect_request r{"qkd://alice@a", "qkd://bob@b"};
    r.quality.timeout_ms = timeout_ms;
    a->open_connect(r, [this](result<async_key_stream> s) { alice.emplace(std::move(s.value())); });
    events->until([this] { return alice.has_value(); });
    other.emplace(connect_to(b.address()), secret_arena{some_memory()});
    r.stream = alice->id();
    bob.emplace(other->open_connect(r).value());
    if (how == manner::ahead) REQUIRE(alice->prefetch(16));
  }
  manner way;
  std::shared_ptr<exchange> via;
  std::optional<async_client> a;
  std::optional<loop> events;
  std::optional<async_key_stream> alice;
  std::optional<client> other;
  std::optional<key_stream> bob;
};

void read(key_stream& from, keys& into, std::size_t count) {
  while (into.size() < count) {
    const auto k = from.next_key();
    REQUIRE_MESSAGE(k, k.error().message());
    into.emplace(k->index, std::vector<std::byte>{k->bytes().begin(), k->bytes().end()});
  }
}

/// Keeps several calls going, or one for few keys, until so many have come.
void read(streams& s, keys& into, std::size_t count) {
  const std::size_t at_once = count < 10 ? 1 : 4;
  std::function<void()> next = [&] {
    s.alice->next_key([&](result<key_chunk> k) {
      REQUIRE_MESSAGE(k, k.error().message());
      REQUIRE(into.emplace(k->index, std::vector<std::byte>{k->bytes().begin(), k->bytes().end()}).second);
      if (into.size() + at_once <= count) next();
    });
  };
  for (std::size_t i = 0; i < at_once; ++i) next();
  s.events->until([&] { return into.size() >= count; });
}

}  // namespace

TEST_CASE("async_client: has the same keys as the other end, each once, over one descriptor") {
  for (const manner how : manners) {
    CAPTURE(static_cast<int>(how));
    two_sites sites{listen_to_all};
    streams s{how, address_for(how, sites), *sites.b};
    keys at_a;
    keys at_b;
    std::thread other{[&] { read(*s.bob, at_b, 300); }};
    read(s, at_a, 300);
    other.join();
    CHECK(at_a == at_b);
  }
}

TEST_CASE("async_client: loses and repeats nothing when its connection breaks again and again") {
  for (const manner how : manners) {
    CAPTURE(static_cast<int>(how));
    two_sites sites{listen_to_all};
    proxy between;
    between.lead_to(address_for(how, sites));
    const std::string scheme = how == manner::http ? "http" : "qkd004";
    streams s{how, scheme + between.address().substr(between.address().find(':')), *sites.b};
    keys at_a;
    keys at_b;
    std::thread other{[&] { read(*s.bob, at_b, 200); }};
    std::function<void()> next = [&] {
      s.alice->next_key([&](result<key_chunk> k) {
        if (k) {
          REQUIRE(
              at_a.emplace(k->index, std::vector<std::byte>{k->bytes().begin(), k->bytes().end()}).second);
          if (at_a.size() % 40 == 0) between.cut();
        }
        if (at_a.size() < 200) next();
      });
    };
    next();
    s.events->until([&] { return at_a.size() >= 200; });
    other.join();
    CHECK(at_a == at_b);
  }
}

TEST_CASE("async_client: a cancelled call completes at once, and its key is the next call's") {
  for (const manner how : manners) {
    CAPTURE(static_cast<int>(how));
    two_sites sites{keep_four};
    streams s{how, address_for(how, sites), *sites.b};
    keys at_a;
    read(s, at_a, 4);
    std::optional<std::error_code> ended;
    const auto id = s.alice->next_key([&](result<key_chunk> k) { ended = k.error(); });
    for (int i = 0; i < 5; ++i) (void)s.a->drive();
    CHECK(!ended);
    s.alice->cancel(id);
    s.events->until([&] { return ended.has_value(); });
    CHECK(*ended == canceled);
    for (int i = 0; i < 3; ++i) CHECK(s.bob->next_key());
    std::optional<std::uint64_t> index;
    s.alice->next_key([&](result<key_chunk> k) { index = k.value().index; });
    s.events->until([&] { return index.has_value(); });
    CHECK(*index == 4);
  }
}

TEST_CASE("async_client: gives up in time, without a turn of the loop in between") {
  for (const manner how : {manner::extended, manner::ahead, manner::http}) {
    CAPTURE(static_cast<int>(how));
    two_sites sites{keep_four};
    streams s{how, address_for(how, sites), *sites.b, 300};
    keys at_a;
    read(s, at_a, 4);
    std::optional<std::error_code> ended;
    const int before = s.events->rounds;
    s.alice->next_key([&](result<key_chunk> k) { ended = k.error(); });
    s.events->until([&] { return ended.has_value(); });
    CHECK(*ended == make_error_code(status::timeout));
    CHECK(s.events->rounds - before < 20);
  }
}

TEST_CASE("async_client: shares its exchange with callers that block") {
  for (const manner how : {manner::extended, manner::http}) {
    CAPTURE(static_cast<int>(how));
    two_sites sites{listen_to_all};
    streams s{how, address_for(how, sites), *sites.b};
    client blocking{s.via, secret_arena{some_memory()}};
    auto own = blocking.open_connect({"qkd://alice@a", "qkd://bob@b"}).value();
    std::atomic<bool> stops{false};
    std::thread busy{[&] {
      while (!stops) {
        (void)own.try_next_key();
        (void)own.id();
      }
    }};
    keys at_a;
    keys at_b;
    std::thread other{[&] { read(*s.bob, at_b, 200); }};
    read(s, at_a, 200);
    other.join();
    stops = true;
    busy.join();
    CHECK(at_a == at_b);
  }
}

TEST_CASE("async_client: closes its stream when that goes, and completes what waits when it goes itself") {
  two_sites sites;
  streams s{manner::extended, sites.a->address(), *sites.b};
  int ends = 0;
  s.alice->get_key(100'000, [&](result<key_chunk> k) {
    CHECK(!k);
    ++ends;
  });
  (void)s.a->drive();
  s.alice.reset();
  s.events.reset();
  s.a.reset();
  CHECK(ends == 1);
  while (s.bob->next_key()) {}  // until it is told that the other end has closed
  CHECK(sites.a->on_manager([](key_manager& m) { return m.totals().waiting; }) == 0);
}
