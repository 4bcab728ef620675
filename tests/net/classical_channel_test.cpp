// SPDX-License-Identifier: Apache-2.0
#include "qkd004/classical_channel.hpp"

#include "core/talking_source.hpp"
#include "net/proxy.hpp"
#include "net/sites.hpp"

using namespace test;
using testing::talking_source;

namespace {

using words = std::vector<std::string>;

/// Site `a` reaches site `b` through a proxy; their key sources speak with each other.
struct talking_sites {
  talking_sites() {
    auto of_b = site_options_of("b");
    of_b.peers.push_back(peer_of("a", "", end_b));
    b.emplace(std::move(of_b));
    between.lead_to(b->address());
  }
  void start_a() {
    auto of_a = site_options_of("a");
    of_a.peers.push_back(peer_of("b", between.address(), end_a));
    a.emplace(std::move(of_a));
  }

  std::shared_ptr<talking_source> end_a = std::make_shared<talking_source>();
  std::shared_ptr<talking_source> end_b = std::make_shared<talking_source>();
  proxy between;
  std::optional<running_site> b;
  std::optional<running_site> a;
};

}  // namespace

TEST_CASE("classical_channel: carries what the key sources of two sites say, from any thread") {
  talking_sites sites;
  sites.start_a();
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
  CHECK(sites.a->log.has("a peer is up link=link peer=b"));
  words expected;
  for (int i = 0; i < 500; ++i) {
    expected.push_back("word " + std::to_string(i));
    sites.end_a->say(expected.back());
    sites.end_b->say(expected.back());
  }
  CHECK(sites.end_b->has_heard(500, patience));
  CHECK(sites.end_a->has_heard(500, patience));
  CHECK(sites.end_a->heard() == expected);
  CHECK(sites.end_b->heard() == expected);
}

TEST_CASE("classical_channel: has what a broken connection lost said again, and the session goes on") {
  talking_sites sites;
  sites.start_a();
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
  CHECK(sites.a->log.has("a peer is up link=link peer=b"));
  words expected;
  for (std::size_t round = 1; round <= 5; ++round) {
    // some of it arrives, and then nothing more
    sites.between.cut_after(proxy::way::to_target, 300 * round);
    for (int i = 0; i < 100; ++i) {
      expected.push_back(std::to_string(round) + "/" + std::to_string(i));
      sites.end_a->say(expected.back());
      sites.end_b->say(expected.back());
    }
    CHECK(sites.a->log.has("lost a peer link=link peer=b ", round));
    REQUIRE(sites.end_b->has_heard(expected.size(), patience));
    REQUIRE(sites.end_a->has_heard(expected.size(), patience));
    CHECK(sites.b->log.has("a peer is up link=link peer=a", round + 1));
    CHECK(sites.a->log.has("a peer is up link=link peer=b", round + 1));
  }
  CHECK(sites.end_a->heard() == expected);
  CHECK(sites.end_b->heard() == expected);
  sites.a.reset();
  CHECK(sites.end_a->calls() == "start up down up down up down up down up down up down stop ");
}

TEST_CASE("classical_channel: does not stop what both ends say at once, however much it is") {
  talking_sites sites;
  sites.start_a();
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
  CHECK(sites.a->log.has("a peer is up link=link peer=b"));
  // more than either site would leave unsent before it reads no more, and than the sockets hold
  const std::string large(50'000, 'x');
  for (int i = 0; i < 400; ++i) {
    sites.end_a->say(large);
    sites.end_b->say(large);
  }
  CHECK(sites.end_b->has_heard(400, patience));
  CHECK(sites.end_a->has_heard(400, patience));
  CHECK(sites.a->log.count_now("lost") == 0);
}

TEST_CASE("classical_channel: costs one turn however often it calls, and none once its site has stopped") {
  const auto source = std::make_shared<talking_source>();
  asio::io_context context;
  auto options = site_options_of("b");
  options.memory.allow_unlocked = true;
  options.peers.push_back(peer_of("a", "", source));
  std::optional<net::site> site;
  site.emplace(context, std::move(options));
  REQUIRE(site->start());
  CHECK(source->is_listened_to());
  while (context.poll() > 0) {}
  for (int i = 0; i < 10'000; ++i) source->wake();
  CHECK(context.poll() == 1);
  source->wake();
  CHECK(context.poll() == 1);  // and it is told anew

  source->wake();
  site.reset();  // while a call is under way
  CHECK_FALSE(source->is_listened_to());
  source->wake();
  context.run();  // ends: nothing keeps it
}

TEST_CASE(
    "key_source: begins another session when its ends are out of step, and applications get key again") {
  talking_sites sites;
  sites.start_a();
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
  const auto at_a = connect_to(sites.a->address());
  const auto at_b = connect_to(sites.b->address());
  const auto first = open_connect(*at_a).stream;
  open_connect(*at_b, first);
  const auto key = get_key(*at_a, first, 0);
  CHECK(get_key(*at_b, first, 0) == key);

  sites.end_b->fail(status::protocol_error);
  status outcome = status::success;
  for (std::uint64_t i = 1; outcome == status::success; ++i) get_key(*at_b, first, i, &outcome);
  CHECK(sites.b->log.has("out of step"));
  CHECK(sites.a->log.has("a peer is up link=link peer=b", 2));
  CHECK(sites.b->log.has("a peer is up link=link peer=a", 2));
  const auto second = open_connect(*at_a).stream;
  open_connect(*at_b, second);
  const auto fresh = get_key(*at_a, second, 0);
  CHECK(get_key(*at_b, second, 0) == fresh);
  CHECK(fresh != key);
  CHECK(sites.end_a->calls() == "start up down start up ");
}

TEST_CASE("key_source: makes sites try less and less often when no session of it lasts") {
  talking_sites sites;
  sites.end_a->allow_blocks(0);
  sites.end_b->always_fails = true;
  sites.start_a();
  CHECK(sites.a->log.has("a peer is up link=link peer=b", 1));
  const auto begin = boot_clock::now();
  CHECK(sites.a->log.has("a peer is up link=link peer=b", 5));
  // at the least half of 50, 100, 200 and 400 ms
  CHECK(boot_clock::now() - begin > 350ms);
}
