// Many callers at once, and many requests of one.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <exception>
#include <functional>
#include <thread>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

constexpr std::size_t callers = 64;

/// Runs it on that many threads; the first failure of one of them is the case's.
void on_threads(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::vector<std::exception_ptr> failed(count);
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        body(i);
      } catch (...) {
        failed[i] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& one : failed) {
    if (one) std::rethrow_exception(one);
  }
}

void streams(bench& it) {
  std::vector<key_print> prints(callers * 2);
  on_threads(callers, [&](std::size_t i) {
    line& a = it.connect(side::a);
    const auto opened = a.must_open(it.request());
    prints[2 * i] = a.must_get(opened.stream, 0).print;
    prints[2 * i + 1] = a.must_get(opened.stream, 1).print;
    a.must_close(opened.stream);
  });
  expect_distinct(prints);
}

void one_stream(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  std::vector<key_print> prints(callers);
  on_threads(callers, [&](std::size_t i) {
    prints[i] = it.connect(side::a).must_get(opened.stream, static_cast<std::uint32_t>(i)).print;
  });
  expect_distinct(prints);
}

void pairs(bench& it) {
  on_threads(callers / 4, [&](std::size_t) {
    const auto s = it.open_both();
    for (std::uint32_t i = 0; i < 4; ++i) expect_same(s.a.must_get(s.id, i), s.b.must_get(s.id, i));
  });
}

void streams_of_one(bench& it) {
  line& a = it.connect(side::a);
  std::vector<key_stream_id> ids;
  for (std::size_t i = 0; i < callers; ++i) ids.push_back(a.must_open(it.request()).stream);
  std::vector<key_print> prints;
  for (const auto& id : ids) prints.push_back(a.must_get(id, 0).print);
  expect_distinct(prints);
}

void pipelined(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  octets all;
  for (std::uint32_t i = 0; i < 64; ++i) {
    const auto one = frame_of(version_of(it.whom().spoken), service::get_key,
                              get_key_payload(it.whom().spoken, opened.stream, i, 0));
    all.insert(all.end(), one.begin(), one.end());
  }
  a.send(all);
  std::vector<key_print> prints;
  for (std::uint32_t i = 0; i < 64; ++i) prints.push_back(a.must_read_key(i).print);
  expect_distinct(prints);
}

void in_order(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief());
  a.must_get(opened.stream, 0);
  a.send_get(opened.stream, far_ahead);
  a.send_get(opened.stream, 0);
  a.send_close(opened.stream);
  const auto waited = a.read_get();
  expect(waited.status != 0, "the answer to the first request first", "that of a later one");
  a.must_read_key(0);
  a.expect_status(a.read_close(), status::success, operation::close);
}

void starts_at_once(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  auto r = it.request(it.fresh_id());
  r.quality.timeout_ms = 10'000;
  // GET_KEY behind an OPEN_CONNECT that waits for the other end: the answers come in order once it is there
  const stopwatch watch;
  a.send_open(r);
  a.send_get(r.stream, 0);
  b.must_open(r, status::success);
  a.expect_status(a.read_open().status, status::success, operation::open_connect);
  expect_same(a.must_read_key(0), b.must_get(r.stream, 0));
  watch.expect_within(milliseconds{5'000}, "both answers");
}

void gone_while_waiting(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality.timeout_ms = 10'000;
  const auto opened = a.must_open(r);
  for (int i = 0; i < 8; ++i) {
    line& gone = it.connect(side::a);
    gone.send_get(opened.stream, far_ahead);
    it.disconnect(gone);
  }
  it.expect_service();
}

void idle_connections(bench& it) {
  for (std::size_t i = 0; i < callers; ++i) it.connect(side::a);
  it.expect_service();
}

void kept(bench& it) {
  line& a = it.connect(side::a);
  for (int i = 0; i < 20; ++i) {
    const auto opened = a.must_open(it.request());
    a.must_get(opened.stream, 0);
    a.must_close(opened.stream);
  }
}

// clang-format off
constexpr test_case cases[] = {
    {"many.callers", "6.1, wire", level::decision, in_both, 0,
     "64 connections on 64 threads, each with its own stream; no octets twice", streams},
    {"many.one-stream", "D11", level::decision, in_both, 0,
     "64 connections read one stream at once; no octets twice", one_stream},
    {"many.pairs", "6.2, wire", level::decision, in_both, need::both_ends,
     "16 streams at once, each with the same keys at both its ends", pairs},
    {"many.streams", "6.1, wire", level::decision, in_both, 0,
     "64 streams on one connection; no octets twice", streams_of_one},
    {"many.kept", "wire", level::decision, in_both, 0,
     "a connection is kept from call to call and from stream to stream", kept},
    {"many.pipelined", "wire", level::decision, in_both, 0,
     "64 requests in one write are answered in their order", pipelined},
    {"many.in-order", "wire", level::decision, in_both, 0,
     "an answer that is ready waits for those of earlier requests", in_order},
    {"many.starts-at-once", "wire", level::decision, in_both, need::both_ends,
     "a request behind a waiting one starts when it arrives", starts_at_once},
    {"many.gone-while-waiting", "wire", level::decision, in_both, 0,
     "callers that go while their GET_KEY waits leave no trace", gone_while_waiting},
    {"many.idle", "wire", level::decision, in_both, 0,
     "64 connections that say nothing hold nobody up", idle_connections},
};
// clang-format on

}  // namespace

std::span<const test_case> many_cases() { return cases; }

}  // namespace qkd004::conformance
