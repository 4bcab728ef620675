// SPDX-License-Identifier: Apache-2.0
#include "serve/server.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "qkd004/client.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/secret.hpp"

using namespace qkd004;

namespace {

/// A site that listens on a free port; `peer` is the address of the site "b", empty at "b" itself.
serve::site_config config_of(const std::string& node, const std::string& peer) {
  std::string text = "node = '" + node + "'\nlisten = ['qkd004://127.0.0.1:0']\n[[peer]]\nnode = '" +
                     (node == "a" ? "b" : "a") + "'\n";
  if (!peer.empty()) text += "address = '" + peer + "'\n";
  text += "[peer.source]\nkind = 'given'\n";
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
  two_sites() {
    auto ends = make_memory_sources({});
    std::string why;
    auto started = serve::server_thread::start(config_of("b", {}), with(std::move(ends.second)), &why);
    REQUIRE_MESSAGE(started, why);
    b = std::move(*started);
    started =
        serve::server_thread::start(config_of("a", b->addresses().at(0)), with(std::move(ends.first)), &why);
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

TEST_CASE("server: whoever waits is answered when it stops, and stopping twice is stopping once") {
  const two_sites sites;
  open_connect_request request{"qkd://alice@a", "qkd://bob@b"};
  request.quality.min_bps = 0;
  auto stream = sites.client_of(*sites.a).open_connect(request).value();
  sites.a->stop();
  sites.a->stop();
  CHECK_FALSE(stream.next_key());
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

TEST_CASE("server: ends with its totals in the log, and logs on no other thread at a time") {
  std::mutex mutex;
  std::vector<std::string> lines;
  auto options = with(make_memory_sources({}).first);
  options.log = [&](net::log_level, std::string_view text) {
    const std::lock_guard lock{mutex};
    lines.emplace_back(text);
  };
  std::string why;
  auto site = serve::server_thread::start(config_of("b", {}), std::move(options), &why);
  REQUIRE_MESSAGE(site, why);
  (*site)->stop();
  const std::lock_guard lock{mutex};
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.back().find("ended delivered_keys=0") == 0);
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
