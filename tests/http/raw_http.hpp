// A socket that says any octets to an HTTP server, and reads answers without a client of ours: by their lengths and chunks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/address.hpp"
#include "net/sites.hpp"

namespace test {

struct http_answer {
  unsigned status = 0;
  std::map<std::string, std::string> fields;  ///< names in lower case
  std::string head;
  std::string body;
};

class raw_http {
 public:
  explicit raw_http(const std::string& address) : socket_{context_} {
    socket_.connect(net::resolve(*net::parse_address(address), net::reach::loopback)->front());
  }

  void send(std::string_view text) {
    std::error_code ignored;  // the other end may have closed: reading tells
    asio::write(socket_, asio::buffer(text.data(), text.size()), ignored);
  }

  /// The next answer, or none at the end of the connection. Fails the test when neither comes.
  std::optional<http_answer> read(std::string_view method = "GET") {
    while (in_.find("\r\n\r\n") == std::string::npos) {
      if (!more()) return std::nullopt;
    }
    http_answer a;
    const std::size_t end = in_.find("\r\n\r\n") + 4;
    a.head = in_.substr(0, end);
    in_.erase(0, end);
    REQUIRE(a.head.starts_with("HTTP/1.1 "));
    a.status = static_cast<unsigned>(std::stoul(a.head.substr(9, 3)));
    for (std::size_t at = a.head.find("\r\n") + 2; at + 2 < a.head.size();) {
      const std::size_t stop = a.head.find("\r\n", at);
      const std::size_t colon = a.head.find(':', at);
      REQUIRE(colon < stop);
      std::string name = a.head.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      a.fields[name] = a.head.substr(colon + 2, stop - colon - 2);
      at = stop + 2;
    }
    if (method == "HEAD" || a.status < 200 || a.status == 204) return a;
    if (a.fields.contains("content-length")) {
      const std::size_t size = std::stoul(a.fields["content-length"]);
      while (in_.size() < size) REQUIRE(more());
      a.body = in_.substr(0, size);
      in_.erase(0, size);
    }
    return a;
  }

  /// The next chunk of an answer in chunks; empty: the last.
  std::string read_chunk() {
    while (in_.find("\r\n") == std::string::npos) REQUIRE(more());
    const std::size_t line = in_.find("\r\n");
    const std::size_t size = std::stoul(in_.substr(0, line), nullptr, 16);
    while (in_.size() < line + 2 + size + 2) REQUIRE(more());
    std::string chunk = in_.substr(line + 2, size);
    in_.erase(0, line + 2 + size + 2);
    return chunk;
  }

  http_answer ask(std::string_view text) {
    send(text);
    auto a = read();
    REQUIRE(a);
    return *a;
  }

  bool is_closed_by_peer() {
    while (more()) {}
    return true;
  }
  const std::string& unread() const { return in_; }
  tcp::socket& socket() { return socket_; }

 private:
  bool more() {
    std::optional<std::error_code> outcome;
    std::size_t count = 0;
    std::array<char, 16 * 1024> into{};
    socket_.async_read_some(asio::buffer(into), [&](const std::error_code& e, std::size_t n) {
      outcome = e;
      count = n;
    });
    context_.restart();
    context_.run_for(patience);
    if (!outcome) {
      socket_.cancel();
      context_.restart();
      context_.run();
      FAIL("no answer and no end of the connection");
    }
    in_.append(into.data(), count);
    return !*outcome;
  }

  asio::io_context context_;
  tcp::socket socket_;
  std::string in_;
};

/// A listener for which a test answers itself.
class raw_listener {
 public:
  raw_listener() : acceptor_{context_, {asio::ip::address_v4::loopback(), 0}} {}
  std::string address() const {
    return net::to_uri(acceptor_.local_endpoint(), net::scheme::plain, net::protocol::http);
  }
  tcp::socket accept() { return acceptor_.accept(); }
  /// Whoever connects from now on is refused.
  void close() { acceptor_.close(); }

 private:
  asio::io_context context_;
  tcp::acceptor acceptor_;
};

/// One request, its body and all; empty at the end of the connection.
inline std::string read_request(tcp::socket& from) {
  std::string text;
  std::error_code error;
  const auto more = [&](std::size_t count) {
    const std::size_t before = text.size();
    text.resize(before + count);
    asio::read(from, asio::buffer(text.data() + before, count), error);
    return !error;
  };
  while (!text.ends_with("\r\n\r\n")) {
    if (!more(1)) return {};
  }
  constexpr std::string_view name = "Content-Length: ";
  const std::size_t at = text.find(name);
  if (at != std::string::npos && !more(std::stoul(text.substr(at + name.size())))) return {};
  return text;
}

inline void write_answer(tcp::socket& to, unsigned status, std::string_view body) {
  const std::string text = "HTTP/1.1 " + std::to_string(status) +
                           " Test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                           std::string{body};
  asio::write(to, asio::buffer(text));
}

inline std::string get(std::string_view path, std::string_view more = "") {
  return "GET " + std::string{path} + " HTTP/1.1\r\nHost: localhost\r\n" + std::string{more} + "\r\n";
}

inline std::string post(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string{path} +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n" + std::string{more} + "\r\n" + std::string{body};
}

/// A site of its own with an HTTP listener.
inline net::site_options http_site() {
  auto o = site_options_of("a");
  o.listen = {"http://127.0.0.1:0"};
  o.self_link = true;
  return o;
}

}  // namespace test
