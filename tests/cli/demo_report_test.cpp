// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_report.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "qkd004/key_stream_id.hpp"
#include "qkd004/vendor_metadata.hpp"
#include "site_pair.hpp"

using namespace qkd004;
using namespace qkd004::cli;
using test::has;

namespace {

sha256_digest digest_of(std::string_view text) { return sha256::of(std::as_bytes(std::span{text})); }

/// What an application says that had `count` keys.
application_report report(std::size_t count) {
  application_report r;
  r.stream = key_stream_id::parse("01234567-89ab-4cde-8f01-23456789abcd");
  for (std::size_t i = 0; i < count; ++i)
    r.keys.push_back({i, digest_of(std::to_string(i)), std::chrono::microseconds{i}});
  r.all = digest_of("all");
  r.keys_per_second = 1234;
  return r;
}

}  // namespace

TEST_CASE("comparison: finds no difference when both ends hold the same") {
  const auto c = compare(report(5), report(5), 5);
  CHECK(c.equal == 5);
  CHECK(c.difference.empty());
}

TEST_CASE("comparison: names the index when one key differs") {
  auto other = report(5);
  other.keys[3].digest[31] ^= std::byte{1};
  const auto c = compare(report(5), other, 5);
  CHECK(c.equal == 4);
  CHECK(c.difference == "the keys at index 3 differ");
}

TEST_CASE("comparison: finds a difference when indices, numbers, totals or streams do not agree") {
  auto other = report(5);
  other.keys[2].index = 7;
  CHECK(has(compare(report(5), other, 5).difference, "index 2"));
  CHECK(has(compare(report(5), report(4), 5).difference, "5 keys at one end and 4"));
  CHECK(has(compare(report(4), report(4), 5).difference, "of 5"));
  other = report(5);
  other.all = digest_of("other");
  CHECK(has(compare(report(5), other, 5).difference, "digests over all keys differ"));
  other = report(5);
  other.all.reset();
  CHECK(has(compare(other, report(5), 5).difference, "did not finish"));
  other = report(5);
  other.stream.reset();
  CHECK(has(compare(report(5), other, 5).difference, "different key streams"));
  CHECK(has(compare(other, other, 5).difference, "different key streams"));
}

TEST_CASE("report: takes the lines that an application writes") {
  const auto r = report(2);
  application_report taken;
  const auto line = [](std::string text) {
    REQUIRE(text.ends_with('\n'));
    text.pop_back();
    return text;
  };
  CHECK(taken.take(line(stream_line(*r.stream))));
  for (const auto& key : r.keys) CHECK(taken.take(line(key_line(key))));
  CHECK(taken.take("shown 1 00ff"));
  CHECK_FALSE(taken.all);
  CHECK(taken.take(line(done_line(*r.all, r.keys_per_second))));
  CHECK(compare(r, taken, 2).difference.empty());
  CHECK(taken.keys.at(1).at == std::chrono::microseconds{1});
  const qos quality{64, 120'000, 40'000, 8'000, 4'294'967'295, 0, 0, ""};
  CHECK(taken.take(line(promised_line(quality))));
  CHECK(taken.promised == quality);
  CHECK_FALSE(taken.counter);
  CHECK(taken.take(line(counter_line(quality))));
  CHECK(taken.counter == quality);
  CHECK(taken.keys_per_second == 1234);
  REQUIRE(taken.shown.size() == 1);
  CHECK(taken.shown[0] == std::pair<std::uint64_t, std::string>{1, "00ff"});
}

TEST_CASE("report: refuses a line when it is something else") {
  const std::string key_without_time = "key 1 " + to_hex(digest_of("1"));
  for (const std::string& line :
       {std::string{}, std::string{"stream"}, std::string{"stream 1"}, std::string{"key"},
        std::string{"key 1"}, std::string{"key x 00"}, std::string{"key -1 00 1"}, key_without_time,
        key_without_time + " x", std::string{"done"}, std::string{"done 00 1"}, std::string{"hello"},
        std::string{"promised"}, std::string{"promised 1 2 3 4"}, std::string{"promised 1 2 3 4 5 6"},
        std::string{"counter 1 2 3 4 4294967296"}}) {
    INFO(line);
    application_report r;
    CHECK_FALSE(r.take(line));
  }
}

TEST_CASE("table: says equal or DIFFERENT for each row that must agree") {
  const auto one = report(5);
  auto text =
      table({"site-a", "alice", one}, {"site-b", "bob", one}, "seeded, simulated-insecure", "TLS 1.3");
  CHECK(has(text, "01234567-89ab-4cde-8f01-23456789abcd"));
  CHECK(has(text, "seeded, simulated-insecure"));
  CHECK(has(text, "0 to 4"));
  CHECK(has(text, fingerprint(*one.all)));
  CHECK(has(text, "1234"));
  CHECK(has(text, "\n  transport    TLS 1.3\n"));
  CHECK_FALSE(has(text, "DIFFERENT"));

  auto other = report(4);
  other.all = digest_of("other");
  text = table({"site-a", "alice", one}, {"site-b", "bob", other}, "", "");
  std::size_t different = 0;
  for (std::size_t at = text.find("DIFFERENT"); at != std::string::npos; at = text.find("DIFFERENT", at + 1))
    ++different;
  CHECK(different == 3);
  CHECK_FALSE(has(text, "transport"));
}

TEST_CASE("table: calls nothing equal when nothing came") {
  const application_report none;
  const auto text = table({"site-a", "alice", none}, {"site-b", "bob", none}, "", "");
  CHECK(has(text, "fingerprint  none                  none\n"));
}

TEST_CASE("report: merges what it hears of where the keys come from") {
  key_provenance p;
  p.first_block = p.last_block = 2;
  p.qber = 0.02;
  p.model = "lim14";
  const key_source_capabilities source{.kind = "software-bb84",
                                       .security = security_class::simulated_insecure};
  application_report r;
  const auto take = [&](const std::string& metadata) {
    std::string line = origin_line(metadata);
    line.pop_back();
    return r.take(line);
  };
  CHECK(take(vendor_metadata_json(source, "a+b", nullptr)));
  CHECK_FALSE(r.origin);
  CHECK(take(vendor_metadata_json(source, "a+b", &p)));
  p.first_block = p.last_block = 3;
  p.qber = 0.03;
  CHECK(take(vendor_metadata_json(source, "a+b", &p)));
  REQUIRE(r.origin);
  CHECK(r.origin->first_block == 2);
  CHECK(r.origin->last_block == 3);
  CHECK(r.origin->qber == 0.03);
  CHECK_FALSE(take("nothing of the kind"));
}

TEST_CASE("link table: says what both ends know of the keys' blocks, and whether they agree") {
  application_report with;
  auto& origin = with.origin.emplace();
  origin.first_block = 1;
  origin.last_block = 4;
  origin.qber = 0.0241;
  origin.phase_error = 0.05;
  origin.efficiency = 1.0449;
  origin.leak_alice = 45'000;
  origin.leak_bob = 1'000;
  origin.eps_sec = 1e-10;
  origin.eps_cor = 1e-15;
  origin.eps_auth = 5.4e-20;
  serve::link_history history;
  serve::link_sample sample;
  sample.counts.accepted = 5;
  sample.counts.over_limit = 1;
  sample.counts.cut_off = 7;
  sample.counts.qber = 0.14;
  history.add(sample);
  software_link_options o;
  auto text = link_table({with, history}, {with, history}, o);
  INFO(text);
  CHECK(has(text, "  QBER         2.41 %                2.41 %                equal\n"));
  CHECK(has(text, "  phase error  at most 5.00 %        at most 5.00 %        equal\n"));
  CHECK(has(text, "  efficiency f 1.045                 1.045                 equal\n"));
  CHECK(has(text, "  leak/block   45,000 bits           45,000 bits           equal\n"));
  CHECK(has(text, "  blocks       1 to 4, 5 accepted, 1 not"));
  CHECK(has(text, "secrecy 1e-10, correctness 1e-15, authentication 5e-20"));
  o.leak = leak_account::both_directions;
  CHECK(has(link_table({with, history}, {with, history}, o), "46,000 bits"));

  auto other = with;
  other.origin->qber = 0.03;
  text = link_table({with, history}, {other, history}, o);
  CHECK(has(text, "  QBER         2.41 %                3.00 %                DIFFERENT\n"));

  // without a key there is only the last block
  const application_report none;
  text = link_table({none, history}, {none, history}, o);
  CHECK(has(text, "  QBER         14.00 %               14.00 %\n"));
  CHECK_FALSE(has(text, "epsilon"));
}

TEST_CASE("index range: tells gaps when there are any") {
  auto r = report(3);
  CHECK(index_range(r) == "0 to 2");
  r.keys.erase(r.keys.begin() + 1);
  CHECK(index_range(r) == "0 to 2 with gaps");
  CHECK(index_range({}) == "none");
}
