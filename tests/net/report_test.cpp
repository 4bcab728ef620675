// SPDX-License-Identifier: Apache-2.0
#include "net/report.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>

#include "core/two_sites.hpp"

using namespace qkd004;

namespace {

bool has(const std::string& json, const std::string& text) { return json.find(text) != std::string::npos; }

}  // namespace

TEST_CASE("report: shows as many streams as fit, be it none") {
  const testing::two_sites w;
  stream_reports reported;
  reported.open = 90;
  reported.streams.resize(3);
  const auto of_room = [&](std::size_t most) { return net::report_json(w.a->manager, reported, most); };
  const std::size_t around = of_room(0).size();
  const std::size_t one = (of_room(100'000).size() - around - 2) / 3;
  for (const std::size_t most : {std::size_t{0}, one - 1, one, 2 * one, 2 * one + 1, 3 * one + 2}) {
    CAPTURE(most);
    const std::string json = of_room(most);
    CHECK(json.size() <= around + most);
    const std::size_t shown = std::min<std::size_t>((most + 1) / (one + 1), 3);
    CHECK(has(json, R"("streams_open":90,"streams_shown":)" + std::to_string(shown) + ","));
  }
}

TEST_CASE("report: is printable ASCII, and its strings end where they should, whatever is in a URI") {
  const testing::two_sites w;
  constexpr unsigned seed = 4;
  CAPTURE(seed);
  std::minstd_rand draw{seed};
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    stream_reports reported;
    reported.open = 1;
    reported.streams.resize(1);
    stream_report& r = reported.streams[0];
    for (std::string* text : {&r.source, &r.destination, &r.quality.metadata_mimetype}) {
      for (auto left = draw() % 100; left > 0; --left) {
        *text += draw() % 3 == 0 ? "\"\\{}\x7f"[draw() % 5] : static_cast<char>(draw() % 256);
      }
    }
    const std::string json = net::report_json(w.a->manager, reported, 100'000);
    bool inside = false;
    int depth = 0;
    for (std::size_t i = 0; i < json.size(); ++i) {
      REQUIRE(json[i] >= 0x20);
      REQUIRE(json[i] < 0x7f);
      if (inside && json[i] == '\\') {
        REQUIRE((json[i + 1] == '"' || json[i + 1] == '\\' || json[i + 1] == 'u'));
        ++i;
      } else if (json[i] == '"') {
        inside = !inside;
      } else if (!inside) {
        depth += json[i] == '{' ? 1 : json[i] == '}' ? -1 : 0;
        REQUIRE((depth > 0 || i + 1 == json.size()));
      }
    }
    CHECK_FALSE(inside);
    CHECK(depth == 0);
  }
}
