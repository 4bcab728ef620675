// SPDX-License-Identifier: Apache-2.0
#include "operations/readiness.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "wire/json_text.hpp"

namespace qkd004::operations {

namespace {

std::string why_not(const net::peer_report& p) {
  using stage = link_report::stage;
  const link_report& l = p.link;
  switch (l.at) {
    case stage::down:
      return p.failure.empty() ? "the peer is not connected" : "the peer is not connected: " + p.failure;
    case stage::greeting: return "the peer is connected and has not answered yet";
    case stage::starting: return "the key sources at the two ends have not agreed yet";
    case stage::ready: break;
  }
  if (l.source_ended && l.pooled + l.in_streams == 0) return "the key source has ended, and no key is left";
  return {};
}

}  // namespace

readiness readiness_of(const net::site_report& site) {
  readiness r;
  r.stopping = site.stopping;
  for (const auto& p : site.peers) r.links.push_back({p.link.name, p.link.peer, why_not(p)});
  r.ready = !r.stopping &&
            std::all_of(r.links.begin(), r.links.end(), [](const auto& l) { return l.why_not.empty(); });
  return r;
}

std::string to_json(const readiness& r) {
  std::string list;
  for (const auto& l : r.links) {
    list += fmt::format(R"({}{{"link":{},"peer":{},"ready":{})", list.empty() ? "" : ",",
                        wire::json_quoted(l.name), wire::json_quoted(l.peer), l.why_not.empty());
    if (!l.why_not.empty()) list += R"(,"why":)" + wire::json_quoted(l.why_not);
    list += '}';
  }
  return fmt::format(R"({{"ready":{},"stopping":{},"links":[{}]}})", r.ready, r.stopping, list);
}

}  // namespace qkd004::operations
