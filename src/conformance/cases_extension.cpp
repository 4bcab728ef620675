// Our extension, for servers that answer HELLO.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

constexpr std::uint32_t do_not_wait = 1;
constexpr std::uint32_t strict_once = 2;
constexpr std::uint32_t vendor_metadata = 2;  ///< of GET_KEYS

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

// --- What HELLO announces ---

/// A stream, opened by OPEN_CONNECT2 on a connection that greeted.
struct opened2 {
  explicit opened2(bench& it) : a{greeted(it, side::a)}, answer{a.open2(it.brief(), do_not_wait)} {
    expect(answer.status <= 1, "OPEN_CONNECT2: status 0 or 1", "OPEN_CONNECT2: " + says(answer.status));
  }
  line& a;
  open_answer answer;
};

struct run_request {
  std::uint32_t first = 0;
  std::uint32_t count = 4;
  std::uint32_t flags = 0;
  std::uint32_t acknowledge_below = 0;
  std::uint64_t epoch_ahead = 0;  ///< of the stream's
};

run_answer get_keys(const opened2& s, const run_request& r) {
  const auto in = s.a.ask(service::get_keys, writer{}
                                                 .id(s.answer.stream)
                                                 .u64(s.answer.epoch + r.epoch_ahead)
                                                 .u32(r.first)
                                                 .u16(r.count)
                                                 .u32(r.flags)
                                                 .u32(r.acknowledge_below)
                                                 .take());
  std::string why;
  auto answer = read_get_keys(in.payload.span(), why);
  expect(answer.has_value(), "an answer to GET_KEYS", "malformed octets: " + why);
  return std::move(*answer);
}

void must_be(std::string_view call, std::uint32_t got, status wanted) {
  const auto code = static_cast<std::uint32_t>(wanted);
  expect(got == code, fmt::format("{}: {}", call, says(code)), fmt::format("{}: {}", call, says(got)));
}

std::uint32_t plain_status(line& l, std::uint8_t service, const octets& payload) {
  const auto in = l.ask(service, payload);
  std::string why;
  const auto code = read_close(in.payload.span(), why);
  expect(code.has_value(), "a status and nothing else", "malformed octets: " + why);
  return *code;
}

std::uint32_t acknowledge(const opened2& s, std::uint32_t below, std::uint64_t epoch_ahead = 0) {
  return plain_status(s.a, service::acknowledge,
                      writer{}.id(s.answer.stream).u64(s.answer.epoch + epoch_ahead).u32(below).take());
}

void wait_peer_in_vain(bench& it) {
  const opened2 s{it};
  const stopwatch watch;
  must_be("WAIT_PEER", plain_status(s.a, service::wait_peer, writer{}.id(s.answer.stream).u32(200).take()),
          status::timeout);
  watch.expect_between(milliseconds{190}, milliseconds{200} + stopwatch::slack, "an answer to WAIT_PEER");
}

void wait_peer(bench& it) {
  const opened2 s{it};
  s.a.send(service::wait_peer, writer{}.id(s.answer.stream).u32(10'000).take());
  it.connect(side::b).must_open(it.request(s.answer.stream), status::success);
  const auto in = s.a.read();
  expect(in.what == incoming::kind::frame && in.service == service::answer_to(service::wait_peer),
         "an answer to WAIT_PEER", in.describe());
  std::string why;
  must_be("WAIT_PEER", read_close(in.payload.span(), why).value_or(1'028), status::success);
  const stopwatch watch;
  must_be("WAIT_PEER of a peer that is there",
          plain_status(s.a, service::wait_peer, writer{}.id(s.answer.stream).u32(10'000).take()),
          status::success);
  watch.expect_within(stopwatch::slack, "an answer at once");
}

void wait_peer_unknown(bench& it) {
  line& l = greeted(it, side::a);
  must_be("WAIT_PEER", plain_status(l, service::wait_peer, writer{}.id(it.fresh_id()).u32(200).take()),
          status::unknown_key_stream);
}

void keys_as_one_by_one(bench& it) {
  const opened2 s{it};
  line& b = it.connect(side::b);
  b.must_open(it.request(s.answer.stream), status::success);
  for (std::uint32_t i = 0; i < 8; ++i) b.must_get(s.answer.stream, i);
  const auto run = get_keys(s, {.count = 8});
  must_be("GET_KEYS", run.status, status::success);
  expect(run.first == 0 && run.prints.size() <= 8 && run.chunk_size == 32,
         "at most 8 keys of 32 octets from index 0 on",
         fmt::format("{} keys of {} octets from index {} on", run.prints.size(), run.chunk_size, run.first));
  for (std::uint32_t i = 0; i < run.prints.size(); ++i) {
    expect(b.must_get(s.answer.stream, i).print == run.prints[i],
           fmt::format("the same octets for index {}", i), "different octets");
  }
}

void keys_without_waiting(bench& it) {
  const opened2 s{it};
  must_be("GET_KEYS", get_keys(s, {.first = far_ahead, .flags = do_not_wait}).status,
          status::insufficient_key);
  must_be("GET_KEYS", get_keys(s, {.first = far_ahead}).status, status::timeout);
}

void keys_refused(bench& it) {
  const opened2 s{it};
  must_be("GET_KEYS of no key", get_keys(s, {.count = 0}).status, status::invalid_argument);
  must_be("GET_KEYS with an unknown flag", get_keys(s, {.flags = 0x100}).status, status::invalid_argument);
  must_be("GET_KEYS of another epoch", get_keys(s, {.epoch_ahead = 1}).status, status::not_authorized);
  must_be("GET_KEYS of epoch 0", get_keys(s, {.epoch_ahead = 0 - s.answer.epoch}).status,
          status::not_authorized);
  must_be("GET_KEYS", get_keys(s, {}).status, status::success);
}

void keys_acknowledge(bench& it) {
  const opened2 s{it};
  const auto run = get_keys(s, {.count = 1});
  must_be("GET_KEYS", run.status, status::success);
  must_be("GET_KEYS", get_keys(s, {.first = 1, .count = 1, .acknowledge_below = 1}).status, status::success);
  must_be("GET_KEYS", get_keys(s, {.count = 1}).status, status::index_not_available);
  s.a.must_get(s.answer.stream, 1);
}

void acknowledged(bench& it) {
  const opened2 s{it};
  s.a.must_get(s.answer.stream, 0);
  must_be("ACK", acknowledge(s, 1), status::success);
  s.a.must_not_get(s.answer.stream, 0, status::index_not_available);
}

void acknowledged_unread(bench& it) {
  const opened2 s{it};
  s.a.must_get(s.answer.stream, 1);
  must_be("ACK", acknowledge(s, 2), status::success);
  s.a.must_get(s.answer.stream, 0);
}

void acknowledged_epoch(bench& it) {
  const opened2 s{it};
  const auto key = s.a.must_get(s.answer.stream, 0);
  must_be("ACK of another epoch", acknowledge(s, 1, 1), status::not_authorized);
  expect_same(key, s.a.must_get(s.answer.stream, 0));
}

/// What SUBSCRIBE and its deliveries are to a case.
class subscriber {
 public:
  explicit subscriber(const opened2& s) : stream_{s} {}

  void give(std::uint32_t first, std::uint32_t credit, std::uint64_t epoch_ahead = 0) {
    give(stream_.answer.stream, first, credit, epoch_ahead);
  }
  void give(const key_stream_id& id, std::uint32_t first, std::uint32_t credit, std::uint64_t epoch_ahead) {
    asked_ = id;
    stream_.a.send(service::subscribe,
                   writer{}.id(id).u64(stream_.answer.epoch + epoch_ahead).u32(first).u32(credit).take());
  }
  [[nodiscard]] run_answer read() { return read(stream_.a.read()); }
  [[nodiscard]] run_answer read(const incoming& in) const {
    expect(in.what == incoming::kind::frame && in.service == service::answer_to(service::subscribe),
           "a delivery", in.describe());
    std::string why;
    auto run = read_delivery(in.payload.span(), why);
    expect(run.has_value(), "a delivery", "malformed octets: " + why);
    expect(run->stream == asked_, "a delivery of " + asked_.to_string(), "one of " + run->stream.to_string());
    return std::move(*run);
  }
  /// Keys, the first of that index.
  [[nodiscard]] run_answer must_read_keys(std::size_t first) {
    auto run = read();
    must_be("delivery", run.status, status::success);
    expect(run.first == first, fmt::format("keys from index {} on", first),
           fmt::format("from index {} on", run.first));
    return run;
  }
  void must_be_silent(std::string_view what) {
    const auto more = stream_.a.read(milliseconds{100});
    expect(more.what == incoming::kind::nothing, what, more.describe());
  }

 private:
  const opened2& stream_;
  key_stream_id asked_;
};

void subscribe(bench& it) {
  const opened2 s{it};
  subscriber keys{s};
  std::vector<key_print> prints;
  const auto take = [&](std::size_t up_to) {
    while (prints.size() < up_to) {
      const auto run = keys.must_read_keys(prints.size());
      prints.insert(prints.end(), run.prints.begin(), run.prints.end());
    }
    expect(prints.size() == up_to, fmt::format("{} keys, as many as there is credit", up_to),
           fmt::format("{} keys", prints.size()));
  };
  keys.give(0, 3);
  take(3);
  keys.must_be_silent("nothing more without credit");
  keys.give(0, 2);
  take(5);
  expect_distinct(prints);
}

void suspend(bench& it) {
  const opened2 s{it};
  subscriber keys{s};
  // some of this credit is left over, or all of it where the keys are not there yet
  for (const std::uint32_t first : {0U, far_ahead}) {
    keys.give(first, 20);
    if (first == 0) static_cast<void>(keys.must_read_keys(0));
    keys.give(0, 0);
    auto run = keys.read();
    while (run.status == 0) run = keys.read();
    must_be("the delivery that confirms a credit of 0", run.status, status::insufficient_key);
    keys.must_be_silent("nothing after the confirmation");
  }
  keys.give(30, 1);
  const auto run = keys.must_read_keys(30);
  expect(run.prints.size() == 1, "1 key, as much as the new credit",
         fmt::format("{} keys", run.prints.size()));
  expect(s.a.must_get(s.answer.stream, 30).print == run.prints[0], "the same octets for index 30",
         "different octets");
}

void suspend_nothing(bench& it) {
  const opened2 s{it};
  subscriber keys{s};
  keys.give(0, 0);
  must_be("the delivery that confirms a credit of 0", keys.read().status, status::insufficient_key);
  s.a.must_get(s.answer.stream, 0);
}

void subscribe_refused(bench& it) {
  const opened2 s{it};
  subscriber keys{s};
  keys.give(0, 1, 1);
  must_be("SUBSCRIBE of another epoch", keys.read().status, status::not_authorized);
  keys.give(it.fresh_id(), 0, 1, 0);
  must_be("SUBSCRIBE of a KSID that is not open", keys.read().status, status::unknown_key_stream);
  keys.give(0, 1);
  static_cast<void>(keys.must_read_keys(0));
}

void subscribe_closed(bench& it) {
  const opened2 s{it};
  subscriber keys{s};
  keys.give(0, 1'000'000);
  static_cast<void>(keys.must_read_keys(0));
  s.a.send_close(s.answer.stream);
  // the answer to CLOSE and the last delivery, in either order
  bool closed = false;
  bool ended = false;
  while (!closed || !ended) {
    const auto in = s.a.read();
    std::string why;
    if (in.what == incoming::kind::frame && in.service == service::answer_to(service::close)) {
      must_be("CLOSE", read_close(in.payload.span(), why).value_or(1'028), status::success);
      closed = true;
    } else if (const auto run = keys.read(in); run.status != 0) {
      must_be("the last delivery", run.status, status::unknown_key_stream);
      ended = true;
    }
  }
}

void nothing_after_close(bench& it) {
  const opened2 s{it};
  s.a.must_get(s.answer.stream, 0);
  s.a.must_close(s.answer.stream);
  const auto& id = s.answer.stream;
  must_be("WAIT_PEER", plain_status(s.a, service::wait_peer, writer{}.id(id).u32(100).take()),
          status::unknown_key_stream);
  must_be("GET_KEYS", get_keys(s, {}).status, status::unknown_key_stream);
  must_be("ACK", acknowledge(s, 1), status::unknown_key_stream);
  const auto in = s.a.ask(service::report, writer{}.id(id).take());
  must_be("STATUS", reader{in.payload.span()}.u32(), status::unknown_key_stream);
}

void keys_vendor(bench& it) {
  const opened2 s{it};
  const auto without = get_keys(s, {});
  must_be("GET_KEYS", without.status, status::success);
  expect(without.vendor_metadata.empty(), "no vendor metadata unless it is asked for",
         fmt::format("{} octets", without.vendor_metadata.size()));
  const auto with = get_keys(s, {.flags = vendor_metadata});
  must_be("GET_KEYS", with.status, status::success);
  const std::string& json = with.vendor_metadata;
  expect(json.empty() || (json.starts_with('{') && json.ends_with('}') && json.size() <= 4'000),
         "a JSON object of at most 4,000 octets, or none", fmt::format("{} other octets", json.size()));
}

void report(bench& it) {
  const opened2 s{it};
  for (const auto& id : {key_stream_id{}, s.answer.stream}) {
    const auto in = s.a.ask(service::report, writer{}.id(id).take());
    reader fields{in.payload.span()};
    must_be("STATUS", fields.u32(), status::success);
    const std::string json = fields.text(fields.u32());
    expect(fields.ok() && fields.left() == 0, "an answer to STATUS", "malformed octets");
    expect(json.starts_with('{') && json.ends_with('}'), "a JSON object", "something else");
  }
  const auto in = s.a.ask(service::report, writer{}.id(it.fresh_id()).take());
  must_be("STATUS of another stream", reader{in.payload.span()}.u32(), status::unknown_key_stream);
}

// clang-format off
constexpr test_case cases[] = {
    {"extension.hello", "wire", level::decision, in_forge, need::hello,
     "HELLO is answered", hello},
    {"extension.instance", "wire", level::decision, in_forge, need::hello,
     "every connection sees the same instance", same_instance},
    {"extension.hello-twice", "wire", level::decision, in_forge, need::hello | need::frames,
     "a second HELLO is refused", twice},
    {"extension.hello-newer", "wire", level::decision, in_forge, need::hello,
     "a HELLO of a newer minor may say more", newer},
    {"extension.hello-malformed", "wire", level::decision, in_forge, need::hello | need::frames,
     "a HELLO that lacks an octet is refused", malformed},
    {"extension.statuses", "D7", level::decision, in_forge, need::hello,
     "after HELLO statuses are not narrowed", all_statuses},
    {"extension.three-calls", "wire", level::decision, in_forge, need::hello | need::both_ends,
     "after HELLO the standard's three calls are as before", three_calls},
    {"extension.timeout-index", "D11", level::decision, in_forge, need::hello,
     "after HELLO a failed GET_KEY names the lowest live index", timeout_index},
    {"extension.open2-before-hello", "wire", level::decision, in_forge, need::hello | need::frames,
     "OPEN_CONNECT2 before HELLO is refused", open2_before_hello},
    {"extension.open2-no-wait", "D8", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2 of a predefined KSID that does not wait returns 1 at once", no_wait},
    {"extension.open2-strict-once", "R8", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2 with strict once: a key is handed out once", strict},
    {"extension.open2-epoch", "D8, R3", level::decision, in_forge, need::hello | need::both_ends,
     "OPEN_CONNECT2 of a stream that the caller has open: the next epoch", epoch},
    {"extension.open2-lowest-live", "D11", level::decision, in_forge, need::hello | need::both_ends,
     "OPEN_CONNECT2 names the lowest live index", lowest_live},
    {"extension.open2-flag", "wire", level::decision, in_forge, need::hello | need::frames,
     "OPEN_CONNECT2 with an unknown flag is refused, and the connection goes on", unknown_flag},
    {"extension.open2-counter", "D5", level::decision, in_forge, need::hello,
     "OPEN_CONNECT2: the counter-proposal of status 7 is accepted when sent back", counter},
    {"extension.wait-peer", "wire", level::decision, in_forge, need::hello | need::both_ends | need::wait_peer,
     "WAIT_PEER is answered when the peer application opens", wait_peer},
    {"extension.wait-peer-timeout", "wire", level::decision, in_forge, need::hello | need::wait_peer,
     "WAIT_PEER of a peer that does not come ends with its time", wait_peer_in_vain},
    {"extension.wait-peer-unknown", "D7", level::decision, in_forge, need::hello | need::wait_peer,
     "WAIT_PEER of a KSID that is not open: 1024", wait_peer_unknown},
    {"extension.get-keys", "wire", level::decision, in_forge, need::hello | need::both_ends | need::get_keys,
     "GET_KEYS gives the same keys as GET_KEY", keys_as_one_by_one},
    {"extension.get-keys-no-wait", "D11", level::decision, in_forge, need::hello | need::get_keys,
     "GET_KEYS that does not wait: 2 at once; one that waits: 6", keys_without_waiting},
    {"extension.get-keys-refused", "wire, R3", level::decision, in_forge, need::hello | need::get_keys | need::frames,
     "GET_KEYS of no key, with an unknown flag, of another epoch: refused, and the connection goes on", keys_refused},
    {"extension.get-keys-acknowledge", "R5", level::decision, in_forge, need::hello | need::get_keys,
     "GET_KEYS acknowledges what it says, and nothing else", keys_acknowledge},
    {"extension.ack", "R5", level::decision, in_forge, need::hello | need::acknowledge,
     "a key that was acknowledged is gone", acknowledged},
    {"extension.ack-unread", "R5", level::decision, in_forge, need::hello | need::acknowledge,
     "ACK touches only keys that were served", acknowledged_unread},
    {"extension.ack-epoch", "R3", level::decision, in_forge, need::hello | need::acknowledge,
     "ACK of another epoch is refused", acknowledged_epoch},
    {"extension.subscribe", "wire", level::decision, in_forge, need::hello | need::subscribe,
     "SUBSCRIBE: keys come as long as there is credit, in order, each once", subscribe},
    {"extension.subscribe-suspend", "wire", level::decision, in_forge, need::hello | need::subscribe,
     "SUBSCRIBE with credit 0: a delivery of status 2 is the last, and the next begins at its own first index", suspend},
    {"extension.subscribe-none", "wire", level::decision, in_forge, need::hello | need::subscribe,
     "SUBSCRIBE with credit 0 where there is no subscription is confirmed, too", suspend_nothing},
    {"extension.subscribe-refused", "wire, R3", level::decision, in_forge, need::hello | need::subscribe,
     "SUBSCRIBE of another epoch, of a KSID that is not open: a delivery says so, and the connection goes on",
     subscribe_refused},
    {"extension.subscribe-closed", "D16", level::decision, in_forge, need::hello | need::subscribe,
     "CLOSE ends a subscription with a delivery", subscribe_closed},
    {"extension.closed", "D16, R5", level::decision, in_forge,
     need::hello | need::wait_peer | need::get_keys | need::acknowledge | need::report,
     "after CLOSE the extension knows the stream no more: 1024", nothing_after_close},
    {"extension.get-keys-vendor", "D14", level::decision, in_forge, need::hello | need::get_keys,
     "GET_KEYS has vendor metadata only where it is asked for", keys_vendor},
    {"extension.report", "D7", level::decision, in_forge, need::hello | need::report,
     "STATUS gives a JSON object, of the caller's streams only", report},
};
// clang-format on

}  // namespace

std::span<const test_case> extension_cases() { return cases; }

}  // namespace qkd004::conformance
