// The sequences of clause 6.2, from OPEN_CONNECT to CLOSE.
// SPDX-License-Identifier: Apache-2.0
#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

constexpr milliseconds short_timeout{250};

/// Both ends read the same three keys, and close.
void read_and_close(const open_pair& s) {
  for (std::uint32_t i = 0; i < 3; ++i) expect_same(s.a.must_get(s.id, i), s.b.must_get(s.id, i));
  s.a.must_close(s.id);
  s.b.must_close(s.id);
}

void undefined_ksid(bench& it) { read_and_close(it.open_both()); }

void undefined_ksid_and_timeout(bench& it) {
  const auto s = it.open_both(it.brief());
  must_time_out(s.a, s.id);
  must_time_out(s.b, s.id);
  s.a.must_close(s.id);
  s.b.must_close(s.id);
}

void undefined_ksid_without_link(bench& it) {
  it.whom().hooks.cut_link();
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  auto r = it.brief();
  const auto opened = a.must_open(r, status::peer_not_connected);
  a.must_not_get(opened.stream, 0, status::timeout);
  r.stream = opened.stream;
  b.must_open(r, status::peer_not_connected);
  b.must_not_get(r.stream, 0, status::timeout);
}

void predefined_ksid_a_first(bench& it) {
  read_and_close(it.open_predefined(it.request(it.fresh_id()), side::a));
}

void predefined_ksid_b_first(bench& it) {
  read_and_close(it.open_predefined(it.request(it.fresh_id()), side::b));
}

void predefined_ksid_waits(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto r = it.request(it.fresh_id());
  a.send_open(r);
  const incoming early = a.read(milliseconds{100});
  expect(early.what == incoming::kind::nothing, "an OPEN_CONNECT that waits for the other end",
         early.describe());
  b.must_open(r, status::success);
  a.expect_status(a.read_open().status, status::success, operation::open_connect);
}

void predefined_ksid_late(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto r = it.brief(200, it.fresh_id());
  const stopwatch watch;
  a.must_open(r, status::peer_not_connected);
  watch.expect_within(milliseconds{200} + stopwatch::slack, "status 1 once Timeout is over");
  b.must_open(r, status::success);
  for (std::uint32_t i = 0; i < 3; ++i) expect_same(a.must_get(r.stream, i), b.must_get(r.stream, i));
}

void predefined_ksid_and_timeout(bench& it) {
  line& a = it.connect(side::a);
  const auto r = it.brief(200, it.fresh_id());
  const auto opened = a.open(r);
  if (opened.status == static_cast<std::uint32_t>(status::timeout)) return;  // others read the case so (D8)
  a.expect_status(opened.status, status::peer_not_connected, operation::open_connect);
  const stopwatch watch;
  must_time_out(a, r.stream);
  watch.expect_within(milliseconds{200} + stopwatch::slack, "status 6");
  a.must_close(r.stream);
}

void predefined_ksid_without_link(bench& it) {
  it.whom().hooks.cut_link();
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto r = it.brief(static_cast<std::uint32_t>(short_timeout.count()), it.fresh_id());
  a.send_open(r);
  b.send_open(r);
  a.expect_status(a.read_open().status, status::peer_not_connected, operation::open_connect);
  b.expect_status(b.read_open().status, status::peer_not_connected, operation::open_connect);
  a.send_get(r.stream, 0);
  b.send_get(r.stream, 0);
  a.expect_status(a.read_get().status, status::timeout, operation::get_key);
  b.expect_status(b.read_get().status, status::timeout, operation::get_key);
}

// clang-format off
constexpr test_case cases[] = {
    {"sequence.1", "6.2 case 1", level::standard, in_both, need::both_ends,
     "undefined KSID: one end opens, the other joins, both read the same keys, both close", undefined_ksid},
    {"sequence.2", "6.2 case 2", level::standard, in_both, need::both_ends,
     "undefined KSID, and GET_KEY times out at both ends", undefined_ksid_and_timeout},
    {"sequence.2-cut", "6.2 case 2", level::standard, in_both, need::both_ends | need::cut_link,
     "undefined KSID, and the key managers cannot exchange: GET_KEY times out at both ends", undefined_ksid_without_link},
    {"sequence.3-source-first", "6.2 case 3", level::standard, in_both, need::both_ends,
     "predefined KSID, the source's end opens first", predefined_ksid_a_first},
    {"sequence.3-destination-first", "6.2 case 3", level::standard, in_both, need::both_ends,
     "predefined KSID, the destination's end opens first", predefined_ksid_b_first},
    {"sequence.3-waits", "D8", level::decision, in_both, need::both_ends,
     "predefined KSID: the first OPEN_CONNECT is answered when the second comes", predefined_ksid_waits},
    {"sequence.3-late", "D8", level::decision, in_both, need::both_ends,
     "predefined KSID: the other end comes after Timeout, and the registration is still there", predefined_ksid_late},
    {"sequence.4", "6.2 case 4", level::standard, in_both, 0,
     "predefined KSID and nobody at the other end: status 1 after Timeout, then GET_KEY times out", predefined_ksid_and_timeout},
    {"sequence.4-cut", "6.2 case 4", level::standard, in_both, need::both_ends | need::cut_link,
     "predefined KSID, and the key managers cannot exchange: GET_KEY times out at both ends", predefined_ksid_without_link},
};
// clang-format on

}  // namespace

std::span<const test_case> sequence_cases() { return cases; }

}  // namespace qkd004::conformance
