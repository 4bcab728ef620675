// What no client sends: the connection is refused, and the service goes on.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

frame_version version(const bench& it) { return version_of(it.whom().spoken); }

octets good_open(const bench& it) {
  return frame_of(version(it), service::open_connect, open_connect_payload(it.whom().spoken, it.request()));
}

/// The octets are refused with that code, or any, and others are served.
void refuse(bench& it, const octets& what, std::optional<status> code = status::protocol_error) {
  line& l = it.connect(side::a);
  l.try_send(what);
  l.expect_refused(code);
  it.expect_service();
}

/// The octets and then nothing: whatever the server makes of it, others are served.
void leave(bench& it, const octets& what) {
  line& l = it.connect(side::a);
  l.try_send(what);
  it.disconnect(l);
  it.expect_service();
}

octets id_and(std::size_t more) { return writer{}.zeros(key_stream_id::size + more).take(); }

void unknown_version(bench& it) { refuse(it, frame_of({9, 9, 9}, service::close, id_and(0))); }
void unknown_service(bench& it) { refuse(it, frame_of(version(it), 0x7e, id_and(0))); }
void response_service(bench& it) {
  refuse(it, frame_of(version(it), service::answer_to(service::get_key), id_and(16)));
}
void peer_service(bench& it) { refuse(it, frame_of({2, 1, 1}, 0x85, id_and(33)), std::nullopt); }
void too_long(bench& it) { refuse(it, header_of(version(it), service::get_key, 0x7fff'ffff)); }
void longest(bench& it) { refuse(it, header_of(version(it), service::get_key, 0xffff'ffff)); }
void empty_payload(bench& it) { refuse(it, frame_of(version(it), service::get_key, {})); }
void empty_open(bench& it) { refuse(it, frame_of(version(it), service::open_connect, {})); }
void short_payload(bench& it) {
  refuse(it, frame_of(version(it), service::get_key, writer{}.zeros(10).take()));
}
void trailing(bench& it) { refuse(it, frame_of(version(it), service::close, id_and(1))); }

void trailing_get(bench& it) {
  refuse(it, frame_of(version(it), service::get_key,
                      writer{}.all(get_key_payload(it.whom().spoken, it.fresh_id(), 0, 0)).zeros(3).take()));
}

void no_nul(bench& it) {
  refuse(it, frame_of(version(it), service::open_connect, writer{}.text(std::string(300, 'x')).take()));
}

void mimetype_without_end(bench& it) {
  const auto r = it.request();
  writer payload;
  payload.text0(r.source).text0(r.destination).zeros(28).text(std::string(300, 'm')).u8(0).zeros(16);
  refuse(it, frame_of(version(it), service::open_connect, payload.take()));
}

void metadata_length(bench& it) {
  refuse(it,
         frame_of(version(it), service::get_key, writer{}.id(it.fresh_id()).u32(0).u32(0xffff'fff0).take()));
}

void garbage(bench& it) {
  writer noise;
  noise.u8(0xa7);  // no version begins so
  for (int i = 0; i < 512; ++i) noise.u64(it.random());
  refuse(it, noise.take());
}

void http(bench& it) { refuse(it, writer{}.text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").take()); }

void truncated(bench& it) {
  auto frame = good_open(it);
  frame.resize(frame.size() / 2);
  leave(it, frame);
}

void half_header(bench& it) { leave(it, {2, 1, 1, 4}); }

void truncated_and_ended(bench& it) {
  auto frame = good_open(it);
  frame.resize(frame.size() - 1);
  line& l = it.connect(side::a);
  l.send(frame);
  l.end_sending();
  const auto in = l.read();
  expect(in.what == incoming::kind::end || (in.what == incoming::kind::frame && in.service == service::error),
         "the end of the connection", in.describe());
  it.expect_service();
}

void octet_by_octet(bench& it) {
  line& l = it.connect(side::a);
  for (const std::uint8_t octet : good_open(it)) l.send(octets{octet});
  const auto in = l.read();
  expect(in.what == incoming::kind::frame && in.service == service::answer_to(service::open_connect),
         "an answer to OPEN_CONNECT", in.describe());
}

void slow_among_others(bench& it) {
  line& slow = it.connect(side::a);
  const auto frame = good_open(it);
  slow.send(octets(frame.begin(), frame.begin() + 9));
  it.expect_service();
  slow.send(octets(frame.begin() + 9, frame.end()));
  const auto in = slow.read();
  expect(in.what == incoming::kind::frame, "an answer to OPEN_CONNECT", in.describe());
}

void after_good(bench& it) {
  line& l = it.connect(side::a);
  const auto opened = l.must_open(it.request());
  l.must_get(opened.stream, 0);
  l.try_send(frame_of(version(it), 0x7e, {}));
  l.expect_refused(status::protocol_error);
  it.connect(side::a).must_get(opened.stream, 1);
}

void many_bad(bench& it) {
  for (int i = 0; i < 24; ++i) {
    line& l = it.connect(side::a);
    l.try_send(frame_of({9, 9, static_cast<std::uint8_t>(i)}, 0x77, {}));
    it.disconnect(l);
  }
  it.expect_service();
}

void not_reading(bench& it) {
  line& l = it.connect(side::a);
  const auto opened = l.must_open(it.request());
  for (int i = 0; i < 200; ++i) l.send_get(opened.stream, 0);
  it.expect_service();
}

void fuzzed(bench& it) {
  // one octet of a good request is another one; whatever comes of it, others are served
  for (int i = 0; i < 24; ++i) {
    auto frame = good_open(it);
    frame[static_cast<std::size_t>(it.random() % frame.size())] ^=
        static_cast<std::uint8_t>(1 + it.random() % 255);
    line& l = it.connect(side::a);
    l.try_send(frame);
    l.end_sending();
    static_cast<void>(l.read(milliseconds{50}));
    it.disconnect(l);
  }
  it.expect_service();
}

void stop_server(bench& it) {
  line& l = it.connect(side::a);
  l.try_send(frame_of(version(it), service::stop_server, {}));
  l.expect_refused();
  it.expect_service();
}

// clang-format off
constexpr test_case cases[] = {
    {"hostile.version", "wire", level::decision, in_both, need::frames,
     "an unknown version: an error frame, and the end of the connection", unknown_version},
    {"hostile.service", "wire", level::decision, in_both, need::frames,
     "an unknown service: an error frame, and the end of the connection", unknown_service},
    {"hostile.response", "wire", level::decision, in_both, need::frames,
     "a response from a client is refused", response_service},
    {"hostile.peer", "wire", level::decision, in_forge, need::frames,
     "a message between key managers, from somebody who is none: refused", peer_service},
    {"hostile.too-long", "wire", level::decision, in_both, need::frames,
     "a payload of 2 GiB is refused when its length is read", too_long},
    {"hostile.longest", "wire", level::decision, in_both, need::frames,
     "a payload of 4 GiB is refused when its length is read", longest},
    {"hostile.empty", "wire", level::decision, in_both, need::frames,
     "GET_KEY without a payload is refused", empty_payload},
    {"hostile.empty-open", "wire", level::decision, in_both, need::frames,
     "OPEN_CONNECT without a payload is refused", empty_open},
    {"hostile.short", "wire", level::decision, in_both, need::frames,
     "GET_KEY of 10 octets is refused", short_payload},
    {"hostile.trailing", "wire", level::decision, in_both, need::frames,
     "CLOSE with an octet too many is refused", trailing},
    {"hostile.trailing-get", "wire", level::decision, in_both, need::frames,
     "GET_KEY with three octets too many is refused", trailing_get},
    {"hostile.no-nul", "wire", level::decision, in_both, need::frames,
     "OPEN_CONNECT with a source that has no end is refused", no_nul},
    {"hostile.mimetype", "table 2, wire", level::decision, in_both, need::frames,
     "OPEN_CONNECT with a mimetype of 300 octets is refused", mimetype_without_end},
    {"hostile.metadata-length", "wire", level::decision, in_forge, need::frames,
     "GET_KEY with metadata longer than its frame is refused", metadata_length},
    {"hostile.garbage", "wire", level::decision, in_both, need::frames,
     "4 KiB of noise are refused, and others are served", garbage},
    {"hostile.http", "wire", level::decision, in_both, need::frames,
     "a request of another protocol is refused, and others are served", http},
    {"hostile.truncated", "wire", level::decision, in_both, need::frames,
     "half a request and a broken connection: others are served", truncated},
    {"hostile.half-header", "wire", level::decision, in_both, need::frames,
     "half a header and a broken connection: others are served", half_header},
    {"hostile.ended", "wire", level::decision, in_both, need::frames,
     "a request without its last octet, of which nothing more will come: others are served", truncated_and_ended},
    {"hostile.octet-by-octet", "wire", level::decision, in_both, need::frames,
     "a request in pieces of one octet is served", octet_by_octet},
    {"hostile.slow", "wire", level::decision, in_both, need::frames,
     "a request that comes slowly holds nobody up, and is served", slow_among_others},
    {"hostile.after-good", "wire", level::decision, in_both, need::frames,
     "a bad frame ends the connection and not its stream", after_good},
    {"hostile.many", "wire", level::decision, in_both, need::frames,
     "after 24 bad connections others are served", many_bad},
    {"hostile.not-reading", "wire", level::decision, in_both, need::frames,
     "200 answers that nobody reads hold nobody up", not_reading},
    {"hostile.fuzzed", "wire", level::decision, in_both, need::frames,
     "after 24 requests with one wrong octet each others are served", fuzzed},
    {"hostile.stop", "wire", level::decision, in_both, need::frames | need::destructive,
     "the reference code's stop server is refused", stop_server},
};
// clang-format on

}  // namespace

std::span<const test_case> hostile_cases() { return cases; }

}  // namespace qkd004::conformance
