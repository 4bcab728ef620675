// SPDX-License-Identifier: Apache-2.0
#include "serve/server.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/client.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/secret.hpp"

using namespace qkd004;
using namespace std::chrono_literals;

namespace {

/// A site that listens on a free port; `peer` is the address of the site "b", empty at "b" itself; `more` are further
/// tables.
serve::site_config config_of(const std::string& node, const std::string& peer, const std::string& more = {}) {
  std::string text = "node = '" + node + "'\nlisten = ['qkd004://127.0.0.1:0']\n[[peer]]\nnode = '" +
                     (node == "a" ? "b" : "a") + "'\n";
  if (!peer.empty()) text += "address = '" + peer + "'\n";
  text += "[peer.source]\nkind = 'given'\n" + more;
  std::string why;
  auto config = serve::parse_config(text, "test.toml", &why);
  REQUIRE_MESSAGE(config, why);
  return std::move(*config);
}

serve::server_options with(std::shared_ptr<key_source> source) {
  serve::server_options o;
  o.sources.emplace("a+b", std::move(source));
  return o;
}

struct two_sites {
  explicit two_sites(const std::string& more_of_a = {},
                     std::function<void(net::log_level, std::string_view)> log_of_a = {}) {
    auto ends = make_memory_sources({});
    std::string why;
    auto started = serve::server_thread::start(config_of("b", {}), with(std::move(ends.second)), &why);
    REQUIRE_MESSAGE(started, why);
    b = std::move(*started);
    auto options = with(std::move(ends.first));
    options.log = std::move(log_of_a);
    started = serve::server_thread::start(config_of("a", b->addresses().at(0), more_of_a), std::move(options),
                                          &why);
    REQUIRE_MESSAGE(started, why);
    a = std::move(*started);
  }
  [[nodiscard]] client client_of(const serve::server_thread& site) const {
    return client{net::connect(site.addresses().at(0), arena).value(), arena};
  }

  std::unique_ptr<serve::server_thread> a;
  std::unique_ptr<serve::server_thread> b;
  secret_arena arena;
};

}  // namespace

TEST_CASE("server: two sites with given key sources hand out equal keys") {
  const two_sites sites;
  auto at_a = sites.client_of(*sites.a).open_connect({"qkd://alice@a", "qkd://bob@b"}).value();
  auto at_b = sites.client_of(*sites.b).open_connect({"qkd://alice@a", "qkd://bob@b", {}, at_a.id()}).value();
  for (int i = 0; i < 10; ++i) {
    const auto key = at_a.next_key().value();
    CHECK(equal_in_constant_time(key.bytes(), at_b.get_key(key.index).value().bytes()));
  }
}

namespace {

/// GET_KEY of an index that never comes, on a connection of its own.
status ask_in_vain(const std::string& address, const secret_arena& arena, const key_stream_id& stream) {
  std::array<std::byte, 64> key{};
  call c;
  get_key_request r;
  r.stream = stream;
  r.index = 1'000'000;
  c.request = r;
  c.key_buffer = key;
  c.deadline = boot_clock::now() + 20s;
  const auto via = net::connect(address, arena).value();
  call* const one = &c;
  via->start(std::span{&one, 1});
  via->wait(c);
  return c.error ? to_status(c.error) : std::get<get_key_response>(c.response).outcome;
}

template <class Value>
bool is_ready(const std::future<Value>& f, std::chrono::milliseconds patience = 0ms) {
  return f.wait_for(patience) == std::future_status::ready;
}

}  // namespace

TEST_CASE("server: whoever waits is answered when it stops, and stopping twice is stopping once") {
  const two_sites sites{"[limits]\nmax_waiting = 1\n"};
  open_connect_request request{"qkd://alice@a", "qkd://bob@b"};
  request.quality.timeout_ms = 60'000;
  auto stream = sites.client_of(*sites.a).open_connect(request).value();
  const auto ask = [&] { return ask_in_vain(sites.a->addresses().at(0), sites.arena, stream.id()); };
  std::array<std::future<status>, 2> asked{std::async(std::launch::async, ask),
                                           std::async(std::launch::async, ask)};
  // two must not wait: when one of them was turned away the other does
  while (!is_ready(asked[0], 1ms) && !is_ready(asked[1])) {}
  auto& waits = asked[is_ready(asked[0]) ? 1 : 0];
  CHECK(asked[is_ready(asked[0]) ? 0 : 1].get() == status::resource_limit);
  REQUIRE_FALSE(is_ready(waits));
  sites.a->stop();
  sites.a->stop();
  CHECK(waits.get() == status::shutting_down);
  stream.detach();
}

TEST_CASE("server: says which link has no key source, and which source no link") {
  std::string why;
  auto none = serve::server_thread::start(config_of("b", {}), {}, &why);
  REQUIRE_FALSE(none);
  CHECK(none.error() == status::invalid_argument);
  CHECK(why.find("key source of peer a: is to be given") != std::string::npos);

  auto options = with(make_memory_sources({}).first);
  options.sources.emplace("a+c", make_memory_sources({}).first);
  auto unknown = serve::server_thread::start(config_of("b", {}), std::move(options), &why);
  REQUIRE_FALSE(unknown);
  CHECK(why.find("'a+c'") != std::string::npos);
}

TEST_CASE("server: ends with its totals in the log, and logs on one thread after another") {
  // without a mutex: whoever starts it, the server's own thread, and whoever stops it write one after another
  std::vector<std::pair<std::thread::id, std::string>> lines;
  std::atomic<bool> inside{false};
  bool overlaps = false;
  const two_sites sites{{}, [&](net::log_level, std::string_view text) {
                          if (inside.exchange(true)) overlaps = true;
                          lines.emplace_back(std::this_thread::get_id(), text);
                          inside = false;
                        }};
  {
    auto stream = sites.client_of(*sites.a).open_connect({"qkd://alice@a", "qkd://bob@b"}).value();
    CHECK(stream.next_key());  // so the link is up, and was logged
  }
  sites.a->stop();
  CHECK_FALSE(overlaps);
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.back().second.find("ended delivered_keys=1") == 0);
  CHECK(lines.back().first == std::this_thread::get_id());
  int changes = 0;
  for (std::size_t i = 1; i < lines.size(); ++i) changes += lines[i].first != lines[i - 1].first ? 1 : 0;
  CHECK(changes == 2);
}

TEST_CASE("server: a forked child ends without ending the parent's") {
  const two_sites sites;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    sites.a->stop();
    ::_exit(0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  auto stream = sites.client_of(*sites.a).open_connect({"qkd://alice@a", "qkd://bob@b"}).value();
  CHECK(stream.next_key());
}
