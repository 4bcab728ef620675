// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>

#include <cstring>
#include <string>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

/// An application of the first edition at each site.
struct sessions {
  sessions() {
    qkd004_client* a = nullptr;
    qkd004_client* b = nullptr;
    must(qkd004_pair(&a, &b));
    must(qkd004_v1_session_open(a, "qkd://server@A", nullptr, &server));
    must(qkd004_v1_session_open(b, "qkd://client@B", "qkd://server@A", &client));
    must(qkd004_client_close(a));
    must(qkd004_client_close(b));
  }
  sessions(const sessions&) = delete;
  sessions& operator=(const sessions&) = delete;
  ~sessions() {
    (void)qkd004_v1_session_close(server);
    (void)qkd004_v1_session_close(client);
  }
  qkd004_v1_session* server = nullptr;
  qkd004_v1_session* client = nullptr;
};

}  // namespace

TEST_CASE("v1: two applications open, connect, get the same keys, and close") {
  const sessions s;
  must(qkd004_v1_session_destination(s.server, "192.0.2.7", "qkd://client@B"));
  qkd004_v1_qos q = QKD004_V1_QOS_INIT;
  q.requested_length = 24;
  qkd004_v1_key_handle h{};
  must(qkd004_v1_open(s.server, "192.0.2.7", &q, &h));
  CHECK(qkd004_v1_connect_nonblock(s.server, &h) == QKD004_V1_NO_QKD_CONNECTION);
  CHECK(std::string{qkd004_last_error()} == "qkd004_v1_connect_nonblock: no QKD connection");
  CHECK(qkd004_v1_connect_blocking(s.server, &h, 1) == QKD004_V1_TIMEOUT);
  must(qkd004_v1_open(s.client, nullptr, nullptr, &h));
  must(qkd004_v1_connect_blocking(s.server, &h, 0));
  must(qkd004_v1_connect_nonblock(s.client, &h));
  for (int i = 0; i != 5; ++i) {
    key a{};
    key b{};
    std::size_t size = 23;
    CHECK(qkd004_v1_get_key(s.server, &h, a.data(), &size) == -ENOBUFS);
    CHECK(size == 24);
    size = a.size();
    must(qkd004_v1_get_key(s.server, &h, a.data(), &size));
    CHECK(size == 24);
    size = b.size();
    must(qkd004_v1_get_key(s.client, &h, b.data(), &size));
    CHECK(a == b);
    CHECK(a != key{});
  }
  must(qkd004_v1_close(s.server, &h));
  CHECK(qkd004_v1_close(s.server, &h) == QKD004_V1_NO_QKD_CONNECTION);
  must(qkd004_v1_close(s.client, &h));
  CHECK(qkd004_v1_open(s.client, nullptr, nullptr, &h) == QKD004_V1_KEY_HANDLE_IN_USE);
}

TEST_CASE("v1: what cannot be is a status") {
  const sessions s;
  qkd004_v1_key_handle h{};
  CHECK(qkd004_v1_open(s.server, nullptr, nullptr, &h) ==
        QKD004_V1_NO_QKD_CONNECTION);  // no default destination
  CHECK(qkd004_v1_open(s.client, "nobody", nullptr, &h) == QKD004_V1_NO_QKD_CONNECTION);
  const qkd004_v1_key_handle none{};
  CHECK(std::memcmp(&h, &none, sizeof h) == 0);
  must(qkd004_v1_open(s.client, nullptr, nullptr, &h));
  CHECK(qkd004_v1_open(s.client, nullptr, nullptr, &h) == QKD004_V1_KEY_HANDLE_IN_USE);
  CHECK(qkd004_v1_session_destination(s.client, "late", "qkd://x@A") == QKD004_V1_INVALID_ARGUMENT);
  qkd004_v1_key_handle unknown{{3}};
  key k{};
  std::size_t size = k.size();
  CHECK(qkd004_v1_get_key(s.client, &unknown, k.data(), &size) == QKD004_V1_NO_QKD_CONNECTION);
  CHECK(qkd004_v1_connect_blocking(s.client, &unknown, 1) == QKD004_V1_NO_QKD_CONNECTION);
}
