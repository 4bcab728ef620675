// SPDX-License-Identifier: Apache-2.0
#include "operations/audience.hpp"

#include <doctest/doctest.h>

#include <string_view>
#include <vector>

using namespace qkd004;
using namespace qkd004::operations;

namespace {

constexpr std::string_view alice = "tls:CN=authority#qkd://alice@a";

sight seen_by(const viewers& v, std::string_view principal, std::string_view remote) {
  net::http::request r;
  r.principal = principal;
  r.remote = remote;
  return v.of(r);
}

bool from_page(std::string_view site) {
  const std::vector<net::http::field_view> fields{{"sec-fetch-site", site}};
  net::http::request r;
  r.fields = fields;
  return is_cross_site(r);
}

}  // namespace

TEST_CASE("audience: by default it is who asks from this host, and he sees streams of his own only") {
  const viewers v;
  CHECK(seen_by(v, "anonymous", "http://127.0.0.1:4711") == sight::own_streams);
  CHECK(seen_by(v, "anonymous", "http://[::1]:4711") == sight::own_streams);
  CHECK(seen_by(v, "anonymous", "http://[::ffff:127.0.0.1]:4711") == sight::own_streams);
  CHECK(seen_by(v, alice, "https://127.0.0.1:4711") == sight::own_streams);
  CHECK(seen_by(v, "anonymous", "http://192.0.2.1:4711") == sight::nothing);
  CHECK(seen_by(v, alice, "https://192.0.2.1:4711") == sight::nothing);
  CHECK(seen_by(v, "anonymous", "http://[::ffff:192.0.2.1]:4711") == sight::nothing);
  CHECK(seen_by(v, "anonymous", "http://[2001:db8::1]:4711") == sight::nothing);
  CHECK(seen_by(v, "anonymous", "") == sight::nothing);
}

TEST_CASE("audience: each has those before it in it") {
  viewers v;
  v.who = audience::nobody;
  v.operators = {"*"};
  CHECK(seen_by(v, alice, "https://127.0.0.1:1") == sight::nothing);
  v = {audience::operators, {}};
  CHECK(seen_by(v, "anonymous", "http://127.0.0.1:1") == sight::nothing);
  v = {audience::authenticated, {}};
  CHECK(seen_by(v, alice, "https://192.0.2.1:1") == sight::own_streams);
  CHECK(seen_by(v, "anonymous", "http://192.0.2.1:1") == sight::nothing);
  CHECK(seen_by(v, "anonymous", "http://127.0.0.1:1") == sight::own_streams);
  v = {audience::everyone, {}};
  CHECK(seen_by(v, "anonymous", "http://192.0.2.1:1") == sight::own_streams);
}

TEST_CASE("audience: operators see every stream, from wherever they ask") {
  const viewers v{audience::operators, {"qkd://noc@a", "spki:00*"}};
  CHECK(seen_by(v, "tls:CN=authority#qkd://noc@a", "https://192.0.2.1:1") == sight::all_streams);
  CHECK(seen_by(v, "tls:CN=authority#spki:00ff", "https://192.0.2.1:1") == sight::all_streams);
  CHECK(seen_by(v, "tls:CN=authority#qkd://noc@a.example", "https://192.0.2.1:1") == sight::nothing);
  CHECK(seen_by(v, alice, "https://192.0.2.1:1") == sight::nothing);
  CHECK(seen_by({audience::loopback, {"*"}}, "", "https://192.0.2.1:1") == sight::nothing);
}

TEST_CASE("audience: a browser that asks for another site's page is told apart") {
  CHECK(from_page("cross-site"));
  CHECK(from_page("same-site"));
  CHECK_FALSE(from_page("same-origin"));
  CHECK_FALSE(from_page("none"));
  CHECK_FALSE(is_cross_site({}));
}
