// SPDX-License-Identifier: Apache-2.0
#include "net/sites.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <set>

using namespace test;

TEST_CASE("site: gives both applications the same keys when one opens with NULL and one with its KSID") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto at_b = connect_to(sites.b->address());

  const auto first = open_connect(*at_a);
  CHECK(first.outcome == status::peer_not_connected);
  CHECK_FALSE(first.stream.is_null());
  const auto second = open_connect(*at_b, first.stream);
  CHECK(second.outcome == status::success);
  CHECK(second.quality == first.quality);

  std::set<std::vector<std::byte>> seen;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto key = get_key(*at_a, first.stream, i);
    REQUIRE(key.size() == 32);
    REQUIRE(get_key(*at_b, first.stream, i) == key);
    REQUIRE(seen.insert(key).second);
  }
  CHECK(close(*at_a, first.stream) == status::success);
  CHECK(close(*at_b, first.stream) == status::success);
}

TEST_CASE("site: answers 256 pipelined requests in their order when they come in one write") {
  two_sites sites{[](net::site_options& o) { o.manager.limits.ring_chunks = 512; }};
  const auto at_a = connect_to(sites.a->address());
  const auto at_b = connect_to(sites.b->address());
  const auto stream = open_connect(*at_a).stream;
  open_connect(*at_b, stream);

  const auto run = [&](exchange& via) {
    std::vector<std::unique_ptr<get_key_call>> calls;
    std::vector<call*> started;
    for (std::uint64_t i = 0; i < 256; ++i) {
      calls.push_back(std::make_unique<get_key_call>(stream, i));
      calls.back()->deadline = boot_clock::now() + patience;
      started.push_back(calls.back().get());
    }
    via.start(started);
    std::vector<std::vector<std::byte>> keys;
    for (std::uint64_t i = 0; i < 256; ++i) {
      via.wait(*calls[i]);
      REQUIRE_FALSE(calls[i]->error);
      REQUIRE(calls[i]->answer().outcome == status::success);
      REQUIRE(calls[i]->answer().index == i);
      keys.push_back(calls[i]->octets());
    }
    return keys;
  };
  CHECK(run(*at_a) == run(*at_b));
}

TEST_CASE("site: serves a client that makes a connection for every call") {
  two_sites sites;
  net::connect_options per_call;
  per_call.per_call = true;
  const auto at_a = connect_to(sites.a->address(), per_call);
  const auto at_b = connect_to(sites.b->address(), per_call);
  const auto stream = open_connect(*at_a).stream;
  CHECK(open_connect(*at_b, stream).outcome == status::success);
  for (std::uint64_t i = 0; i < 20; ++i) REQUIRE(get_key(*at_a, stream, i) == get_key(*at_b, stream, i));
  CHECK(close(*at_a, stream) == status::success);
}

TEST_CASE("site: sends an answer that is there early only when its turn comes") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto opened = open_connect(*at_a);
  const auto id = id_octets(opened.stream);
  get_key(*at_a, opened.stream, 0);

  raw_socket plain{sites.a->address()};
  // index 1000 lies outside the window of 128: it waits until Timeout; index 0 and the CLOSE do not
  plain.send(frame_of(0x04, id + u32(1000) + u32(0)) + frame_of(0x04, id + u32(0) + u32(0)) +
             frame_of(0x08, id));
  const auto waited = plain.read();
  REQUIRE(waited);
  CHECK(waited->service == 0x05);
  CHECK(waited->u32(0) == 3);  // the CLOSE behind it acted at once: unknown stream, on a plain wire 3
  const auto early = plain.read();
  REQUIRE(early);
  CHECK(early->service == 0x05);
  CHECK(early->u32(0) == 0);
  CHECK(early->u32(8) == 32);
  const auto closed = plain.read();
  REQUIRE(closed);
  CHECK(closed->service == 0x09);
  CHECK(closed->u32(0) == 0);
}

TEST_CASE("site: adds metadata when the request has room for it, and says 8 when the room is too small") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  qos wanted;
  wanted.metadata_mimetype = "application/json";
  const auto stream = open_connect(*at_a, {}, wanted).stream;
  get_key_call small{stream, 0, 10};
  ask(*at_a, small);
  CHECK(small.answer().outcome == status::metadata_size_insufficient);
  CHECK(small.answer().metadata_needed == metadata_json_size);

  raw_socket plain{sites.a->address()};
  plain.send(frame_of(0x04, id_octets(stream) + u32(0) + u32(64) + zeros(64)));
  const auto answer = plain.read();
  REQUIRE(answer);
  REQUIRE(answer->u32(0) == 0);
  const std::string json{answer->payload.begin() + 48, answer->payload.end()};
  CHECK(json.substr(0, 7) == "{\"age\":");
  CHECK(json.size() == answer->u32(44));
}

TEST_CASE("site: narrows its statuses to the standard's for a client that sent no HELLO") {
  two_sites sites;
  const key_stream_id unknown = *key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee");
  const auto with_hello = connect_to(sites.a->address());
  status outcome{};
  get_key(*with_hello, unknown, 0, &outcome);
  CHECK(outcome == status::unknown_key_stream);
  net::connect_options options;
  options.plain = true;
  const auto plain = connect_to(sites.a->address(), options);
  get_key(*plain, unknown, 0, &outcome);
  CHECK(outcome == status::get_key_peer_not_connected);

  call c;
  c.request = open_connect_request{"nonsense", "qkd://app@b"};
  ask(*plain, c);
  REQUIRE_FALSE(c.error);
  CHECK(std::get<open_connect_response>(c.response).outcome == status::no_qkd_connection);
  c.rearm();
  ask(*with_hello, c);
  CHECK(std::get<open_connect_response>(c.response).outcome == status::invalid_argument);
}

TEST_CASE("site: says its node, instance and minor in HELLO") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  const octets hello{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  client.send(frame_of(0x40, hello));
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->service == 0x41);
  REQUIRE(answer->payload.size() == 17);
  CHECK(answer->payload[1] == 2);
  CHECK(answer->payload[16] == 'a');
}

TEST_CASE("site: serves others while one client says nothing, and drops it in time") {
  two_sites sites{[](net::site_options& o) { o.timeouts.silence = 50ms; }};
  raw_socket silent{sites.a->address()};
  const auto at_a = connect_to(sites.a->address());
  const auto stream = open_connect(*at_a).stream;
  CHECK(get_key(*at_a, stream, 0).size() == 32);
  CHECK(silent.is_closed_by_peer());
  CHECK(sites.a->log.has("has not said anything"));
  CHECK(get_key(*at_a, stream, 1).size() == 32);  // one that has spoken may rest
}

TEST_CASE("site: drops a client that leaves its frame half sent") {
  two_sites sites{[](net::site_options& o) { o.timeouts.frame = 50ms; }};
  raw_socket slow{sites.a->address()};
  octets frame = frame_of(0x08, zeros(16));
  frame.resize(12);
  slow.send(frame);
  CHECK(slow.is_closed_by_peer());
  CHECK(sites.a->log.has("has not completed its frame"));
}

TEST_CASE("site: takes a frame that comes octet by octet") {
  two_sites sites;
  raw_socket slow{sites.a->address()};
  for (const std::uint8_t octet :
       frame_of(0x08, id_octets(*key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")))) {
    slow.send(octets{octet});
  }
  const auto answer = slow.read();
  REQUIRE(answer);
  CHECK(answer->service == 0x09);
}

TEST_CASE("site: stops reading from a client that reads no answer, and serves the others") {
  two_sites sites{[](net::site_options& o) {
    o.manager.limits.max_unsent = 64 * 1024;
    o.timeouts.unsent = 500ms;
  }};
  const auto at_a = connect_to(sites.a->address());
  qos large;
  large.key_chunk_size = 4096;
  const auto stream = open_connect(*at_a, {}, large).stream;

  raw_socket slow{sites.a->address()};
  slow.socket().non_blocking(true);
  // the same key again and again: a re-read before the acknowledgement is a retransmission
  octets request = frame_of(0x04, id_octets(stream) + u32(0) + u32(0));
  octets many;
  for (int i = 0; i < 1000; ++i) many = std::move(many) + request;
  std::size_t sent = 0;
  for (bool full = false; !full && sent < 64 * many.size();) {
    std::error_code error;
    sent += slow.socket().write_some(asio::buffer(many), error);
    if (error == asio::error::would_block) {
      get_key_call c{stream, 0, 0, 4096};  // the site is alive; and it is its turn
      ask(*at_a, c);
      REQUIRE_FALSE(c.error);
      full = sites.a->log.count_now("does not read its answers") > 0;
    } else if (error) {
      full = true;  // dropped
    }
  }
  CHECK(sites.a->log.has("does not read its answers"));
  get_key_call c{stream, 0, 0, 4096};
  ask(*at_a, c);
  CHECK_FALSE(c.error);
}

TEST_CASE("site: sends every answer in the end to a client that reads late") {
  two_sites sites{[](net::site_options& o) { o.manager.limits.max_unsent = 64 * 1024; }};
  const auto at_a = connect_to(sites.a->address());
  qos large;
  large.key_chunk_size = 4096;
  const auto stream = open_connect(*at_a, {}, large).stream;
  get_key_call first{stream, 0, 0, 4096};
  ask(*at_a, first);
  REQUIRE_FALSE(first.error);

  constexpr int count = 4000;  // 16 MiB: more than the system's buffers hold
  raw_socket late{sites.a->address()};
  octets many;
  for (int i = 0; i < count; ++i)
    many = std::move(many) + frame_of(0x04, id_octets(stream) + u32(0) + u32(0));
  std::jthread sender{[&many, socket = late.socket().native_handle()] {
    const auto end = boot_clock::now() + patience;
    for (std::size_t sent = 0; sent < many.size() && boot_clock::now() < end;) {
      const ssize_t n = ::send(socket, many.data() + sent, many.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) sent += static_cast<std::size_t>(n);
      pollfd writable{socket, POLLOUT, 0};
      if (n < 0) ::poll(&writable, 1, 100);
    }
    ::shutdown(socket, SHUT_WR);  // it says no more, and still reads
  }};
  get_key_call meanwhile{stream, 0, 0, 4096};
  for (int i = 0; i < 50; ++i) {
    meanwhile.rearm();
    ask(*at_a, meanwhile);
  }
  int answered = 0;
  for (int i = 0; i < count; ++i) {
    const auto answer = late.read();
    if (!answer || answer->service != 0x05 || answer->u32(8) != 4096) break;
    ++answered;
  }
  sender.join();
  CHECK_FALSE(meanwhile.error);
  CHECK(answered == count);
}

TEST_CASE("site: has no more requests of a connection in flight than its limit") {
  two_sites sites{[](net::site_options& o) { o.manager.limits.max_in_flight = 4; }};
  const auto at_a = connect_to(sites.a->address());
  qos brief;
  brief.timeout_ms = 200;
  const auto id = id_octets(open_connect(*at_a, {}, brief).stream);
  raw_socket eager{sites.a->address()};
  octets six;
  for (std::uint32_t i = 0; i < 6; ++i) six = std::move(six) + frame_of(0x04, id + u32(1000 + i) + u32(0));
  eager.send(six);
  std::uint64_t most = 0;
  for (int answered = 0; answered < 6; ++answered) {
    most = std::max(most, sites.a->on_manager([](key_manager& m) { return m.totals().waiting; }));
    const auto answer = eager.read();
    REQUIRE(answer);
    CHECK(answer->u32(0) == 6);
  }
  CHECK(most >= 1);
  CHECK(most <= 4);
}

TEST_CASE("site: turns applications away with an error frame when it has its limit of connections") {
  two_sites sites{[](net::site_options& o) { o.manager.limits.max_connections = 2; }};
  const auto one = connect_to(sites.a->address());
  std::optional<std::shared_ptr<exchange>> two = connect_to(sites.a->address());
  std::string why;
  const auto three = net::connect(sites.a->address(), secret_arena{some_memory()}, {}, &why);
  REQUIRE_FALSE(three);
  CHECK(to_status(three.error()) == status::resource_limit);
  two.reset();  // one goes, one may come
  bool in = false;
  for (const auto end = boot_clock::now() + patience; !in && boot_clock::now() < end;) {
    in = net::connect(sites.a->address(), secret_arena{some_memory()}).has_value();
  }
  CHECK(in);
}

TEST_CASE("site: answers what waits when it stops") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto stream = open_connect(*at_a).stream;
  get_key_call waits{stream, 1000};
  waits.deadline = boot_clock::now() + patience;
  call* const one = &waits;
  at_a->start(std::span{&one, 1});
  for (const auto end = boot_clock::now() + patience; sites.a->on_manager([](key_manager& m) {
         return m.totals().waiting;
       }) == 0 && boot_clock::now() < end;) {}
  sites.a.reset();
  at_a->wait(waits);
  REQUIRE_FALSE(waits.error);
  CHECK(waits.answer().outcome == status::shutting_down);
}

TEST_CASE("site: keeps order when several threads run its io_context") {
  auto sources = make_memory_sources();
  auto of_b = site_options_of("b");
  of_b.peers.push_back(peer_of("a", "", std::move(sources.second)));
  running_site b{std::move(of_b), 3};
  auto of_a = site_options_of("a");
  of_a.peers.push_back(peer_of("b", b.address(), std::move(sources.first)));
  running_site a{std::move(of_a), 3};
  std::vector<std::thread> applications;
  std::atomic<int> equal{0};
  for (int t = 0; t < 3; ++t) {
    applications.emplace_back([&] {
      const auto at_a = net::connect(a.address(), secret_arena{some_memory()});
      const auto at_b = net::connect(b.address(), secret_arena{some_memory()});
      if (!at_a || !at_b) return;
      const auto stream = open_connect(**at_a).stream;
      open_connect(**at_b, stream);
      for (std::uint64_t i = 0; i < 100; ++i) {
        if (get_key(**at_a, stream, i) == get_key(**at_b, stream, i)) ++equal;
      }
    });
  }
  for (auto& t : applications) t.join();
  CHECK(equal == 300);
}

TEST_CASE("site: goes on when the system has no descriptor left, and accepts again once it has") {
#ifdef __SANITIZE_ADDRESS__
  return;  // to check a pointer the sanitizer opens a pipe, and calls the pointer wild when it cannot
#endif
  two_sites sites;
  REQUIRE(sites.a->log.has("a peer is up link=link peer=b"));  // what is connected goes on
  const auto at_a = connect_to(sites.a->address());
  const auto stream = open_connect(*at_a).stream;
  asio::io_context context;
  tcp::socket waits{context, tcp::v4()};
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int lowest_free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(lowest_free >= 0);
  ::close(lowest_free);
  rlimit none_left = before;
  none_left.rlim_cur = static_cast<rlim_t>(lowest_free);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none_left) == 0);
  std::error_code connected;
  waits.connect(net::resolve(*net::parse_address(sites.a->address()), net::reach::loopback)->front(),
                connected);
  const bool refused = sites.a->log.has("cannot accept");
  status outcome{};
  const auto key = get_key(*at_a, stream, 0, &outcome);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK_FALSE(connected);
  CHECK(refused);
  CHECK(outcome == status::success);
  asio::write(waits, asio::buffer(frame_of(0x08, zeros(16))));
  octets answer(12);
  asio::read(waits, asio::buffer(answer));
  CHECK(answer[3] == 0x09);
}

TEST_CASE("site: is its own peer when it has a self link") {
  net::site_options options = site_options_of("a");
  options.self_link = true;
  running_site site{std::move(options)};
  const auto one = connect_to(site.address());
  const auto two = connect_to(site.address());
  call c;
  c.request = open_connect_request{"qkd://one@a", "qkd://two@a"};
  ask(*one, c);
  REQUIRE_FALSE(c.error);
  const auto stream = std::get<open_connect_response>(c.response).stream;
  c.rearm();
  c.request = open_connect_request{"qkd://one@a", "qkd://two@a", {}, stream};
  ask(*two, c);
  CHECK(std::get<open_connect_response>(c.response).outcome == status::success);
  CHECK(get_key(*one, stream, 0) == get_key(*two, stream, 0));
}

TEST_CASE("site: refuses to start when its options cannot be served") {
  const auto start = [](auto adjust) {
    asio::io_context context;
    auto options = site_options_of("a");
    options.memory.allow_unlocked = true;
    adjust(options);
    net::site site{context, std::move(options)};
    std::string why;
    const auto started = site.start(&why);
    CHECK(started.error() == std::errc::invalid_argument);
    context.run();  // no work is left
    return why;
  };
  CHECK(start([](auto& o) { o.listen = {"qkd004s://127.0.0.1:0"}; }).find("needs a certificate") !=
        std::string::npos);
  CHECK(start([](auto& o) { o.listen = {"unix:qkd004"}; }).find("from the root") != std::string::npos);
  CHECK(start([](auto& o) { o.listen = {"qkd004://0.0.0.0:0"}; }).find("allow_insecure") !=
        std::string::npos);
  CHECK(start([](auto& o) { o.manager.node = ""; }).find("node id") != std::string::npos);
  CHECK(start([](auto& o) {
          o.peers = {peer_of("b", "qkd004://127.0.0.1:1", nullptr)};
        }).find("key source") != std::string::npos);
  CHECK(start([](auto& o) { o.peers = {peer_of("b", "", make_memory_sources().first)}; }).find("URI") !=
        std::string::npos);
  CHECK(start([](auto& o) { o.peers = {peer_of("a", "", make_memory_sources().first)}; }).find("itself") !=
        std::string::npos);
  CHECK(start([](auto& o) {
          o.self_link = true;
          o.peers = {peer_of("b", "qkd004://127.0.0.1:1", make_memory_sources().first)};
        }).find("its own peer") != std::string::npos);
}

TEST_CASE("site: says at start what its keys and its callers are worth") {
  two_sites sites;
  CHECK(sites.a->log.has("'anonymous'"));
  CHECK(sites.a->log.has("key source link=link peer=b kind=memory security_class=simulated-insecure"));
  CHECK(sites.a->log.has("listening uri=qkd004://127.0.0.1:"));
  CHECK(sites.a->log.has("a peer is up link=link peer=b"));
  CHECK(sites.b->log.has("a peer is up link=link peer=a"));
}
