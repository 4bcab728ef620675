// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <functional>
#include <vector>

#include "qkd004/self_link.hpp"
#include "two_sites.hpp"

using namespace testing;

namespace {

two_sites::options evenly_paced() {
  two_sites::options o;
  o.source.rate_bps = 8'000'000;
  return o;
}

link_report link_at(site& s, time_point now) { return s.manager.links(now).at(0); }

}  // namespace

TEST_CASE("links: tell the stage of each, its peer and its key source") {
  auto o = evenly_paced();
  o.up = false;
  two_sites w{o};
  const auto down = link_at(*w.a, w.now);
  CHECK(down.name == "ab");
  CHECK(down.peer == "B");
  CHECK(down.at == link_report::stage::down);
  CHECK(down.key_source == "memory");
  CHECK(down.security == security_class::simulated_insecure);
  CHECK(down.received == 0);
  w.a->manager.link_up(w.a->link, w.now);
  CHECK(link_at(*w.a, w.now).at == link_report::stage::greeting);
  w.connect();
  CHECK(link_at(*w.a, w.now).at == link_report::stage::ready);
  w.cut();
  CHECK(link_at(*w.a, w.now).at == link_report::stage::down);
}

TEST_CASE(
    "links: count key from the source to whoever reads it, at both sites, and keep the counts of ended "
    "streams") {
  two_sites w{evenly_paced()};
  const auto id = w.open_both();
  w.pass(100ms);
  const auto before = link_at(*w.a, w.now);
  CHECK(before.streams == 1);
  CHECK(before.received > 0);
  CHECK(before.bound > 10);
  CHECK(before.in_streams == before.bound * 32);
  CHECK(before.received == before.pooled + before.bound * 32);
  CHECK(before.room > before.in_streams);
  CHECK(before.bps == 8'000'000);
  for (std::uint64_t i = 0; i < 3; ++i) w.get(*w.a, w.conn_a, id, i);
  const auto read = link_at(*w.a, w.now);
  CHECK(read.delivered == 3);
  CHECK(read.delivered_octets == 96);
  CHECK(read.in_streams == (read.bound - 3) * 32);
  CHECK(link_at(*w.b, w.now).delivered == 0);

  w.close(*w.a, w.conn_a, id);
  w.close(*w.b, w.conn_b, id);
  const auto ended = link_at(*w.a, w.now);
  CHECK(ended.streams == 0);
  CHECK(ended.in_streams == 0);
  CHECK(ended.bound == read.bound);
  CHECK(ended.delivered == 3);
  CHECK(ended.discarded == read.bound - 3);
}

TEST_CASE("links: count what expired, and calls that wait") {
  auto o = evenly_paced();
  o.source.rate_bps = 80'000;
  two_sites w{o};
  auto request = a_to_b;
  request.quality.ttl_s = 1;
  const auto id = w.open_both(request);
  w.get(*w.a, w.conn_a, id, 100'000);
  CHECK(link_at(*w.a, w.now).waiting == 1);
  w.pass(500ms);
  CHECK(link_at(*w.a, w.now).expired == 0);
  w.pass(3s);
  CHECK(link_at(*w.a, w.now).expired > 0);
  w.pass(10s);
  CHECK(link_at(*w.a, w.now).waiting == 0);
}

TEST_CASE("report_all: tells whose every stream is, and how old its oldest key") {
  two_sites w{evenly_paced()};
  const auto id = w.open_both();
  const auto half = w.open(*w.b, w.conn_b, a_to_b);
  w.pass(300ms);
  const auto all = w.a->manager.report_all(w.now);
  CHECK(all.open == 2);
  REQUIRE(all.streams.size() == 2);
  CHECK(all.streams[0].stream == id);
  CHECK(all.streams[0].owner == "alice");
  CHECK(all.streams[0].oldest_ms > 0);
  CHECK(all.streams[0].oldest_ms <= 300);
  CHECK(all.streams[1].stream == w.b->answers[half].open->stream);
  CHECK(all.streams[1].owner.empty());
  CHECK(w.a->manager.report(w.conn_a, {}, w.now).streams.at(0).owner.empty());
}

TEST_CASE("self_link: tells of one link what both sides of it count") {
  struct : site_events {
    time_point now{std::chrono::hours{1}};
    secret_arena arena;
    seeded_random random;
    self_link service{{"S", {}, {}, false, {}}, arena, std::ref(random), *this};
  } s;
  const auto one = s.service.connect("one");
  const auto two = s.service.connect("two");
  open_connect_request r{"qkd://x@S", "qkd://y@S"};
  s.service.open_connect({one, 1}, r, s.now);
  r.stream = s.answers.at(1).open->stream;
  s.service.open_connect({two, 2}, r, s.now);
  s.service.get_key({one, 3}, {r.stream, 0, 0, true}, s.now);
  s.service.get_key({two, 4}, {r.stream, 0, 0, true}, s.now);
  const auto links = s.service.links(s.now);
  REQUIRE(links.size() == 1);
  CHECK(links[0].at == link_report::stage::ready);
  CHECK(links[0].peer == "S");
  CHECK(links[0].delivered == 2);
  CHECK(links[0].streams == 1);
  const auto all = s.service.report_all(s.now);
  REQUIRE(all.streams.size() == 2);
  CHECK(all.streams[0].source == "qkd://x@S");
  CHECK(all.streams[0].owner == "one");
  CHECK(all.streams[1].owner == "two");
}
