// CLOSE, and what it leaves.
// SPDX-License-Identifier: Apache-2.0
#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

void both(bench& it) {
  const auto s = it.open_both();
  s.a.must_close(s.id);
  s.b.must_close(s.id);
}

void twice(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  a.must_close(opened.stream);
  a.must_close(opened.stream);
}

void twice_at_both_ends(bench& it) {
  const auto s = it.open_both();
  for (int i = 0; i < 2; ++i) {
    s.a.must_close(s.id);
    s.b.must_close(s.id);
  }
}

void get_after(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  a.must_get(opened.stream, 0);
  a.must_close(opened.stream);
  const auto answer = a.get(opened.stream, 0);
  expect(answer.status != 0, "no key", "a key");
}

void other_reads_on(bench& it) {
  const auto s = it.open_both();
  const auto of_a = s.a.must_get(s.id, 0);
  s.b.must_get(s.id, 3);  // so that 0 to 3 are there
  s.a.must_close(s.id);
  expect_same(of_a, s.b.must_get(s.id, 0));
  s.b.must_get(s.id, 1);
  s.b.must_get(s.id, 2);
}

void nothing_new(bench& it) {
  const auto s = it.open_both();
  s.b.must_get(s.id, 0);
  s.a.must_close(s.id);
  const auto answer = s.b.get(s.id, far_ahead);
  expect(answer.status != 0, "no key beyond what was allocated before the CLOSE", "a key");
}

void releases_get(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality.timeout_ms = 20'000;
  const auto opened = a.must_open(r);
  const stopwatch watch;
  a.send_get(opened.stream, far_ahead);
  a.send_close(opened.stream);
  a.expect_status(a.read_get().status, status::unknown_key_stream, operation::get_key);
  a.expect_status(a.read_close(), status::success, operation::close);
  watch.expect_within(stopwatch::slack, "a waiting GET_KEY that CLOSE releases");
}

void releases_open(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request(it.fresh_id());
  r.quality.timeout_ms = 20'000;
  const stopwatch watch;
  a.send_open(r);
  a.send_close(r.stream);
  const auto opened = a.read_open();
  expect(opened.status > 1, "a failure", "OPEN_CONNECT: " + says(opened.status));
  a.expect_status(a.read_close(), status::success, operation::close);
  watch.expect_within(stopwatch::slack, "a waiting OPEN_CONNECT that CLOSE releases");
}

void not_reusable(bench& it) {
  const auto s = it.open_both();
  s.a.must_close(s.id);
  s.b.must_close(s.id);
  s.a.must_not_open(it.request(s.id), status::ksid_in_use);
  s.b.must_not_open(it.request(s.id), status::ksid_in_use);
}

void not_resumable(bench& it) {
  const auto s = it.open_both();
  s.a.must_close(s.id);
  s.a.must_not_open(it.request(s.id), status::ksid_in_use);
}

void other_streams(bench& it) {
  line& a = it.connect(side::a);
  const auto one = a.must_open(it.request());
  const auto other = a.must_open(it.request());
  a.must_get(other.stream, 0);
  a.must_close(one.stream);
  a.must_get(other.stream, 1);
  a.must_close(other.stream);
}

void not_by_disconnect(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  const auto key = a.must_get(opened.stream, 0);
  it.disconnect(a);
  expect_same(key, it.connect(side::a).must_get(opened.stream, 0));
}

// clang-format off
constexpr test_case cases[] = {
    {"close.both", "6.1", level::standard, in_both, need::both_ends,
     "each end closes for itself", both},
    {"close.twice", "D16", level::decision, in_both, 0,
     "CLOSE again: 0 again", twice},
    {"close.twice-both", "D16", level::decision, in_both, need::both_ends,
     "CLOSE again at both ends: 0 again", twice_at_both_ends},
    {"close.get-after", "6.1, D16", level::standard, in_both, 0,
     "no key after CLOSE", get_after},
    {"close.other-reads-on", "D16, R6", level::decision, in_both, need::both_ends,
     "after CLOSE the other end reads what was allocated", other_reads_on},
    {"close.nothing-new", "D16", level::decision, in_both, need::both_ends,
     "nothing new is allocated after a CLOSE", nothing_new},
    {"close.releases-get", "D16", level::decision, in_both, 0,
     "a CLOSE behind a waiting GET_KEY releases it at once", releases_get},
    {"close.releases-open", "D16", level::decision, in_both, 0,
     "a CLOSE behind a waiting OPEN_CONNECT releases it at once", releases_open},
    {"close.not-reusable", "D8, R2", level::decision, in_both, need::both_ends,
     "a KSID that was closed at both ends is never opened again", not_reusable},
    {"close.not-resumable", "D8", level::decision, in_both, need::both_ends,
     "an end that has closed cannot open again while the other is there", not_resumable},
    {"close.other-streams", "6.1", level::standard, in_both, 0,
     "other streams of the same connection go on", other_streams},
    {"close.not-by-disconnect", "wire, R3", level::decision, in_both, 0,
     "the end of a connection closes no stream", not_by_disconnect},
};
// clang-format on

}  // namespace

std::span<const test_case> close_cases() { return cases; }

}  // namespace qkd004::conformance
