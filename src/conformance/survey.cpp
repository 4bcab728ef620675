// SPDX-License-Identifier: Apache-2.0
#include "conformance/survey.hpp"

#include <algorithm>
#include <random>
#include <utility>

namespace qkd004::conformance {

namespace {

constexpr milliseconds for_greeting{1'500};  ///< servers that do not know HELLO may leave it unanswered

/// What a server says to HELLO; nothing if it does not answer it.
std::optional<hello_answer> greet(const target& t, side at) {
  bench b{t, 1};
  try {
    return b.connect(at).hello();
  } catch (const failure&) {
    return std::nullopt;
  }
}

/// A name that may stand in a URI; what a server says need not.
bool is_node(const std::string& name) {
  return !name.empty() && name.size() <= 255 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '@'; });
}

std::string uri_of(std::string_view application, const std::string& node, std::string_view otherwise) {
  return "qkd://" + std::string{application} + "@" + (is_node(node) ? node : std::string{otherwise});
}

std::uint64_t seed() { return std::random_device{}(); }

/// Whether the server answers an OPEN_CONNECT in that dialect, with whatever status. Throws failure if it does not.
std::uint32_t try_open(const target& t) {
  bench b{t, seed()};
  line& a = b.connect(side::a);
  if (t.greets) static_cast<void>(a.hello());  // then statuses say more
  const auto answer = a.open(b.request());
  b.finish();
  return answer.status;
}

/// Why a stream cannot be opened at both ends; nothing if it can.
std::optional<failure> only_one_end(const target& t) {
  bench b{t, seed()};
  std::optional<failure> why;
  try {
    line& one = b.connect(side::a);
    const auto id = one.must_open(b.request()).stream;
    line& other = b.connect(side::b);
    if (t.greets) static_cast<void>(other.hello());
    const auto answer = other.open(b.request(id));
    if (answer.status != 0) why = failure{says(0), says(answer.status)};
  } catch (const failure& f) {
    why = f;
  }
  b.finish();
  return why;
}

}  // namespace

survey_result survey(const survey_options& o) {
  using outcome = survey_result::outcome;
  survey_result r;
  target& t = r.whom;
  t.uri_a = o.uri;
  t.uri_b = o.peer.empty() ? o.uri : o.peer;
  t.patience = o.patience;
  t.connect = o.connect;
  t.connect_b = o.connect_b;
  t.two_principals = o.two_principals;
  const auto refused = [&r](const std::string& uri, const std::string& words) {
    r.what = outcome::unreachable;
    r.why = "cannot connect to " + uri + ": " + words;
    return r;
  };

  for (const auto at : {side::a, side::b}) {
    const bool as_b = at == side::b && o.connect_b;
    const auto there = (as_b ? o.connect_b : o.connect)(at == side::a ? t.uri_a : t.uri_b, o.patience, r.why);
    if (there) continue;
    const bool unreadable = there.error() == make_error_code(status::invalid_argument);
    r.what = unreadable ? outcome::bad_uri : outcome::unreachable;
    return r;
  }

  r.what = outcome::not_004;
  std::uint32_t answered = 0;
  bool found = false;
  for (const dialect d : {dialect::forge, dialect::qubip}) {
    if (o.spoken && *o.spoken != d) continue;
    t.spoken = d;
    if (d == dialect::forge) {
      target short_tempered = t;
      short_tempered.patience = std::min(t.patience, for_greeting);
      const auto hello_a = greet(short_tempered, side::a);
      const auto hello_b = o.peer.empty() ? hello_a : greet(short_tempered, side::b);
      t.greets = hello_a.has_value() && hello_b.has_value();
      t.features = t.greets ? hello_a->features & hello_b->features : 0;
      r.name_a = hello_a ? hello_a->name : std::string{};
      r.name_b = hello_b ? hello_b->name : std::string{};
    } else {
      t.greets = false;
      t.features = 0;
    }
    t.source = o.source.empty() ? uri_of("doctor-a", r.name_a, "site-a") : o.source;
    t.destination = o.destination.empty() ? uri_of("doctor-b", r.name_b, "site-b") : o.destination;
    try {
      answered = try_open(t);
      found = true;
      break;
    } catch (const failure& f) {
      if (!f.refusal.empty()) return refused(t.uri_a, f.refusal);
      r.why += (r.why.empty() ? "" : "; ") + std::string{to_string(d)} + ": expected " + f.expected +
               ", got " + f.got;
    }
  }
  if (!found) return r;
  r.why.clear();
  if (answered > 1) {
    r.what = outcome::no_stream;
    r.why = "OPEN_CONNECT from " + t.source + " to " + t.destination + ": " + says(answered);
    return r;
  }
  const auto only_one = only_one_end(t);
  t.both_ends = !only_one;
  if (only_one && !only_one->refusal.empty()) return refused(t.uri_b, only_one->refusal);
  if (only_one && !o.peer.empty()) {
    r.what = outcome::no_stream;
    r.why = "OPEN_CONNECT from " + t.source + " to " + t.destination +
            ", then at the other end: " + only_one->got;
    return r;
  }
  r.what = outcome::found;
  return r;
}

}  // namespace qkd004::conformance
