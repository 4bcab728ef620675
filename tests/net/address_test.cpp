// SPDX-License-Identifier: Apache-2.0
#include "net/address.hpp"

#include <doctest/doctest.h>

using namespace qkd004;
using namespace qkd004::net;

TEST_CASE("address: reads host and port when they are there") {
  const auto full = parse_address("qkd004://127.0.0.1:4000");
  REQUIRE(full);
  CHECK(full->host == "127.0.0.1");
  CHECK(full->port == 4000);
  const auto short_one = parse_address("qkd004://localhost");
  REQUIRE(short_one);
  CHECK(short_one->port == default_port);
  const auto v6 = parse_address("qkd004://[::1]:0/");
  REQUIRE(v6);
  CHECK(v6->host == "::1");
  CHECK(v6->port == 0);
}

TEST_CASE("address: names what is wrong when it is no address of ours") {
  for (const char* const uri :
       {"", "127.0.0.1:4000", "qkd004:127.0.0.1", "qkd004://", "qkd004://:1", "qkd004://h:", "qkd004://h:x",
        "qkd004://h:65536", "qkd004://h:-1", "qkd004://h:1x", "qkd004://[::1", "qkd004://[::1]1",
        "qkd004://a@h:1", "qkd004://h/path", "http://h:1", "qkd004s://h:1", "unix:/tmp/x"}) {
    CAPTURE(uri);
    std::string why;
    const auto address = parse_address(uri, &why);
    REQUIRE_FALSE(address);
    CHECK(address.error() == std::errc::invalid_argument);
    CHECK_FALSE(why.empty());
  }
}

TEST_CASE("address: stays on loopback unless it may go anywhere") {
  CHECK(resolve(*parse_address("qkd004://127.0.0.9:1"), reach::loopback));
  CHECK(resolve(*parse_address("qkd004://[::1]:1"), reach::loopback));
  std::string why;
  CHECK_FALSE(resolve(*parse_address("qkd004://192.0.2.1:1"), reach::loopback, &why));
  CHECK(why.find("allow_insecure") != std::string::npos);
  const auto far = resolve(*parse_address("qkd004://192.0.2.1:1"), reach::anywhere);
  REQUIRE(far);
  CHECK(to_uri(far->front()) == "qkd004://192.0.2.1:1");
}
