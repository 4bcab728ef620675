// SPDX-License-Identifier: Apache-2.0
#include "net/proxy.hpp"
#include "net/sites.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>

using namespace test;

namespace {

/// A server that is whatever the test wants: for each connection, a function that gets its socket, on one thread.
class odd_server {
 public:
  explicit odd_server(std::function<void(tcp::socket&, int)> serve)
      : acceptor_{context_, {asio::ip::address_v4::loopback(), 0}},
        address_{net::to_uri(acceptor_.local_endpoint())},
        serve_{std::move(serve)},
        thread_{[this] {
          for (int i = 0;; ++i) {
            tcp::socket socket{context_};
            std::error_code error;
            acceptor_.accept(socket, error);
            if (error || stops_) return;
            socket.set_option(tcp::no_delay{true});
            serve_(socket, i);
          }
        }} {}
  ~odd_server() {
    stops_ = true;
    asio::io_context context;
    tcp::socket last{context};
    std::error_code ignored;
    last.connect(acceptor_.local_endpoint(), ignored);
    thread_.join();
  }
  odd_server(const odd_server&) = delete;
  odd_server& operator=(const odd_server&) = delete;
  const std::string& address() const { return address_; }

 private:
  asio::io_context context_;
  tcp::acceptor acceptor_;
  std::string address_;
  std::function<void(tcp::socket&, int)> serve_;
  std::atomic<bool> stops_{false};
  std::thread thread_;
};

/// Reads one frame, and gives its service; 0xff at the end of the connection.
std::uint8_t read_request(tcp::socket& socket) {
  octets header(8);
  std::error_code error;
  asio::read(socket, asio::buffer(header), error);
  if (error) return 0xff;
  octets payload(static_cast<std::size_t>(header[6]) << 8 | header[7]);
  asio::read(socket, asio::buffer(payload), error);
  return error ? std::uint8_t{0xff} : header[3];
}

void write(tcp::socket& socket, const octets& o) {
  std::error_code ignored;
  asio::write(socket, asio::buffer(o), ignored);
}

const octets error_frame = frame_of(0x00, u32(1028) + zeros(2));
const octets hello_answer = frame_of(0x41, octets{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});

void until_closed(tcp::socket& socket) {
  while (read_request(socket) != 0xff) {}
}

result<std::shared_ptr<exchange>> try_connect(const std::string& uri, net::connect_options options = {},
                                              std::string* why = nullptr) {
  return net::connect(uri, secret_arena{some_memory()}, options, why);
}

}  // namespace

TEST_CASE("connect: says what is wrong when it cannot connect") {
  std::string why;
  CHECK(try_connect("qkd004s://127.0.0.1:1", {}, &why).error() == std::errc::invalid_argument);
  CHECK(why.find("needs a certificate") != std::string::npos);
  CHECK(try_connect("qkd004://192.0.2.1:1", {}, &why).error() == std::errc::invalid_argument);
  CHECK(why.find("allow_insecure") != std::string::npos);
  std::string nobody;
  {
    asio::io_context context;
    tcp::acceptor gone{context, {asio::ip::address_v4::loopback(), 0}};
    nobody = net::to_uri(gone.local_endpoint());
  }
  CHECK(try_connect(nobody, {}, &why).error() == std::errc::connection_refused);
}

TEST_CASE("connect: gives up in time when the server does not answer HELLO") {
  odd_server server{[](tcp::socket& s, int) { until_closed(s); }};
  net::connect_options options;
  options.connect_timeout = 50ms;
  std::string why;
  CHECK(try_connect(server.address(), options, &why).error() == std::errc::timed_out);
  CHECK(why.find("HELLO") != std::string::npos);
}

TEST_CASE("connect: speaks plain 004 with a server that refuses HELLO with an error frame") {
  std::atomic<int> connections{0};
  std::atomic<std::uint8_t> first_request{0};
  odd_server server{[&](tcp::socket& s, int i) {
    ++connections;
    const auto service = read_request(s);
    if (i == 0) {
      REQUIRE(service == 0x40);
      return write(s, error_frame);
    }
    first_request = service;
    write(s, frame_of(0x03, u32(0) + zeros(28) + text0("") + octets(16, 5)));
    until_closed(s);
  }};
  const auto via = connect_to(server.address());
  const auto opened = open_connect(*via);
  CHECK(opened.outcome == status::success);
  CHECK(connections == 2);
  CHECK(first_request == 0x02);
  call strict;
  open_connect_request request{"qkd://app@a", "qkd://app@b"};
  request.strict_once = true;
  strict.request = request;
  ask(*via, strict);
  CHECK(to_status(strict.error) == status::invalid_argument);
}

TEST_CASE("connect: speaks plain 004 with a server that closes at the sight of HELLO") {
  odd_server server{[](tcp::socket& s, int i) {
    if (i == 0) {
      read_request(s);
      return;
    }
    read_request(s);
    write(s, frame_of(0x09, u32(0)));
    until_closed(s);
  }};
  const auto via = connect_to(server.address());
  CHECK(close(*via, *key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")) == status::success);
}

TEST_CASE(
    "connect: says HELLO again to a server that understood it once and then closes at the sight of it") {
  std::atomic<std::uint8_t> first_request{0};
  odd_server server{[&](tcp::socket& s, int i) {
    first_request = read_request(s);
    if (i != 1) write(s, hello_answer);
    read_request(s);  // CLOSE
    if (i < 2) return;
    write(s, frame_of(0x09, u32(0)));
    until_closed(s);
  }};
  const auto via = connect_to(server.address());
  const auto before = via->supports();
  for (int i = 0; i < 2; ++i) {
    call c;
    c.request = close_request{*key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")};
    ask(*via, c);
    CHECK(c.error == std::errc::connection_reset);
  }
  CHECK(close(*via, *key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")) == status::success);
  CHECK(first_request == 0x40);
  CHECK(via->supports() == before);
}

TEST_CASE(
    "connect: completes a call at its deadline when the server stalls, and drops the answer that comes "
    "late") {
  std::promise<void> late;
  odd_server server{[&](tcp::socket& s, int) {
    read_request(s);
    write(s, hello_answer);
    read_request(s);  // the first, unanswered
    late.get_future().get();
    write(s, frame_of(0x05, u32(0) + u32(7) + u32(4) + octets{1, 1, 1, 1} + u32(0)));
    read_request(s);
    write(s, frame_of(0x05, u32(0) + u32(8) + u32(4) + octets{2, 2, 2, 2} + u32(0)));
    until_closed(s);
  }};
  const auto via = connect_to(server.address());
  const key_stream_id id = *key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee");
  get_key_call first{id, 7};
  const auto before = boot_clock::now();
  ask(*via, first, 50ms);
  CHECK(to_status(first.error) == status::timeout);
  CHECK(boot_clock::now() - before >= 50ms);
  CHECK(boot_clock::now() - before < patience);
  late.set_value();
  get_key_call second{id, 8};
  ask(*via, second);
  REQUIRE_FALSE(second.error);
  CHECK(second.answer().index == 8);
  CHECK(second.octets() == std::vector<std::byte>(4, std::byte{2}));
}

TEST_CASE(
    "connect: fails what is in flight when the connection breaks, and connects again for the next call") {
  two_sites sites;
  proxy between;
  between.lead_to(sites.a->address());
  const auto via = connect_to(between.address());
  const auto stream = open_connect(*via).stream;
  get_key_call waits{stream, 1000};
  waits.deadline = boot_clock::now() + patience;
  call* const one = &waits;
  via->start(std::span{&one, 1});
  between.cut();
  via->wait(waits);
  CHECK(waits.error == std::errc::connection_reset);
  CHECK(get_key(*via, stream, 0).size() == 32);
}

TEST_CASE("connect: completes a call with operation_canceled when it is cancelled from another thread") {
  two_sites sites;
  const auto via = connect_to(sites.a->address());
  qos brief;
  brief.timeout_ms =
      300;  // what comes after the cancelled call gets its answer after the site has answered that one
  const auto stream = open_connect(*via, {}, brief).stream;
  get_key_call waits{stream, 1000};
  waits.deadline = boot_clock::now() + patience;
  call* const one = &waits;
  via->start(std::span{&one, 1});
  std::thread other{[&] { via->cancel(waits); }};
  via->wait(waits);
  other.join();
  CHECK(waits.error == std::errc::operation_canceled);
  CHECK(get_key(*via, stream, 0).size() == 32);
}

TEST_CASE("connect: serves many threads over one connection") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto at_b = connect_to(sites.b->address());
  const auto stream = open_connect(*at_a).stream;
  open_connect(*at_b, stream);
  constexpr std::size_t threads = 4;
  constexpr std::uint64_t each = 100;
  std::vector<std::vector<std::byte>> of_a(threads * each);
  std::vector<std::vector<std::byte>> of_b(threads * each);
  std::atomic<std::uint64_t> next_a{0};
  std::atomic<std::uint64_t> next_b{0};
  const auto reader = [&](exchange& via, std::atomic<std::uint64_t>& next, auto& keys) {
    for (std::uint64_t i = next++; i < keys.size(); i = next++) {
      get_key_call c{stream, i};
      ask(via, c);
      if (!c.error) keys[i] = c.octets();
    }
  };
  std::vector<std::thread> running;
  for (std::size_t t = 0; t < threads; ++t) {
    running.emplace_back([&] { reader(*at_a, next_a, of_a); });
    running.emplace_back([&] { reader(*at_b, next_b, of_b); });
  }
  for (auto& t : running) t.join();
  CHECK(of_a == of_b);
  CHECK(std::none_of(of_a.begin(), of_a.end(), [](const auto& key) { return key.empty(); }));
}

TEST_CASE("connect: has another caller read on when the one that read for all has its answer") {
  struct round {
    std::promise<void> both_wait;
    std::promise<void> first_is_back;
  };
  std::array<round, 20> rounds;
  odd_server server{[&](tcp::socket& s, int) {
    read_request(s);
    write(s, hello_answer);
    for (auto& r : rounds) {
      read_request(s);
      read_request(s);
      r.both_wait.get_future().get();
      write(s, frame_of(0x09, u32(0)));
      r.first_is_back.get_future().get();
      write(s, frame_of(0x09, u32(0)));
    }
    until_closed(s);
  }};
  const auto via = connect_to(server.address());
  for (auto& r : rounds) {
    call first;
    call second;
    std::array<call*, 2> both{&first, &second};
    for (call* const c : both) {
      c->request = close_request{*key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")};
      c->deadline = boot_clock::now() + patience / 4;
    }
    via->start(both);
    std::atomic<int> waiting{0};
    std::thread one{[&] {
      ++waiting;
      via->wait(first);
      r.first_is_back.set_value();
    }};
    while (waiting < 1) std::this_thread::yield();
    std::thread other{[&] {
      ++waiting;
      via->wait(second);
    }};
    while (waiting < 2) std::this_thread::yield();
    r.both_wait.set_value();
    one.join();
    other.join();
    REQUIRE_FALSE(first.error);
    REQUIRE_FALSE(second.error);
  }
}

TEST_CASE("connect: takes large keys, and says invalid_argument when the buffer is too small for one") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  qos wanted;
  wanted.key_chunk_size = 64 * 1024;
  const auto opened = open_connect(*at_a, {}, wanted);
  get_key_call small{opened.stream, 0, 0, 100};
  ask(*at_a, small);
  CHECK(small.error == std::errc::invalid_argument);
  get_key_call large{opened.stream, 0, 0, 64 * 1024};
  ask(*at_a, large);
  REQUIRE_FALSE(large.error);
  CHECK(large.octets().size() == 64 * 1024);
}

TEST_CASE("connect: says operation_not_supported when a request does not want to wait") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto stream = open_connect(*at_a).stream;
  get_key_call c{stream, 0};
  std::get<get_key_request>(c.request).no_wait = true;
  ask(*at_a, c);
  CHECK(c.error == std::errc::operation_not_supported);
}

TEST_CASE("connect: passes no_wait on to a server that understands it") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  call c;
  open_connect_request request{
      "qkd://app@a", "qkd://app@b", {}, *key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")};
  request.quality.timeout_ms = 3'600'000;
  request.no_wait = true;
  c.request = request;
  ask(*at_a, c);
  REQUIRE_FALSE(c.error);
  CHECK(std::get<open_connect_response>(c.response).outcome == status::peer_not_connected);
}

TEST_CASE("connect: fails every call when the server's frames make no sense") {
  for (const octets& nonsense : {octets(64, 'x'), frame_of(0x09, zeros(4)), frame_of(0x05, zeros(11)),
                                 frame_of(0x33), octets{2, 1, 1, 5, 0x7f, 0, 0, 0}}) {
    odd_server server{[&](tcp::socket& s, int) {
      read_request(s);
      write(s, hello_answer);
      read_request(s);
      write(s, nonsense);
      until_closed(s);
    }};
    const auto via = connect_to(server.address());
    get_key_call one{*key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"), 0};
    ask(*via, one);
    CHECK(to_status(one.error) == status::protocol_error);
  }
}
