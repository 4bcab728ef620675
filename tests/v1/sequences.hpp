// The sequences of GS QKD 004 V1.1.1, 6.1, as two applications make them over any exchange.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <future>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/v1.hpp"
#include "v1/lossy_exchange.hpp"

namespace test {

using namespace qkd004;
using namespace std::chrono_literals;

using key = std::vector<std::byte>;

inline v1::key_handle predefined(unsigned char octet) {
  v1::key_handle h;
  h.octets.fill(std::byte{octet});
  return h;
}

/// What the two applications are configured with, at nodes of these names: the server takes whom the default link
/// leads to, the client knows the server's address.
inline v1::options options_of_server(const std::string& here, const std::string& there) {
  return {"qkd://server@" + here, {}, "qkd://client@" + there};
}
inline v1::options options_of_client(const std::string& here, const std::string& there) {
  return {"qkd://client@" + here, {{"192.0.2.1", "qkd://server@" + there}}, {}};
}

/// The next key, or what came in its place.
inline key next_key(v1::session& at, const v1::key_handle& handle, v1::status wanted = v1::status::success) {
  key k(at.key_length(handle) == 0 ? 32 : at.key_length(handle));
  const auto outcome = at.get_key(handle, k);
  CHECK(outcome == wanted);
  return outcome == v1::status::success ? k : key{};
}

/// Both ends take keys in turn: equal, and each of them new.
inline void check_equal_keys(v1::session& one, v1::session& other, const v1::key_handle& handle,
                             std::size_t count = 5) {
  std::set<key> all;
  for (std::size_t i = 0; i < count; ++i) {
    const key k = next_key(one, handle);
    CHECK(next_key(other, handle) == k);
    all.insert(k);
  }
  CHECK(all.size() == count);
}

/// 1: the server's handle travels to the client, both meet, both loop, both close.
inline void ladder(v1::session& server, v1::session& client, const v1::qos& of_client = {}) {
  v1::key_handle handle;
  REQUIRE(server.open({}, {.requested_length = 48}, handle) == v1::status::success);
  REQUIRE(!handle.is_null());
  CHECK(server.connect_nonblock(handle) == v1::status::no_qkd_connection);
  auto server_connects = std::async(std::launch::async, [&] { return server.connect_blocking(handle, 20s); });

  v1::key_handle told = handle;
  REQUIRE(client.open("192.0.2.1", of_client, told) == v1::status::success);
  CHECK(told == handle);
  CHECK(client.connect_blocking(told, 20s) == v1::status::success);
  CHECK(server_connects.get() == v1::status::success);
  CHECK(server.connect_nonblock(handle) == v1::status::success);
  CHECK(client.connect_nonblock(told) == v1::status::success);

  CHECK(client.key_length(told) == 48);
  check_equal_keys(server, client, handle);
  CHECK(server.close(handle) == v1::status::success);
  CHECK(client.close(told) == v1::status::success);
  CHECK(server.close(handle) == v1::status::no_qkd_connection);
  next_key(client, told, v1::status::no_qkd_connection);
}

/// 1 as TLS has it: the client has its key, and has closed, before the server can begin.
inline void client_first(v1::session& server, v1::session& client) {
  v1::key_handle handle;
  REQUIRE(server.open({}, {}, handle) == v1::status::success);
  REQUIRE(client.open("192.0.2.1", {}, handle) == v1::status::success);
  CHECK(client.connect_blocking(handle, 0s) == v1::status::success);
  const key k = next_key(client, handle);
  CHECK(client.close(handle) == v1::status::success);

  CHECK(server.connect_blocking(handle, 0s) == v1::status::success);
  CHECK(next_key(server, handle) == k);
  CHECK(server.close(handle) == v1::status::success);
}

/// 2: the key managers do not reach one another.
inline void time_out(v1::session& server, v1::session& client) {
  v1::key_handle handle;
  REQUIRE(server.open({}, {.timeout_ms = 20}, handle) == v1::status::success);
  REQUIRE(client.open("192.0.2.1", {.timeout_ms = 20}, handle) == v1::status::success);
  CHECK(server.connect_blocking(handle, 20ms) == v1::status::timeout);
  CHECK(client.connect_blocking(handle, 0ms) == v1::status::timeout);  // QoS Timeout
  CHECK(client.connect_nonblock(handle) == v1::status::no_qkd_connection);
  next_key(server, handle, v1::status::timeout);
  next_key(client, handle, v1::status::timeout);
  CHECK(server.close(handle) == v1::status::success);
  CHECK(client.close(handle) == v1::status::success);
}

/// 3: both know the handle, `first` opens it first.
inline void predefined_handle(v1::session& first, std::string_view to_second, v1::session& second,
                              std::string_view to_first) {
  v1::key_handle handle = predefined(1);
  REQUIRE(first.open(to_second, {.requested_length = 16}, handle) == v1::status::success);
  CHECK(handle == predefined(1));
  REQUIRE(second.open(to_first, {.requested_length = 16}, handle) == v1::status::success);
  CHECK(first.connect_blocking(handle, 20s) == v1::status::success);
  CHECK(second.connect_blocking(handle, 20s) == v1::status::success);
  check_equal_keys(second, first, handle);
  CHECK(second.close(handle) == v1::status::success);
  CHECK(first.close(handle) == v1::status::success);
}

/// 4: both know the handle, one of them does not come. Its key can be had, as nobody needs the peer for it (D10).
inline void predefined_time_out(v1::session& server, v1::session& client) {
  v1::key_handle handle = predefined(2);
  REQUIRE(client.open("192.0.2.1", {}, handle) == v1::status::success);
  CHECK(client.connect_blocking(handle, 20ms) == v1::status::timeout);
  const key k = next_key(client, handle);
  CHECK(server.connect_blocking(handle, 20ms) == v1::status::no_qkd_connection);  // not open here
  REQUIRE(server.open({}, {}, handle) == v1::status::success);                    // late, and in time
  CHECK(server.connect_blocking(handle, 20s) == v1::status::success);
  CHECK(next_key(server, handle) == k);
}

/// 3, and `first` has taken its key and closed before the other end opens: what it left unread waits (QKD_CLOSE).
inline void closed_before_opened(v1::session& first, v1::session& second, std::string_view to_first) {
  v1::key_handle handle = predefined(11);
  REQUIRE(first.open({}, {}, handle) == v1::status::success);
  const key k = next_key(first, handle);
  CHECK(first.close(handle) == v1::status::success);
  REQUIRE(second.open(to_first, {}, handle) == v1::status::success);
  CHECK(second.connect_blocking(handle, 20s) == v1::status::success);
  CHECK(next_key(second, handle) == k);
}

/// The client, whose peer has lost the stream, reads what is there, and then is told.
inline std::size_t read_out(v1::session& client, const v1::key_handle& handle) {
  key k(client.key_length(handle));
  std::size_t count = 0;
  v1::status outcome{};
  while ((outcome = client.get_key(handle, k)) == v1::status::success && count < 10'000) ++count;
  CHECK(outcome == v1::status::insufficient_key);
  return count;
}

/// A reply is lost on its way to the server, whose session has `way`: it cannot know what the key was, and the client
/// must not go on as if both had it.
inline void lost_reply(v1::session& server, v1::session& client, lossy_exchange& way) {
  v1::key_handle handle;
  REQUIRE(server.open({}, {}, handle) == v1::status::success);
  REQUIRE(client.open("192.0.2.1", {}, handle) == v1::status::success);
  check_equal_keys(server, client, handle, 3);
  way.lost_replies = 1;
  next_key(server, handle, v1::status::insufficient_key);
  next_key(server, handle, v1::status::insufficient_key);
  CHECK(read_out(client, handle) < 1'000);
  next_key(client, handle, v1::status::insufficient_key);
  CHECK(server.close(handle) == v1::status::success);
  CHECK(client.close(handle) == v1::status::success);
}

}  // namespace test
