// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qkd004/memory_source.hpp"
#include "serve/config.hpp"
#include "serve/server.hpp"

using namespace qkd004;
using namespace qkd004::serve;
using operations::audience;

namespace {

const std::string least = "node = 'a'\nlisten = ['http://127.0.0.1:0']\nself_link = true\n";

operations::viewers viewers_of(const std::string& text) {
  std::string why;
  auto config = parse_config(text, "site.toml", &why);
  INFO(why);
  REQUIRE(config);
  return std::move(config->viewers);
}
std::string bad(const std::string& text) {
  std::string why;
  CHECK_FALSE(parse_config(text, "site.toml", &why));
  return why;
}

/// What readiness() of a site that is started tells.
operations::readiness told_by(const std::string& text, server_options o = {}) {
  asio::io_context context;
  auto config = parse_config(text, "site.toml", nullptr);
  REQUIRE(config);
  config->site.memory.allow_unlocked = true;
  server site{context, std::move(*config), std::move(o)};
  std::string why;
  REQUIRE_MESSAGE(site.open_sources(&why), why);
  REQUIRE_MESSAGE(site.start(&why), why);
  std::optional<operations::readiness> told;
  site.readiness([&](const operations::readiness& r) {
    told = r;
    asio::post(context, [&] { site.stop(); });  // not from inside
  });
  context.run();
  REQUIRE(told);
  return *told;
}

}  // namespace

TEST_CASE("config: metrics and dashboard are for who asks from this host, unless it says otherwise") {
  CHECK(viewers_of(least).who == audience::loopback);
  CHECK(viewers_of(least).operators.empty());
  CHECK(viewers_of(least + "[operations]\n").who == audience::loopback);
  CHECK(viewers_of(least + "[operations]\naudience = 'nobody'\n").who == audience::nobody);
  CHECK(viewers_of(least + "[operations]\naudience = 'authenticated'\n").who == audience::authenticated);
  CHECK(viewers_of(least + "[operations]\naudience = 'everyone'\n").who == audience::everyone);
  const auto v =
      viewers_of(least + "[operations]\naudience = 'operators'\noperators = ['qkd://noc@a', 'spki:*']\n");
  CHECK(v.who == audience::operators);
  CHECK(v.operators == std::vector<std::string>{"qkd://noc@a", "spki:*"});
}

TEST_CASE("config: says what is wrong in operations") {
  CHECK(bad(least + "[operations]\naudience = 'all'\n").find("operations.audience: 'all' is not known") !=
        std::string::npos);
  CHECK(bad(least + "[operations]\noperators = ['']\n").find("operations.operators") != std::string::npos);
  CHECK(bad(least + "[operations]\naudience = 'operators'\n").find("names none") != std::string::npos);
  CHECK(bad(least + "[operations]\nport = 1\n").find("unknown key 'operations.port'") != std::string::npos);
}

TEST_CASE("server: tells how ready it is, with and without a listener for HTTP") {
  CHECK(told_by(least).ready);
  const std::string with_peer =
      "node = 'a'\nlisten = ['qkd004://127.0.0.1:0']\n[[peer]]\nnode = 'b'\naddress = "
      "'qkd004://127.0.0.1:9'\n"
      "[peer.source]\nkind = 'given'\n";
  server_options o;
  o.sources.emplace("a+b", make_memory_sources({}).first);
  const auto r = told_by(with_peer, std::move(o));
  CHECK_FALSE(r.ready);
  REQUIRE(r.links.size() == 1);
  CHECK(r.links[0].peer == "b");
  CHECK_FALSE(r.links[0].why_not.empty());
}
