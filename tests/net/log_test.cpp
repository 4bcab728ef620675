// Lines of the log: what others say stays in its field, and they cannot fill it.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "net/log_limit.hpp"
#include "net/log_line.hpp"
#include "net/sites.hpp"

using namespace test;
using net::log_level;
using net::log_limit;
using net::log_line;

namespace {

struct written {
  log_limit::log log() {
    return [this](log_level level, std::string_view text) { lines.emplace_back(level, text); };
  }
  std::vector<std::pair<log_level, std::string>> lines;
};

}  // namespace

TEST_CASE("log line: quotes a value where it could be taken for something else") {
  const auto field = [](std::string_view value) { return log_line{"x"}.with("v", value).text(); };
  CHECK(field("qkd004s://[::1]:4711") == "x v=qkd004s://[::1]:4711");
  CHECK(field("") == "x v=\"\"");
  CHECK(field("two words") == "x v=\"two words\"");
  CHECK(field("a=b") == "x v=\"a=b\"");
  CHECK(field("say \"no\\\"") == "x v=\"say \\\"no\\\\\\\"\"");
  CHECK(field("\" why=\"forged") == "x v=\"\\\" why=\\\"forged\"");
  CHECK(field("a\nb\r\x1b[2J\x7f\xc3\xa9") == "x v=\"a\\x0ab\\x0d\\x1b[2J\\x7f\\xc3\\xa9\"");
  CHECK(field(std::string_view{"\0", 1}) == "x v=\"\\x00\"");
  CHECK(field(std::string(log_line::longest, 'a')).size() == 4 + log_line::longest);
  CHECK(field(std::string(log_line::longest + 1, 'a')) ==
        "x v=\"" + std::string(log_line::longest, 'a') + "...\"");
}

TEST_CASE("log line: is one line whatever an octet of it is") {
  for (int octet = 0; octet < 256; ++octet) {
    const std::string text = log_line{"x"}.with("v", std::string(3, static_cast<char>(octet))).text();
    CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
  }
}

TEST_CASE("log limit: writes so many of each kind in ten seconds, and then how many there were") {
  written w;
  log_limit log{w.log(), 3};
  const time_point start{std::chrono::hours{1}};
  for (int i = 0; i < 10; ++i) {
    log.write(log_level::warning, log_line{"refused"}.with("n", std::uint64_t{10}), start);
    if (i < 2) log.write(log_level::info, log_line{"other"}, start);
  }
  CHECK(w.lines.size() == 5);
  CHECK(log.next() == start + log_limit::period);
  log.write_rest(start + log_limit::period - std::chrono::milliseconds{1});
  CHECK(w.lines.size() == 5);
  log.write_rest(start + log_limit::period);
  REQUIRE(w.lines.size() == 6);
  CHECK(w.lines.back().first == log_level::warning);
  CHECK(w.lines.back().second == "refused left_out=7");
  CHECK(log.next() == time_point::max());
  log.write(log_level::warning, log_line{"refused"}, start + log_limit::period);
  CHECK(w.lines.back().second == "refused");
}

TEST_CASE("log limit: says at the end what it has not said yet") {
  written w;
  log_limit log{w.log(), 1};
  const time_point start{std::chrono::hours{1}};
  for (int i = 0; i < 3; ++i) log.write(log_level::info, log_line{"x"}, start);
  log.write_rest(time_point::max());
  CHECK(w.lines.back().second == "x left_out=2");
  log.write_rest(time_point::max());
  CHECK(w.lines.size() == 2);
}

TEST_CASE("log limit: one link's lines leave another's their room, others' names do not") {
  written w;
  log_limit log{w.log(), 1};
  const time_point start{std::chrono::hours{1}};
  for (const char* const link : {"a", "b", "a"}) log.write(log_level::info, log_line{"up"}.link(link), start);
  CHECK(w.lines.size() == 2);
  for (const char* const peer : {"1", "2"})
    log.write(log_level::info, log_line{"?"}.with("peer", peer), start);
  CHECK(w.lines.size() == 3);
  log.write_rest(time_point::max());
  CHECK(w.lines[3].second == "? left_out=1");
  CHECK(w.lines[4].second == "up a left_out=1");
}

TEST_CASE("site: a caller who sends what is no request fills no log, and all are counted") {
  auto options = site_options_of("a");
  options.self_link = true;
  options.manager.limits.max_log_lines = 5;
  std::optional<running_site> site{std::in_place, std::move(options)};
  for (int i = 0; i < 40; ++i) {
    raw_socket caller{site->address()};
    caller.send(octets(64, std::uint8_t{0xee}));
    CHECK(caller.read());  // the error frame
    CHECK(caller.is_closed_by_peer());
  }
  CHECK(site->log.count_now("refused remote=") == 5);
  site->site->stop();
  CHECK(site->log.has("refused left_out=35"));
}
