#include "qkd004/self_link.hpp"

#include <doctest/doctest.h>

#include <map>

#include "two_sites.hpp"

using namespace testing;

namespace {

/// One self-linked site and its callers.
struct lone_site : site_events {
  lone_site() : service{{"S", {}, {}, false, {}}, arena, std::ref(random), *this} {}

  status open(connection_id who, open_connect_request r) {
    service.open_connect({who, ++tickets}, r, now);
    if (!answers.contains(tickets)) return status::timeout;
    stream = answers.at(tickets).open->stream;
    return answers.at(tickets).open->outcome;
  }
  std::vector<std::byte> get(connection_id who, std::uint64_t index) {
    service.get_key({who, ++tickets}, {stream, index, 0, true}, now);
    return answers.at(tickets).key;
  }
  status close(connection_id who) {
    service.close({who, ++tickets}, {stream}, now);
    return answers.at(tickets).closed->outcome;
  }

  time_point now{std::chrono::hours{1}};
  secret_arena arena;
  seeded_random random;
  self_link service;
  key_stream_id stream;
  std::uint64_t tickets = 0;
};

const open_connect_request both{"qkd://x@S", "qkd://y@S"};

open_connect_request both_as(const key_stream_id& id) {
  auto r = both;
  r.stream = id;
  return r;
}

}  // namespace

TEST_CASE("self_link: serves both ends of a stream, and refuses a third") {  // D17
  lone_site s;
  const auto one = s.service.connect("anonymous");
  const auto two = s.service.connect("anonymous");
  const auto three = s.service.connect("anonymous");
  CHECK(s.open(one, both) == status::peer_not_connected);
  CHECK(s.open(two, both_as(s.stream)) == status::success);
  CHECK(s.open(three, both_as(s.stream)) == status::ksid_in_use);
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto x = s.get(one, i);
    REQUIRE(x.size() == 32);
    REQUIRE(x == s.get(two, i));
  }
  CHECK(s.close(one) == status::success);
  CHECK(s.close(two) == status::success);
  CHECK(s.open(three, both_as(s.stream)) == status::ksid_in_use);
}

TEST_CASE("self_link: lets the first wait for the second on a predefined KSID") {
  lone_site s;
  const auto one = s.service.connect("anonymous");
  const auto two = s.service.connect("anonymous");
  CHECK(s.open(one, both_as(predefined(4))) == status::timeout);  // it waits
  const auto swapped = [] {
    open_connect_request r{both.destination, both.source};
    r.stream = predefined(4);
    return r;
  }();
  CHECK(s.open(two, swapped) == status::success);
  CHECK(s.answers.at(1).open->outcome == status::success);
  CHECK(s.get(one, 0) == s.get(two, 0));
}

TEST_CASE("self_link: tells callers apart by principal") {
  lone_site s;
  const auto alice = s.service.connect("alice");
  const auto bob = s.service.connect("bob");
  CHECK(s.open(alice, both) == status::peer_not_connected);
  CHECK(s.open(bob, both_as(s.stream)) == status::success);
  const auto key = s.get(alice, 0);
  const auto bob_again = s.service.connect("bob");
  CHECK(s.get(bob_again, 0) == key);
  CHECK(s.close(bob_again) == status::success);
  CHECK(s.get(alice, 1).size() == 32);
  const auto mallory = s.service.connect("mallory");
  CHECK(s.get(mallory, 1).empty());
}

TEST_CASE("self_link: reads alternately for a client that connects anew for every call") {
  lone_site s;
  const auto once = [&](auto&& use) {
    const auto c = s.service.connect("anonymous");
    auto r = use(c);
    s.service.disconnect(c, s.now);
    return r;
  };
  CHECK(once([&](auto c) { return s.open(c, both); }) == status::peer_not_connected);
  CHECK(once([&](auto c) { return s.open(c, both_as(s.stream)); }) == status::success);
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto x = once([&](auto c) { return s.get(c, i); });
    const auto y = once([&](auto c) { return s.get(c, i); });
    REQUIRE(x.size() == 32);
    REQUIRE(x == y);
  }
  CHECK(once([&](auto c) { return s.close(c); }) == status::success);
  CHECK(once([&](auto c) { return s.close(c); }) == status::success);
}

TEST_CASE("self_link: refuses URIs of other sites") {
  lone_site s;
  const auto one = s.service.connect("anonymous");
  CHECK(s.open(one, {"qkd://x@S", "qkd://y@T"}) == status::no_qkd_connection);
  CHECK(s.open(one, {"", "qkd://y@S"}) == status::invalid_argument);
}

TEST_CASE("self_link: says 0 again to both owners who close twice, and to nobody else") {  // D16
  lone_site s;
  const auto alice = s.service.connect("alice");
  const auto bob = s.service.connect("bob");
  const auto carol = s.service.connect("carol");
  s.open(alice, both);
  s.open(bob, both_as(s.stream));
  for (int i = 0; i < 2; ++i) {
    CHECK(s.close(alice) == status::success);
    CHECK(s.close(bob) == status::success);
    CHECK(s.close(carol) == status::unknown_key_stream);
  }
}
