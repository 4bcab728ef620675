// A site with three neighbours over TCP: what one of them does is nothing to the others.
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <set>

#include "net/proxy.hpp"
#include "net/sites.hpp"

using namespace test;

namespace {

using key_octets = std::vector<std::byte>;

/// Site "a" in the middle, and "b", "c" and "d", each reached through a proxy of its own.
struct star {
  static constexpr std::array<const char*, 3> names{"b", "c", "d"};

  explicit star(void (*adjust)(net::site_options&) = nullptr) {
    auto of_a = site_options_of("a");
    for (std::size_t i = 0; i < 3; ++i) {
      memory_source_options as_much_as_asked;
      as_much_as_asked.max_ahead = 1'000'000;
      auto sources = make_memory_sources(as_much_as_asked);
      of_a.peers.push_back(link_to(i, names[i], between[i].address(), std::move(sources.first)));
      options[i] = site_options_of(names[i]);
      options[i].manager.local_uris = {std::string{"qkd://"} + names[i] + "-far*"};
      options[i].peers.push_back(link_to(i, "a", "", std::move(sources.second)));
      start(i);
    }
    if (adjust != nullptr) adjust(of_a);
    a.emplace(std::move(of_a));
    for (std::size_t i = 0; i < 3; ++i) CHECK(a->log.has("a peer is up link=a-" + std::string{names[i]}));
  }
  static net::peer_options link_to(std::size_t i, std::string node, std::string address,
                                   std::shared_ptr<key_source> source) {
    auto p = peer_of(std::move(node), std::move(address), std::move(source));
    p.link.name = std::string{"a-"} + names[i];
    if (p.link.peer != "a") p.link.destinations = {std::string{"qkd://"} + names[i] + "-far*"};
    return p;
  }
  void start(std::size_t i) {
    neighbours[i].emplace(options[i]);
    between[i].lead_to(neighbours[i]->address());
  }

  static open_connect_response open(exchange& via, const std::string& there, const key_stream_id& id = {}) {
    call c;
    c.request = open_connect_request{"qkd://app@a", there, {}, id};
    ask(via, c);
    REQUIRE_MESSAGE(!c.error, c.error.message());
    return std::get<open_connect_response>(c.response);
  }

  /// A stream with one neighbour, read at both ends.
  struct flow {
    flow(star& s, std::size_t i, const std::string& there)
        : at_a{connect_to(s.a->address())}, at_there{connect_to(s.neighbours[i]->address())} {
      id = open(*at_a, there).stream;
      REQUIRE(open(*at_there, there, id).outcome == status::success);
    }
    /// The next indices are there, equal at both ends, and their keys are nobody else's.
    void read(int count, std::set<key_octets>& seen) {
      for (int n = 0; n < count; ++n, ++next) {
        const key_octets here = get_key(*at_a, id, next);
        REQUIRE(get_key(*at_there, id, next) == here);
        REQUIRE(seen.insert(here).second);
      }
    }
    std::shared_ptr<exchange> at_a;
    std::shared_ptr<exchange> at_there;
    key_stream_id id;
    std::uint64_t next = 0;
  };
  flow with(std::size_t i) { return {*this, i, std::string{"qkd://app@"} + names[i]}; }

  std::array<proxy, 3> between;
  std::array<net::site_options, 3> options;
  std::array<std::optional<running_site>, 3> neighbours;
  std::optional<running_site> a;
  std::set<key_octets> seen;
};

std::uint64_t lost(running_site& at) {
  return at.on_manager([](key_manager& m) { return m.totals().lost_chunks; });
}

}  // namespace

TEST_CASE("multilink: gives equal keys with three neighbours at once, and none of one link to another") {
  star s;
  std::array flows{s.with(0), s.with(1), s.with(2)};
  for (int n = 0; n < 20; ++n) {
    for (auto& f : flows) f.read(20, s.seen);
  }
  CHECK(s.seen.size() == 1200);
  status outcome{};
  get_key(*flows[0].at_there, flows[1].id, 400, &outcome);
  CHECK(outcome == status::unknown_key_stream);
}

TEST_CASE("multilink: goes on with the others while one connection is cut again and again") {
  star s;
  std::array flows{s.with(0), s.with(1), s.with(2)};
  for (int n = 0; n < 10; ++n) {
    s.between[1].cut();
    for (auto& f : flows) f.read(50, s.seen);
  }
  CHECK(s.a->log.has("lost a peer link=a-c"));
  CHECK(s.a->log.count_now("lost a peer link=a-b") == 0);
  CHECK(s.a->log.count_now("lost a peer link=a-d") == 0);
  CHECK(lost(*s.a) == 0);
}

TEST_CASE("multilink: serves the others promptly while one neighbour is away, and that one when it is back") {
  star s;
  std::array flows{s.with(0), s.with(1), s.with(2)};
  for (auto& f : flows) f.read(10, s.seen);
  s.between[2].lead_to("");
  s.between[2].cut();
  CHECK(s.a->log.has("lost a peer link=a-d"));
  // somebody waits for the one that is away
  const auto patient = connect_to(s.a->address());
  get_key_call waits{flows[2].id, 150};
  waits.deadline = boot_clock::now() + patience;
  call* const one = &waits;
  patient->start(std::span{&one, 1});
  boot_clock::duration longest{};
  for (int n = 0; n < 300; ++n) {
    const auto before = boot_clock::now();
    flows[0].read(1, s.seen);
    flows[1].read(1, s.seen);
    longest = std::max(longest, boot_clock::now() - before);
  }
  CHECK(longest < 2s);  // a fraction of a millisecond unless the machine is busy with something else
  s.between[2].lead_to(s.neighbours[2]->address());
  CHECK(s.a->log.has("a peer is up link=a-d ", 2));
  patient->cancel(waits);
  flows[2].read(200, s.seen);
  CHECK(lost(*s.a) == 0);
}

TEST_CASE("multilink: ends and counts the streams of a neighbour that restarts and of no other") {
  star s;
  std::array flows{s.with(0), s.with(1), s.with(2)};
  for (auto& f : flows) f.read(10, s.seen);
  const auto held = [&] {
    return s.a->on_manager([&](key_manager& m) { return m.stream_balance(flows[1].id)->live; });
  };
  constexpr std::uint64_t window = 128;  // all of it, so that nothing is under way any more
  for (const auto end = boot_clock::now() + patience; held() < window;) REQUIRE(boot_clock::now() < end);
  s.neighbours[1].reset();
  s.start(1);
  CHECK(s.a->log.has("a peer is up link=a-c ", 2));
  status outcome{};
  get_key(*flows[1].at_a, flows[1].id, 10, &outcome);
  CHECK(outcome == status::unknown_key_stream);
  CHECK(lost(*s.a) == window);
  CHECK(s.a->on_manager([](key_manager& m) { return m.totals().streams; }) == 2);
  flows[0].read(200, s.seen);
  flows[2].read(200, s.seen);
  s.with(1).read(200, s.seen);  // and no key of the old instances again
}

TEST_CASE("multilink: sends each destination to the neighbour whose pattern it matches") {
  star s;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string there = std::string{"qkd://"} + star::names[i] + "-far/app";
    star::flow f{s, i, there};
    f.read(10, s.seen);
  }
  const auto at_a = connect_to(s.a->address());
  CHECK(star::open(*at_a, "qkd://e-far/app").outcome == status::no_qkd_connection);
  CHECK(star::open(*at_a, "qkd://app@e").outcome == status::no_qkd_connection);
}

TEST_CASE("multilink: serves the others when one neighbour takes key for many streams and reads nothing") {
  star s;
  s.between[1].lead_to("");
  s.between[1].cut();
  CHECK(s.a->log.has("lost a peer link=a-c"));
  // somebody takes c's place who opens streams and says nothing more
  asio::io_context context;
  tcp::acceptor there{context, {asio::ip::address_v4::loopback(), 0}};
  s.between[1].lead_to(net::to_uri(there.local_endpoint()));
  tcp::socket c = there.accept();
  const auto read_frame = [&] {
    octets frame(8);
    asio::read(c, asio::buffer(frame));
    frame.resize(8 + frame[7]);
    asio::read(c, asio::buffer(frame.data() + 8, frame.size() - 8));
    return frame;
  };
  CHECK(read_frame()[3] == 0x80);
  asio::write(c, asio::buffer(hello_of_peer("c", "a-c")));
  asio::write(c, asio::buffer(read_frame()));  // start: the check is the same at both ends
  CHECK(s.a->log.has("a peer is up link=a-c ", 2));
  peer::announce m;
  m.source = "qkd://app@c";
  m.destination = "qkd://app@a";
  m.quality = {4096, 0xffff'ffff, 0, 0, 0, 5'000, 3'600, {}};
  m.window = 128;
  m.opened = true;
  wire::out_buffer out{secret_arena{some_memory()}, 1 << 20};
  for (m.serial = 1; m.serial <= 100; ++m.serial) {
    std::array<std::byte, 16> id{};
    id[0] = static_cast<std::byte>(m.serial);
    m.stream = key_stream_id{id};
    REQUIRE(wire::encode_peer(out, m));
  }
  const auto all = std::as_const(out).pending();
  asio::write(c, asio::buffer(all.data(), all.size()));
  const auto streams = [&] { return s.a->on_manager([](key_manager& k) { return k.totals().streams; }); };
  for (const auto end = boot_clock::now() + patience; streams() < 3;) REQUIRE(boot_clock::now() < end);
  CHECK(load_of_sites() < idle);

  std::array flows{s.with(0), s.with(2)};
  for (int n = 0; n < 10; ++n) {
    for (auto& f : flows) f.read(1'000, s.seen);  // more than any link had in store
  }
}
