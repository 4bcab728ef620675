// What OPEN_CONNECT grants, refuses and keeps.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

std::string text_of(const qos& q) {
  std::string mimetype;
  for (const char c : q.metadata_mimetype.substr(0, 40)) mimetype += c >= 0x20 && c < 0x7f ? c : '.';
  return fmt::format(
      "chunk {}, Max_bps {}, Min_bps {}, Jitter {}, Priority {}, Timeout {}, TTL {}, mimetype '{}'",
      q.key_chunk_size, q.max_bps, q.min_bps, q.jitter, q.priority, q.timeout_ms, q.ttl_s, mimetype);
}

void expect_qos(const qos& got, const qos& wanted) { expect(got == wanted, text_of(wanted), text_of(got)); }

/// What cannot be met is answered with what can: sent back unchanged, it is taken, and comes back as it is.
void expect_counter(line& at, open_connect_request r, const open_answer& refused) {
  expect(refused.has_body, "a counter-proposal", "no QoS");
  expect(refused.quality != r.quality, "a QoS unlike the one refused", text_of(refused.quality));
  r.quality = refused.quality;
  const auto taken = at.must_open(r);
  expect_qos(taken.quality, refused.quality);
}

void refuse_and_counter(bench& it, const open_connect_request& r) {
  line& a = it.connect(side::a);
  expect_counter(a, r, a.must_not_open(r, status::qos_not_met));
}

void join(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  auto r = it.request();
  r.quality.key_chunk_size = 48;
  r.quality.priority = 3;
  r.quality.metadata_mimetype = "application/json";
  const auto first = a.must_open(r);
  it.let_b_know(a, first.stream);
  auto other = it.request(first.stream);
  other.quality.key_chunk_size = 64;
  other.quality.timeout_ms = 4'321;
  other.quality.ttl_s = 7;
  expect_qos(b.must_open(other, status::success).quality, first.quality);
  expect(b.must_get(first.stream, 0).key_length == 48, "keys of 48 octets at the end that joined",
         "another length");
}

void join_predefined(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  auto r = it.brief(200, it.fresh_id());
  r.quality.key_chunk_size = 48;
  const auto first = a.must_open(r);
  auto other = it.request(r.stream);
  other.quality.key_chunk_size = 64;
  expect_qos(b.must_open(other, status::success).quality, first.quality);
}

void join_with_null(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto first = a.must_open(it.request());
  it.let_b_know(a, first.stream);
  auto other = it.request(first.stream);
  other.quality = {};
  expect_qos(b.must_open(other, status::success).quality, first.quality);
}

void join_with_impossible(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto first = a.must_open(it.request());
  it.let_b_know(a, first.stream);
  auto other = it.request(first.stream);
  other.quality.max_bps = 1;
  other.quality.min_bps = 2;
  expect_qos(b.must_open(other, status::success).quality, first.quality);
}

void resume(bench& it) {
  const auto s = it.open_both();
  auto again = it.request(s.id);
  again.quality.key_chunk_size = 64;
  expect_qos(s.a.must_open(again).quality, s.quality);
}

void null_fields(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality = {};
  const auto opened = a.must_open(r);
  expect(opened.quality.key_chunk_size > 0, "a Key_chunk_size that the key manager chose", "0");
  const auto key = a.must_get(opened.stream, 0);
  expect(key.key_length == opened.quality.key_chunk_size, "a key of Key_chunk_size octets",
         fmt::format("{} octets where Key_chunk_size is {}", key.key_length, opened.quality.key_chunk_size));
}

void default_values(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality = {};
  const auto got = a.must_open(r).quality;
  qos wanted;
  wanted.key_chunk_size = 32;
  wanted.max_bps = got.max_bps == 0 ? 1 : got.max_bps;  // the link's share, which is not known here
  wanted.timeout_ms = 5'000;
  wanted.ttl_s = 3'600;
  expect_qos(got, wanted);
}

void granted(bench& it) {
  auto r = it.request();
  r.quality = {.key_chunk_size = 40,
               .max_bps = 64'000,
               .min_bps = 0,
               .jitter = 0,
               .priority = 9,
               .timeout_ms = 1'234,
               .ttl_s = 11,
               .metadata_mimetype = "application/json"};
  expect_qos(it.connect(side::a).must_open(r).quality, r.quality);
}

void chunk_sizes(bench& it) {
  line& a = it.connect(side::a);
  bool granted_one = false;
  for (const std::uint32_t size : {1U, 5U, 16U, 32U, 33U, 100U, 1'000U}) {
    auto r = it.request();
    r.quality.key_chunk_size = size;
    const auto opened = a.open(r);
    if (opened.status == static_cast<std::uint32_t>(status::qos_not_met)) continue;
    expect(opened.status <= 1, "OPEN_CONNECT: status 0, 1 or 7", "OPEN_CONNECT: " + says(opened.status));
    granted_one = true;
    a.send_get(opened.stream, 0);
    const auto key = a.read_get();
    a.expect_status(key.status, status::success, operation::get_key);
    expect(key.key_length == opened.quality.key_chunk_size,
           fmt::format("a key of {} octets", opened.quality.key_chunk_size),
           fmt::format("a key of {} octets", key.key_length));
    a.must_close(opened.stream);
  }
  if (!granted_one) throw skipped{"none of the sizes that were tried is granted"};
}

void chunk_sizes_granted(bench& it) {
  line& a = it.connect(side::a);
  for (const std::uint32_t size : {1U, 33U, 1'000U}) {
    auto r = it.request();
    r.quality.key_chunk_size = size;
    const auto opened = a.must_open(r);
    expect(opened.quality.key_chunk_size == size, fmt::format("Key_chunk_size {}", size),
           fmt::format("Key_chunk_size {}", opened.quality.key_chunk_size));
    a.must_close(opened.stream);
  }
}

void chunk_too_large(bench& it) {
  auto r = it.request();
  r.quality.key_chunk_size = 0xffff'ffff;
  r.quality.ttl_s = 1;  // the counter-proposal may be as large as a key can be
  refuse_and_counter(it, r);
}

void min_above_max(bench& it) {
  auto r = it.request();
  r.quality.max_bps = 1'000;
  r.quality.min_bps = 2'000;
  refuse_and_counter(it, r);
}

/// Opens, or skips the case where there is nothing that this server would refuse.
void refuse_if_bounded(bench& it, const open_connect_request& r, std::string_view unbounded) {
  line& a = it.connect(side::a);
  const auto answer = a.open(r);
  if (answer.status <= 1) throw skipped{std::string{unbounded}};
  a.expect_status(answer.status, status::qos_not_met, operation::open_connect);
  expect_counter(a, r, answer);
}

void min_too_high(bench& it) {
  auto r = it.request();
  r.quality.min_bps = 0xffff'ffff;
  refuse_if_bounded(it, r, "the server promises 4 Gbit/s: its link names no rate");
}

void jitter_too_fine(bench& it) {
  auto r = it.request();
  r.quality.jitter = 1;
  refuse_if_bounded(it, r, "the server promises a jitter of 1 bit/s: its key source is that even");
}

void mimetype_json(bench& it) {
  auto r = it.request();
  r.quality.metadata_mimetype = "application/json";
  const auto got = it.connect(side::a).must_open(r).quality.metadata_mimetype;
  expect(got == "application/json", "the mimetype application/json", "another one");
}

void mimetype_unsupported(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality.metadata_mimetype = "application/x-nobody-has-this";
  const auto refused = a.open(r);
  expect(refused.status > 1, "OPEN_CONNECT that fails", "OPEN_CONNECT: " + says(refused.status));
  if (refused.has_body) {
    expect(refused.quality.metadata_mimetype != r.quality.metadata_mimetype, "the preferred mimetype",
           "the unsupported one");
  }
}

void mimetype_counter(bench& it) {
  auto r = it.request();
  r.quality.metadata_mimetype = "application/x-nobody-has-this";
  refuse_and_counter(it, r);
}

void mimetype_longest(bench& it) {
  auto r = it.request();
  r.quality.metadata_mimetype = "application/" + std::string(243, 'x');  // 255 octets and a NUL
  refuse_and_counter(it, r);
}

void ksid_not_consumed(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.brief(100, it.fresh_id());
  r.quality.max_bps = 1;
  r.quality.min_bps = 2;
  a.must_not_open(r, status::qos_not_met);
  r.quality.max_bps = r.quality.min_bps = 0;
  const auto opened = a.must_open(r, status::peer_not_connected);
  expect(opened.stream == r.stream, "the predefined KSID", opened.stream.to_string());
}

void no_stream(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request(it.fresh_id());
  r.quality.max_bps = 1;
  r.quality.min_bps = 2;
  a.must_not_open(r, status::qos_not_met);
  a.must_not_get(r.stream, 0, status::unknown_key_stream);
}

void timeout_of_open(bench& it) {
  line& a = it.connect(side::a);
  const auto r = it.brief(300, it.fresh_id());
  const stopwatch watch;
  a.must_open(r, status::peer_not_connected);
  watch.expect_between(milliseconds{290}, milliseconds{300} + stopwatch::slack, "an answer to OPEN_CONNECT");
}

void timeout_of_get(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief(300));
  const stopwatch watch;
  must_time_out(a, opened.stream);
  watch.expect_between(milliseconds{290}, milliseconds{300} + stopwatch::slack, "an answer to GET_KEY");
}

void timeout_of_registered(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto first = a.must_open(it.brief(200));
  it.let_b_know(a, first.stream);
  b.must_open(it.brief(3'000, first.stream), status::success);
  const stopwatch watch;
  must_time_out(b, first.stream);
  watch.expect_within(milliseconds{200} + stopwatch::slack, "an answer after the Timeout registered first");
}

void max_bps(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality.max_bps = 2'560;  // ten keys of 32 octets a second
  const auto opened = a.must_open(r);
  if (opened.quality.max_bps != 2'560) throw skipped{"the server chose another Max_bps"};
  const stopwatch watch;
  for (std::uint32_t i = 0; i < 6; ++i) a.must_get(opened.stream, i);
  // one may be there already, and the server may go over by one
  watch.expect_between(milliseconds{350}, milliseconds{600} + stopwatch::slack, "six keys at ten a second");
}

void priority(bench& it) {
  line& a = it.connect(side::a);
  for (const std::uint32_t value : {1U, 0xffff'ffffU}) {
    auto r = it.request();
    r.quality.priority = value;
    const auto opened = a.must_open(r);
    expect(opened.quality.priority == value, fmt::format("Priority {}", value),
           fmt::format("Priority {}", opened.quality.priority));
    a.must_get(opened.stream, 0);
  }
}

// clang-format off
constexpr test_case cases[] = {
    {"qos.join", "6.1, table 2", level::standard, in_both, need::both_ends,
     "whoever joins gets the QoS that was registered first, whatever he asked for", join},
    {"qos.join-predefined", "6.1, table 2", level::standard, in_both, need::both_ends,
     "whoever joins a predefined KSID gets the QoS that was registered first", join_predefined},
    {"qos.join-null", "6.1, table 2", level::standard, in_both, need::both_ends,
     "whoever joins and asks for nothing gets the QoS that was registered first", join_with_null},
    {"qos.join-impossible", "6.1, table 2", level::standard, in_both, need::both_ends,
     "whoever joins and asks for what cannot be gets the QoS that was registered first", join_with_impossible},
    {"qos.resume", "D8", level::decision, in_both, need::both_ends,
     "OPEN_CONNECT of a stream that the caller has open answers with the registered QoS", resume},
    {"qos.null", "table 2", level::standard, in_both, 0,
     "NULL fields: the key manager chooses, and keeps to it", null_fields},
    {"qos.defaults", "D3", level::decision, in_both, 0,
     "NULL fields: 32 octets, Timeout 5,000 ms, TTL 3,600 s, no mimetype", default_values},
    {"qos.granted", "table 2, D5", level::decision, in_both, 0,
     "what is granted comes back as it was asked for", granted},
    {"qos.chunk", "table 2", level::standard, in_both, 0,
     "every key has as many octets as the Key_chunk_size that was granted", chunk_sizes},
    {"qos.chunk-granted", "D5", level::decision, in_both, 0,
     "a Key_chunk_size of 1, 33 and 1,000 octets is granted", chunk_sizes_granted},
    {"qos.chunk-too-large", "D5", level::decision, in_both, 0,
     "Key_chunk_size too large: 7, and the counter-proposal is accepted when sent back", chunk_too_large},
    {"qos.min-above-max", "D5", level::decision, in_both, 0,
     "Min_bps above Max_bps: 7, and the counter-proposal is accepted when sent back", min_above_max},
    {"qos.min-too-high", "D5, D6", level::decision, in_both, 0,
     "Min_bps above what the link has: 7, and the counter-proposal is accepted when sent back", min_too_high},
    {"qos.jitter-too-fine", "D5, D6", level::decision, in_both, 0,
     "Jitter finer than the source: 7, and the counter-proposal is accepted when sent back", jitter_too_fine},
    {"qos.mimetype-json", "table 2", level::standard, in_both, 0,
     "the mimetype application/json is never refused", mimetype_json},
    {"qos.mimetype-unsupported", "table 2", level::standard, in_both, 0,
     "an unsupported mimetype fails, and the preferred one comes back", mimetype_unsupported},
    {"qos.mimetype-counter", "D4, D5", level::decision, in_both, 0,
     "an unsupported mimetype: 7, and the counter-proposal is accepted when sent back", mimetype_counter},
    {"qos.mimetype-longest", "D4, table 2", level::decision, in_both, 0,
     "a mimetype of 255 octets is read as one", mimetype_longest},
    {"qos.ksid-not-consumed", "D5", level::decision, in_both, 0,
     "after status 7 the predefined KSID is still free", ksid_not_consumed},
    {"qos.no-stream", "D5", level::decision, in_both, 0,
     "after status 7 there is no stream", no_stream},
    {"qos.timeout-open", "table 2, D8", level::decision, in_both, 0,
     "OPEN_CONNECT that waits for the peer ends with Timeout, not before", timeout_of_open},
    {"qos.timeout-get", "table 2, D11", level::standard, in_both, 0,
     "GET_KEY that waits for key ends with Timeout, not before", timeout_of_get},
    {"qos.timeout-registered", "table 2", level::standard, in_both, need::both_ends,
     "the Timeout registered first holds at both ends", timeout_of_registered},
    {"qos.max-bps", "D6", level::decision, in_both, 0,
     "keys come no faster than Max_bps", max_bps},
    {"qos.priority", "table 2, D6", level::decision, in_both, 0,
     "any Priority is taken", priority},
};
// clang-format on

}  // namespace

std::span<const test_case> qos_cases() { return cases; }

}  // namespace qkd004::conformance
