// The cases against a server that is not ours: they leave it alone where the standard is silent, and find what is wrong.
// SPDX-License-Identifier: Apache-2.0
#include "conformance/toy_server.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "conformance/report.hpp"
#include "conformance/run.hpp"
#include "conformance/survey.hpp"

using namespace test;
using namespace std::chrono_literals;
using cf::verdict;

namespace {

cf::target target_of(const toy_server& toy, cf::dialect d) {
  cf::target t;
  t.uri_a = t.uri_b = toy.uri;
  t.source = "qkd://alice@toy";
  t.destination = "qkd://bob@toy";
  t.spoken = d;
  t.patience = 2s;
  return t;
}

/// What comes of the cases with these ids.
std::vector<cf::case_result> examine(flaw wrong, cf::dialect d, std::initializer_list<std::string_view> ids) {
  const toy_server toy{d, wrong};
  const auto t = target_of(toy, d);
  cf::run_options o;
  o.chosen = [&](const cf::test_case& c) { return std::find(ids.begin(), ids.end(), c.id) != ids.end(); };
  auto results = cf::run_cases(t, o);
  REQUIRE(results.size() == ids.size());
  return results;
}

/// In both dialects each of these fails with the flaw and passes without it.
void finds(flaw wrong, std::initializer_list<std::string_view> ids) {
  for (const auto d : {cf::dialect::forge, cf::dialect::qubip}) {
    for (const auto& r : examine(wrong, d, ids)) {
      INFO(to_string(d), " ", r.what->id);
      CHECK(r.is == verdict::fail);
      CHECK_FALSE(r.expected.empty());
      CHECK_FALSE(r.got.empty());
    }
    for (const auto& r : examine(flaw::none, d, ids)) {
      INFO(to_string(d), " ", r.what->id, ": expected ", r.expected, ", got ", r.got, r.why);
      CHECK(r.is == verdict::pass);
    }
  }
}

/// The same of cases of the extension.
void finds_in_extension(flaw wrong, std::initializer_list<std::string_view> ids) {
  for (const flaw f : {flaw::none, wrong}) {
    const toy_server toy{cf::dialect::forge, f, greeting::yes};
    auto t = target_of(toy, cf::dialect::forge);
    t.greets = true;
    t.features = 31;
    cf::run_options o;
    o.chosen = [&](const cf::test_case& c) { return std::find(ids.begin(), ids.end(), c.id) != ids.end(); };
    const auto results = cf::run_cases(t, o);
    REQUIRE(results.size() == ids.size());
    for (const auto& r : results) {
      INFO(r.what->id, ": expected ", r.expected, ", got ", r.got, r.why);
      CHECK(r.is == (f == flaw::none ? verdict::pass : verdict::fail));
    }
  }
}

void passes_the_standard(cf::dialect d) {
  const toy_server toy{d, flaw::none};
  const auto t = target_of(toy, d);
  cf::run_options o;
  o.chosen = [](const cf::test_case& c) { return c.rule == cf::level::standard; };
  const auto results = cf::run_cases(t, o);
  for (const auto& r : results) {
    INFO(r.what->id, ": expected ", r.expected, ", got ", r.got);
    CHECK(r.is != verdict::fail);
    CHECK((r.is == verdict::pass || (r.what->needs & cf::need::cut_link) != 0));
  }
  CHECK(cf::tally_of(results).passed > 25);
}

}  // namespace

TEST_CASE("toy server: passes what the standard fixes, in forge") { passes_the_standard(cf::dialect::forge); }
TEST_CASE("toy server: passes what the standard fixes, in QUBIP") { passes_the_standard(cf::dialect::qubip); }

TEST_CASE("cases: find a key under the wrong index") { finds(flaw::wrong_index, {"sequence.1", "key.same"}); }
TEST_CASE("cases: find other octets at the other end") {
  finds(flaw::other_octets, {"sequence.1", "key.same"});
}
TEST_CASE("cases: find a key that is never consumed") { finds(flaw::never_consumed, {"key.distinct"}); }
TEST_CASE("cases: find the same key in two streams") {
  finds(flaw::one_key_for_all, {"key.distinct-streams"});
}
TEST_CASE("cases: find a key of zeros") { finds(flaw::constant_key, {"sequence.1", "key.distinct"}); }
TEST_CASE("cases: find a key of the wrong length") { finds(flaw::short_key, {"qos.null", "qos.chunk"}); }
TEST_CASE("cases: find a QoS that is not the one registered first") {
  finds(flaw::latest_qos, {"qos.join", "qos.join-predefined", "qos.join-null"});
}
TEST_CASE("cases: find application/json refused") { finds(flaw::refuses_json, {"qos.mimetype-json"}); }
TEST_CASE("cases: find an unsupported mimetype granted") {
  finds(flaw::takes_any_mimetype, {"qos.mimetype-unsupported", "qos.mimetype-counter"});
}
TEST_CASE("cases: find a counter-proposal that is none") {
  finds(flaw::no_counter, {"qos.mimetype-unsupported", "qos.chunk-too-large"});
}
TEST_CASE("cases: find too little room for metadata passed over") {
  finds(flaw::no_status_8, {"status.8", "metadata.needed"});
}
TEST_CASE("cases: find a time-out that comes too early") {
  finds(flaw::impatient, {"qos.timeout-get", "qos.timeout-open"});
}
TEST_CASE("cases: find a time-out that comes too late") { finds(flaw::patient, {"qos.timeout-get"}); }
TEST_CASE("cases: find a closed KSID that is opened again") { finds(flaw::reuses_ksid, {"status.5"}); }
TEST_CASE("cases: find a KSID that is no UUID of version 4") { finds(flaw::odd_ksid, {"ends.ksid-version"}); }
TEST_CASE("cases: find a KSID that is made twice") { finds(flaw::same_ksid, {"ends.ksid-distinct"}); }
TEST_CASE("cases: find a key after CLOSE") { finds(flaw::serves_closed, {"close.get-after"}); }
TEST_CASE("cases: find a link towards nowhere") { finds(flaw::routes_anywhere, {"status.4"}); }
TEST_CASE("cases: find an answer with an octet too many") {
  finds(flaw::trailing_octet, {"status.0", "close.both"});
}

TEST_CASE("cases: find a server that does not survive a bad frame") {
  for (const auto& r : examine(flaw::dies, cf::dialect::forge, {"hostile.version"})) {
    CHECK(r.is == verdict::fail);
    CHECK_FALSE(r.mandatory);
  }
  CHECK(examine(flaw::none, cf::dialect::forge, {"hostile.version"})[0].is == verdict::pass);
}

TEST_CASE("cases: find a GET_KEYS that gives other keys") {
  finds_in_extension(flaw::other_run, {"extension.get-keys"});
}
TEST_CASE("cases: find a GET_KEYS that waits where it must not") {
  finds_in_extension(flaw::waits_anyway, {"extension.get-keys-no-wait"});
}
TEST_CASE("cases: find an old epoch that still works") {
  finds_in_extension(flaw::forgets_epoch,
                     {"extension.get-keys-refused", "extension.ack-epoch", "extension.subscribe-refused"});
}
TEST_CASE("cases: find an acknowledgement that takes too much") {
  finds_in_extension(flaw::acknowledges_all, {"extension.ack-unread"});
}
TEST_CASE("cases: find an acknowledgement that takes nothing") {
  finds_in_extension(flaw::reuses_acknowledged, {"extension.ack", "extension.get-keys-acknowledge"});
}
TEST_CASE("cases: find deliveries beyond the credit") {
  finds_in_extension(flaw::ignores_credit, {"extension.subscribe"});
}
TEST_CASE("cases: find a peer that is never seen") {
  finds_in_extension(flaw::never_connected, {"extension.wait-peer"});
}
TEST_CASE("cases: find a report of a stream that is not there") {
  finds_in_extension(flaw::tells_all, {"extension.report"});
}
TEST_CASE("cases: find a subscription that goes on where a suspended one was") {
  finds_in_extension(flaw::resumes_old, {"extension.subscribe-suspend"});
}
TEST_CASE("cases: find a closed stream that the extension still knows") {
  finds_in_extension(flaw::serves_closed, {"extension.closed"});
}
TEST_CASE("cases: find a server that takes everybody for the same") {
  const toy_server toy{cf::dialect::forge, flaw::none, greeting::yes};
  auto t = target_of(toy, cf::dialect::forge);
  t.greets = true;
  t.features = 31;
  t.uri_b = "qkd004://127.0.0.1:1";  // so that the toy is not its own peer
  t.two_principals = true;
  cf::run_options o;
  o.chosen = [](const cf::test_case& c) { return (c.needs & cf::need::stranger) != 0; };
  const auto results = cf::run_cases(t, o);
  CHECK(results.size() >= 8);
  for (const auto& r : results) {
    INFO(r.what->id, ": ", r.why);
    CHECK(r.is == verdict::fail);
  }
}

TEST_CASE("survey: knows what HELLO announces") {
  const toy_server toy{cf::dialect::forge, flaw::none, greeting::yes};
  cf::survey_options o;
  o.uri = toy.uri;
  o.patience = 2s;
  const auto s = cf::survey(o);
  INFO(s.why);
  CHECK(s.what == cf::survey_result::outcome::found);
  CHECK(s.whom.features == 31);
  CHECK(s.name_a == "toy");
  CHECK(s.whom.source == "qkd://doctor-a@toy");
}

TEST_CASE("runs: take our decisions for advice to others, and for law to ours") {
  const toy_server toy{cf::dialect::forge, flaw::none};
  const auto t = target_of(toy, cf::dialect::forge);
  cf::run_options o;
  o.chosen = [](const cf::test_case& c) { return c.id == "metadata.too-small"; };
  auto n = cf::tally_of(cf::run_cases(t, o));
  CHECK(n.advisory_failed == 1);
  CHECK(n.failed == 0);
  o.ours = true;
  n = cf::tally_of(cf::run_cases(t, o));
  CHECK(n.advisory_failed == 0);
  CHECK(n.failed == 1);
}

TEST_CASE("survey: finds the dialect, both ends and no HELLO") {
  for (const auto d : {cf::dialect::forge, cf::dialect::qubip}) {
    const toy_server toy{d, flaw::none};
    cf::survey_options o;
    o.uri = toy.uri;
    o.source = "qkd://alice@toy";
    o.destination = "qkd://bob@toy";
    o.patience = 2s;
    const auto s = cf::survey(o);
    INFO(s.why);
    CHECK(s.what == cf::survey_result::outcome::found);
    CHECK(s.whom.spoken == d);
    CHECK(s.whom.both_ends);
    CHECK_FALSE(s.whom.greets);
  }
}

TEST_CASE("survey: says why there is nothing to examine") {
  using outcome = cf::survey_result::outcome;
  const toy_server toy{cf::dialect::qubip, flaw::none};
  cf::survey_options o;
  o.uri = toy.uri;
  o.patience = 2s;
  CHECK(cf::survey(o).what == outcome::no_stream);  // its node is toy, and it does not say so
  o.spoken = cf::dialect::forge;
  CHECK(cf::survey(o).what == outcome::not_004);
  const toy_server one{cf::dialect::forge, flaw::impatient};
  const toy_server other{cf::dialect::forge, flaw::impatient};
  o.uri = one.uri;
  o.peer = other.uri;  // these are no two ends of a link
  o.source = "qkd://alice@toy";
  o.destination = "qkd://bob@toy";
  CHECK(cf::survey(o).what == outcome::no_stream);
  o.peer.clear();
  CHECK(cf::survey(o).what == outcome::found);
  o.uri = "unix:/nowhere/at/all";
  CHECK(cf::survey(o).what == outcome::unreachable);
  o.uri = "gopher://127.0.0.1";
  CHECK(cf::survey(o).what == outcome::bad_uri);
}

TEST_CASE("table: has every id once, in its group, and enough of them") {
  std::vector<std::string_view> ids;
  for (const auto& c : cf::all_cases()) {
    ids.push_back(c.id);
    CHECK(c.group().size() + 1 < c.id.size());
    CHECK_FALSE(c.clause.empty());
    CHECK_FALSE(c.title.empty());
    CHECK(c.dialects != 0);
  }
  std::sort(ids.begin(), ids.end());
  CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
  CHECK(ids.size() >= 60);
}

TEST_CASE("report: shows what a server said without its control characters") {
  cf::report r;
  r.server.whom.greets = true;
  r.server.name_a = "\x1b[31m<b>\"";
  cf::case_result failed;
  failed.what = &cf::all_cases().front();
  failed.is = verdict::fail;
  failed.mandatory = true;
  failed.expected = "this & that";
  failed.got = "\n\x07";
  r.results.push_back(failed);
  CHECK_FALSE(r.conforms());
  for (const auto& text : {cf::heading(r) + cf::to_text(failed), cf::to_json(r), cf::to_html(r)}) {
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find('\x07') == std::string::npos);
    CHECK(text.find("\\x1b[31m") != std::string::npos);
  }
  CHECK(cf::to_html(r).find("&lt;b&gt;&quot;") != std::string::npos);
  CHECK(cf::to_html(r).find("this &amp; that") != std::string::npos);
  CHECK(cf::to_html(r).find("<script") == std::string::npos);
  CHECK(cf::to_json(r).find(R"("result":"fail")") != std::string::npos);
  CHECK(cf::to_json(r).find(R"(\\x1b[31m<b>\")") != std::string::npos);
}
