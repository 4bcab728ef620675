// Whose a stream is: its owner comes back to it on any connection, and nobody else learns that it is there.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

constexpr std::uint32_t do_not_wait = 1;

void greet(bench& it, line& l) {
  if (it.whom().greets) static_cast<void>(l.hello());
}

void resume(bench& it) {
  line& a = it.connect(side::a);
  static_cast<void>(a.hello());
  const auto opened = a.open2(it.request(), do_not_wait);
  expect(opened.status <= 1, "OPEN_CONNECT2: status 0 or 1", "OPEN_CONNECT2: " + says(opened.status));
  const auto key = a.must_get(opened.stream, 0);

  line& again = it.connect(side::a);
  static_cast<void>(again.hello());
  const auto resumed = again.open2(it.request(opened.stream), do_not_wait);
  if (resumed.status == static_cast<std::uint32_t>(status::ksid_in_use)) {
    throw skipped{"the server cannot tell that two connections are of one application"};
  }
  if (it.self_linked()) throw skipped{"the second OPEN_CONNECT takes the other end"};
  expect(resumed.status <= 1, "OPEN_CONNECT2: status 0 or 1", "OPEN_CONNECT2: " + says(resumed.status));
  expect(resumed.epoch == opened.epoch + 1, fmt::format("epoch {}", opened.epoch + 1),
         fmt::format("epoch {}", resumed.epoch));
  a.must_not_get(opened.stream, 0, status::not_authorized);
  expect_same(key, again.must_get(opened.stream, 0));
}

void open_of_another(bench& it) {
  if (it.self_linked()) throw skipped{"the second application takes the other end"};
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  const auto key = a.must_get(opened.stream, 0);
  line& stranger = it.connect_stranger();
  greet(it, stranger);
  const auto answer = stranger.open(it.request(opened.stream));
  if (answer.status == static_cast<std::uint32_t>(status::not_authorized)) {
    throw skipped{"the server lets the second application open nothing between these URIs"};
  }
  stranger.expect_status(answer.status, status::ksid_in_use, operation::open_connect);
  expect_same(key, a.must_get(opened.stream, 0));
}

/// What a stranger asks about a stream has to be answered as if it were nowhere, octet for octet, and must leave it as
/// it was.
class stranger {
 public:
  explicit stranger(bench& it)
      : owner_{it.connect(side::a)},
        asks_{it.connect_stranger()},
        opened_{owner_.must_open(it.request())},
        nowhere_{it.fresh_id()},
        key_{owner_.must_get(opened_.stream, 0)} {}

  line& asks() { return asks_; }

  /// `from`: where the part of the answer begins that does not name the stream.
  void must_learn_nothing(std::uint8_t service, const std::function<octets(const key_stream_id&)>& payload,
                          std::size_t from = 0) {
    const auto answer = [&](const key_stream_id& id) {
      auto in = asks_.ask(service, payload(id));
      expect(in.payload.span().size() >= from + 4, "an answer", in.describe());
      return in;
    };
    const incoming of_this = answer(opened_.stream);
    const incoming of_none = answer(nowhere_);
    const auto one = of_this.payload.span().subspan(from);
    const auto other = of_none.payload.span().subspan(from);
    const auto in_words = [](std::span<const std::byte> octets) {
      return fmt::format("{}, {} octets", says(reader{octets}.u32()), octets.size());
    };
    expect(reader{one}.u32() != 0, "a failure", "status 0");
    expect(std::equal(one.begin(), one.end(), other.begin(), other.end()),
           "what a KSID gets that nobody has: " + in_words(other), in_words(one));
  }

  void must_have_done_nothing() { expect_same(key_, owner_.must_get(opened_.stream, 0)); }

 private:
  line& owner_;
  line& asks_;
  open_answer opened_;
  key_stream_id nowhere_;
  key_answer key_;
};

void ask_the_three(bench& it, stranger& s) {
  const auto d = it.whom().spoken;
  s.must_learn_nothing(service::get_key, [&](const auto& id) { return get_key_payload(d, id, 0, 0); });
  s.must_learn_nothing(service::get_key, [&](const auto& id) { return get_key_payload(d, id, 7, 64); });
  s.must_learn_nothing(service::close, [&](const auto& id) { return close_payload(id); });
  s.must_have_done_nothing();
}

void plain_calls(bench& it) {
  stranger s{it};
  ask_the_three(it, s);
}

void greeted_calls(bench& it) {
  stranger s{it};
  static_cast<void>(s.asks().hello());
  ask_the_three(it, s);
}

void wait_peer(bench& it) {
  stranger s{it};
  static_cast<void>(s.asks().hello());
  s.must_learn_nothing(service::wait_peer, [](const auto& id) { return writer{}.id(id).u32(100).take(); });
}

void get_keys(bench& it) {
  stranger s{it};
  static_cast<void>(s.asks().hello());
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    s.must_learn_nothing(service::get_keys, [&](const auto& id) {
      return writer{}.id(id).u64(epoch).u32(0).u16(4).u32(do_not_wait).u32(0).take();
    });
  }
  s.must_have_done_nothing();
}

void acknowledge(bench& it) {
  stranger s{it};
  static_cast<void>(s.asks().hello());
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    s.must_learn_nothing(service::acknowledge,
                         [&](const auto& id) { return writer{}.id(id).u64(epoch).u32(1).take(); });
  }
  s.must_have_done_nothing();
}

void subscribe(bench& it) {
  stranger s{it};
  static_cast<void>(s.asks().hello());
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    s.must_learn_nothing(
        service::subscribe, [&](const auto& id) { return writer{}.id(id).u64(epoch).u32(0).u32(1).take(); },
        key_stream_id::size);
  }
  s.must_have_done_nothing();
}

void report(bench& it) {
  stranger s{it};
  static_cast<void>(s.asks().hello());
  s.must_learn_nothing(service::report, [](const auto& id) { return writer{}.id(id).take(); });
}

// clang-format off
constexpr test_case cases[] = {
    {"principal.resume", "R3", level::decision, in_forge, need::hello,
     "an application takes its stream up on another connection: the next epoch, and the older one is fenced", resume},
    {"principal.open", "D8, R3", level::decision, in_both, need::stranger,
     "OPEN_CONNECT of another's stream: 5, and its owner reads on", open_of_another},
    {"principal.calls", "D7", level::decision, in_both, need::stranger,
     "GET_KEY and CLOSE of another's stream: as if it were nowhere", plain_calls},
    {"principal.calls-greeted", "D7", level::decision, in_forge, need::stranger | need::hello,
     "the same after HELLO", greeted_calls},
    {"principal.wait-peer", "D7", level::decision, in_forge, need::stranger | need::hello | need::wait_peer,
     "WAIT_PEER of another's stream: as if it were nowhere", wait_peer},
    {"principal.get-keys", "D7", level::decision, in_forge, need::stranger | need::hello | need::get_keys,
     "GET_KEYS of another's stream, of any epoch: as if it were nowhere", get_keys},
    {"principal.ack", "D7", level::decision, in_forge, need::stranger | need::hello | need::acknowledge,
     "ACK of another's stream, of any epoch: as if it were nowhere", acknowledge},
    {"principal.subscribe", "D7", level::decision, in_forge, need::stranger | need::hello | need::subscribe,
     "SUBSCRIBE to another's stream, of any epoch: as if it were nowhere", subscribe},
    {"principal.report", "D7", level::decision, in_forge, need::stranger | need::hello | need::report,
     "STATUS of another's stream: as if it were nowhere", report},
};
// clang-format on

}  // namespace

std::span<const test_case> principal_cases() { return cases; }

}  // namespace qkd004::conformance
