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

TEST_CASE("address: knows a number from a name, and how HTTP writes both") {
  const auto v6 = *parse_address("http://[::1]:81");
  CHECK(is_number(v6));
  CHECK(authority_of(v6) == "[::1]:81");
  const auto v4 = *parse_address("https://127.0.0.1");
  CHECK(is_number(v4));
  CHECK(authority_of(v4) == "127.0.0.1:443");
  const auto name = *parse_address("http://localhost");
  CHECK_FALSE(is_number(name));
  CHECK(authority_of(name) == "localhost:80");
  CHECK_FALSE(is_number(*parse_address("unix:/run/x")));
}

TEST_CASE("address: names what is wrong when it is no address of ours") {
  for (const char* const uri : {"",
                                "127.0.0.1:4000",
                                "qkd004:127.0.0.1",
                                "qkd004://",
                                "qkd004://:1",
                                "qkd004://h:",
                                "qkd004://h:x",
                                "qkd004://h:65536",
                                "qkd004://h:-1",
                                "qkd004://h:1x",
                                "qkd004://[::1",
                                "qkd004://[::1]1",
                                "qkd004://a@h:1",
                                "qkd004://h/path",
                                "ftp://h:1",
                                "http://h/path",
                                "https:h",
                                "qkd004s://h:x",
                                "qkd004s:h",
                                "qkd004s://",
                                "unix:",
                                "unix:/",
                                "unix:tmp/x",
                                "unix:/tmp/",
                                "unix://host/tmp/x",
                                "unix:////"}) {
    CAPTURE(uri);
    std::string why;
    const auto address = parse_address(uri, &why);
    REQUIRE_FALSE(address);
    CHECK(address.error() == std::errc::invalid_argument);
    CHECK_FALSE(why.empty());
  }
}

TEST_CASE("address: HTTP is TCP and HTTPS is TLS, with the ports that are theirs") {
  const auto plain = parse_address("http://h");
  REQUIRE(plain);
  CHECK(plain->kind == scheme::plain);
  CHECK(plain->spoken == protocol::http);
  CHECK(plain->port == 80);
  const auto secure = parse_address("https://[::1]");
  REQUIRE(secure);
  CHECK(secure->kind == scheme::tls);
  CHECK(secure->spoken == protocol::http);
  CHECK(secure->port == 443);
  CHECK(parse_address("qkd004://h")->spoken == protocol::frames);
}

TEST_CASE("address: reads what carries the frames from its scheme") {
  const auto plain = parse_address("qkd004://h");
  REQUIRE(plain);
  CHECK(plain->kind == scheme::plain);
  const auto tls = parse_address("qkd004s://h");
  REQUIRE(tls);
  CHECK(tls->kind == scheme::tls);
  CHECK(tls->host == "h");
  CHECK(tls->port == default_port);
  for (const char* const uri : {"unix:/run/qkd004", "unix:///run/qkd004"}) {
    const auto file = parse_address(uri);
    REQUIRE(file);
    CHECK(file->kind == scheme::unix_socket);
    CHECK(file->path == "/run/qkd004");
    CHECK(to_uri(endpoints_of(*file, reach::loopback)->front(), scheme::unix_socket) == "unix:/run/qkd004");
  }
}

TEST_CASE("address: says how long a path may be when one is longer") {
  const std::string longest = "unix:/" + std::string(106, 'x');
  CHECK(parse_address(longest));
  std::string why;
  CHECK_FALSE(parse_address(longest + "x", &why));
  CHECK(why.find("108 octets, and at most 107") != std::string::npos);
}

TEST_CASE("address: goes anywhere with TLS") {
  const auto far = endpoints_of(*parse_address("qkd004s://[2001:db8::1]:1"), reach::loopback);
  REQUIRE(far);
  CHECK(to_uri(far->front(), scheme::tls) == "qkd004s://[2001:db8::1]:1");
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

TEST_CASE("address: a listener's may be a socket that is given, of any scheme") {
  struct row {
    const char* uri;
    scheme kind;
    protocol spoken;
  };
  for (const row& r : {row{"qkd004+systemd:apps", scheme::plain, protocol::frames},
                       row{"qkd004s+systemd:apps", scheme::tls, protocol::frames},
                       row{"unix+systemd:apps", scheme::unix_socket, protocol::frames},
                       row{"http+systemd:apps", scheme::plain, protocol::http},
                       row{"https+systemd:apps", scheme::tls, protocol::http}}) {
    CAPTURE(r.uri);
    const auto found = parse_listener(r.uri);
    REQUIRE(found);
    CHECK(found->given == "apps");
    CHECK(found->kind == r.kind);
    CHECK(found->spoken == r.spoken);
    CHECK_FALSE(parse_address(r.uri));  // nobody can call there
  }
  CHECK(parse_listener("qkd004://127.0.0.1:1")->given.empty());
  for (const char* const uri : {"qkd004+systemd:", "+systemd:x", "ftp+systemd:x", "qkd004+systemd:a b",
                                "qkd004+systemd://x", "qkd004+systemd:a:b", "qkd004+launchd:x"}) {
    CAPTURE(uri);
    std::string why;
    CHECK_FALSE(parse_listener(uri, &why));
    CHECK(why.find(uri) != std::string::npos);
  }
}
