// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http/raw_http.hpp"

namespace {

using namespace test;
namespace http = net::http;

http::resource echo() {
  return {"POST", "/echo", [](const http::request& r, http::answer a) {
            a.send({200, "text/plain", std::string{r.text()}});
          }};
}

http::resource page(std::string path, std::string text) {
  return {"GET", std::move(path), [text](const http::request&, http::answer a) {
            a.send({200, "text/plain", text});
          }};
}

/// Answers that tests give when they like.
struct later {
  http::resource resource(std::string path) {
    return {"GET", std::move(path), [this](const http::request&, http::answer a) {
              const std::lock_guard lock{mutex};
              kept.push_back(std::move(a));
              came.notify_all();
            }};
  }
  http::answer take() {
    std::unique_lock lock{mutex};
    REQUIRE(came.wait_for(lock, patience, [this] { return !kept.empty(); }));
    http::answer a = std::move(kept.front());
    kept.erase(kept.begin());
    return a;
  }
  std::mutex mutex;
  std::condition_variable came;
  std::vector<http::answer> kept;
};

struct http_server {
  explicit http_server(net::site_options o = http_site()) : running{std::move(o)} {}
  void add(http::resource r) { REQUIRE(running.site->add(std::move(r))); }
  running_site running;
  std::string address = running.address();
};

}  // namespace

TEST_CASE(
    "http server: a resource is answered, with its length, its type and a date, and the connection stays") {
  http_server s;
  s.add(page("/hello", "hello"));
  CHECK(s.address.starts_with("http://127.0.0.1:"));
  raw_http c{s.address};
  for (int i = 0; i < 3; ++i) {
    const auto a = c.ask(get("/hello?x=1"));
    CHECK(a.status == 200);
    CHECK(a.body == "hello");
    CHECK(a.fields.at("content-type") == "text/plain");
    CHECK(a.fields.at("date").ends_with(" GMT"));
    CHECK_FALSE(a.fields.contains("connection"));
  }
}

TEST_CASE("http server: HEAD has the head of GET and no body, OPTIONS the methods") {
  http_server s;
  s.add(page("/hello", "hello"));
  raw_http c{s.address};
  c.send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto head = c.read("HEAD");
  REQUIRE(head);
  CHECK(head->fields.at("content-length") == "5");
  CHECK(c.unread().empty());
  const auto options = c.ask("OPTIONS /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(options.status == 204);
  CHECK(options.fields.at("allow") == "GET, HEAD, OPTIONS");
  CHECK(c.ask("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 204);
}

TEST_CASE("http server: what is not there is 404, with another method 405, an unknown method 501") {
  http_server s;
  s.add(echo());
  raw_http c{s.address};
  const auto missing = c.ask(get("/nothing"));
  CHECK(missing.status == 404);
  CHECK(missing.fields.at("content-type") == "application/problem+json");
  CHECK(missing.body == R"({"type":"about:blank","title":"Not Found","status":404})");
  const auto wrong = c.ask(get("/echo"));
  CHECK(wrong.status == 405);
  CHECK(wrong.fields.at("allow") == "POST, OPTIONS");
  CHECK(c.ask("BREW /echo HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 501);
  CHECK(c.ask(post("/echo", "still")).body == "still");
}

TEST_CASE("http server: of two patterns the longer one serves, and one of the same path takes the place") {
  http_server s;
  s.add(page("/a/*", "star"));
  s.add(page("/a/b/*", "longer"));
  s.add(page("/a/b/c", "old"));
  s.add(page("/a/b/c", "exact"));
  raw_http c{s.address};
  CHECK(c.ask(get("/a/x")).body == "star");
  CHECK(c.ask(get("/a/b/x")).body == "longer");
  CHECK(c.ask(get("/a/b/c")).body == "exact");
  CHECK(c.ask(get("/a")).status == 404);
  CHECK_FALSE(s.running.site->add(page("no path", "")));
  CHECK_FALSE(s.running.site->add({"BREW", "/x", echo().serve}));
  CHECK_FALSE(s.running.site->add({"GET", "/x", {}}));
}

TEST_CASE("http server: requests that come octet by octet, and many in one write, are answered in order") {
  http_server s;
  s.add(echo());
  raw_http slow{s.address};
  for (const char octet : post("/echo", "slowly")) slow.send({&octet, 1});
  CHECK(slow.read()->body == "slowly");
  raw_http many{s.address};
  std::string all;
  for (int i = 0; i < 600; ++i) all += post("/echo", std::to_string(i));
  many.send(all);
  for (int i = 0; i < 600; ++i) CHECK(many.read()->body == std::to_string(i));
}

TEST_CASE("http server: a body in chunks, with extensions and trailers, is one body") {
  http_server s;
  s.add(echo());
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: yes\r\n\r\n";
  raw_http c{s.address};
  CHECK(c.ask(request).body == "hello world");
  for (const char octet : request) c.send({&octet, 1});
  CHECK(c.read()->body == "hello world");
  c.send(request + request);
  CHECK(c.read()->body == "hello world");
  CHECK(c.read()->body == "hello world");
}

TEST_CASE("http server: 100 Continue goes to who waits for it, once, before the body") {
  http_server s;
  s.add(echo());
  raw_http c{s.address};
  c.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  CHECK(c.read()->status == 100);
  c.send("bo");
  c.send("dy");
  const auto a = c.read();
  CHECK(a->status == 200);
  CHECK(a->body == "body");
}

TEST_CASE("http server: an answer that comes later does not let another one pass") {
  http_server s;
  later l;
  s.add(l.resource("/later"));
  s.add(page("/now", "now"));
  raw_http c{s.address};
  c.send(get("/now") + get("/later") + get("/now") + get("/later") + get("/now"));
  CHECK(c.read()->body == "now");
  auto first = l.take();
  auto second = l.take();
  second.send({200, "text/plain", "second"});
  first.send({200, "text/plain", "first"});
  CHECK(c.read()->body == "first");
  CHECK(c.read()->body == "now");
  CHECK(c.read()->body == "second");
  CHECK(c.read()->body == "now");
}

TEST_CASE("http server: an answer that is dropped, or a resource that throws, is a 500") {
  http_server s;
  later l;
  s.add(l.resource("/later"));
  s.add({"GET", "/throws", [](const http::request&, http::answer) { throw std::runtime_error{"no"}; }});
  raw_http c{s.address};
  CHECK(c.ask(get("/throws")).status == 500);
  c.send(get("/later"));
  { const auto dropped = l.take(); }
  CHECK(c.read()->status == 500);
}

TEST_CASE("http server: secret bodies arrive whole") {
  http_server s;
  s.add({"GET", "/key", [](const http::request&, http::answer a) {
           http::response r{200, "application/octet-stream", ""};
           r.secret = *secret_arena{some_memory()}.allocate(64);
           std::fill(r.secret.span().begin(), r.secret.span().end(), std::byte{'k'});
           a.send(std::move(r));
         }});
  raw_http c{s.address};
  CHECK(c.ask(get("/key")).body == std::string(64, 'k'));
}

TEST_CASE(
    "http server: a stream of events is sent as they come, and its resource hears that nobody reads it any "
    "more") {
  http_server s;
  later l;
  s.add(l.resource("/events"));
  raw_http c{s.address};
  c.send(get("/events"));
  auto events = l.take().stream({200, "text/event-stream", ""});
  const auto head = c.read();
  CHECK(head->fields.at("transfer-encoding") == "chunked");
  for (int i = 0; i < 3; ++i) {
    CHECK(events.send("data: " + std::to_string(i) + "\n\n"));
    CHECK(c.read_chunk() == "data: " + std::to_string(i) + "\n\n");
  }
  SUBCASE("its end is the end of the answer, and the connection stays") {
    events.end();
    CHECK(c.read_chunk().empty());
    s.add(page("/now", "now"));
    CHECK(c.ask(get("/now")).body == "now");
  }
  SUBCASE("what is asked meanwhile has no answer, and the connection ends with that") {
    c.send(get("/now"));
    CHECK(raw_http{s.address}.ask(get("/nothing")).status == 404);  // came later, so the other was read
    events.end();
    CHECK(c.read_chunk().empty());
    CHECK(c.is_closed_by_peer());
    CHECK(c.unread().empty());
  }
  SUBCASE("a reader that goes is noticed") {
    c.socket().close();
    while (events.is_open()) std::this_thread::yield();
    CHECK_FALSE(events.send("data: nobody\n\n"));
  }
}

TEST_CASE("http server: who does not read a stream gets no more of it") {
  http_server s;
  later l;
  s.add(l.resource("/events"));
  raw_http c{s.address};
  c.send(get("/events"));
  auto events = l.take().stream({200, "text/event-stream", ""});
  const std::string event = "data: " + std::string(1000, 'x') + "\n\n";
  std::size_t sent = 0;
  while (events.send(event)) REQUIRE(++sent < 100'000);
  CHECK(events.is_open());
  c.read();
  for (std::size_t i = 0; i < sent; ++i) CHECK(c.read_chunk() == event);
  while (!events.send("data: again\n\n")) std::this_thread::yield();
  CHECK(c.read_chunk() == "data: again\n\n");
}

TEST_CASE("http server: HTTP/1.0 and Connection: close end behind the answer, keep-alive does not") {
  http_server s;
  s.add(page("/hello", "hello"));
  raw_http old{s.address};
  CHECK(old.ask("GET /hello HTTP/1.0\r\n\r\n").fields.at("connection") == "close");
  CHECK(old.is_closed_by_peer());
  raw_http kept{s.address};
  for (int i = 0; i < 2; ++i) {
    CHECK(kept.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").fields.at("connection") ==
          "keep-alive");
  }
  raw_http last{s.address};
  CHECK(last.ask(get("/hello", "Connection: close\r\n")).fields.at("connection") == "close");
  CHECK(last.is_closed_by_peer());
}

TEST_CASE("http server: plain HTTP on loopback is served under names of loopback only") {
  http_server s;
  s.add(page("/hello", "hello"));
  for (const std::string host : {"localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8080"}) {
    CAPTURE(host);
    CHECK(raw_http{s.address}.ask("GET /hello HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status == 200);
  }
  for (const std::string host : {"evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example",
                                 "127.evil.example:80", "128.0.0.1", "[::2]", ""}) {
    CAPTURE(host);
    CHECK(raw_http{s.address}.ask("GET /hello HTTP/1.1\r\nHost: " + host + "\r\n\r\n").status == 421);
  }
}

TEST_CASE("http server: a site that stops answers with an end, and answers that come later go nowhere") {
  later l;
  std::optional<http::answer> kept;
  std::optional<http::event_stream> events;
  {
    http_server s;
    s.add(l.resource("/later"));
    raw_http c{s.address};
    c.send(get("/later") + get("/later"));
    kept.emplace(l.take());
    events.emplace(l.take().stream({200, "text/event-stream", "x"}));
    s.running.site->stop();
    CHECK(c.is_closed_by_peer());
    CHECK_FALSE(kept->is_wanted());
  }
  kept->send(http::response{200});
  CHECK_FALSE(events->send("data: x\n\n"));
}

TEST_CASE("http server: a head, a body and a pause that last too long are the end") {
  auto o = http_site();
  o.timeouts.http_head = 40ms;
  o.timeouts.http_body = 40ms;
  o.timeouts.http_idle = 40ms;
  http_server s{std::move(o)};
  s.add(echo());
  raw_http head{s.address};
  head.send("POST /echo HTTP/1.1\r\nHost: loc");
  CHECK(head.read()->status == 408);
  CHECK(head.is_closed_by_peer());
  raw_http body{s.address};
  body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabc");
  CHECK(body.read()->status == 408);
  CHECK(body.is_closed_by_peer());
  raw_http chunks{s.address};
  chunks.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc");
  CHECK(chunks.read()->status == 408);
  raw_http idle{s.address};
  CHECK(idle.ask(post("/echo", "x")).status == 200);
  CHECK(idle.is_closed_by_peer());
  CHECK(idle.unread().empty());
}
