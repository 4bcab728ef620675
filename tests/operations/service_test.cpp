// SPDX-License-Identifier: Apache-2.0
#include "operations/service.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/raw_http.hpp"
#include "operations/page.hpp"

namespace {

using namespace test;
using operations::audience;

struct observed_site {
  explicit observed_site(net::site_options o = http_site(), operations::options watched = quick())
      : running{both_ends_here(std::move(o))}, service{running.context, *running.site, std::move(watched)} {
    std::string why;
    REQUIRE_MESSAGE(service.start(&why), why);
  }
  static net::site_options both_ends_here(net::site_options o) {
    o.manager.local_uris = {"qkd://app@b"};
    return o;
  }
  static operations::options quick() {
    operations::options o;
    o.period = 20ms;
    return o;
  }
  static operations::options only_for(audience who) {
    auto o = quick();
    o.viewers.who = who;
    return o;
  }

  running_site running;
  operations::service service;
  std::string address = running.address();
};

/// The sample of a family with these labels; -1: it is not there.
double sample(const std::string& text, const std::string& name) {
  const auto at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

std::string metrics_of(const std::string& address) {
  raw_http c{address};
  const auto a = c.ask(get("/metrics"));
  REQUIRE(a.status == 200);
  CHECK(a.fields.at("content-type") == "text/plain; version=0.0.4; charset=utf-8");
  return a.body;
}

/// The value of a member of the last event.
std::string member(const std::string& json, const std::string& name) {
  const auto at = json.find("\"" + name + "\":");
  REQUIRE(at != std::string::npos);
  const auto from = at + name.size() + 3;
  return json.substr(from, json.find_first_of(",}", from) - from);
}

std::string next_event(raw_http& c) {
  std::string text;
  while (!text.starts_with("data: ")) text = c.read_chunk();
  return text;
}

key_stream_id open_both(const std::string& address) {
  const auto one = connect_to(address);
  const auto id = open_connect(*one).stream;
  open_connect(*connect_to(address), id);
  return id;
}

}  // namespace

TEST_CASE("operations: a site that runs is healthy, and ready once its links are up") {
  observed_site s;
  raw_http c{s.address};
  const auto health = c.ask(get("/healthz"));
  CHECK(health.status == 200);
  CHECK(health.body == "ok\n");
  const auto ready = c.ask(get("/readyz"));
  CHECK(ready.status == 200);
  CHECK(
      ready.body ==
      "{\"ready\":true,\"stopping\":false,\"links\":[{\"link\":\"self\",\"peer\":\"a\",\"ready\":true}]}\n");
  c.send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(c.read("HEAD").value().status == 200);
}

TEST_CASE("operations: a site whose peer is gone is not ready, and says which and why") {
  std::optional<two_sites> both;
  both.emplace([](net::site_options& o) {
    if (o.manager.node == "a") o.listen.push_back("http://127.0.0.1:0");
  });
  operations::service service{both->a->context, *both->a->site, observed_site::quick()};
  REQUIRE(service.start());
  const std::string address = both->a->site->addresses().at(1);
  REQUIRE(both->a->log.has("a peer is up link=link peer=b"));
  CHECK(raw_http{address}.ask(get("/readyz")).status == 200);
  CHECK(sample(metrics_of(address), "qkd004_peer_up{link=\"link\",peer=\"b\"}") == 1);
  CHECK(sample(metrics_of(address), "qkd004_ready") == 1);
  both->b.reset();
  REQUIRE(both->a->log.has("cannot reach a peer link=link peer=b"));
  const auto not_ready = raw_http{address}.ask(get("/readyz"));
  CHECK(not_ready.status == 503);
  CHECK(not_ready.body.find("\"why\":\"the peer is not connected: ") != std::string::npos);
  CHECK(sample(metrics_of(address), "qkd004_peer_up{link=\"link\",peer=\"b\"}") == 0);
  CHECK(sample(metrics_of(address), "qkd004_ready") == 0);
}

TEST_CASE(
    "operations: metrics count calls by status, keys, their age and how long they took, whatever they came "
    "by") {
  auto o = http_site();
  o.listen.push_back("qkd004://127.0.0.1:0");
  observed_site s{std::move(o)};
  const std::string before = metrics_of(s.address);
  CHECK(sample(before, "qkd004_requests_total{operation=\"get_key\",status=\"success\"}") == 0);
  CHECK(sample(before, "qkd004_key_simulated") == 1);
  std::vector<std::byte> key;
  for (const auto& address : s.running.site->addresses()) {
    const auto way = connect_to(address);
    const auto id = open_connect(*way).stream;
    const auto other = connect_to(address);
    open_connect(*other, id);
    for (std::uint64_t i = 0; i < 3; ++i) key = get_key(*way, id, i);
    CHECK(sample(metrics_of(s.address), "qkd004_streams") == 1);
    close(*way, id);
  }
  const std::string text = metrics_of(s.address);
  const std::string link = "{link=\"self\",peer=\"a\"}";
  CHECK(sample(text, "qkd004_requests_total{operation=\"get_key\",status=\"success\"}") == 6);
  CHECK(sample(text, "qkd004_requests_total{operation=\"open_connect\",status=\"success\"}") >= 2);
  CHECK(sample(text, "qkd004_requests_total{operation=\"close\",status=\"success\"}") == 2);
  CHECK(sample(text, "qkd004_keys_delivered_total" + link) == 6);
  CHECK(sample(text, "qkd004_delivered_bytes_total" + link) == 6 * 32);
  CHECK(sample(text, "qkd004_get_key_duration_seconds_count{operation=\"get_key\"}") == 6);
  CHECK(sample(text, "qkd004_get_key_duration_seconds_sum{operation=\"get_key\"}") > 0);
  CHECK(sample(text, "qkd004_key_age_seconds_count") == 6);
  CHECK(sample(text, "qkd004_link_received_bytes_total" + link) > 0);
  CHECK(sample(text, "qkd004_link_buffer_bytes{link=\"self\",peer=\"a\",place=\"pool\"}") > 0);
  CHECK(sample(text, "qkd004_streams") == 0);
}

TEST_CASE("operations: a GET_KEY that waited counts with as long as it waited") {
  observed_site s;
  qos q;
  q.timeout_ms = 60;
  const auto way = connect_to(s.address);
  const auto id = open_connect(*way, {}, q).stream;
  open_connect(*connect_to(s.address), id, q);
  status outcome{};
  static_cast<void>(get_key(*way, id, 1'000'000, &outcome));
  CHECK(outcome == status::timeout);
  const std::string text = metrics_of(s.address);
  CHECK(sample(text, "qkd004_requests_total{operation=\"get_key\",status=\"timeout\"}") == 1);
  CHECK(sample(text, "qkd004_get_key_duration_seconds_bucket{operation=\"get_key\",le=\"0.05\"}") == 0);
  CHECK(sample(text, "qkd004_get_key_duration_seconds_sum{operation=\"get_key\"}") >= 0.06);
  CHECK(sample(text, "qkd004_key_age_seconds_count") == 0);
}

TEST_CASE("operations: keys whose life is over show in the metrics") {
  observed_site s;
  qos q;
  q.ttl_s = 1;
  const auto way = connect_to(s.address);
  const auto id = open_connect(*way, {}, q).stream;
  open_connect(*connect_to(s.address), id, q);
  get_key(*way, id, 0);
  raw_http c{s.address};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  double expired = 0;
  while (expired == 0 && std::chrono::steady_clock::now() < deadline) {
    expired = sample(c.ask(get("/metrics")).body, "qkd004_keys_expired_total{link=\"self\",peer=\"a\"}");
  }
  CHECK(expired > 0);
}

TEST_CASE("operations: the page may run its own script and style, and nothing else") {
  observed_site s;
  const auto page = raw_http{s.address}.ask(get("/"));
  CHECK(page.status == 200);
  CHECK(page.body == operations::dashboard_html());
  const std::string& policy = page.fields.at("content-security-policy");
  CHECK(policy.starts_with("default-src 'none'; script-src 'sha256-"));
  CHECK(policy.find("; style-src 'sha256-") != std::string::npos);
  CHECK(policy.find("unsafe") == std::string::npos);
  CHECK(page.fields.at("x-content-type-options") == "nosniff");
  for (const std::string_view elsewhere : {"src=\"http", "href=\"http", "url(", "@import", "innerHTML"}) {
    CHECK(page.body.find(elsewhere) == std::string::npos);
  }
}

TEST_CASE("page: its policy has the digests of its script and style") {
  using operations::content_security_policy;
  const std::string policy = content_security_policy("<style>b</style><script>a</script>");
  CHECK(policy.find("script-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='") != std::string::npos);
  CHECK(policy.find("style-src 'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0='") != std::string::npos);
  CHECK(content_security_policy("").find("script-src 'none'; style-src 'none'") != std::string::npos);
}

TEST_CASE("operations: events begin with the past, and tell of the caller's streams as they are") {
  observed_site s;
  const auto id = open_both(s.address);
  raw_http c{s.address};
  c.send(get("/events"));
  const auto head = c.read();
  REQUIRE(head);
  CHECK(head->status == 200);
  CHECK(head->fields.at("content-type") == "text/event-stream");
  std::string e = next_event(c);
  CHECK(e.find("\"history\":[") != std::string::npos);
  CHECK(e.find(id.to_string()) != std::string::npos);
  CHECK(member(e, "simulated") == "true");
  CHECK(member(e, "delivered") == "0");
  CHECK(e.ends_with("}\n\n"));
  get_key(*connect_to(s.address), id, 0);
  do {
    e = next_event(c);
    CHECK(e.find("history") == std::string::npos);
  } while (member(e, "delivered") == "0");
  CHECK(member(e, "delivered") == "1");
}

TEST_CASE("operations: no event has a key, and none a stream of somebody else's") {
  auto o = http_site();
  const std::string path = "unix:/tmp/qkd004-operations-" + std::to_string(::getpid());
  o.listen.push_back(path);
  auto watched = observed_site::quick();
  observed_site s{o, watched};
  const auto id = open_connect(*connect_to(path)).stream;  // of this user's processes, not of anonymous
  raw_http c{s.address};
  c.send(get("/events"));
  REQUIRE(c.read());
  const std::string e = next_event(c);
  CHECK(e.find(id.to_string()) == std::string::npos);
  CHECK(member(e, "registered") == "1");
  CHECK(member(e, "visible") == "0");
}

TEST_CASE("operations: operators see every stream, and whose it is") {
  auto o = http_site();
  const std::string path = "unix:/tmp/qkd004-operators-" + std::to_string(::getpid());
  o.listen.push_back(path);
  auto watched = observed_site::quick();
  watched.viewers.operators = {"anonymous"};
  observed_site s{o, watched};
  const auto id = open_connect(*connect_to(path)).stream;
  raw_http c{s.address};
  c.send(get("/events"));
  REQUIRE(c.read());
  const std::string e = next_event(c);
  CHECK(e.find(id.to_string()) != std::string::npos);
  CHECK(e.find("\"owner\":\"unix:uid:") != std::string::npos);
}

TEST_CASE("operations: who may see nothing gets 403, and of the readiness only that") {
  observed_site s{http_site(), observed_site::only_for(audience::operators)};
  raw_http c{s.address};
  for (const auto* path : {"/", "/metrics", "/events"}) {
    const auto a = c.ask(get(path));
    CHECK(a.status == 403);
    CHECK(a.body.find("self") == std::string::npos);
  }
  CHECK(c.ask(get("/healthz")).body == "ok\n");
  CHECK(c.ask(get("/readyz")).body == "{\"ready\":true}\n");
}

TEST_CASE("operations: nothing is served to nobody") {
  observed_site s{http_site(), observed_site::only_for(audience::nobody)};
  raw_http c{s.address};
  for (const auto* path : {"/", "/metrics", "/events", "/healthz", "/readyz"}) {
    CHECK(c.ask(get(path)).status == 404);
  }
}

TEST_CASE("operations: a page of somebody else's does not get events or metrics") {
  observed_site s;
  raw_http c{s.address};
  for (const auto* path : {"/metrics", "/events"}) {
    CHECK(c.ask(get(path, "Sec-Fetch-Site: cross-site\r\n")).status == 403);
  }
  CHECK(c.ask(get("/metrics", "Sec-Fetch-Site: same-origin\r\n")).status == 200);
}

TEST_CASE(
    "operations: more dashboards than may be are told to come again, and one that is closed makes room") {
  auto watched = observed_site::quick();
  watched.max_dashboards = 2;
  observed_site s{http_site(), watched};
  std::optional<raw_http> first{s.address};
  raw_http second{s.address};
  for (raw_http* const c : {&*first, &second}) {
    c->send(get("/events"));
    REQUIRE(c->read());
    next_event(*c);
  }
  const auto third = raw_http{s.address}.ask(get("/events"));
  CHECK(third.status == 503);
  CHECK(third.fields.at("retry-after") == "10");
  first.reset();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    raw_http c{s.address};
    c.send(get("/events"));
    const auto a = c.read();
    REQUIRE(a);
    if (a->status == 200) break;
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
}

TEST_CASE("operations: the dashboards end when the service stops, and the site goes on") {
  observed_site s;
  raw_http c{s.address};
  c.send(get("/events"));
  REQUIRE(c.read());
  next_event(c);
  s.service.stop();
  std::string chunk;
  do {
    chunk = c.read_chunk();
  } while (!chunk.empty());  // the last chunk of an answer that ends in order
  CHECK(raw_http{s.address}.ask(get("/metrics")).status == 503);
  CHECK(raw_http{s.address}.ask(get("/qkd004/v2/capabilities")).status == 200);
}
