// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "http/raw_http.hpp"
#include "net/certificates.hpp"
#include "qkd004/client.hpp"
#include "qkd004/waiting.hpp"

namespace {

using namespace test;

/// OPEN_CONNECT at a site that is its own peer.
open_connect_response open_here(exchange& via) {
  call c;
  c.request = open_connect_request{"qkd://app@a", "qkd://peer@a"};
  ask(via, c);
  REQUIRE_MESSAGE(!c.error, c.error.message());
  return std::get<open_connect_response>(c.response);
}

/// Two sites whose second listener is HTTP.
struct two_http_sites {
  two_sites sites{[](net::site_options& o) { o.listen.push_back("http://127.0.0.1:0"); }};
  std::string a = sites.a->site->addresses().at(1);
  std::string b = sites.b->site->addresses().at(1);
};

}  // namespace

TEST_CASE("http exchange: two applications at two sites get the same keys") {
  two_http_sites s;
  const auto at_a = connect_to(s.a);
  const auto at_b = connect_to(s.b);
  const auto opened = open_connect(*at_a);
  CHECK(opened.outcome == status::peer_not_connected);
  CHECK(opened.epoch == 1);
  CHECK(open_connect(*at_b, opened.stream).outcome == status::success);
  std::vector<std::vector<std::byte>> keys;
  for (std::uint64_t i = 0; i < 200; ++i) {
    keys.push_back(get_key(*at_a, opened.stream, i));
    CHECK(keys.back().size() == 32);
    CHECK(keys.back() == get_key(*at_b, opened.stream, i));
  }
  std::sort(keys.begin(), keys.end());
  CHECK(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
  CHECK(close(*at_a, opened.stream) == status::success);
  CHECK(close(*at_b, opened.stream) == status::success);
}

TEST_CASE("http exchange: one application over HTTP and the other over TCP get the same keys") {
  two_http_sites s;
  const auto at_a = connect_to(s.a);
  const auto at_b = connect_to(s.sites.b->address());
  const auto opened = open_connect(*at_a);
  CHECK(open_connect(*at_b, opened.stream).outcome == status::success);
  for (std::uint64_t i = 0; i < 20; ++i) {
    CHECK(get_key(*at_a, opened.stream, i) == get_key(*at_b, opened.stream, i));
  }
}

TEST_CASE("http exchange: key streams take keys by batches, and wait for their peer") {
  two_http_sites s;
  const secret_arena arena{some_memory()};
  client a{connect_to(s.a), arena};
  client b{connect_to(s.b), arena};
  CHECK(connect_to(s.a)->supports() == extensions{true, true, true, false, true});
  auto one = a.open_connect({"qkd://app@a", "qkd://app@b"});
  REQUIRE(one);
  std::thread joins{[&] {
    auto other = b.open_connect({"qkd://app@a", "qkd://app@b", {}, one->id()});
    REQUIRE(other);
    for (int i = 0; i < 300; ++i) {
      auto mine = one->next_key();
      auto theirs = other->next_key();
      REQUIRE(mine);
      REQUIRE(theirs);
      CHECK(mine->index == theirs->index);
      CHECK(equal_in_constant_time(mine->key.span(), theirs->key.span()));
    }
  }};
  joins.join();
}

TEST_CASE(
    "http exchange: metadata, a key that is not there, an unknown stream and a wish that cannot be met") {
  two_http_sites s;
  const auto at_a = connect_to(s.a);
  const auto at_b = connect_to(s.b);
  qos q;
  q.metadata_mimetype = "application/json";
  q.timeout_ms = 100;
  const auto opened = open_connect(*at_a, {}, q);
  CHECK(opened.quality.metadata_mimetype == "application/json");
  CHECK(open_connect(*at_b, opened.stream, q).outcome == status::success);
  get_key_call with{opened.stream, 0, 64};
  ask(*at_a, with);
  CHECK(with.answer().has_metadata);
  get_key_call small{opened.stream, 1, 8};
  ask(*at_a, small);
  CHECK(small.answer().outcome == status::metadata_size_insufficient);
  CHECK(small.answer().metadata_needed >= 20);
  get_key_call far{opened.stream, 1'000'000};
  ask(*at_a, far);
  CHECK(far.answer().outcome == status::timeout);
  get_key_request now;
  now.stream = opened.stream;
  now.index = 1'000'000;
  now.no_wait = true;
  call at_once;
  at_once.request = now;
  ask(*at_a, at_once);
  CHECK(std::get<get_key_response>(at_once.response).outcome == status::insufficient_key);
  get_key_call unknown{*key_stream_id::parse("00000000-0000-4000-8000-000000000001"), 0};
  ask(*at_a, unknown);
  CHECK(unknown.answer().outcome == status::unknown_key_stream);
  get_key_call cramped{opened.stream, 1, 0, 16};
  ask(*at_a, cramped);
  CHECK(cramped.error == make_error_code(status::invalid_argument));
  CHECK(get_key(*at_a, opened.stream, 1) == get_key(*at_b, opened.stream, 1));
  q.key_chunk_size = 1'000'000;
  call greedy;
  greedy.request = open_connect_request{"qkd://app@a", "qkd://app@b", q};
  ask(*at_a, greedy);
  CHECK(std::get<open_connect_response>(greedy.response).outcome == status::qos_not_met);
}

TEST_CASE(
    "http exchange: many calls go at once, a time that is over and a cancel end one of them and no other") {
  two_http_sites s;
  const auto at_a = connect_to(s.a);
  const auto at_b = connect_to(s.b);
  const auto opened = open_connect(*at_a);
  static_cast<void>(open_connect(*at_b, opened.stream));
  std::vector<std::unique_ptr<get_key_call>> calls;
  std::vector<call*> started;
  for (std::uint64_t i = 0; i < 64; ++i) {
    calls.push_back(std::make_unique<get_key_call>(opened.stream, i));
    calls.back()->deadline = boot_clock::now() + patience;
    started.push_back(calls.back().get());
  }
  at_a->start(started);
  for (auto& c : calls) {
    at_a->wait(*c);
    CHECK_FALSE(c->error);
    CHECK(c->answer().outcome == status::success);
  }
  get_key_call late{opened.stream, 1'000'000};
  ask(*at_a, late, 50ms);
  CHECK(late.error == make_error_code(status::timeout));
  get_key_call cancelled{opened.stream, 1'000'000};
  cancelled.deadline = boot_clock::now() + patience;
  call* const one = &cancelled;
  at_a->start(std::span{&one, 1});
  at_a->cancel(cancelled);
  CHECK(cancelled.done());
  CHECK(cancelled.error == std::errc::operation_canceled);
}

TEST_CASE("http exchange: what the access table forbids is not authorized, and no error of the transport") {
  auto o = http_site();
  o.access = {{"anonymous", "qkd://mine@*", "*"}};
  running_site s{std::move(o)};
  const auto at = connect_to(s.address());
  call c;
  c.request = open_connect_request{"qkd://other@a", "qkd://app@a"};
  ask(*at, c);
  CHECK_FALSE(c.error);
  CHECK(std::get<open_connect_response>(c.response).outcome == status::not_authorized);
}

TEST_CASE("http exchange: a server that went away and came back is connected to anew") {
  std::optional<running_site> s{http_site()};
  const std::string address = s->address();
  const auto at = connect_to(address);
  static_cast<void>(open_here(*at));
  s.reset();
  call gone;
  gone.request = open_connect_request{"qkd://app@a", "qkd://app@a"};
  ask(*at, gone);
  CHECK(gone.error);
  auto again = http_site();
  again.listen = {address};
  s.emplace(std::move(again));
  CHECK(open_here(*at).outcome == status::peer_not_connected);
}

TEST_CASE("http exchange: a server of resources that is none of keys is told apart, as is nobody") {
  std::string why;
  raw_listener other;
  std::thread server{[&other] {
    auto s = other.accept();
    CHECK(read_request(s).starts_with("GET /qkd004/v2/capabilities HTTP/1.1\r\n"));
    write_answer(s, 404, "");
    CHECK(read_request(s).empty());
  }};
  CHECK(net::connect(other.address(), secret_arena{some_memory()}, {}, &why).error() ==
        std::errc::operation_not_supported);
  CHECK(why.ends_with("it does not serve /qkd004/v2/capabilities"));
  server.join();
  why.clear();
  CHECK(net::connect("http://127.0.0.1:1", secret_arena{some_memory()}, {}, &why).error() ==
        std::errc::connection_refused);
  CHECK_FALSE(why.empty());
  why.clear();
  net::connect_options nowhere;
  nowhere.allow_insecure = true;  // the system refuses a connection to everybody at once
  CHECK(net::connect("http://255.255.255.255:1", secret_arena{some_memory()}, nowhere, &why).error());
  CHECK(why.starts_with("cannot connect to 255.255.255.255 port 1: "));
}

TEST_CASE("http exchange: a connection for every call is refused, as it would not be one") {
  running_site s{http_site()};
  net::connect_options o;
  o.per_call = true;
  std::string why;
  CHECK(net::connect(s.address(), secret_arena{some_memory()}, o, &why).error() ==
        make_error_code(status::invalid_argument));
  CHECK_FALSE(why.empty());
}

TEST_CASE("http exchange: over TLS both ends show who they are, and a stream is its principal's") {
  const temporary_folder folder;
  authority ca{folder};
  auto o = http_site();
  o.manager.node = "a";
  o.listen = {"https://127.0.0.1:0"};
  o.tls = ca.site("a");
  running_site s{std::move(o)};
  CHECK(s.address().starts_with("https://127.0.0.1:"));
  net::connect_options as_app;
  as_app.tls = ca.application("qkd://app@a");
  const auto app = connect_to(s.address(), as_app);
  const auto opened = open_here(*app);
  net::connect_options as_other;
  as_other.tls = ca.application("qkd://other@a");
  const auto other = connect_to(s.address(), as_other);
  status outcome{};
  CHECK(get_key(*other, opened.stream, 0, &outcome).empty());
  CHECK(outcome == status::unknown_key_stream);
  call c;
  c.request = open_connect_request{"qkd://app@a", "qkd://peer@a"};
  ask(*other, c);
  CHECK(std::get<open_connect_response>(c.response).outcome == status::not_authorized);
  std::string why;
  CHECK(net::connect(s.address(), secret_arena{some_memory()}, {}, &why).error() ==
        std::errc::invalid_argument);
  net::connect_options elsewhere = as_app;
  elsewhere.server = "qkd://somebody";
  CHECK(net::connect(s.address(), secret_arena{some_memory()}, elsewhere, &why).error() ==
        std::errc::permission_denied);
}

TEST_CASE("http exchange: who waits looks up now and then, and may give up without losing a key") {
  two_http_sites s;
  client a{connect_to(s.a), secret_arena{some_memory()}};
  client b{connect_to(s.b), secret_arena{some_memory()}};
  auto at_a = a.open_connect({"qkd://app@a", "qkd://app@b"}).value();
  int asked = 0;
  {
    const waiting_hook hook{[&asked] { return ++asked < 3; }};
    CHECK(at_a.wait_for_peer(std::chrono::minutes{1}).error() == std::errc::operation_canceled);
  }
  CHECK(asked == 3);
  auto at_b = b.open_connect({"qkd://app@a", "qkd://app@b", {}, at_a.id()}).value();
  for (std::uint64_t i = 0; i < 5; ++i) {
    const auto key = at_a.next_key().value();
    CHECK(key.index == i);
    CHECK(equal_in_constant_time(key.bytes(), at_b.get_key(i).value().bytes()));
  }
}
