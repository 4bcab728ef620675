// SPDX-License-Identifier: Apache-2.0
#include "operations/exposition.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

using namespace qkd004;
using namespace qkd004::operations;
using namespace std::chrono_literals;

TEST_CASE("labels: escape what would end a value or a line") {
  CHECK(labels({}).empty());
  CHECK(labels({{"link", "a+b"}, {"peer", "b"}}) == R"(link="a+b",peer="b")");
  CHECK(labels({{"x", "say \"no\"\nC:\\"}}) == R"(x="say \"no\"\nC:\\")");
}

TEST_CASE("labels: have UTF-8 as it is, and U+FFFD for an octet that is none") {
  CHECK(labels({{"x", "Z\xc3\xbcrich"}}) == "x=\"Z\xc3\xbcrich\"");
  CHECK(labels({{"x", "a\xff\xc3"}}) == "x=\"a\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(labels({{"x", "\xed\xa0\x80"}}) == "x=\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");  // a surrogate
}

TEST_CASE("exposition: a family has its help and type, and its samples") {
  exposition out;
  out.family("keys_total", exposition::type::counter, "Keys.");
  out.sample({}, std::uint64_t{18'446'744'073'709'551'615U});
  out.family("rate", exposition::type::gauge, "How fast.");
  out.sample(labels({{"link", "x"}}), 0.25);
  out.sample(labels({{"link", "y"}}), std::numeric_limits<double>::infinity());
  CHECK(out.text() ==
        "# HELP keys_total Keys.\n# TYPE keys_total counter\nkeys_total 18446744073709551615\n"
        "# HELP rate How fast.\n# TYPE rate gauge\nrate{link=\"x\"} 0.25\nrate{link=\"y\"} +Inf\n");
}

TEST_CASE("exposition: buckets of a histogram have what is in the smaller ones too, and the last has all") {
  constexpr std::array<net::duration_histogram::duration, 2> bounds{1ms, 1s};
  net::duration_histogram h{bounds};
  h.add(1ms);
  h.add(2ms, 3);
  h.add(5s);
  exposition out;
  out.family("took_seconds", exposition::type::histogram, "It took.");
  out.sample(labels({{"of", "x"}}), h);
  out.sample({}, h);
  const std::string text = out.text();
  CHECK(text.find("took_seconds_bucket{of=\"x\",le=\"0.001\"} 1\ntook_seconds_bucket{of=\"x\",le=\"1\"} 4\n"
                  "took_seconds_bucket{of=\"x\",le=\"+Inf\"} 5\ntook_seconds_sum{of=\"x\"} 5.007\n"
                  "took_seconds_count{of=\"x\"} 5\n") != std::string::npos);
  CHECK(text.find("took_seconds_bucket{le=\"0.001\"} 1\n") != std::string::npos);
}
