// Who opens between which URIs, and under which KSID.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

/// The URI with that many octets, made longer before its @; empty if it has none.
std::string stretched(const std::string& uri, std::size_t size) {
  const auto at = uri.find('@');
  if (at == std::string::npos || uri.size() > size) return {};
  return std::string{uri}.insert(at, size - uri.size(), 'x');
}

/// Opens as another application of the same site. Where callers have identities, a server need not let them.
void must_open_as_another(line& l, const open_connect_request& r) {
  const auto answer = l.open(r);
  if (answer.status == static_cast<std::uint32_t>(status::ksid_in_use)) {  // of a NULL KSID: it may not (D7)
    throw skipped{"the server lets this application open its own streams only"};
  }
  expect(answer.status <= 1, "OPEN_CONNECT: status 0 or 1", "OPEN_CONNECT: " + says(answer.status));
}

void swapped(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto first = a.must_open(it.request());
  it.let_b_know(a, first.stream);
  auto r = it.request(first.stream);
  std::swap(r.source, r.destination);
  b.must_open(r, status::success);
  expect_same(a.must_get(first.stream, 1), b.must_get(first.stream, 1));
}

void others(bench& it) {
  line& a = it.connect(side::a);
  line& b = it.connect(side::b);
  const auto first = a.must_open(it.request());
  it.let_b_know(a, first.stream);
  auto r = it.request(first.stream);
  r.source = stretched(r.source, r.source.size() + 4);
  if (r.source.empty()) throw skipped{"the source is no URI of the form app@node"};
  b.must_not_open(r, status::ksid_in_use);
  b.must_open(it.request(first.stream), status::success);
}

void third(bench& it) {
  const auto s = it.open_both();
  const auto key = s.a.must_get(s.id, 0);
  line& c = it.connect(side::a);
  const auto answer = c.open(it.request(s.id));
  if (answer.status <= 1) {
    // a caller with an identity takes his own stream over, and the older connection is fenced off (R3)
    s.a.must_not_get(s.id, 0, status::not_authorized);
    expect_same(key, c.must_get(s.id, 0));
    return;
  }
  c.expect_status(answer.status, status::ksid_in_use, operation::open_connect);
  expect_same(key, s.a.must_get(s.id, 0));
}

void no_scheme(bench& it) {
  auto r = it.request();
  for (std::string* uri : {&r.source, &r.destination}) {
    const auto scheme = uri->find("://");
    if (scheme == std::string::npos || uri->find('@') == std::string::npos) {
      throw skipped{"the URIs are not of the form scheme://app@node"};
    }
    uri->erase(0, scheme + 3);
  }
  must_open_as_another(it.connect(side::a), r);
}

void other_scheme(bench& it) {
  auto r = it.request();
  if (r.source.find("://") == std::string::npos) throw skipped{"the source has no scheme"};
  r.source.replace(0, r.source.find(':'), "x-other+004");
  must_open_as_another(it.connect(side::a), r);
}

void longest(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.source = stretched(r.source, 2'000);
  if (r.source.empty()) throw skipped{"the source is no URI of the form app@node"};
  must_open_as_another(a, r);
}

void too_long(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.source = stretched(r.source, 2'001);
  if (r.source.empty()) throw skipped{"the source is no URI of the form app@node"};
  a.must_not_open(r, status::invalid_argument);
  a.must_open(it.request());
}

void empty(bench& it) {
  line& a = it.connect(side::a);
  for (const bool source : {true, false}) {
    auto r = it.request();
    (source ? r.source : r.destination).clear();
    a.must_not_open(r, status::invalid_argument);
  }
  a.must_open(it.request());
}

void equal(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.source = "qkd://nobody@no-such-node.invalid";
  r.destination = r.source;
  const auto answer = a.open(r);
  expect(answer.status > 1, "a failure", "OPEN_CONNECT: " + says(answer.status));
}

void version_4(bench& it) {
  const auto id = it.connect(side::a).must_open(it.request()).stream;
  const auto raw = id.octets();
  const auto version = std::to_integer<unsigned>(raw[6]) >> 4;
  const auto variant = std::to_integer<unsigned>(raw[8]) >> 6;
  expect(version == 4 && variant == 2, "a UUID of version 4", id.to_string());
}

void distinct_ids(bench& it) {
  line& a = it.connect(side::a);
  std::vector<std::string> ids;
  for (int i = 0; i < 32; ++i) {
    ids.push_back(a.must_open(it.request()).stream.to_string());
  }
  std::sort(ids.begin(), ids.end());
  const auto same = std::adjacent_find(ids.begin(), ids.end());
  expect(same == ids.end(), "32 KSIDs, no two of them the same", same == ids.end() ? "" : *same + " twice");
}

void any_id(bench& it) {
  // not of version 4: the caller's affair
  std::array<std::byte, key_stream_id::size> raw{};
  for (std::byte& octet : raw) octet = static_cast<std::byte>(it.random());
  raw[0] = std::byte{0xff};
  raw[6] = std::byte{0x1f};
  raw[8] = std::byte{0x3f};
  const auto r = it.brief(150, key_stream_id{raw});
  const auto opened = it.connect(side::a).must_open(r, status::peer_not_connected);
  expect(opened.stream == r.stream, r.stream.to_string(), opened.stream.to_string());
}

void null_id(bench& it) {
  line& a = it.connect(side::a);
  a.must_not_get({}, 0, status::unknown_key_stream);
  const auto closed = a.close({});
  expect(closed != 0, "a failure", "CLOSE: " + says(closed));
}

// clang-format off
constexpr test_case cases[] = {
    {"ends.swapped", "D9", level::decision, in_both, need::both_ends,
     "the second opener may swap source and destination", swapped},
    {"ends.others", "D9", level::decision, in_both, need::both_ends,
     "the second opener with another URI gets 5, and the right one still joins", others},
    {"ends.third", "D8, R3", level::decision, in_both, need::both_ends,
     "a third connection takes no end from the two that have them", third},
    {"ends.no-scheme", "D2", level::decision, in_both, 0,
     "app@node without a scheme", no_scheme},
    {"ends.other-scheme", "D2", level::decision, in_both, 0,
     "any scheme", other_scheme},
    {"ends.longest", "D2", level::decision, in_both, 0,
     "a URI of 2,000 octets", longest},
    {"ends.too-long", "D2, wire", level::decision, in_both, 0,
     "a URI of 2,001 octets is refused, and the connection goes on", too_long},
    {"ends.empty", "D2, wire", level::decision, in_both, 0,
     "an empty URI is refused, and the connection goes on", empty},
    {"ends.equal", "table 2", level::decision, in_both, 0,
     "a stream from a place that is not there to itself is refused", equal},
    {"ends.ksid-version", "table 2, D1", level::standard, in_both, 0,
     "a KSID that the key manager makes is a UUID of version 4, in network order", version_4},
    {"ends.ksid-distinct", "table 2", level::standard, in_both, 0,
     "every KSID is another", distinct_ids},
    {"ends.ksid-any", "D1", level::decision, in_both, 0,
     "a predefined KSID may be any 16 octets that are not all zero", any_id},
    {"ends.ksid-null", "D1", level::decision, in_both, 0,
     "the NULL KSID names no stream", null_id},
};
// clang-format on

}  // namespace

std::span<const test_case> ends_cases() { return cases; }

}  // namespace qkd004::conformance
