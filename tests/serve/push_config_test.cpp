// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "serve/config.hpp"

using namespace qkd004;
using namespace qkd004::serve;
using namespace std::chrono_literals;

namespace {

const std::string device = "node = 'a'\nlisten = ['http://127.0.0.1:0']\n";
const std::string kms =
    "node = 'a'\nlisten = ['http://127.0.0.1:0']\n[[peer]]\nnode = 'b'\naddress = 'qkd004://127.0.0.1:9'\n"
    "[peer.source]\nkind = 'push'\n";
const std::string least =
    "device = 'http://127.0.0.1:8'\nsource = 'qkd://x@y'\ndestination = 'qkd://z@w'\nbegins = true\n"
    "security_class = 'hardware'\n";

site_config good(const std::string& text) {
  std::string why;
  auto config = parse_config(text, "site.toml", &why);
  INFO(why);
  REQUIRE(config);
  return std::move(*config);
}
std::string bad(const std::string& text) {
  std::string why;
  CHECK_FALSE(parse_config(text, "site.toml", &why));
  return why;
}

}  // namespace

TEST_CASE("config: a site is a device of push mode when it says so") {
  CHECK_FALSE(good(device).push);
  const auto plain = good(device + "[push]\n");
  REQUIRE(plain.push);
  CHECK_FALSE(plain.push->strict_bodies);
  CHECK(plain.push->core.sending.in_flight == 8);
  // connections, bodies and keys of as many streams as there may be
  CHECK(plain.push->memory.bytes >= plain.push->core.max_streams * 8 * (8 * 1024 + 256 + 2 * 64));
  const auto all = good(
      device +
      "[push]\nstrict_bodies = true\nin_flight = 4\nmax_streams = 5\nfirst_pause_ms = 6\n"
      "longest_pause_ms = 7\nrequest_timeout_ms = 8\nfirst_index = 9\n"
      "[[push.key_manager]]\nuri = 'qkd://x@y'\naddress = 'http://127.0.0.1:10'\nidentity = 'qkd://k'\n");
  REQUIRE(all.push);
  CHECK(all.push->strict_bodies);
  CHECK(all.push->core.sending.in_flight == 4);
  CHECK(all.push->core.max_streams == 5);
  CHECK(all.push->memory.bytes == push::device_options{}.memory.bytes);
  CHECK(all.push->core.sending.first_pause == 6ms);
  CHECK(all.push->core.sending.longest_pause == 7ms);
  CHECK(all.push->request_timeout == 8ms);
  CHECK(all.push->core.first_index == 9);
  CHECK(all.push->key_managers.at("qkd://x@y").uri == "http://127.0.0.1:10");
  CHECK(all.push->key_managers.at("qkd://x@y").identity == "qkd://k");
}

TEST_CASE("config: a link's key comes from a device that pushes it when it says so") {
  const auto config = good(kms + least);
  const auto& plain = std::get<push_settings>(config.key_sources.at(0));
  CHECK(plain.device == "http://127.0.0.1:8");
  CHECK(plain.source.source == "qkd://x@y");
  CHECK(plain.source.destination == "qkd://z@w");
  CHECK(plain.source.which == push_source_options::end::begins);
  CHECK(plain.source.security == security_class::hardware);
  const auto more =
      good(kms + least +
           "post_get_key = true\nfirst_index = 1\nmax_held = 20\nwindow = 30\narm_again_ms = 4\n"
           "gap_patience_ms = 5\n[peer.source.qos]\nkey_chunk_size = 6\nmax_bps = 7\nmin_bps = 8\n"
           "jitter = 9\npriority = 10\ntimeout_ms = 11\nttl_s = 12\n");
  const auto& all = std::get<push_settings>(more.key_sources.at(0));
  CHECK(all.post_get_key);
  CHECK(all.source.first_index == 1);
  CHECK(all.source.bounds.most == 20);
  CHECK(all.source.bounds.window == 30);
  CHECK(all.source.arm_again == 4ms);
  CHECK(all.source.gap_patience == 5ms);
  CHECK(all.source.quality == qos{6, 7, 8, 9, 10, 11, 12, ""});
  CHECK(all.source.memory.bytes >= 2 * 64 * (20 + 30));
}

TEST_CASE("config: says what is wrong with push mode") {
  const std::vector<std::pair<std::string, std::string_view>> cases = {
      {"node = 'a'\nlisten = ['qkd004://127.0.0.1:0']\n[push]\n",
       "push: needs an address http:// or https://"},
      {device + "[push]\nin_flight = 65\n", "push.in_flight: is 65"},
      {device + "[push]\nfirst_index = 4294967296\n", "push.first_index: is 4294967296"},
      {device + "[push]\n[[push.key_manager]]\nuri = 'a:b'\n", "push.key_manager.address: is missing"},
      {device + "[push]\n[[push.key_manager]]\nuri = 'a:b'\naddress = 'qkd004://127.0.0.1:1'\n",
       "push.key_manager.address: is not http:// or https://"},
      {device + "[push]\n[[push.key_manager]]\nuri = 'a:b'\naddress = 'https://127.0.0.1:1'\n",
       "needs [tls]"},
      {device + "[push]\n[[push.key_manager]]\nuri = 'a:b'\naddress = 'http://127.0.0.1:0'\n",
       "push.key_manager.address: port 0 cannot be dialled"},
      {device + "[push]\nother = 1\n", "unknown key 'push.other'"},
      {kms, "peer.source.device: is missing"},
      {kms, "peer.source.source: is missing"},
      {kms, "peer.source.begins: is missing"},
      {kms, "peer.source.security_class: is missing"},
      {kms + least + "identity = 'qkd://d'\n", "is proven over TLS only"},
      {kms + least + "window = 7\n", "peer.source.window: is 7"},
      {kms + least + "[peer.source.qos]\nkey_chunk_size = 65537\n",
       "peer.source.qos.key_chunk_size: is 65537"},
  };
  for (const auto& [text, part] : cases) {
    CAPTURE(text);
    const std::string why = bad(text);
    CAPTURE(why);
    CHECK(why.find(part) != std::string::npos);
  }
}
