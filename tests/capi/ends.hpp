// ends: both ends of a key stream, by the C interface alone: in this process, or over a wire.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "qkd004.h"

namespace capi_test {

inline constexpr std::size_t key_size = 32;
using key = std::array<std::uint8_t, key_size>;

/// A result that had to be success.
inline void must(int result) {
  INFO(std::string{qkd004_last_error()});
  REQUIRE(result == QKD004_SUCCESS);
}

/// What a call for the next key came to.
struct taken {
  int result = 0;
  std::uint64_t index = 0;
  key octets{};

  friend bool operator==(const taken&, const taken&) = default;
};
inline taken next(qkd004_stream* s) {
  taken t;
  std::size_t size = t.octets.size();
  t.result = qkd004_next_key(s, t.octets.data(), &size, &t.index, nullptr);
  if (t.result == QKD004_SUCCESS) CHECK(size == key_size);
  return t;
}

/// A stream that both applications have opened.
class ends {
 public:
  /// Two sites in this process.
  ends() {
    must(qkd004_pair(&client_a, &client_b));
    open("qkd://alice@A", "qkd://bob@B");
  }
  /// Two clients, which become its own.
  struct clients {
    qkd004_client* a;
    qkd004_client* b;
    const char* source = "qkd://alice@A";
    const char* destination = "qkd://bob@B";
  };
  struct asked {
    std::uint32_t timeout_ms = 0;
    std::uint32_t flags = 0;
    const char* mimetype = "";
  };
  explicit ends(const clients& c) : ends{c, asked{}} {}
  ends(const clients& c, const asked& with) : client_a{c.a}, client_b{c.b}, asked_{with} {
    open(c.source, c.destination);
  }
  ends(const ends&) = delete;
  ends& operator=(const ends&) = delete;
  ~ends() {
    for (qkd004_stream* const s : {a, b}) (void)qkd004_close(s);
    for (qkd004_client* const c : {client_a, client_b}) (void)qkd004_client_close(c);
  }

  qkd004_client* client_a = nullptr;
  qkd004_client* client_b = nullptr;
  qkd004_stream* a = nullptr;
  qkd004_stream* b = nullptr;
  qkd004_key_stream_id id{};

  /// The key that is due is there, and the same at both ends: nothing was lost and nothing came twice.
  void due(std::uint64_t index) {
    const taken at_a = next(a);
    const taken at_b = next(b);
    INFO(std::string{qkd004_last_error()});
    CHECK(at_a.result == QKD004_SUCCESS);
    CHECK(at_a.index == index);
    CHECK(at_a == at_b);
    CHECK(at_a.octets != key{});
  }

 private:
  void open(const char* source, const char* destination) {
    qkd004_qos quality = QKD004_QOS_INIT;
    quality.timeout_ms = asked_.timeout_ms;
    std::string{asked_.mimetype}.copy(quality.metadata_mimetype, sizeof quality.metadata_mimetype - 1);
    qkd004_qos same = quality;
    INFO(std::string{qkd004_last_error()});
    REQUIRE(qkd004_open_connect(client_a, source, destination, &quality, &id, asked_.flags | QKD004_NO_WAIT,
                                &a) == QKD004_PEER_NOT_CONNECTED);
    must(qkd004_open_connect(client_b, source, destination, &same, &id, asked_.flags, &b));
  }
  const asked asked_{};
};

/// A site of its own on a thread, which is its own peer, and two clients of it.
class served {
 public:
  served() : served{"node = \"site\"\nlisten = [\"qkd004://127.0.0.1:0\"]\nself_link = true\n"} {}
  explicit served(const std::string& config) {
    qkd004_server_options options = QKD004_SERVER_OPTIONS_INIT;
    options.config = config.c_str();
    must(qkd004_server_start(&options, &server));
    std::array<char, 256> address{};
    std::size_t size = address.size();
    must(qkd004_server_address(server, 0, address.data(), &size));
    uri = address.data();
  }
  served(const served&) = delete;
  served& operator=(const served&) = delete;
  ~served() { (void)qkd004_server_stop(server); }

  [[nodiscard]] qkd004_client* connect() const {
    qkd004_client* c = nullptr;
    must(qkd004_connect(uri.c_str(), nullptr, &c));
    return c;
  }
  [[nodiscard]] ends::clients clients() const {
    return {connect(), connect(), "qkd://alice@site", "qkd://bob@site"};
  }

  qkd004_server* server = nullptr;
  std::string uri;
};

}  // namespace capi_test
