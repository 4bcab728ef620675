// SPDX-License-Identifier: Apache-2.0
#include "operations/measured.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>

using namespace qkd004;
using namespace qkd004::operations;
using namespace std::chrono_literals;

namespace {

constexpr time_point start{1h};

link_report seen(std::uint64_t received, std::uint64_t pooled, std::uint64_t waiting = 0) {
  link_report r;
  r.received = received;
  r.pooled = pooled;
  r.waiting = waiting;
  return r;
}

net::site_report site_with(link_report::stage at, std::string failure = {}) {
  net::site_report s;
  s.node = "a";
  net::peer_report p;
  p.link.name = "a+b";
  p.link.peer = "b";
  p.link.at = at;
  p.failure = std::move(failure);
  s.peers.push_back(std::move(p));
  return s;
}

}  // namespace

TEST_CASE("link trace: knows no rate from one look, and that of the last ten seconds from more") {
  link_trace t;
  CHECK(t.received_rate() == 0);
  t.add(seen(1'000, 0), start);
  CHECK(t.received_rate() == 0);
  t.add(seen(1'500, 0), start + 1s);
  CHECK(t.received_rate() == doctest::Approx(500));
  for (int i = 2; i <= 30; ++i) t.add(seen(1'500, 0), start + i * 1s);
  CHECK(t.received_rate() == 0);
  CHECK(t.rates().size() == 30);
  CHECK(t.rates().front() == doctest::Approx(500));
  CHECK(t.rates().at(9) == doctest::Approx(50));
}

TEST_CASE("link trace: keeps two minutes") {
  link_trace t;
  for (int i = 0; i < 500; ++i) t.add(seen(static_cast<std::uint64_t>(i), 0), start + i * 1s);
  CHECK(t.rates().size() == link_trace::kept);
}

TEST_CASE("link trace: says when a buffer that shrinks will be empty, and of another that it will not") {
  link_trace t;
  CHECK(std::isinf(t.seconds_to_empty()));
  for (int i = 0; i <= 40; ++i) t.add(seen(0, static_cast<std::uint64_t>(1'000 - 10 * i)), start + i * 1s);
  CHECK(t.seconds_to_empty() == doctest::Approx(60));
  link_trace grows;
  grows.add(seen(0, 10), start);
  grows.add(seen(0, 20), start + 1s);
  CHECK(std::isinf(grows.seconds_to_empty()));
}

TEST_CASE("link trace: an empty buffer is empty now if somebody waits, and else nothing to tell of") {
  link_trace t;
  t.add(seen(0, 100), start);
  t.add(seen(0, 0), start + 1s);
  CHECK(std::isinf(t.seconds_to_empty()));
  t.add(seen(0, 0, 1), start + 2s);
  CHECK(t.seconds_to_empty() == 0);
}

TEST_CASE("quantile: tells of what came between two looks only") {
  static constexpr std::array<net::duration_histogram::duration, 3> bounds{1ms, 10ms, 100ms};
  net::duration_histogram then{bounds};
  then.add(100ms, 1'000);
  auto now = then;
  CHECK_FALSE(quantile(then, now, 0.5));
  now.add(10ms, 100);
  CHECK(quantile(then, now, 0.5).value() == doctest::Approx(0.0055));
  now.add(1s, 100);
  CHECK(quantile(then, now, 0.99).value() == doctest::Approx(0.1));  // at least
}

TEST_CASE("readiness: each stage that a link is short of has its reason") {
  using stage = link_report::stage;
  CHECK(readiness_of(site_with(stage::ready)).ready);
  CHECK(readiness_of(net::site_report{}).ready);
  for (const auto at : {stage::down, stage::greeting, stage::starting}) {
    const auto r = readiness_of(site_with(at));
    CHECK_FALSE(r.ready);
    CHECK_FALSE(r.links.at(0).why_not.empty());
  }
  CHECK(to_json(readiness_of(site_with(stage::down, "say \"no\""))) ==
        R"({"ready":false,"stopping":false,"links":[{"link":"a+b","peer":"b","ready":false,)"
        R"("why":"the peer is not connected: say \"no\""}]})");
}

TEST_CASE(
    "readiness: a key source at its end counts once no key of it is left, and a site that stops is not "
    "ready") {
  auto s = site_with(link_report::stage::ready);
  s.peers[0].link.source_ended = true;
  s.peers[0].link.in_streams = 32;
  CHECK(readiness_of(s).ready);
  s.peers[0].link.in_streams = 0;
  CHECK_FALSE(readiness_of(s).ready);
  s = site_with(link_report::stage::ready);
  s.stopping = true;
  CHECK_FALSE(readiness_of(s).ready);
}

TEST_CASE("metrics: say of each link whether its key is simulated, and of the site if any is") {
  measured m;
  m.site = site_with(link_report::stage::ready);
  m.site.peers.push_back(m.site.peers[0]);
  m.site.peers[0].link.security = security_class::hardware;
  m.site.peers[1].link.name = "a+c";
  m.site.peers[1].link.security = security_class::simulated_over_tls;
  m.readiness = readiness_of(m.site);
  const link_trace trace;
  for (const auto& p : m.site.peers) m.links.push_back({&p, &trace, {}});
  std::string text = metrics_text(m);
  CHECK(text.find("\nqkd004_key_simulated 1\n") != std::string::npos);
  CHECK(text.find("qkd004_link_key_simulated{link=\"a+b\",peer=\"b\"} 0\n") != std::string::npos);
  CHECK(text.find("qkd004_link_key_simulated{link=\"a+c\",peer=\"b\"} 1\n") != std::string::npos);
  CHECK(text.find("security_class=\"simulated-over-tls\"} 1\n") != std::string::npos);
  CHECK(text.find("qber") == std::string::npos);
  m.site.peers[1].link.security = security_class::hardware;
  text = metrics_text(m);
  CHECK(text.find("\nqkd004_key_simulated 0\n") != std::string::npos);
  m.links[1].distilled.emplace().qber = 0.025;
  text = metrics_text(m);
  CHECK(text.find("qkd004_link_qber_ratio{link=\"a+c\",peer=\"b\"} 0.025\n") != std::string::npos);
}
