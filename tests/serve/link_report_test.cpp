// SPDX-License-Identifier: Apache-2.0
#include "serve/link_report.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "serve/link_watch.hpp"

using namespace qkd004;
using namespace qkd004::serve;
using namespace std::chrono_literals;

namespace {

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

link_sample sample_of_all() {
  link_sample s{"a \"link\"+b", 123'456ms, {}};
  auto& r = s.counts;
  std::uint64_t n = 0;
  for (auto* count : {&r.sessions, &r.pulses, &r.detections, &r.sifted, &r.secret, &r.errors, &r.leak_alice,
                      &r.leak_bob, &r.rounds, &r.accepted, &r.over_limit, &r.no_key, &r.unequal, &r.cut_off,
                      &r.forged, &r.auth_used, &r.auth_returned, &r.auth_left}) {
    *count = ++n * 1'000'000'007;
  }
  r.qber = 0.0241;
  r.efficiency = 1.045;
  r.progress = 1.0 / 3;
  r.at = software_link_report::stage::amplification;
  r.failure = "he said \"no\"";
  for (auto& histogram : r.duration) {
    for (auto& count : histogram) count = ++n;
  }
  return s;
}

/// Lines that a watch has logged.
struct noted {
  std::vector<std::pair<net::log_level, std::string>> lines;
  [[nodiscard]] link_watch::log log() {
    return [this](net::log_level level, std::string_view text) { lines.emplace_back(level, text); };
  }
};

}  // namespace

TEST_CASE("link report: comes back as it was when it went through JSON") {
  const auto s = sample_of_all();
  const std::string json = to_json(s);
  INFO(json);
  const auto back = parse_link_sample(json);
  REQUIRE(back);
  CHECK(back->link == s.link);
  CHECK(back->at == s.at);
  CHECK(back->counts.failure == s.counts.failure);
  CHECK(back->counts.at == s.counts.at);
  CHECK(back->counts.progress == s.counts.progress);
  CHECK(back->counts.duration == s.counts.duration);
  CHECK(back->counts.auth_left == s.counts.auth_left);
  CHECK(to_json(*back) == json);
}

TEST_CASE("link report: has every count under its own name when it is JSON") {
  const std::string json = to_json(sample_of_all());
  std::uint64_t n = 0;
  for (const char* name : {"sessions", "pulses", "detections", "sifted", "secret", "errors", "leak_alice",
                           "leak_bob", "rounds", "accepted", "over_limit", "no_key", "unequal", "cut_off",
                           "forged", "auth_used", "auth_returned", "auth_left"}) {
    INFO(name);
    CHECK(has(json, "\"" + std::string{name} + "\":" + std::to_string(++n * 1'000'000'007) + ","));
  }
  CHECK(has(json, "\"qber\":0.0241,\"efficiency\":1.045,"));
  CHECK(has(json, "\"stage\":\"amplification\""));
}

TEST_CASE("link report: is not read when it is cut off or something else") {
  const std::string json = to_json(sample_of_all());
  for (std::size_t size = 0; size < json.size(); ++size) CHECK_FALSE(parse_link_sample(json.substr(0, size)));
  CHECK_FALSE(parse_link_sample("listening qkd004://127.0.0.1:1"));
  CHECK_FALSE(parse_link_sample("{}}"));
}

TEST_CASE("link report: writes no number that JSON does not have") {
  link_sample s;
  s.counts.efficiency = std::numeric_limits<double>::quiet_NaN();
  CHECK(has(to_json(s), "\"efficiency\":0,"));
}

TEST_CASE("link report: counts rates until the last block that was accepted") {
  link_history h;
  link_sample s;
  const auto add = [&](std::chrono::milliseconds at, std::uint64_t accepted) {
    s.at = at;
    s.counts.sessions = 1;
    s.counts.accepted = accepted;
    s.counts.secret = accepted * 1'000;
    s.counts.sifted = accepted * 4'000;
    h.add(s);
  };
  CHECK(h.secret_bps() == 0);
  h.add({"x", 500ms, {}});  // the sites have not met yet
  add(1'000ms, 0);
  CHECK(h.secret_bps() == 0);
  add(2'000ms, 1);
  add(3'000ms, 4);
  add(9'000ms, 4);
  CHECK(h.secret_bps() == doctest::Approx(2'000));
  CHECK(h.sifted_bps() == doctest::Approx(8'000));
  CHECK(h.now().accepted == 4);
}

TEST_CASE("numbers: look as people write them") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1'000) == "1,000");
  CHECK(grouped(134'217'728) == "134,217,728");
  CHECK(text_of_rate(12) == "12 bit/s");
  CHECK(text_of_rate(999.6) == "1.00 kbit/s");
  CHECK(text_of_rate(12'345'678) == "12.3 Mbit/s");
  CHECK(text_of_rate(123.4e9) == "123 Gbit/s");
  CHECK(percent(0.0241) == "2.41 %");
}

TEST_CASE("link watch: says what came in ten seconds, and nothing when nothing did") {
  noted n;
  const link_watch::clock::time_point start{1h};
  link_watch watch{"a+b", 0.08, n.log(), start};
  software_link_report r;
  watch.look(r, start + 10s);
  CHECK(n.lines.empty());
  r.accepted = 3;
  r.secret = 3'000;
  r.sifted = 10'000;
  r.cut_off = 2;
  r.qber = 0.02;
  r.efficiency = 1.05;
  watch.look(r, start + 12s);
  REQUIRE(n.lines.size() == 1);
  CHECK(n.lines[0].first == net::log_level::debug);
  CHECK(n.lines[0].second ==
        "3 blocks accepted, 3 in all: QBER 2.00 %, f 1.050, 3,000 secret bits link=a+b");
  watch.look(r, start + 20s);
  REQUIRE(n.lines.size() == 2);
  CHECK(n.lines[1].first == net::log_level::info);
  CHECK(
      n.lines[1].second ==
      "10 s: 3 blocks accepted, 2 discarded (2 cut off); QBER 2.00 %, f 1.050, sifted 1.00 kbit/s, "
      "secret 300 bit/s link=a+b");
  watch.look(r, start + 30s);
  CHECK(n.lines.size() == 2);
}

TEST_CASE("link watch: warns of each kind of discarded block at once, and then once in ten seconds") {
  noted n;
  const link_watch::clock::time_point start{1h};
  link_watch watch{"a+b", 0.08, n.log(), start};
  software_link_report r;
  r.over_limit = 1;
  r.qber = 0.14;
  watch.look(r, start + 1s);
  REQUIRE(n.lines.size() == 1);
  CHECK(n.lines[0].first == net::log_level::warning);
  CHECK(has(n.lines[0].second, "a block discarded: QBER 14.00 % is above the limit of 8.00 %"));
  r.over_limit = 5;
  r.unequal = 1;
  watch.look(r, start + 2s);
  REQUIRE(n.lines.size() == 2);
  CHECK(has(n.lines[1].second, "not equal"));
  r.no_key = 1;
  watch.look(r, start + 3s);
  REQUIRE(n.lines.size() == 3);
  CHECK(has(n.lines[2].second, "nothing secret is left"));
  n.lines.clear();
  watch.look(r, start + 11s);
  REQUIRE(n.lines.size() == 2);
  CHECK(has(n.lines[0].second, "4 blocks discarded"));
  CHECK(n.lines[1].first == net::log_level::info);
}

TEST_CASE("link watch: says why a session failed, and says it again when it is forged again") {
  noted n;
  const link_watch::clock::time_point start{1h};
  link_watch watch{"a+b", 0.08, n.log(), start};
  software_link_report r;
  r.failure = "the authentication key is used up";
  watch.look(r, start + 1s);
  watch.look(r, start + 2s);
  REQUIRE(n.lines.size() == 1);
  CHECK(n.lines[0].first == net::log_level::warning);
  CHECK(has(n.lines[0].second, "a session was ended"));
  CHECK(has(n.lines[0].second, "the authentication key is used up"));
  r.forged = 3;
  r.failure = "a message was changed on its way";
  watch.look(r, start + 3s);
  REQUIRE(n.lines.size() == 2);
  CHECK(has(n.lines[1].second, "3 sessions were ended"));
  CHECK(has(n.lines[1].second, "a message was changed on its way"));
}
