// SPDX-License-Identifier: Apache-2.0
#include "conformance/bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>

namespace qkd004::conformance {

namespace {

constexpr milliseconds for_cleaning{500};

std::string_view name_of(std::uint8_t request) {
  switch (request) {
    case service::open_connect: return "an answer to OPEN_CONNECT";
    case service::get_key: return "an answer to GET_KEY";
    case service::close: return "an answer to CLOSE";
    case service::hello: return "an answer to HELLO";
    case service::open_connect2: return "an answer to OPEN_CONNECT2";
    case service::wait_peer: return "an answer to WAIT_PEER";
    case service::get_keys: return "an answer to GET_KEYS";
    case service::acknowledge: return "an answer to ACK";
    case service::subscribe: return "a delivery";
    case service::report: return "an answer to STATUS";
    default: return "an answer";
  }
}

template <class Answer>
Answer must_be(std::optional<Answer>&& answer, std::uint8_t request, const std::string& why) {
  if (!answer) throw failure{std::string{name_of(request)}, "malformed octets: " + why};
  return std::move(*answer);
}

}  // namespace

std::string says(std::uint32_t code) {
  return fmt::format("status {} ({})", code, qkd004::to_string(static_cast<status>(code)));
}

// --- line ---

line::line(bench& owner, side at, std::unique_ptr<byte_stream> stream)
    : bench_{owner}, at_{at}, probe_{std::move(stream), owner.whom().memory} {}

void line::send(const octets& what) {
  if (!probe_.send(what, bench_.whom().patience)) {
    throw failure{"a server that takes the request", "a connection that broke"};
  }
}

void line::try_send(const octets& what) { static_cast<void>(probe_.send(what, bench_.whom().patience)); }

void line::send(std::uint8_t s, const octets& payload) {
  const bool extension = s >= service::hello && s < 0x80;
  const auto version = version_of(extension ? dialect::forge : bench_.whom().spoken);
  unanswered_ += 1;
  send(frame_of(version, s, payload));
}

incoming line::read() { return read(bench_.whom().patience); }
incoming line::read(milliseconds within) { return probe_.read(within); }

void line::expect_refused(std::optional<status> code) {
  incoming in = read();
  if (in.what == incoming::kind::frame) {
    expect(in.service == service::error, "an error frame and the end of the connection", in.describe());
    reader fields{in.payload.span()};
    const std::uint32_t got = fields.u32();
    if (code) {
      expect(got == static_cast<std::uint32_t>(*code),
             fmt::format("an error frame with code {}", static_cast<std::uint32_t>(*code)), in.describe());
    }
    const std::string frame = in.describe();
    in = read();
    expect(in.what == incoming::kind::end, "the end of the connection after " + frame, in.describe());
  } else {
    expect(in.what == incoming::kind::end, "an error frame, or the end of the connection", in.describe());
  }
}

incoming line::read_answer(std::uint8_t s) {
  incoming in = read();
  if (!in.refusal.empty()) throw failure{std::string{name_of(s)}, in.describe(), in.refusal};
  expect(in.what == incoming::kind::frame && in.service == service::answer_to(s), name_of(s), in.describe());
  const bool extension = s >= service::hello && s < 0x80;
  expect(in.version == version_of(extension ? dialect::forge : bench_.whom().spoken),
         "the version of the request in the answer", in.describe());
  if (unanswered_ > 0) unanswered_ -= 1;
  return in;
}

void line::opened(const open_answer& answer) {
  if (answer.status <= 1 && std::find(open_.begin(), open_.end(), answer.stream) == open_.end()) {
    open_.push_back(answer.stream);
  }
}

void line::send_open(const open_connect_request& r) {
  send(service::open_connect, open_connect_payload(bench_.whom().spoken, r));
}

open_answer line::read_open() {
  const incoming in = read_answer(service::open_connect);
  std::string why;
  auto answer =
      must_be(read_open_connect(bench_.whom().spoken, in.payload.span(), why), service::open_connect, why);
  opened(answer);
  return answer;
}

void line::send_get(const key_stream_id& id, std::uint32_t index, std::uint32_t metadata_size) {
  send(service::get_key, get_key_payload(bench_.whom().spoken, id, index, metadata_size));
}

key_answer line::read_get() {
  const incoming in = read_answer(service::get_key);
  std::string why;
  return must_be(conformance::read_get_key(bench_.whom().spoken, in.payload.span(), why), service::get_key,
                 why);
}

void line::send_close(const key_stream_id& id) { send(service::close, close_payload(id)); }

std::uint32_t line::read_close() {
  const incoming in = read_answer(service::close);
  std::string why;
  return must_be(conformance::read_close(in.payload.span(), why), service::close, why);
}

open_answer line::open(const open_connect_request& r) {
  send_open(r);
  return read_open();
}

open_answer line::open2(const open_connect_request& r, std::uint32_t flags) {
  send(service::open_connect2, open_connect2_payload(r, flags));
  const incoming in = read_answer(service::open_connect2);
  std::string why;
  auto answer = must_be(read_open_connect2(in.payload.span(), why), service::open_connect2, why);
  opened(answer);
  return answer;
}

key_answer line::get(const key_stream_id& id, std::uint32_t index, std::uint32_t metadata_size) {
  send_get(id, index, metadata_size);
  return read_get();
}

std::uint32_t line::close(const key_stream_id& id) {
  send_close(id);
  const std::uint32_t outcome = read_close();
  if (outcome == 0) std::erase(open_, id);
  return outcome;
}

hello_answer line::hello(const octets& payload) {
  send(service::hello, payload);
  const incoming in = read_answer(service::hello);
  std::string why;
  auto answer = must_be(conformance::read_hello(in.payload.span(), why), service::hello, why);
  greeted_ = true;
  return answer;
}

incoming line::ask(std::uint8_t s, const octets& payload) {
  send(s, payload);
  return read_answer(s);
}

void line::expect_status(std::uint32_t got, status wanted, operation op) const {
  const std::uint32_t code = code_of(bench_.whom().spoken, wanted, op, greeted_);
  constexpr std::string_view calls[] = {"OPEN_CONNECT", "GET_KEY", "CLOSE"};
  const auto call = calls[static_cast<std::size_t>(op)];
  expect(got == code, fmt::format("{}: {}", call, says(code)), fmt::format("{}: {}", call, says(got)));
}

open_answer line::must_open(const open_connect_request& r) {
  auto answer = open(r);
  expect(answer.status <= 1, "OPEN_CONNECT: status 0 or 1", "OPEN_CONNECT: " + says(answer.status));
  return answer;
}

open_answer line::must_open(const open_connect_request& r, status outcome) {
  auto answer = open(r);
  expect_status(answer.status, outcome, operation::open_connect);
  return answer;
}

open_answer line::must_not_open(const open_connect_request& r, status outcome) {
  return must_open(r, outcome);
}

key_answer line::must_read_key(std::uint32_t index) {
  auto answer = read_get();
  expect_status(answer.status, status::success, operation::get_key);
  expect(answer.index == index, fmt::format("the key of index {}", index),
         fmt::format("a key of index {}", answer.index));
  expect(!answer.plain, "a key", "octets that are all the same");
  return answer;
}

key_answer line::must_get(const key_stream_id& id, std::uint32_t index, std::uint32_t metadata_size) {
  send_get(id, index, metadata_size);
  return must_read_key(index);
}

key_answer line::must_not_get(const key_stream_id& id, std::uint32_t index, status outcome,
                              std::uint32_t metadata_size) {
  auto answer = get(id, index, metadata_size);
  expect_status(answer.status, outcome, operation::get_key);
  return answer;
}

void line::must_close(const key_stream_id& id, status outcome) {
  expect_status(close(id), outcome, operation::close);
}

// --- bench ---

bench::bench(const target& t, std::uint64_t seed) : target_{t}, state_{seed} {}

line& bench::connect(side at) {
  return connect(at, at == side::b && target_.connect_b ? target_.connect_b : target_.connect);
}

line& bench::connect_stranger() {
  return connect(side::a, target_.connect_b ? target_.connect_b : target_.connect);
}

line& bench::connect(side at, const connector& as) {
  const std::string& uri = at == side::a ? target_.uri_a : target_.uri_b;
  std::string why;
  auto stream = as(uri, target_.patience, why);
  if (!stream) throw failure{"a connection to " + uri, why};
  auto made = std::make_unique<line>(*this, at, std::move(*stream));
  const std::lock_guard lock{mutex_};
  lines_.push_back(std::move(made));
  return *lines_.back();
}

void bench::disconnect(line& l) {
  const std::lock_guard lock{mutex_};
  for (const auto& id : l.open_) left_.emplace_back(l.at_, id);
  std::erase_if(lines_, [&](const auto& one) { return one.get() == &l; });
}

void bench::finish() noexcept {
  const auto close_on = [](line& l, const key_stream_id& id) {
    if (!l.probe_.send(frame_of(version_of(l.bench_.target_.spoken), service::close, close_payload(id)),
                       for_cleaning)) {
      return false;
    }
    return l.read(for_cleaning).what == incoming::kind::frame;
  };
  try {
    // a line that still waits for answers, or has broken, leaves its streams to a fresh one
    for (const auto& l : lines_) {
      for (const auto& id : l->open_) {
        if (l->unanswered_ > 0 || !close_on(*l, id)) left_.emplace_back(l->at_, id);
      }
      l->open_.clear();
    }
    lines_.clear();
    if (left_.empty()) return;
    for (const side at : {side::a, side::b}) {
      line* fresh = nullptr;
      for (const auto& [where, id] : left_) {
        if (where != at) continue;
        if (fresh == nullptr) fresh = &connect(at);
        if (!close_on(*fresh, id)) fresh = nullptr;
      }
    }
  } catch (const failure&) {
    return;  // nobody is there any more: the next case says so
  } catch (const std::exception&) {
    return;
  }
}

open_connect_request bench::request(const key_stream_id& id) const {
  qos q;
  q.key_chunk_size = 32;
  q.timeout_ms = 1'000;
  q.ttl_s = 5;
  return {target_.source, target_.destination, q, id};
}

open_connect_request bench::brief(std::uint32_t timeout_ms, const key_stream_id& id) const {
  auto r = request(id);
  r.quality.timeout_ms = timeout_ms;
  return r;
}

std::uint64_t bench::random() {
  // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): names need to be new, not secret
  const std::lock_guard lock{mutex_};
  std::uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15;
  z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9;
  z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11eb;
  return z ^ (z >> 31);
}

key_stream_id bench::fresh_id() {
  std::array<std::byte, key_stream_id::size> noise{};
  for (std::byte& octet : noise) octet = static_cast<std::byte>(random());
  return key_stream_id::from_random(noise);
}

void bench::let_b_know(line& a, const key_stream_id& id) { static_cast<void>(a.get(id, 0)); }

open_pair bench::open_both(const open_connect_request& r) {
  line& a = connect(side::a);
  line& b = connect(side::b);
  const auto first = a.must_open(r);
  auto second = r;
  second.stream = first.stream;
  b.must_open(second, status::success);
  return {a, b, first.stream, first.quality};
}

open_pair bench::open_predefined(const open_connect_request& r, side first) {
  line& a = connect(side::a);
  line& b = connect(side::b);
  line& one = first == side::a ? a : b;
  line& other = first == side::a ? b : a;
  one.send_open(r);
  const auto second = other.open(r);
  const auto answer = one.read_open();
  other.expect_status(second.status, status::success, operation::open_connect);
  expect(answer.status <= 1, "OPEN_CONNECT: status 0, or 1 of a server that does not wait",
         "OPEN_CONNECT: " + says(answer.status));
  expect(second.stream == r.stream && answer.stream == r.stream, "the predefined KSID at both ends",
         second.stream.to_string() + " and " + answer.stream.to_string());
  return {a, b, r.stream, answer.quality};
}

void bench::expect_service() {
  line& a = connect(side::a);
  const auto answer = a.must_open(request());
  a.must_close(answer.stream);
}

std::optional<std::uint32_t> bench::run_ahead(line& l, const key_stream_id& id, std::uint32_t most,
                                              std::vector<key_print>* prints) {
  constexpr std::uint32_t batch = 16;
  for (std::uint32_t index = 0; index < most; index += batch) {
    for (std::uint32_t i = 0; i < batch; ++i) l.send_get(id, index + i);
    std::optional<std::uint32_t> end;
    for (std::uint32_t i = 0; i < batch; ++i) {
      const auto answer = l.read_get();
      if (end) continue;
      if (answer.status == 0) {
        if (prints != nullptr) prints->push_back(answer.print);
        continue;
      }
      l.expect_status(answer.status, status::timeout, operation::get_key);
      end = index + i;
    }
    if (end) return end;
  }
  return std::nullopt;
}

// --- What cases compare ---

void must_time_out(line& l, const key_stream_id& id) {
  const auto answer = l.get(id, far_ahead);
  if (answer.status == static_cast<std::uint32_t>(status::insufficient_key)) {
    throw skipped{"GET_KEY of a key that is not there gets 2: nothing times out"};
  }
  l.expect_status(answer.status, status::timeout, operation::get_key);
}

void expect_same(const key_answer& a, const key_answer& b) {
  expect(a.key_length == b.key_length, fmt::format("keys of one length at index {}", a.index),
         fmt::format("{} octets and {} octets", a.key_length, b.key_length));
  expect(a.print == b.print, fmt::format("the same octets for index {}", a.index), "different octets");
}

void expect_distinct(std::vector<key_print> prints) {
  const std::size_t count = prints.size();
  std::sort(prints.begin(), prints.end());
  const auto same = std::adjacent_find(prints.begin(), prints.end());
  expect(same == prints.end(), fmt::format("{} keys, no two of them the same", count),
         "the same octets under two indices or in two streams");
}

void stopwatch::expect_between(milliseconds least, milliseconds most, std::string_view what) const {
  const auto took = elapsed();
  expect(took >= least && took <= most,
         least.count() > 0 ? fmt::format("{} after {} to {} ms", what, least.count(), most.count())
                           : fmt::format("{} within {} ms", what, most.count()),
         fmt::format("it after {} ms", took.count()));
}

}  // namespace qkd004::conformance
