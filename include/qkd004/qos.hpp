// qos: what an application asks of a key stream, and negotiate(), which says what it gets.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "qkd004/metadata.hpp"
#include "qkd004/status.hpp"

namespace qkd004 {

/// The QoS of OPEN_CONNECT, fields and units in the standard's order. In a request 0 or empty means "you choose".
/// Clause: GS QKD 004 V2.1.1, table 2 (QoS); D3.
struct qos {
  std::uint32_t key_chunk_size = 0;  ///< octets of every key
  std::uint32_t max_bps = 0;         ///< bit/s, the most the application will take
  std::uint32_t min_bps = 0;         ///< bit/s, the least it needs
  std::uint32_t jitter = 0;          ///< bit/s, the largest deviation of the delivery rate; 0: not asked
  std::uint32_t priority = 0;        ///< larger is more urgent; 0: normal
  std::uint32_t timeout_ms = 0;      ///< ms, any call not done by then returns status 6
  std::uint32_t ttl_s = 0;           ///< s, life of a key from when it became deliverable
  std::string metadata_mimetype;     ///< empty: no metadata; at most 255 octets

  friend bool operator==(const qos&, const qos&) = default;
};

/// What a site can give a stream at this moment.
struct qos_offer {
  std::uint32_t max_chunk = 64 * 1024;  ///< octets of the largest key
  std::uint64_t link_bps = 0;           ///< bit/s the link distils; 0: it does not say
  std::uint64_t promisable_bps =
      std::numeric_limits<std::uint32_t>::max();  ///< bit/s not promised to others yet
  std::uint32_t jitter_floor = 0;                 ///< bit/s, the finest jitter the key source can keep
};

/// The defaults of D3.
struct qos_defaults {
  static constexpr std::uint32_t key_chunk_size = 32;
  static constexpr std::uint32_t timeout_ms = 5'000;
  static constexpr std::uint32_t ttl_s = 3'600;
};

/// What negotiate() came to: `outcome` is success, or qos_not_met with a counter-proposal in `granted`.
struct negotiation {
  status outcome = status::success;
  qos granted;
};

/// Settles one request against one offer. Pure. A counter-proposal sent back unchanged against the same offer
/// succeeds with itself. Clause: D3 to D6.
[[nodiscard]] inline negotiation negotiate(const qos& asked, const qos_offer& offer) {
  constexpr std::uint64_t u32_max = std::numeric_limits<std::uint32_t>::max();
  negotiation n{status::success, asked};
  qos& g = n.granted;
  const auto counter = [&n](auto& field, auto value) {
    field = value;
    n.outcome = status::qos_not_met;
  };

  if (g.key_chunk_size == 0) g.key_chunk_size = std::min(qos_defaults::key_chunk_size, offer.max_chunk);
  if (g.key_chunk_size > offer.max_chunk) counter(g.key_chunk_size, offer.max_chunk);

  if (g.timeout_ms == 0) g.timeout_ms = qos_defaults::timeout_ms;
  if (g.ttl_s == 0) g.ttl_s = qos_defaults::ttl_s;

  if (g.min_bps > offer.promisable_bps) {
    counter(g.min_bps, static_cast<std::uint32_t>(std::min(offer.promisable_bps, u32_max)));
  }
  if (g.max_bps == 0) {
    // the link's share; a link that names no rate has no bound that a u32 can say
    const std::uint64_t share = offer.link_bps == 0 ? u32_max : std::min(offer.link_bps, u32_max);
    g.max_bps = std::max(static_cast<std::uint32_t>(share), g.min_bps);
  }
  if (g.min_bps > g.max_bps) counter(g.min_bps, g.max_bps);
  if (g.jitter != 0 && g.jitter < offer.jitter_floor) counter(g.jitter, offer.jitter_floor);
  if (!g.metadata_mimetype.empty() && g.metadata_mimetype != metadata_json) {
    counter(g.metadata_mimetype, metadata_json);
  }
  return n;
}

}  // namespace qkd004
