// SPDX-License-Identifier: Apache-2.0
#include "net/http/client_connection.hpp"

#include <doctest/doctest.h>

#include <poll.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>

#include "http/raw_http.hpp"

namespace {

using namespace test;
namespace http = net::http;

constexpr std::size_t most = 64 * 1024;

/// A client of one request.
struct one_request final : http::client_connection::owner {
  explicit one_request(const std::string& address) {
    const auto to = *net::parse_address(address);
    auto target = net::target_of(to, *net::endpoints_of(to, net::reach::anywhere), nullptr, {});
    connection = std::make_unique<http::client_connection>(*this, arena, most, std::move(target));
    connection->begin();
  }

  void ask() {
    REQUIRE(connection->ask({"GET", "/", {}, {}}));
    connection->flush();
    while (!connection->is_over() && answers == 0) {
      pollfd wanted = connection->wants();
      REQUIRE(::poll(&wanted, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) == 1);
      connection->on_ready(wanted.revents);
      ++turns;
    }
  }

  void on_answer(const http::incoming& a) override {
    ++answers;
    if (ends_meanwhile) connection->end(std::make_error_code(std::errc::operation_canceled));
    size = a.body.size();
    is_whole = std::all_of(a.body.begin(), a.body.end(), [](std::byte b) { return b == std::byte{'k'}; });
  }
  void on_over() override {
    CHECK(connection != nullptr);  // who is told of an end holds what has ended
    ++ends;
  }

  secret_arena arena{some_memory()};
  std::unique_ptr<http::client_connection> connection;
  bool ends_meanwhile = false;
  int answers = 0;
  int ends = 0;
  std::size_t size = 0;
  bool is_whole = false;
  std::size_t turns = 0;
};

/// Answers one request with so many octets.
std::thread serve(raw_listener& listener, std::string head, std::size_t size) {
  return std::thread{[&listener, head, size] {
    auto s = listener.accept();
    read_request(s);
    std::error_code ignored;
    asio::write(s, asio::buffer(head + "\r\n" + std::string(size, 'k')), ignored);
    s.shutdown(tcp::socket::shutdown_send, ignored);
    read_request(s);
  }};
}

}  // namespace

TEST_CASE("http client_connection: a body that ends with the connection is read in few turns") {
  raw_listener listener;
  std::thread server = serve(listener, "HTTP/1.1 200 OK\r\n", most);
  one_request c{listener.address()};
  c.ask();
  CHECK(c.answers == 1);
  CHECK(c.size == most);
  CHECK(c.is_whole);
  CHECK(c.turns < 1'000);
  CHECK(c.connection->is_over());
  CHECK(c.arena.used() == 0);
  server.join();
}

TEST_CASE("http client_connection: a body that never ends is refused before it is larger than it may be") {
  raw_listener listener;
  std::thread server = serve(listener, "HTTP/1.1 200 OK\r\n", 4 * most);
  one_request c{listener.address()};
  c.ask();
  CHECK(c.answers == 0);
  CHECK(c.connection->error() == make_error_code(status::protocol_error));
  CHECK(c.arena.used() == 0);
  c.connection.reset();
  server.join();
}

TEST_CASE(
    "http client_connection: an answer stays while it is looked at, and no memory does behind the end") {
  for (const std::string head : {"HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n"}) {
    CAPTURE(head);
    raw_listener listener;
    std::thread server = serve(listener, head, 20'000);
    one_request c{listener.address()};
    c.ends_meanwhile = true;
    c.ask();
    CHECK(c.answers == 1);
    CHECK(c.size == 20'000);
    CHECK(c.is_whole);
    CHECK(c.ends == 1);
    CHECK(c.arena.used() == 0);
    server.join();
  }
}

TEST_CASE("http client_connection: who cannot connect at once hears of it when he holds the connection") {
  one_request c{"http://255.255.255.255:1"};
  CHECK(c.ends == 1);
  CHECK(c.connection->is_over());
  CHECK(c.connection->error());
}
