// measured as metrics.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "operations/exposition.hpp"
#include "operations/measured.hpp"
#include "qkd004/version.hpp"

namespace qkd004::operations {

namespace {

using type = exposition::type;

/// As a label has it.
constexpr std::array<std::string_view, net::call_counts::statuses> status_names{
    "success",
    "peer_not_connected",
    "insufficient_key",
    "get_key_peer_not_connected",
    "no_qkd_connection",
    "ksid_in_use",
    "timeout",
    "qos_not_met",
    "metadata_size_insufficient",
    "unknown_key_stream",
    "invalid_argument",
    "not_authorized",
    "resource_limit",
    "protocol_error",
    "index_not_available",
    "stream_exhausted",
    "shutting_down",
};

/// Families with a sample for each link.
class link_families {
 public:
  link_families(exposition& out, const measured& m) : out_{out}, all_{m} {
    for (const auto& l : m.links) {
      labels_.push_back(labels({{"link", l.peer->link.name}, {"peer", l.peer->link.peer}}));
    }
  }

  template <class Value>
  void add(std::string_view name, type t, std::string_view help, const Value& value_of) {
    out_.family(name, t, help);
    for (std::size_t i = 0; i < labels_.size(); ++i) out_.sample(labels_[i], value_of(all_.links[i]));
  }

  /// Of the software links alone; left out if there is none.
  template <class Value>
  void add_distilled(std::string_view name, type t, std::string_view help, const Value& value_of) {
    const auto is_software = [](const measured_link& l) { return l.distilled.has_value(); };
    if (std::none_of(all_.links.begin(), all_.links.end(), is_software)) return;
    out_.family(name, t, help);
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      if (all_.links[i].distilled) value_of(labels_[i], *all_.links[i].distilled);
    }
  }

  [[nodiscard]] const std::string& labels_of(std::size_t i) const { return labels_[i]; }

 private:
  exposition& out_;
  const measured& all_;
  std::vector<std::string> labels_;
};

/// A count of link_report.
auto count(std::uint64_t link_report::*member) {
  return [member](const measured_link& l) { return l.peer->link.*member; };
}

/// An information that does not change has the value 1, so that it can be joined.
constexpr std::uint64_t yes = 1;

void add_site(exposition& out, const measured& m) {
  const auto& t = m.site.totals;
  out.family("qkd004_build_info", type::gauge, "The version of this program.");
  out.sample(labels({{"version", QKD004_VERSION_STRING}}), yes);
  out.family("qkd004_site_info", type::gauge, "The node id of this site.");
  out.sample(labels({{"node", m.site.node}}), yes);
  out.family("qkd004_start_time_seconds", type::gauge, "When this site was started, as seconds since 1970.");
  out.sample({}, std::chrono::duration<double>(m.started.time_since_epoch()).count());
  out.family("qkd004_ready", type::gauge, "Whether /readyz says so.");
  out.sample({}, m.readiness.ready ? yes : 0);
  out.family("qkd004_key_simulated", type::gauge,
             "1 if key of some link was not made by quantum hardware and must not protect anything.");
  out.sample({}, m.is_simulated() ? yes : 0);
  out.family("qkd004_streams", type::gauge, "Key streams that are registered.");
  out.sample({}, t.streams);
  out.family("qkd004_application_connections", type::gauge, "Connections of applications, in any protocol.");
  out.sample({}, std::uint64_t{m.site.applications});
  out.family("qkd004_waiting_calls", type::gauge, "Calls that wait for key or for a peer application.");
  out.sample({}, t.waiting);
  out.family("qkd004_keys_burned_total", type::counter,
             "Keys of strict-once streams that were asked for again after they had been handed out.");
  out.sample({}, t.burned_chunks);
  out.family("qkd004_burned_bytes_total", type::counter,
             "Key destroyed because its stream was gone when it was bound.");
  out.sample({}, t.burned_octets);
  out.family("qkd004_keys_lost_total", type::counter,
             "Keys that streams held when the peer came back as a new instance.");
  out.sample({}, t.lost_chunks);
  out.family("qkd004_lost_bytes_total", type::counter, "Key that no stream had when that happened.");
  out.sample({}, t.lost_octets);
  out.family("qkd004_link_sessions_total", type::counter, "Sessions of links with pairs of instances.");
  out.sample({}, t.sessions);
}

void add_links(exposition& out, const measured& m) {
  link_families links{out, m};
  links.add("qkd004_peer_up", type::gauge, "Whether the peer is connected and key goes to streams.",
            [](const measured_link& l) { return l.peer->link.at == link_report::stage::ready ? yes : 0; });
  out.family("qkd004_link_info", type::gauge,
             "The key source of the link, and how far its key may be trusted.");
  for (const auto& l : m.links) {
    const link_report& r = l.peer->link;
    out.sample(labels({{"link", r.name},
                       {"peer", r.peer},
                       {"key_source", r.key_source},
                       {"security_class", to_string(r.security)}}),
               yes);
  }
  links.add(
      "qkd004_link_key_simulated", type::gauge, "1 if the key of the link was not made by quantum hardware.",
      [](const measured_link& l) { return l.peer->link.security == security_class::hardware ? 0 : yes; });
  links.add("qkd004_link_secret_key_rate_bytes_per_second", type::gauge,
            "Secret key that came from the key source, in the last 10 seconds.",
            [](const measured_link& l) { return l.trace->received_rate(); });
  links.add("qkd004_link_capacity_bytes_per_second", type::gauge,
            "Secret key that the link can give, as measured or stated; +Inf if nothing is known of a bound.",
            [](const measured_link& l) {
              const auto bps = static_cast<double>(l.peer->link.bps);
              return bps == 0 ? std::numeric_limits<double>::infinity() : bps / 8;
            });
  links.add("qkd004_link_promised_bytes_per_second", type::gauge,
            "Sum of the Min_bps of streams that were opened at this site first.",
            [](const measured_link& l) { return static_cast<double>(l.peer->link.promised_bps) / 8; });
  links.add("qkd004_link_received_bytes_total", type::counter, "Secret key that came from the key source.",
            count(&link_report::received));
  out.family("qkd004_link_buffer_bytes", type::gauge,
             "Key that is there: in the pool of the link, or in streams and not read.");
  for (const auto& l : m.links) {
    const link_report& r = l.peer->link;
    out.sample(labels({{"link", r.name}, {"peer", r.peer}, {"place", "pool"}}), r.pooled);
    out.sample(labels({{"link", r.name}, {"peer", r.peer}, {"place", "streams"}}), r.in_streams);
  }
  links.add(
      "qkd004_link_time_to_empty_seconds", type::gauge,
      "When the buffer will be empty if it goes on as in the last 30 seconds; +Inf if it does not shrink.",
      [](const measured_link& l) { return l.trace->seconds_to_empty(); });
  links.add("qkd004_link_streams", type::gauge, "Key streams of the link.", count(&link_report::streams));
  links.add("qkd004_link_waiting_calls", type::gauge, "Calls that wait, of the streams of the link.",
            count(&link_report::waiting));
  links.add("qkd004_keys_bound_total", type::counter, "Keys that streams were given.",
            count(&link_report::bound));
  links.add("qkd004_keys_delivered_total", type::counter, "Keys in answers to applications.",
            count(&link_report::delivered));
  links.add("qkd004_delivered_bytes_total", type::counter, "Octets of these keys.",
            count(&link_report::delivered_octets));
  links.add("qkd004_keys_expired_total", type::counter,
            "Keys that were destroyed because their TTL was over.", count(&link_report::expired));
  links.add("qkd004_keys_discarded_total", type::counter,
            "Keys that were burned, or there when their stream ended.", count(&link_report::discarded));

  links.add_distilled("qkd004_link_qber_ratio", type::gauge,
                      "Quantum bit error rate of the last block, accepted or not.",
                      [&out](const auto& of, const software_link_report& r) { out.sample(of, r.qber); });
  links.add_distilled("qkd004_link_blocks_accepted_total", type::counter, "Blocks that gave secret key.",
                      [&out](const auto& of, const software_link_report& r) { out.sample(of, r.accepted); });
  links.add_distilled("qkd004_link_blocks_discarded_total", type::counter, "Blocks that came to nothing.",
                      [&out](const auto& of, const software_link_report& r) {
                        const auto one = [&](std::string_view why, std::uint64_t n) {
                          out.sample(of + "," + labels({{"reason", why}}), n);
                        };
                        one("qber_over_limit", r.over_limit);
                        one("no_secret_key", r.no_key);
                        one("unequal", r.unequal);
                        one("cut_off", r.cut_off);
                      });
}

void add_calls(exposition& out, const measured& m) {
  out.family("qkd004_requests_total", type::counter, "Calls of applications, by the status of their answer.");
  for (std::size_t k = 0; k < net::call_counts::kinds; ++k) {
    const auto kind = static_cast<net::call_kind>(k);
    for (std::size_t s = 0; s < net::call_counts::statuses; ++s) {
      // what has never happened is left out, but for success: else 119 samples, most of them 0 for ever
      const std::uint64_t n = m.site.answers.of(kind, s);
      if (n == 0 && s != 0) continue;
      out.sample(labels({{"operation", to_string(kind)}, {"status", name_of_status(s)}}), n);
    }
  }
  out.family("qkd004_get_key_duration_seconds", type::histogram,
             "From when a GET_KEY was read to when its answer was sent, waiting included.");
  out.sample(labels({{"operation", "get_key"}}), m.site.get_key);
  out.sample(labels({{"operation", "get_keys"}}), m.site.get_keys);
  out.family("qkd004_key_age_seconds", type::histogram,
             "How long keys had been in their streams when they were handed out.");
  out.sample({}, m.site.key_age);
}

}  // namespace

bool measured::is_simulated() const {
  return std::any_of(site.peers.begin(), site.peers.end(),
                     [](const auto& p) { return p.link.security != security_class::hardware; });
}

std::string_view name_of_status(std::size_t at) { return status_names.at(at); }

std::string metrics_text(const measured& m) {
  exposition out;
  add_site(out, m);
  add_links(out, m);
  add_calls(out, m);
  return out.text();
}

std::optional<double> quantile(const net::duration_histogram& then, const net::duration_histogram& now,
                               double share) {
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < now.counts().size(); ++i) all += now.counts()[i] - then.counts()[i];
  if (all == 0) return std::nullopt;
  const double wanted = share * static_cast<double>(all);
  double below = 0;
  double from = 0;
  for (std::size_t i = 0; i < now.bounds().size(); ++i) {
    const double to = std::chrono::duration<double>(now.bounds()[i]).count();
    const auto here = static_cast<double>(now.counts()[i] - then.counts()[i]);
    if (here > 0 && below + here >= wanted) return from + (to - from) * (wanted - below) / here;
    below += here;
    from = to;
  }
  return from;  // longer than all bounds: at least that
}

}  // namespace qkd004::operations
