// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_qos_report.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "site_pair.hpp"

using namespace qkd004;
using namespace qkd004::cli;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::has;

namespace {

qos quality(std::uint32_t priority, std::uint32_t min_bps = 0, std::uint32_t jitter = 0,
            std::uint32_t max_bps = 120'000) {
  qos q;
  q.key_chunk_size = 64;
  q.max_bps = max_bps;
  q.min_bps = min_bps;
  q.jitter = jitter;
  q.priority = priority;
  return q;
}

sha256_digest digest_of(std::uint64_t number) {
  return sha256::of(std::as_bytes(std::span{&number, std::size_t{1}}));
}

/// A stream whose key `i` came to the ends at these times.
struct arrival {
  microseconds at_a;
  microseconds at_b;
};
qos_stream stream_of(const qos& promised, const std::vector<arrival>& arrivals) {
  qos_stream s{"one", {}};
  for (application_report* r : {&s.at_a, &s.at_b}) {
    r->stream = key_stream_id::parse("01234567-89ab-4cde-8f01-23456789abcd");
    r->promised = promised;
    r->all = digest_of(0);
  }
  for (std::uint64_t i = 0; i < arrivals.size(); ++i) {
    s.at_a.keys.push_back({i, digest_of(i), arrivals[i].at_a});
    s.at_b.keys.push_back({i, digest_of(i), arrivals[i].at_b});
  }
  return s;
}

/// What three streams of the demonstration come to when all is well.
std::vector<qos_row> good_rows() {
  std::vector<qos_row> rows(3);
  rows[0] = {"voice", quality(1, 40'000, 0, 0), quality(1, 40'000, 8'000),
             40'000,  {0, 0, 40'000, 40'000},   {9, ""}};
  rows[1] = {"vpn", quality(3, 0, 0, 0), quality(3), 64'000, {0, 0, 64'000, 63'000}, {9, ""}};
  rows[2] = {"backup", quality(0, 0, 0, 0), quality(0), 16'000, {0, 0, 15'000, 17'000}, {9, ""}};
  return rows;
}

}  // namespace

TEST_CASE("qos report: counts a key in the second in which the later end got it") {
  const auto s = stream_of(quality(0), {{milliseconds{9'900}, milliseconds{9'950}},   // before
                                        {milliseconds{9'900}, milliseconds{10'000}},  // the first instant
                                        {milliseconds{10'999}, milliseconds{10'100}},
                                        {milliseconds{11'500}, milliseconds{10'900}},
                                        {milliseconds{12'999}, milliseconds{13'000}}});  // after the end
  CHECK(delivered_bps(s, seconds{10}, 3) == std::vector<std::uint64_t>{1'024, 512, 0});
  CHECK(is_told_until(s, milliseconds{12'999}));
  CHECK_FALSE(is_told_until(s, seconds{13}));  // nothing came to alice since
  CHECK_FALSE(is_told_until(stream_of(quality(0), {}), seconds{0}));
}

TEST_CASE("qos report: counts no key that only one end got") {
  auto s = stream_of(quality(0), {{seconds{10}, seconds{10}}, {seconds{10}, seconds{10}}});
  s.at_b.keys.pop_back();
  CHECK(delivered_bps(s, seconds{10}, 1) == std::vector<std::uint64_t>{512});
}

TEST_CASE("qos report: expects Min_bps first and the rest by Priority within Max_bps and Jitter") {  // D6
  struct expectation {
    std::vector<qos> promised;
    std::vector<double> bps;
  };
  const std::vector<expectation> all{
      {{quality(0), quality(0)}, {60'000, 60'000}},
      {{quality(0), quality(3)}, {24'000, 96'000}},
      {{quality(1, 40'000), quality(3), quality(0)}, {40'000, 64'000, 16'000}},
      {{quality(3, 40'000), quality(0), quality(0)}, {80'000, 20'000, 20'000}},          // more than it needs
      {{quality(3, 40'000, 10'000), quality(0), quality(0)}, {50'000, 35'000, 35'000}},  // but paced
      {{quality(3, 0, 0, 30'000), quality(0)}, {30'000, 90'000}},
      {{quality(3, 0, 0, 30'000), quality(0, 0, 0, 20'000)},
       {30'000, 20'000}},                                  // the link has more than that
      {{quality(255), quality(1'000)}, {60'000, 60'000}},  // no more than 256 counts
      {{quality(0, 120'000), quality(3)}, {120'000, 0}},
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO(i);
    const auto bps = expected_bps(all[i].promised, 120'000);
    REQUIRE(bps.size() == all[i].bps.size());
    for (std::size_t k = 0; k < bps.size(); ++k) CHECK(bps[k] == doctest::Approx(all[i].bps[k]));
  }
}

TEST_CASE("qos report: finds no fault when every stream got what was due") {
  CHECK(faults_of(good_rows()).empty());
}

TEST_CASE("qos report: judges no second in which reserves may come") {
  auto rows = good_rows();
  for (auto& r : rows) r.delivered_bps[0] = r.delivered_bps[1] = 1'000'000;
  CHECK(rows[0].mean_bps() == 40'000);
  CHECK(faults_of(rows).empty());
  rows[0].delivered_bps.resize(2);
  CHECK(rows[0].mean_bps() == 0);
}

TEST_CASE("qos report: names what is wrong when something is") {
  struct wrong {
    std::function<void(std::vector<qos_row>&)> make;
    std::string name;
    std::size_t faults = 1;
  };
  const std::vector<wrong> all{
      {[](auto& rows) { rows[0].delivered_bps[3] = 30'399; },
       "voice: 30399 bit/s in seconds 4 to 4, and Min_bps is 40000"},
      {[](auto& rows) {
         rows[0].delivered_bps = {0, 0, 34'000, 34'000};
       },
       "voice: 34000 bit/s in seconds 3 to 4"},
      {[](auto& rows) {
         rows[2].delivered_bps = {0, 0, 0, 0};
       },
       "backup: 0.0 % of what was delivered"},
      {[](auto& rows) {
         rows[1].delivered_bps = {0, 0, 25'000, 25'000};
       },
       "vpn: 30.9 %", 3},
      {[](auto& rows) { rows[2].keys.difference = "the keys at index 3 differ"; },
       "backup: the keys at index 3 differ"},
      {[](auto& rows) { rows[1].keys.equal = 0; }, "vpn: no key came to both ends"},
      {[](auto& rows) {
         for (auto& r : rows) r.delivered_bps.resize(2);
       },
       "voice: 0.0 % of what was delivered", 3},
  };
  for (const auto& w : all) {
    INFO(w.name);
    auto rows = good_rows();
    w.make(rows);
    const auto faults = faults_of(rows);
    std::string text;
    for (const auto& f : faults) text += f + "\n";
    INFO(text);
    CHECK(faults.size() == w.faults);
    CHECK(has(text, w.name));
  }
  auto rows = good_rows();
  rows[0].delivered_bps[3] = 30'400;  // 95 %, and a fifth of the second later than it should
  CHECK(faults_of(rows).empty());
}

TEST_CASE("qos report: compares what both ends have and were promised") {
  const auto difference = [](const std::function<void(qos_stream&)>& change) {
    auto s = stream_of(quality(0), {{seconds{10}, seconds{10}}, {seconds{10}, seconds{10}}});
    change(s);
    return rows_of(std::span{&s, 1}, 120'000, seconds{10}, 1).at(0).keys;
  };
  CHECK(difference([](auto&) {}).difference.empty());
  CHECK(difference([](auto&) {}).equal == 2);
  // one end was stopped a key earlier
  CHECK(difference([](auto& s) { s.at_b.keys.pop_back(); }).difference.empty());
  CHECK(difference([](auto& s) { s.at_b.keys.pop_back(); }).equal == 1);
  CHECK(has(difference([](auto& s) { s.at_a.keys[1].digest[0] ^= std::byte{1}; }).difference,
            "index 1 differ"));
  CHECK(has(difference([](auto& s) { s.at_b.keys.erase(s.at_b.keys.begin()); }).difference, "index"));
  CHECK(has(difference([](auto& s) { s.at_b.promised->min_bps = 1; }).difference, "different QoS"));
  CHECK(has(difference([](auto& s) { s.at_b.promised.reset(); }).difference, "different QoS"));
}

TEST_CASE("qos report: shows asked and promised and due and delivered in one line of each stream") {
  const auto text = table(good_rows());
  INFO(text);
  CHECK(
      has(text,
          "  voice        40000        -        -         1      40000   120000     8000     40000  33.3     "
          "40000  33.5\n"));
  CHECK(
      has(text,
          "  backup           -        -        -         0          -   120000        -     16000  13.3     "
          "16000  13.4\n"));
  const std::vector<qos_stream> streams{{"voice", {}}, {"vpn", {}}};
  CHECK(seconds_head(streams) == "  second       voice       vpn  together\n");
  CHECK(seconds_row(3, std::vector<std::uint64_t>{40'448, 64'000}) ==
        "  3            40448     64000    104448\n");
}
