// SPDX-License-Identifier: Apache-2.0
#include "net/report.hpp"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

namespace qkd004::net {

namespace {

/// A JSON string. URIs and names may have any octets but control characters: those that are not ASCII are shown one
/// by one, so that the text is JSON whatever they were.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (octet < 0x20 || octet >= 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", octet);
    } else {
      out += c;
    }
  }
  return out += '"';
}

std::string one(const stream_report& s) {
  const qos& q = s.quality;
  return fmt::format(
      R"({{"key_stream_id":"{}","source":{},"destination":{},)"
      R"("qos":{{"key_chunk_size":{},"max_bps":{},"min_bps":{},"jitter":{},"priority":{},"timeout_ms":{},)"
      R"("ttl_s":{},"metadata_mimetype":{}}},"strict_once":{},"peer_open":{},"epoch":{},"window":{},)"
      R"("next_index":{},"chunks":{{"bound":{},"acknowledged":{},"expired":{},"discarded":{},"live":{}}},)"
      R"("rate_bps":{},"deviation_bps":{},"link_bps":{}}})",
      s.stream.to_string(), quoted(s.source), quoted(s.destination), q.key_chunk_size, q.max_bps, q.min_bps,
      q.jitter, q.priority, q.timeout_ms, q.ttl_s, quoted(q.metadata_mimetype), s.strict_once, s.peer_open,
      s.epoch, s.window, s.next_index, s.bound, s.acknowledged, s.expired, s.discarded, s.live, s.rate_bps,
      s.deviation_bps, s.link_bps);
}

}  // namespace

std::string report_json(const key_service& site, const stream_reports& reported, std::size_t most) {
  std::string list;
  std::size_t shown = 0;
  for (const stream_report& s : reported.streams) {
    const std::string text = one(s);
    if (list.size() + (shown > 0 ? 1 : 0) + text.size() > most) break;
    if (shown++ > 0) list += ',';
    list += text;
  }
  return fmt::format(R"({{"node":{},"streams_open":{},"streams_shown":{},"streams":[{}]}})",
                     quoted(site.node()), reported.open, shown, list);
}

}  // namespace qkd004::net
