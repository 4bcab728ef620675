// The configurations in examples/ are what they say they are.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <variant>

#include "cli/certs.hpp"
#include "serve/config.hpp"
#include "site_pair.hpp"
#include "software/options_text.hpp"

namespace fs = std::filesystem;
using namespace qkd004;
using namespace qkd004::cli;
using namespace qkd004::serve;

namespace {

const fs::path examples = fs::path{QKD004_EXAMPLES};

site_config read(const char* name, const char* folder) {
  std::string why;
  auto config = read_config((examples / folder / name).string(), &why);
  INFO(why);
  REQUIRE(config);
  return std::move(*config);
}

/// "#key = value" and "#[table]" become real; "# words" stay comments.
std::string without_comments(std::string text) {
  for (auto at = text.find('#'); at != std::string::npos; at = text.find('#', at + 1)) {
    const bool first = text.find_last_not_of(' ', at - 1) == text.rfind('\n', at);
    if (first && at + 1 < text.size() && text[at + 1] != ' ' && text[at + 1] != '\n') text.erase(at, 1);
  }
  return text;
}

}  // namespace

TEST_CASE("examples: are two sites that are each other's peer over one link") {
  for (const char* folder : {"", "tls"}) {
    const auto a = read("site-a.toml", folder);
    const auto b = read("site-b.toml", folder);
    REQUIRE(a.site.peers.size() == 1);
    REQUIRE(b.site.peers.size() == 1);
    CHECK(a.site.peers[0].link.peer == b.site.manager.node);
    CHECK(b.site.peers[0].link.peer == a.site.manager.node);
    CHECK(a.site.peers[0].link.name == b.site.peers[0].link.name);
    CHECK(a.site.peers[0].address == b.site.listen[0]);
    const auto& at_a = std::get<seeded_settings>(a.key_sources[0]);
    const auto& at_b = std::get<seeded_settings>(b.key_sources[0]);
    CHECK(at_a.secret_file == at_b.secret_file);
    CHECK(at_a.options.rate_bps == at_b.options.rate_bps);
    CHECK(at_a.options.block_bytes == at_b.options.block_bytes);
  }
}

TEST_CASE("examples: are the two ends of one link when they distil, and show its defaults") {
  const std::string file = (examples / "software" / "site-a.toml").string();
  const auto a = read("site-a.toml", "software");
  const auto b = read("site-b.toml", "software");
  CHECK(a.site.peers.at(0).link.name == b.site.peers.at(0).link.name);
  CHECK(a.site.peers.at(0).address == b.site.listen.at(0));
  const auto& at_a = std::get<software_settings>(a.key_sources.at(0));
  const auto& at_b = std::get<software_settings>(b.key_sources.at(0));
  CHECK(at_a.end.which != at_b.end.which);
  CHECK(at_a.end.auth_key == at_b.end.auth_key);
  CHECK(at_a.end.auth_state != at_b.end.auth_state);
  CHECK(software::options_text(at_a.link) == software::options_text(at_b.link));

  const std::string real = without_comments(test::read_file(file));
  REQUIRE(real.find("\nblocks_in_flight") != std::string::npos);
  REQUIRE(real.find("\nintensities") != std::string::npos);
  std::string why;
  const auto shown = parse_config(real, file, &why);
  INFO(why);
  REQUIRE(shown);
  CHECK(software::options_text(std::get<software_settings>(shown->key_sources.at(0)).link) ==
        software::options_text({}));
}

TEST_CASE("examples: name certificates that one command makes when they use TLS") {
  const test::temporary_folder folder;
  std::string why;
  const auto made = create_certs({folder.path("certs")}, &why);
  INFO(why);
  REQUIRE(made);
  for (const char* name : {"site-a", "site-b"}) {
    test::write_file(folder.path("site.toml"),
                     test::read_file((examples / "tls" / (std::string{name} + ".toml")).string()));
    const auto config = read_config(folder.path("site.toml"), &why);
    INFO(why);
    REQUIRE(config);
    CHECK(config->site.listen[0].starts_with("qkd004s://"));
    REQUIRE(config->site.tls);
    const auto& tls = *config->site.tls;
    CHECK(tls.certificate == folder.path("certs/") + name + ".pem");
    for (const auto& file : {tls.certificate, tls.key, tls.authority}) CHECK(fs::exists(file));
  }
}

TEST_CASE("examples: show the defaults in what is commented out") {
  const std::string file = (examples / "site-a.toml").string();
  const std::string text = test::read_file(file);
  // the last part is another key source
  const std::string real = without_comments(text.substr(0, text.find("# \"file\" reads")));
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
  CHECK(l.max_reported == d.max_reported);
  CHECK(l.max_connections == d.max_connections);
  CHECK(l.max_frame == d.max_frame);
  CHECK(l.max_in_flight == d.max_in_flight);
  CHECK(l.max_unsent == d.max_unsent);
  CHECK(l.max_log_lines == d.max_log_lines);
  CHECK(shown->log.level == net::log_level::info);
  CHECK(shown->log.format == serve::log_format::automatic);
  CHECK_FALSE(plain->log.level);
  CHECK_FALSE(plain->log.format);
  const net::site_timeouts t;
  CHECK(a.timeouts.silence == t.silence);
  CHECK(a.timeouts.frame == t.frame);
  CHECK(a.timeouts.unsent == t.unsent);
  CHECK(a.timeouts.linger == t.linger);
  CHECK(a.timeouts.dial == t.dial);
  CHECK(a.timeouts.handshake == t.handshake);
}

TEST_CASE("examples: show the defaults in what is commented out when they use TLS") {
  const std::string file = (examples / "tls" / "site-a.toml").string();
  const std::string text = test::read_file(file);
  std::string why;
  const auto shown = parse_config(without_comments(text), file, &why);
  INFO(why);
  REQUIRE(shown);
  const auto plain = parse_config(text, file, &why);
  REQUIRE(plain);
  CHECK(shown->site.listen.size() == 2);
  CHECK(shown->site.unix_mode == plain->site.unix_mode);
  CHECK(*shown->site.tls == *plain->site.tls);
  REQUIRE(shown->site.access.size() == 1);
  CHECK(shown->site.access[0] == net::access_rule{"qkd://alice@site-a", "*", "*"});
  CHECK(net::access_rule{"x"} == net::access_rule{"x", "*", "*"});
  CHECK(plain->site.access.empty());
  CHECK(shown->site.peers[0].identity == "qkd://" + plain->site.peers[0].link.peer);
}

TEST_CASE("examples: push mode's are two devices and two key managers that know one another") {
  const auto device_a = read("device-a.toml", "push");
  const auto device_b = read("device-b.toml", "push");
  const auto kms_a = read("kms-a.toml", "push");
  const auto kms_b = read("kms-b.toml", "push");
  CHECK(device_a.site.peers[0].address == device_b.site.listen[0]);
  CHECK(kms_a.site.peers[0].address == kms_b.site.listen[0]);
  const auto& at_a = std::get<push_settings>(kms_a.key_sources[0]);
  const auto& at_b = std::get<push_settings>(kms_b.key_sources[0]);
  CHECK(at_a.device == device_a.site.listen[1]);
  CHECK(at_b.device == device_b.site.listen[1]);
  CHECK(at_a.source.source == at_b.source.source);
  CHECK(at_a.source.destination == at_b.source.destination);
  CHECK(at_a.source.which == push_source_options::end::begins);
  CHECK(at_b.source.which == push_source_options::end::follows);
  REQUIRE(device_a.push);
  REQUIRE(device_b.push);
  CHECK(device_a.push->key_managers.at(at_a.source.source).uri == kms_a.site.listen[1]);
  CHECK(device_b.push->key_managers.at(at_a.source.source).uri == kms_b.site.listen[1]);
}

TEST_CASE("examples: what push mode's have commented out is the default") {
  for (const char* const name : {"device-a.toml", "kms-a.toml"}) {
    CAPTURE(name);
    const auto written = read(name, "push");
    std::string text = without_comments(test::read_file((examples / "push" / name).string()));
    for (auto at = text.find("\nidentity"); at != std::string::npos; at = text.find("\nidentity")) {
      text.erase(at, text.find('\n', at + 1) - at);  // over TLS only
    }
    std::string why;
    const auto full = parse_config(text, (examples / "push" / name).string(), &why);
    INFO(why);
    REQUIRE(full);
    if (written.push) {
      CHECK(full->push->core.sending.in_flight == written.push->core.sending.in_flight);
      CHECK(full->push->core.sending.first_pause == written.push->core.sending.first_pause);
      CHECK(full->push->core.sending.longest_pause == written.push->core.sending.longest_pause);
      CHECK(full->push->core.max_streams == written.push->core.max_streams);
      CHECK(full->push->request_timeout == written.push->request_timeout);
      CHECK(full->push->strict_bodies == written.push->strict_bodies);
    } else {
      const auto& a = std::get<push_settings>(full->key_sources[0]).source;
      const auto& b = std::get<push_settings>(written.key_sources[0]).source;
      CHECK(a.bounds.most == b.bounds.most);
      CHECK(a.bounds.window == b.bounds.window);
      CHECK(a.gap_patience == b.gap_patience);
      CHECK(a.arm_again == b.arm_again);
    }
  }
}
