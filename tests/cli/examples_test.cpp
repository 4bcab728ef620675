// The configurations in examples/ are what they say they are.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "cli/config.hpp"
#include "site_pair.hpp"

namespace fs = std::filesystem;
using namespace qkd004;
using namespace qkd004::cli;

namespace {

const fs::path examples = fs::path{__FILE__}.parent_path().parent_path().parent_path() / "examples";

}  // namespace

TEST_CASE("examples: are two sites that are each other's peer over one link") {
  std::string why;
  const auto a = read_config((examples / "site-a.toml").string(), &why);
  INFO(why);
  REQUIRE(a);
  const auto b = read_config((examples / "site-b.toml").string(), &why);
  INFO(why);
  REQUIRE(b);
  REQUIRE(a->site.peers.size() == 1);
  REQUIRE(b->site.peers.size() == 1);
  CHECK(a->site.peers[0].link.peer == b->site.manager.node);
  CHECK(b->site.peers[0].link.peer == a->site.manager.node);
  CHECK(a->site.peers[0].link.name == b->site.peers[0].link.name);
  CHECK(a->site.peers[0].address == b->site.listen[0]);
  const auto& at_a = std::get<seeded_settings>(a->key_sources[0]);
  const auto& at_b = std::get<seeded_settings>(b->key_sources[0]);
  CHECK(at_a.secret_file == at_b.secret_file);
  CHECK(at_a.options.rate_bps == at_b.options.rate_bps);
  CHECK(at_a.options.block_bytes == at_b.options.block_bytes);
}

TEST_CASE("examples: show the defaults in what is commented out") {
  const std::string file = (examples / "site-a.toml").string();
  const std::string text = test::read_file(file);
  // "#key = value" and "#[table]" become real; "# words" stay comments. The last part is another key source.
  std::string real = text.substr(0, text.find("# \"file\" reads"));
  for (auto at = real.find("\n#"); at != std::string::npos; at = real.find("\n#", at + 1)) {
    if (at + 2 < real.size() && real[at + 2] != ' ' && real[at + 2] != '\n') real.erase(at + 1, 1);
  }
  REQUIRE(real.find("\nmax_unsent") != std::string::npos);
  std::string why;
  const auto shown = parse_config(real, file, &why);
  INFO(why);
  REQUIRE(shown);
  const auto plain = parse_config(text, file, &why);
  REQUIRE(plain);
  const auto& a = shown->site;
  const auto& b = plain->site;
  CHECK(a.memory.bytes == b.memory.bytes);
  CHECK(a.manager.insist_on_peer == b.manager.insist_on_peer);
  CHECK(a.peers[0].link.name == b.peers[0].link.name);
  const auto& l = a.manager.limits;
  const limits d;
  CHECK(l.max_chunk == d.max_chunk);
  CHECK(l.ring_chunks == d.ring_chunks);
  CHECK(l.ring_bytes == d.ring_bytes);
  CHECK(l.max_streams == d.max_streams);
  CHECK(l.max_retired == d.max_retired);
  CHECK(l.max_waiting == d.max_waiting);
  CHECK(l.pool_bytes == d.pool_bytes);
  CHECK(l.max_uri == d.max_uri);
  CHECK(l.max_connections == d.max_connections);
  CHECK(l.max_frame == d.max_frame);
  CHECK(l.max_in_flight == d.max_in_flight);
  CHECK(l.max_unsent == d.max_unsent);
  const net::site_timeouts t;
  CHECK(a.timeouts.silence == t.silence);
  CHECK(a.timeouts.frame == t.frame);
  CHECK(a.timeouts.unsent == t.unsent);
  CHECK(a.timeouts.linger == t.linger);
  CHECK(a.timeouts.dial == t.dial);
}
