// measured as an event for the dashboard.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "operations/measured.hpp"
#include "qkd004/version.hpp"
#include "wire/json_text.hpp"

namespace qkd004::operations {

namespace {

using wire::json_quoted;

/// JSON has no infinity: null.
std::string number(double value) { return std::isfinite(value) ? fmt::format("{:.6g}", value) : "null"; }

std::string number(const std::optional<double>& value) { return value ? number(*value) : "null"; }

std::string qkd_of(const software_link_report& r) {
  return fmt::format(R"({{"qber":{},"accepted":{},"over_limit":{},"no_key":{},"unequal":{},"cut_off":{}}})",
                     number(r.qber), r.accepted, r.over_limit, r.no_key, r.unequal, r.cut_off);
}

std::string history_of(const link_trace& trace) {
  std::string list;
  for (const double rate : trace.rates()) {
    list += fmt::format("{}{}", list.empty() ? "" : ",", std::llround(rate * 8));
  }
  return list;
}

std::string one(const measured_link& l, const readiness::link& standing, bool has_history) {
  const link_report& r = l.peer->link;
  std::string text = fmt::format(
      R"({{"name":{},"peer":{},"up":{},"why":{},"key_source":{},"security_class":"{}","simulated":{},"bps":{},)"
      R"("capacity_bps":{},"delivered_bps":{},"buffer":{{"pool":{},"streams":{},"room":{}}},)"
      R"("seconds_to_empty":{},"streams":{},"waiting":{},"delivered":{},"expired":{},"discarded":{},"qkd":{})",
      json_quoted(r.name), json_quoted(r.peer), r.at == link_report::stage::ready,
      json_quoted(standing.why_not), json_quoted(r.key_source), to_string(r.security),
      r.security != security_class::hardware, std::llround(l.trace->received_rate() * 8),
      r.bps == 0 ? "null" : std::to_string(r.bps), std::llround(l.trace->delivered_rate() * 8), r.pooled,
      r.in_streams, r.room, number(l.trace->seconds_to_empty()), r.streams, r.waiting, r.delivered, r.expired,
      r.discarded, l.distilled ? qkd_of(*l.distilled) : "null");
  if (has_history) text += ",\"history\":[" + history_of(*l.trace) + "]";
  return text + '}';
}

std::string one(const stream_report& s) {
  return fmt::format(
      R"({{"id":"{}","source":{},"destination":{},"owner":{},"peer_open":{},"chunk":{},"unread":{},"window":{},)"
      R"("next_index":{},"bps":{},"age_ms":{},"expired":{},"discarded":{}}})",
      s.stream.to_string(), json_quoted(s.source), json_quoted(s.destination), json_quoted(s.owner),
      s.peer_open, s.quality.key_chunk_size, s.bound - std::min(s.bound, s.next_index), s.window,
      s.next_index, s.rate_bps, s.oldest_ms, s.expired, s.discarded);
}

std::string answers_of(const net::call_counts& c) {
  std::string kinds;
  for (std::size_t k = 0; k < net::call_counts::kinds; ++k) {
    const auto kind = static_cast<net::call_kind>(k);
    std::string counts;
    for (std::size_t s = 0; s < net::call_counts::statuses; ++s) {
      if (c.of(kind, s) == 0) continue;
      counts += fmt::format(R"({}"{}":{})", counts.empty() ? "" : ",", name_of_status(s), c.of(kind, s));
    }
    if (counts.empty()) continue;
    kinds += fmt::format(R"({}"{}":{{{}}})", kinds.empty() ? "" : ",", to_string(kind), counts);
  }
  return kinds;
}

template <class Items, class Text>
std::string joined(const Items& items, const Text& text_of) {
  std::string list;
  for (const auto& item : items) {
    if (!list.empty()) list += ',';
    list += text_of(item);
  }
  return list;
}

}  // namespace

std::string event_json(const measured& m, const event_options& o) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  const auto& t = m.site.totals;
  std::size_t i = 0;
  const std::string links = joined(
      m.links, [&](const measured_link& l) { return one(l, m.readiness.links.at(i++), o.has_history); });
  const std::string streams = joined(o.streams.streams, [](const stream_report& s) { return one(s); });
  return fmt::format(
      R"({{"node":{},"version":"{}","started":{},"ready":{},"simulated":{},"applications":{},"waiting":{},)"
      R"("burned":{},"lost":{},"get_key":{{"p50":{},"p99":{}}},"age":{{"p50":{},"p99":{}}},"answers":{{{}}},)"
      R"("links":[{}],"streams":{{"registered":{},"visible":{},"all":{},"list":[{}]}}}})",
      json_quoted(m.site.node), QKD004_VERSION_STRING,
      duration_cast<milliseconds>(m.started.time_since_epoch()).count(), m.readiness.ready, m.is_simulated(),
      m.site.applications, t.waiting, t.burned_chunks, t.lost_chunks, number(m.get_key_p50),
      number(m.get_key_p99), number(m.age_p50), number(m.age_p99), answers_of(m.site.answers), links,
      t.streams, o.streams.open, o.shows_all_streams, streams);
}

}  // namespace qkd004::operations
