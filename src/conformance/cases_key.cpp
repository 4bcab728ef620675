// GET_KEY: which octets, in which order, how often.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

constexpr std::uint32_t longest_window = 4'096;  ///< a server with a larger one is not looked at

void same_at_both_ends(bench& it) {
  const auto s = it.open_both();
  for (std::uint32_t i = 0; i < 20; ++i) expect_same(s.a.must_get(s.id, i), s.b.must_get(s.id, i));
}

void same_in_any_order(bench& it) {
  const auto s = it.open_both();
  std::vector<key_answer> of_a;
  for (std::uint32_t i = 0; i < 8; ++i) of_a.push_back(s.a.must_get(s.id, i));
  for (std::uint32_t i = 8; i-- > 0;) expect_same(of_a[i], s.b.must_get(s.id, i));
}

void distinct(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  std::vector<key_print> prints;
  for (std::uint32_t i = 0; i < 64; ++i) prints.push_back(a.must_get(opened.stream, i).print);
  expect_distinct(prints);
}

void distinct_streams(bench& it) {
  line& a = it.connect(side::a);
  std::vector<key_print> prints;
  for (int stream = 0; stream < 4; ++stream) {
    const auto opened = a.must_open(it.request());
    for (std::uint32_t i = 0; i < 16; ++i) prints.push_back(a.must_get(opened.stream, i).print);
  }
  expect_distinct(prints);
}

void out_of_order(bench& it) {
  const auto s = it.open_both();
  for (const std::uint32_t i : {5U, 3U, 4U, 0U, 7U, 1U})
    expect_same(s.a.must_get(s.id, i), s.b.must_get(s.id, i));
}

void read_again(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  const auto first = a.must_get(opened.stream, 0);
  a.must_get(opened.stream, 1);
  for (int i = 0; i < 3; ++i) expect_same(first, a.must_get(opened.stream, 0));
}

void acknowledged(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief(300));
  const auto end = it.run_ahead(a, opened.stream, longest_window);
  if (!end) throw skipped{fmt::format("a window of more than {} keys", longest_window)};
  a.must_not_get(opened.stream, 0, status::index_not_available);
}

void window(bench& it) {
  const auto s = it.open_both(it.brief(300));
  const auto end = it.run_ahead(s.a, s.id, longest_window);
  if (!end) throw skipped{fmt::format("a window of more than {} keys", longest_window)};
  expect(*end > 0, "keys before the window is full", "none");
  for (std::uint32_t i = 0; i < *end; ++i) s.b.must_get(s.id, i);
  s.a.must_get(s.id, *end);
}

void window_both(bench& it) {
  const auto s = it.open_both(it.brief(300));
  std::vector<key_print> of_a;
  std::vector<key_print> of_b;
  const auto end_a = it.run_ahead(s.a, s.id, longest_window, &of_a);
  if (!end_a) throw skipped{fmt::format("a window of more than {} keys", longest_window)};
  for (std::uint32_t i = 0; i < *end_a; ++i) of_b.push_back(s.b.must_get(s.id, i).print);
  expect(of_a == of_b, "the same octets under every index of a window", "different octets");
}

void wait_is_served(bench& it) {
  auto r = it.brief(300);
  const auto probing = it.open_both(r);
  const auto end = it.run_ahead(probing.a, probing.id, longest_window);
  if (!end) throw skipped{fmt::format("a window of more than {} keys", longest_window)};
  r.quality.timeout_ms = 10'000;
  const auto s = it.open_both(r);
  for (std::uint32_t i = 0; i < *end; ++i) s.a.must_get(s.id, i);
  const stopwatch watch;
  s.a.send_get(s.id, *end);
  for (std::uint32_t i = 0; i < *end; ++i) s.b.must_get(s.id, i);
  s.a.must_read_key(*end);
  watch.expect_within(milliseconds{5'000}, "a waiting GET_KEY that is served when its key comes");
}

void lowest_live(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief());
  for (std::uint32_t i = 0; i < 3; ++i) a.must_get(opened.stream, i);
  const auto failed = a.must_not_get(opened.stream, far_ahead, status::timeout);
  expect(failed.index == 3, "index 3, the lowest that was not served", fmt::format("index {}", failed.index));
}

void before_peer(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  const auto of_a = a.must_get(opened.stream, 0);
  if (!it.whom().both_ends) return;
  line& b = it.connect(side::b);
  b.must_open(it.request(opened.stream), status::success);
  expect_same(of_a, b.must_get(opened.stream, 0));
}

void not_in_step(bench& it) {
  const auto s = it.open_both();
  std::vector<key_answer> of_a;
  for (std::uint32_t i = 0; i < 20; ++i) of_a.push_back(s.a.must_get(s.id, i));
  s.a.must_close(s.id);
  for (std::uint32_t i = 0; i < 20; ++i) expect_same(of_a[i], s.b.must_get(s.id, i));
}

void last_index(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief());
  a.must_not_get(opened.stream, 0xffff'fffe, status::timeout);
  a.must_not_get(opened.stream, 0xffff'ffff, status::stream_exhausted);
}

void failure_goes_on(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief());
  const auto first = a.must_get(opened.stream, 0);
  a.must_not_get(opened.stream, far_ahead, status::timeout);
  a.must_not_get(it.fresh_id(), 0, status::unknown_key_stream);
  expect_same(first, a.must_get(opened.stream, 0));
  a.must_get(opened.stream, 1);
}

/// As the reference client does it: a connection for every call.
void connection_per_call(bench& it) {
  const auto open = [&](side at, const open_connect_request& r) {
    line& l = it.connect(at);
    auto answer = l.must_open(r);
    it.disconnect(l);
    return answer;
  };
  const auto get = [&](side at, const key_stream_id& id, std::uint32_t index) {
    line& l = it.connect(at);
    const auto key = l.must_get(id, index);
    it.disconnect(l);
    return key;
  };
  const auto opened = open(side::a, it.request());
  if (!it.whom().both_ends) {
    get(side::a, opened.stream, 0);
    get(side::a, opened.stream, 1);
    return;
  }
  open(side::b, it.request(opened.stream));
  // a server that is its own peer takes callers it cannot tell apart for either end in turn (D17)
  for (std::uint32_t i = 0; i < 4; ++i) {
    expect_same(get(side::a, opened.stream, i), get(side::b, opened.stream, i));
  }
}

void ttl(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.brief(1'600);
  r.quality.ttl_s = 1;
  const auto opened = a.must_open(r);
  if (opened.quality.ttl_s != 1) throw skipped{"the server chose another TTL"};
  const auto first = a.must_get(opened.stream, 0);
  const auto failed = a.must_not_get(opened.stream, far_ahead, status::timeout);  // 1.6 s
  a.must_not_get(opened.stream, 0, status::index_not_available);
  if (!failed.has_body) return;  // QUBIP does not say where to go on
  const auto now_live = a.must_not_get(opened.stream, 0, status::index_not_available).index;
  const auto later = a.get(opened.stream, now_live);
  a.expect_status(later.status, status::success, operation::get_key);
  expect(later.print != first.print, "another key after the first has expired", "the same octets");
}

void largest_chunk(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality.key_chunk_size = 0xffff'ffff;
  r.quality.ttl_s = 1;
  const auto refused = a.open(r);
  if (refused.status == 7 && refused.has_body) r.quality = refused.quality;
  const auto opened = a.open(r);
  if (opened.status > 1) throw skipped{"the server does not say how large a key can be"};
  const auto key = a.must_get(opened.stream, 0);
  expect(key.key_length == opened.quality.key_chunk_size,
         fmt::format("a key of {} octets", opened.quality.key_chunk_size),
         fmt::format("a key of {} octets", key.key_length));
}

// clang-format off
constexpr test_case cases[] = {
    {"key.same", "6.1, 6.2", level::standard, in_both, need::both_ends,
     "the same octets under the same index at both ends", same_at_both_ends},
    {"key.any-order", "D12, R6", level::decision, in_both, need::both_ends,
     "the same octets when the other end reads backwards", same_in_any_order},
    {"key.distinct", "6.1", level::standard, in_both, 0,
     "no octets under two indices of a stream", distinct},
    {"key.distinct-streams", "6.1, R1", level::standard, in_both, 0,
     "no octets in two streams", distinct_streams},
    {"key.out-of-order", "D12", level::decision, in_both, need::both_ends,
     "any order of indices inside the window", out_of_order},
    {"key.again", "D13, R4", level::decision, in_both, 0,
     "the same index again: the same octets", read_again},
    {"key.acknowledged", "D13, R5", level::decision, in_both, 0,
     "an index far behind the latest is gone", acknowledged},
    {"key.window", "D11", level::decision, in_both, need::both_ends,
     "whoever runs ahead waits at the window's end, and goes on when the other has read", window},
    {"key.window-same", "D11, R1", level::decision, in_both, need::both_ends,
     "a whole window has the same octets at both ends", window_both},
    {"key.wait-is-served", "D11", level::decision, in_both, need::both_ends,
     "a GET_KEY that waits is answered when its key comes, not at Timeout", wait_is_served},
    {"key.lowest-live", "D11", level::decision, in_forge, 0,
     "a failed GET_KEY names the lowest live index", lowest_live},
    {"key.before-peer", "D10", level::decision, in_both, 0,
     "GET_KEY before the peer application has opened", before_peer},
    {"key.not-in-step", "D10, R6", level::decision, in_both, need::both_ends,
     "one end reads and closes before the other has read anything", not_in_step},
    {"key.last-index", "D12", level::decision, in_both, 0,
     "index 2^32 - 2 is the last: it is waited for, the next is not", last_index},
    {"key.after-failure", "R4", level::decision, in_both, 0,
     "a failed GET_KEY takes nothing away", failure_goes_on},
    {"key.connection-per-call", "wire", level::decision, in_both, 0,
     "a connection for every call", connection_per_call},
    {"key.ttl", "table 2, D15", level::decision, in_both, 0,
     "a key that nobody took within TTL is gone, and the stream goes on", ttl},
    {"key.largest", "table 2", level::standard, in_both, 0,
     "the largest Key_chunk_size that is granted is delivered", largest_chunk},
};
// clang-format on

}  // namespace

std::span<const test_case> key_cases() { return cases; }

}  // namespace qkd004::conformance
