// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "net/proxy.hpp"
#include "net/sites.hpp"
#include "v1/lossy_exchange.hpp"
#include "v1/sequences.hpp"

namespace {

using namespace test;

/// A server at site a and a client at site b, each with its connection.
struct applications {
  two_sites at;
  v1::session server{connect_to(at.a->address()), options_of_server("a", "b")};
  v1::session client{connect_to(at.b->address()), options_of_client("b", "a")};
};

}  // namespace

TEST_CASE("v1 over tcp: a handle goes to the client and both get the same keys") {
  applications s;
  ladder(s.server, s.client);
}

TEST_CASE("v1 over tcp: a handle goes from the higher node to the lower one") {
  two_sites at;
  v1::session server{connect_to(at.b->address()), options_of_server("b", "a")};
  v1::session client{connect_to(at.a->address()), options_of_client("a", "b")};
  ladder(server, client,
         {.requested_length = 48});  // the opens may cross, and then it is the client's that holds
}

TEST_CASE("v1 over tcp: the client is done before the server begins") {
  applications s;
  client_first(s.server, s.client);
}

TEST_CASE("v1 over tcp: time-outs while the key managers are apart") {
  auto sources = make_memory_sources();
  const proxy nowhere;
  auto of_a = site_options_of("a");
  of_a.peers.push_back(peer_of("b", nowhere.address(), std::move(sources.first)));
  auto of_b = site_options_of("b");
  of_b.peers.push_back(peer_of("a", "", std::move(sources.second)));
  running_site a{std::move(of_a)};
  running_site b{std::move(of_b)};
  v1::session server{connect_to(a.address()), options_of_server("a", "b")};
  v1::session client{connect_to(b.address()), options_of_client("b", "a")};
  time_out(server, client);
}

TEST_CASE("v1 over tcp: a predefined handle that the server opens first") {
  applications s;
  predefined_handle(s.server, {}, s.client, "192.0.2.1");
}

TEST_CASE("v1 over tcp: a predefined handle that the client opens first") {
  applications s;
  predefined_handle(s.client, "192.0.2.1", s.server, {});
}

TEST_CASE("v1 over tcp: a predefined handle that the server has closed when the client opens it") {
  applications s;
  closed_before_opened(s.server, s.client, "192.0.2.1");
}

TEST_CASE("v1 over tcp: a predefined handle whose peer comes late") {
  applications s;
  predefined_time_out(s.server, s.client);
}

TEST_CASE("v1 over tcp: two applications of one key manager that is its own peer") {
  auto options = site_options_of("here");
  options.self_link = true;
  running_site here{std::move(options)};
  v1::session server{connect_to(here.address()), options_of_server("here", "here")};
  v1::session client{connect_to(here.address()), options_of_client("here", "here")};
  ladder(server, client);
}

TEST_CASE("v1 over tcp: a connection that is cut between two calls loses no key") {
  two_sites at;
  proxy between;
  between.lead_to(at.a->address());
  v1::session server{connect_to(between.address()), options_of_server("a", "b")};
  v1::session client{connect_to(at.b->address()), options_of_client("b", "a")};
  v1::key_handle handle;
  REQUIRE(server.open({}, {}, handle) == v1::status::success);
  REQUIRE(client.open("192.0.2.1", {}, handle) == v1::status::success);
  check_equal_keys(server, client, handle, 2);
  between.cut();
  check_equal_keys(server, client, handle, 2);
}

TEST_CASE("v1 over tcp: a reply that was lost ends the stream at both ends") {
  two_sites at;
  const auto way = std::make_shared<lossy_exchange>(connect_to(at.a->address()));
  v1::session server{way, options_of_server("a", "b")};
  v1::session client{connect_to(at.b->address()), options_of_client("b", "a")};
  lost_reply(server, client, *way);
  CHECK(at.a->on_manager([](key_manager& m) { return m.totals().burned_chunks; }) == 1);
}

TEST_CASE("v1 over tcp: a handle that another connection has opened is in use") {
  applications s;
  v1::session other{connect_to(s.at.a->address()), options_of_server("a", "b")};
  v1::key_handle handle;
  REQUIRE(s.server.open({}, {}, handle) == v1::status::success);
  CHECK(other.open({}, {}, handle) == v1::status::key_handle_in_use);
  REQUIRE(s.client.open("192.0.2.1", {}, handle) == v1::status::success);
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 over tcp: a key manager that is gone is no connection") {
  std::optional<running_site> site{std::in_place, site_options_of("a")};
  v1::session server{connect_to(site->address()), options_of_server("a", "b")};
  site.reset();
  v1::key_handle handle;
  CHECK(server.open({}, {}, handle) == v1::status::no_qkd_connection);
}
