// SPDX-License-Identifier: Apache-2.0
#include "net/proxy.hpp"
#include "net/sites.hpp"

#include <set>

using namespace test;

namespace {

/// Site `a` reaches site `b` through a proxy; both may be started anew with the same options.
struct sites_and_proxy {
  sites_and_proxy() {
    auto sources = make_memory_sources();
    of_a = site_options_of("a");
    of_a.peers.push_back(peer_of("b", between.address(), std::move(sources.first)));
    of_b = site_options_of("b");
    of_b.peers.push_back(peer_of("a", "", std::move(sources.second)));
    start_b();
    a.emplace(of_a);
  }
  void start_b() {
    b.emplace(of_b);
    between.lead_to(b->address());
  }

  proxy between;
  net::site_options of_a;
  net::site_options of_b;
  std::optional<running_site> b;
  std::optional<running_site> a;
};

}  // namespace

TEST_CASE("peers: lose no key and repeat none when their connection is cut") {
  sites_and_proxy sites;
  const auto at_a = connect_to(sites.a->address());
  const auto at_b = connect_to(sites.b->address());
  const auto stream = open_connect(*at_a).stream;
  open_connect(*at_b, stream);
  std::set<std::vector<std::byte>> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    if (i % 100 == 50) sites.between.cut();
    const auto key = get_key(*at_a, stream, i);
    REQUIRE(get_key(*at_b, stream, i) == key);
    REQUIRE(seen.insert(key).second);
  }
  CHECK(sites.a->log.has("lost a peer link=link peer=b "));
  CHECK(sites.a->log.has("a peer is up link=link peer=b", 2));
}

TEST_CASE("peers: open a stream while they are apart, and have its keys when they meet") {
  sites_and_proxy sites;
  CHECK(sites.a->log.has("a peer is up link=link peer=b"));
  sites.between.lead_to("");
  sites.between.cut();
  CHECK(sites.a->log.has("lost a peer link=link peer=b "));
  const auto at_a = connect_to(sites.a->address());
  const auto at_b = connect_to(sites.b->address());
  const auto opened = open_connect(*at_a);
  CHECK(opened.outcome == status::peer_not_connected);
  sites.between.lead_to(sites.b->address());
  CHECK(sites.a->log.has("a peer is up link=link peer=b", 2));
  CHECK(get_key(*at_a, opened.stream, 0).size() == 32);
  open_connect(*at_b, opened.stream);
  CHECK(get_key(*at_a, opened.stream, 1) == get_key(*at_b, opened.stream, 1));
}

TEST_CASE("peers: end the streams of a peer that was started anew, and give no old key again") {
  sites_and_proxy sites;
  const auto at_a = connect_to(sites.a->address());
  const auto old_stream = open_connect(*at_a).stream;
  std::set<std::vector<std::byte>> seen;
  for (std::uint64_t i = 0; i < 20; ++i) seen.insert(get_key(*at_a, old_stream, i));
  REQUIRE(seen.size() == 20);

  sites.b.reset();
  sites.start_b();
  CHECK(sites.a->log.has("a peer is up link=link peer=b", 2));
  status outcome{};
  get_key(*at_a, old_stream, 20, &outcome);
  CHECK(outcome != status::success);
  const auto at_b = connect_to(sites.b->address());
  get_key(*at_b, old_stream, 0, &outcome);
  CHECK(outcome == status::unknown_key_stream);

  const auto stream = open_connect(*at_a).stream;
  open_connect(*at_b, stream);
  for (std::uint64_t i = 0; i < 100; ++i) {
    const auto key = get_key(*at_a, stream, i);
    REQUIRE(get_key(*at_b, stream, i) == key);
    REQUIRE(seen.insert(key).second);
  }
  CHECK(sites.a->on_manager([](key_manager& m) { return m.totals().lost_chunks; }) > 0);
}

TEST_CASE("peers: go on when the site that dials was started anew") {
  sites_and_proxy sites;
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
  sites.a.reset();
  sites.a.emplace(sites.of_a);
  CHECK(sites.b->log.has("a peer is up link=link peer=a", 2));
  const auto at_a = connect_to(sites.a->address());
  const auto at_b = connect_to(sites.b->address());
  const auto stream = open_connect(*at_b).stream;
  open_connect(*at_a, stream);
  CHECK(get_key(*at_a, stream, 0) == get_key(*at_b, stream, 0));
}

TEST_CASE("peers: take a new connection of the same peer for the old one, which is dropped") {
  auto options = site_options_of("b");
  options.peers.push_back(peer_of("a", "", make_memory_sources().first));
  running_site site{std::move(options)};
  raw_socket first{site.address()};
  first.send(hello_of_peer("a", "link", 1));
  const auto greeting = first.read();
  REQUIRE(greeting);
  CHECK(greeting->service == 0x80);
  raw_socket second{site.address()};
  second.send(hello_of_peer("a", "link", 2));
  CHECK(second.read().has_value());
  while (first.read()) {}
  CHECK(site.log.has("comes anew"));
  // an unknown message gets an error frame, and the connection goes on
  second.send(frame_of(0x9f));
  std::optional<raw_socket::frame> answer;
  do {
    answer = second.read();
    REQUIRE(answer);
  } while (answer->service != 0x00);
  // what is no message at all ends it
  second.send(frame_of(0x85, zeros(3)));
  while (second.read()) {}
  CHECK(site.log.has("malformed message"));
}

TEST_CASE("peers: are only those that are configured when somebody says hello as one") {
  two_sites sites;
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
  for (const auto& hello :
       {hello_of_peer("z", "link"), hello_of_peer("a", "other"), hello_of_peer("b", "link")}) {
    raw_socket stranger{sites.b->address()};
    stranger.send(hello);
    const auto error = stranger.read();
    REQUIRE(error);
    CHECK(error->service == 0x00);
    CHECK(error->u32(0) == 1026);
    CHECK(stranger.is_closed_by_peer());
  }
  CHECK(sites.b->log.has("no such peer and link", 3));
  raw_socket wrong_way{sites.a->address()};
  wrong_way.send(hello_of_peer("b", "link"));
  CHECK(wrong_way.read().has_value());
  CHECK(sites.a->log.has("this site dials that peer"));
  CHECK(sites.b->log.count_now("comes anew") == 0);
}

TEST_CASE("peers: part for good and say why when their key sources are of another kind") {
  struct odd_source final : key_source {
    key_source_capabilities what{.kind = "odd", .security = security_class::simulated_insecure};
    const key_source_capabilities& capabilities() const noexcept override { return what; }
    std::uint64_t position() const noexcept override { return 0; }
    result<key_source_check> start(const key_source_session&, time_point) override {
      return key_source_check{};
    }
    result<std::optional<key_block>> poll(const secret_arena&, time_point) override {
      return std::optional<key_block>{};
    }
    time_point ready_at(time_point now) const noexcept override { return now + 1s; }
    void stop() noexcept override {}
  };
  two_sites sites{{make_memory_sources().first, std::make_unique<odd_source>()}, nullptr};
  CHECK(sites.a->log.has("no link with a peer link=link peer=b "));
  CHECK(sites.b->log.has("no link with a peer link=link peer=a "));
  CHECK(sites.a->log.count_now("is up") == 0);
}

TEST_CASE("peers: have no line of their own in the log, whatever they say") {
  auto options = site_options_of("b");
  options.peers.push_back(peer_of("a", "", make_memory_sources().first));
  running_site site{std::move(options)};
  raw_socket socket{site.address()};
  socket.send(hello_of_peer("a", "link", 1));
  REQUIRE(socket.read());
  const std::string text = "gone\nsite-a: all is well\x1b[2J\" peer=\"c";
  octets fault = u32(1028);
  fault.push_back(0);
  fault.push_back(static_cast<std::uint8_t>(text.size()));
  fault.insert(fault.end(), text.begin(), text.end());
  socket.send(frame_of(0x8a, fault));
  CHECK(site.log.has(R"(gone\x0asite-a: all is well\x1b[2J\" peer=\"c")"));
  CHECK(site.log.count_now("\n") == 0);
}
