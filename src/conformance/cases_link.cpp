// The link between two sites breaks and comes back; a site restarts. Only those who run both can do that.
// SPDX-License-Identifier: Apache-2.0
#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

void goes_on(bench& it) {
  const auto s = it.open_both();
  const auto before = s.a.must_get(s.id, 0);
  it.whom().hooks.cut_link();
  it.whom().hooks.mend_link();
  expect_same(before, s.b.must_get(s.id, 0));
  for (std::uint32_t i = 1; i < 8; ++i) expect_same(s.a.must_get(s.id, i), s.b.must_get(s.id, i));
}

void serves_while_cut(bench& it) {
  const auto s = it.open_both();
  const auto of_a = s.a.must_get(s.id, 0);
  expect_same(of_a, s.b.must_get(s.id, 0));
  it.whom().hooks.cut_link();
  expect_same(of_a, s.a.must_get(s.id, 0));
  it.whom().hooks.mend_link();
}

void opened_while_cut(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  it.whom().hooks.cut_link();
  const auto opened = a.must_open(it.request(), status::peer_not_connected);
  it.whom().hooks.mend_link();
  b.must_open(it.request(opened.stream), status::success);
  expect_same(a.must_get(opened.stream, 0), b.must_get(opened.stream, 0));
}

void waits_for_mend(bench& it) {
  auto r = it.request();
  r.quality.timeout_ms = 20'000;
  line& a = it.connect(side::a);
  it.whom().hooks.cut_link();
  const auto opened = a.must_open(r, status::peer_not_connected);
  a.send_get(opened.stream, 0);
  it.whom().hooks.mend_link();
  a.must_read_key(0);
}

void peer_restarts(bench& it) {
  auto s = it.open_both();
  s.a.must_get(s.id, 0);
  it.whom().hooks.restart_peer();
  line& a = it.connect(side::a);
  a.must_not_get(s.id, 0, status::unknown_key_stream);
  const auto again = it.open_both();
  expect_same(again.a.must_get(again.id, 0), again.b.must_get(again.id, 0));
}

// clang-format off
constexpr test_case cases[] = {
    {"link.goes-on", "R1", level::decision, in_both, need::both_ends | need::cut_link,
     "a stream goes on when the link was broken and is there again", goes_on},
    {"link.serves-while-cut", "R4", level::decision, in_both, need::both_ends | need::cut_link,
     "keys that are there are served while the link is down", serves_while_cut},
    {"link.opened-while-cut", "D8", level::decision, in_both, need::both_ends | need::cut_link,
     "a stream that was opened while the link was down comes to the other end with it", opened_while_cut},
    {"link.wait-for-mend", "D11", level::decision, in_both, need::cut_link,
     "a GET_KEY that waits is answered when the link is there again", waits_for_mend},
    {"link.peer-restarts", "R2", level::decision, in_both, need::both_ends | need::restart,
     "when the peer has restarted its old streams are gone, and new ones work", peer_restarts},
};
// clang-format on

}  // namespace

std::span<const test_case> link_cases() { return cases; }

}  // namespace qkd004::conformance
