// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http/raw_http.hpp"
#include "net/http/client.hpp"

namespace {

using namespace test;
namespace http = net::http;

/// A client with a thread to run on.
struct running_client {
  explicit running_client(http::client_options o) {
    std::string why;
    auto made = http::client::make(context, arena, std::move(o), &why);
    REQUIRE_MESSAGE(made, why);
    client = std::move(*made);
    thread = std::thread{[this] { context.run(); }};
  }
  ~running_client() {
    client->stop();
    work.reset();
    thread.join();
  }
  std::future<http::client_response> send(http::client_request r) {
    auto said = std::make_shared<std::promise<http::client_response>>();
    auto future = said->get_future();
    client->send(std::move(r), [said](http::client_response a) { said->set_value(std::move(a)); });
    return future;
  }
  http::client_response ask(http::client_request r) {
    auto answer = send(std::move(r));
    REQUIRE(answer.wait_for(patience) == std::future_status::ready);
    return answer.get();
  }
  secret_arena arena{some_memory()};
  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::unique_ptr<http::client> client;
  std::thread thread;
};

http::client_request post_of(std::string path, std::string text) {
  http::client_request r;
  r.path = std::move(path);
  r.text = std::move(text);
  return r;
}

http::client_options options_of(std::string uri) {
  http::client_options o;
  o.uri = std::move(uri);
  return o;
}

http::resource echo() {
  return {"POST", "/echo", [](const http::request& r, http::answer a) {
            a.send({201, std::string{r.value_of("content-type")}, std::string{r.text()}});
          }};
}

}  // namespace

TEST_CASE("http client: a request is answered, with its status, type and body") {
  running_site s{http_site()};
  REQUIRE(s.site->add(echo()));
  running_client c{options_of(s.address())};
  for (int i = 0; i < 3; ++i) {
    const auto a = c.ask(post_of("/echo", "text " + std::to_string(i)));
    CHECK_FALSE(a.error);
    CHECK(a.status == 201);
    CHECK(a.content_type == "application/json");
    CHECK(a.text() == "text " + std::to_string(i));
  }
  http::client_request secret = post_of("/echo", "");
  secret.secret = *c.arena.allocate(100);
  std::fill(secret.secret.span().begin(), secret.secret.span().end(), std::byte{'s'});
  CHECK(c.ask(std::move(secret)).text() == std::string(100, 's'));
  CHECK(c.ask(post_of("/nothing", "x")).status == 404);
}

TEST_CASE("http client: so many are on the way and no more, and all are answered") {
  running_site s{http_site()};
  std::mutex mutex;
  std::vector<http::answer> kept;
  std::atomic<std::size_t> count{0};
  REQUIRE(s.site->add({"POST", "/later", [&](const http::request&, http::answer a) {
                         const std::lock_guard lock{mutex};
                         kept.push_back(std::move(a));
                         ++count;
                       }}));
  auto o = options_of(s.address());
  o.max_in_flight = 3;
  o.max_waiting = 4;
  running_client c{std::move(o)};
  std::vector<std::future<http::client_response>> all;
  for (int i = 0; i < 7; ++i) all.push_back(c.send(post_of("/later", "x")));
  CHECK(c.ask(post_of("/later", "one too many")).error == make_error_code(status::resource_limit));
  while (count < 3) std::this_thread::yield();
  CHECK(c.client->outstanding() == 7);
  CHECK(count == 3);
  for (std::size_t answered = 0; answered < 7; ++answered) {
    while (count < std::min<std::size_t>(7, answered + 3)) std::this_thread::yield();
    const std::lock_guard lock{mutex};
    CHECK(kept.size() <= 3);
    kept.back().send(http::response{204});
    kept.pop_back();
  }
  for (auto& f : all) {
    REQUIRE(f.wait_for(patience) == std::future_status::ready);
    CHECK(f.get().status == 204);
  }
}

TEST_CASE("http client: nobody there, a silence and a stop are errors, and the next request connects anew") {
  std::optional<running_site> s{http_site()};
  const std::string address = s->address();
  auto o = options_of(address);
  o.timeout = 300ms;
  running_client c{o};
  std::mutex mutex;
  std::vector<http::answer> kept;
  REQUIRE(s->site->add({"POST", "/never", [&](const http::request&, http::answer a) {
                          const std::lock_guard lock{mutex};
                          kept.push_back(std::move(a));
                        }}));
  REQUIRE(s->site->add(echo()));
  CHECK(c.ask(post_of("/never", "x")).error == std::errc::timed_out);
  CHECK(c.ask(post_of("/echo", "x")).status == 201);
  {
    const std::lock_guard lock{mutex};
    kept.clear();
  }
  s.reset();
  CHECK(c.ask(post_of("/echo", "x")).error);
  auto again = http_site();
  again.listen = {address};
  s.emplace(std::move(again));
  REQUIRE(s->site->add(echo()));
  CHECK(c.ask(post_of("/echo", "again")).text() == "again");
  c.client->stop();
  CHECK(c.ask(post_of("/echo", "x")).error == std::errc::operation_canceled);
}

TEST_CASE("http client: a server that refuses one more connection answers on those it has") {
  raw_listener listener;
  running_client c{options_of(listener.address())};
  std::vector<std::future<http::client_response>> all;
  all.push_back(c.send(post_of("/0", "x")));
  auto s = listener.accept();
  listener.close();
  for (int i = 1; i < 4; ++i) all.push_back(c.send(post_of("/" + std::to_string(i), "x")));
  for (int i = 0; i < 4; ++i) {
    REQUIRE(read_request(s).starts_with("POST /" + std::to_string(i) + " "));
    write_answer(s, 200, std::to_string(i));
  }
  for (int i = 0; i < 4; ++i) {
    auto& answer = all[static_cast<std::size_t>(i)];
    REQUIRE(answer.wait_for(patience) == std::future_status::ready);
    CHECK(answer.get().text() == std::to_string(i));
  }
  s.close();
  CHECK(c.ask(post_of("/4", "x")).error);  // now there is none
}

TEST_CASE("http client: what is no HTTP URI, and plain HTTP off loopback, is refused") {
  asio::io_context context;
  const secret_arena arena{some_memory()};
  for (const char* uri : {"qkd004://127.0.0.1", "http://10.0.0.1:80", "https://127.0.0.1", "nonsense"}) {
    std::string why;
    CHECK(http::client::make(context, arena, options_of(uri), &why).error() ==
          make_error_code(status::invalid_argument));
    CHECK_FALSE(why.empty());
  }
}
