// Our extension, for servers that answer HELLO.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

constexpr std::uint32_t do_not_wait = 1;
constexpr std::uint32_t strict_once = 2;

line& greeted(bench& it, side at) {
  line& l = it.connect(at);
  static_cast<void>(l.hello());
  return l;
}

void hello(bench& it) {
  const auto answer = it.connect(side::a).hello();
  expect(answer.minor >= 1, "a minor of 1 or more", fmt::format("{}", answer.minor));
  expect(answer.name.size() <= 255, "a name of at most 255 octets", fmt::format("{}", answer.name.size()));
}

void same_instance(bench& it) {
  const auto one = it.connect(side::a).hello();
  const auto other = it.connect(side::a).hello();
  expect(one.instance == other.instance && one.instance != 0, "one instance on two connections",
         "two, or none");
}

void twice(bench& it) {
  line& l = greeted(it, side::a);
  l.try_send(frame_of({2, 1, 1}, service::hello, hello_payload()));
  l.expect_refused(status::protocol_error);
  it.expect_service();
}

void newer(bench& it) {
  auto payload = hello_payload(99);
  payload.insert(payload.end(), {1, 2, 3, 4, 5});
  const auto answer = it.connect(side::a).hello(payload);
  expect(answer.minor >= 1, "a minor of 1 or more", fmt::format("{}", answer.minor));
}

void malformed(bench& it) {
  line& l = it.connect(side::a);
  auto payload = hello_payload();
  payload.pop_back();
  l.try_send(frame_of({2, 1, 1}, service::hello, payload));
  l.expect_refused();
  it.expect_service();
}

void all_statuses(bench& it) {
  line& l = greeted(it, side::a);
  l.must_not_get(it.fresh_id(), 0, status::unknown_key_stream);
  l.must_close(it.fresh_id(), status::unknown_key_stream);
  const auto opened = l.must_open(it.request());
  l.must_not_get(opened.stream, 0xffff'ffff, status::stream_exhausted);
  auto r = it.request();
  r.source.clear();
  l.must_not_open(r, status::invalid_argument);
}

void three_calls(bench& it) {
  line& a = greeted(it, side::a);
  line& b = greeted(it, side::b);
  const auto opened = a.must_open(it.request());
  b.must_open(it.request(opened.stream), status::success);
  expect_same(a.must_get(opened.stream, 0), b.must_get(opened.stream, 0));
  a.must_close(opened.stream);
  b.must_close(opened.stream);
}

void open2_before_hello(bench& it) {
  line& l = it.connect(side::a);
  l.try_send(frame_of({2, 1, 1}, service::open_connect2, open_connect2_payload(it.request(), 0)));
  l.expect_refused(status::protocol_error);
}

void no_wait(bench& it) {
  line& l = greeted(it, side::a);
  auto r = it.request(it.fresh_id());
  r.quality.timeout_ms = 20'000;
  const stopwatch watch;
  const auto opened = l.open2(r, do_not_wait);
  l.expect_status(opened.status, status::peer_not_connected, operation::open_connect);
  watch.expect_within(stopwatch::slack, "an answer to OPEN_CONNECT2 that does not wait");
  expect(opened.stream == r.stream, r.stream.to_string(), opened.stream.to_string());
}

void strict(bench& it) {
  line& l = greeted(it, side::a);
  const auto opened = l.open2(it.request(), strict_once);
  expect(opened.status <= 1, "OPEN_CONNECT2: status 0 or 1", "OPEN_CONNECT2: " + says(opened.status));
  l.must_get(opened.stream, 0);
  l.must_not_get(opened.stream, 0, status::index_not_available);
  l.must_get(opened.stream, 1);
}

void epoch(bench& it) {
  const auto s = it.open_both();
  static_cast<void>(s.a.hello());
  const auto once = s.a.open2(it.request(s.id), do_not_wait);
  const auto twice = s.a.open2(it.request(s.id), do_not_wait);
  expect(once.status <= 1 && twice.status <= 1, "OPEN_CONNECT2: status 0 or 1",
         "OPEN_CONNECT2: " + says(twice.status));
  expect(twice.epoch == once.epoch + 1, fmt::format("epoch {}", once.epoch + 1),
         fmt::format("epoch {}", twice.epoch));
}

void lowest_live(bench& it) {
  const auto s = it.open_both();
  static_cast<void>(s.a.hello());
  for (std::uint32_t i = 0; i < 3; ++i) s.a.must_get(s.id, i);
  const auto again = s.a.open2(it.request(s.id), do_not_wait);
  expect(again.lowest_live == 3, "lowest live index 3", fmt::format("{}", again.lowest_live));
}

void unknown_flag(bench& it) {
  line& l = greeted(it, side::a);
  const auto refused = l.open2(it.request(), 0x8000'0000);
  l.expect_status(refused.status, status::invalid_argument, operation::open_connect);
  l.must_open(it.request());
}

void counter(bench& it) {
  line& l = greeted(it, side::a);
  auto r = it.request();
  r.quality.max_bps = 1;
  r.quality.min_bps = 2;
  const auto refused = l.open2(r, 0);
  l.expect_status(refused.status, status::qos_not_met, operation::open_connect);
  r.quality = refused.quality;
  const auto taken = l.open2(r, 0);
  expect(taken.status <= 1, "OPEN_CONNECT2: status 0 or 1", "OPEN_CONNECT2: " + says(taken.status));
}

void timeout_index(bench& it) {
  line& l = greeted(it, side::a);
  const auto opened = l.must_open(it.brief());
  const auto answer = l.must_not_get(opened.stream, far_ahead, status::timeout);
  expect(answer.index == 0, "the lowest live index, 0", fmt::format("{}", answer.index));
}

// clang-format off
constexpr test_case cases[] = {
    {"extension.hello", "wire", level::decision, in_forge, need::hello,
     "HELLO is answered", hello},
    {"extension.instance", "wire", level::decision, in_forge, need::hello,
     "every connection sees the same instance", same_instance},
    {"extension.hello-twice", "wire", level::decision, in_forge, need::hello,
     "a second HELLO is refused", twice},
    {"extension.hello-newer", "wire", level::decision, in_forge, need::hello,
     "a HELLO of a newer minor may say more", newer},
    {"extension.hello-malformed", "wire", level::decision, in_forge, need::hello,
     "a HELLO that lacks an octet is refused", malformed},
    {"extension.statuses", "D7", level::decision, in_forge, need::hello,
     "after HELLO statuses are not narrowed", all_statuses},
    {"extension.three-calls", "wire", level::decision, in_forge, need::hello | need::both_ends,
     "after HELLO the standard's three calls are as before", three_calls},
    {"extension.timeout-index", "D11", level::decision, in_forge, need::hello,
     "after HELLO a failed GET_KEY names the lowest live index", timeout_index},
    {"extension.open2-before-hello", "wire", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2 before HELLO is refused", open2_before_hello},
    {"extension.open2-no-wait", "D8", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2 of a predefined KSID that does not wait returns 1 at once", no_wait},
    {"extension.open2-strict-once", "R8", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2 with strict once: a key is handed out once", strict},
    {"extension.open2-epoch", "D8, R3", level::decision, in_forge, need::hello | need::both_ends,
     "OPEN_CONNECT2 of a stream that the caller has open: the next epoch", epoch},
    {"extension.open2-lowest-live", "D11", level::decision, in_forge, need::hello | need::both_ends,
     "OPEN_CONNECT2 names the lowest live index", lowest_live},
    {"extension.open2-flag", "wire", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2 with an unknown flag is refused, and the connection goes on", unknown_flag},
    {"extension.open2-counter", "D5", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2: the counter-proposal of status 7 is accepted when sent back", counter},
};
// clang-format on

}  // namespace

std::span<const test_case> extension_cases() { return cases; }

}  // namespace qkd004::conformance
