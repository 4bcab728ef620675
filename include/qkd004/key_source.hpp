// key_source: the seam to whatever makes synchronized key (a QKD module): numbered blocks, equal at both sites, in
// order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "qkd004/classical_channel.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/key_provenance.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// How far the key of a source may be trusted. Every source says; there is no default.
enum class security_class : std::uint8_t { simulated_insecure, simulated_over_tls, hardware };

[[nodiscard]] constexpr std::string_view to_string(security_class c) noexcept {
  switch (c) {
    case security_class::simulated_insecure: return "simulated-insecure";
    case security_class::simulated_over_tls: return "simulated-over-tls";
    case security_class::hardware: return "hardware";
  }
  return "unknown";
}

/// What a source says of itself before it starts.
struct key_source_capabilities {
  std::string kind;  ///< what it is, e.g. "file"; both sites of a link must have the same
  security_class security;
  std::uint64_t rate_bps = 0;    ///< bit/s it expects to deliver; 0: as fast as asked
  std::uint32_t jitter_bps = 0;  ///< bit/s, deviation of that rate over 1 s
  std::uint32_t hops = 0;        ///< relays between the sites; 0 is a direct link
};

/// A fresh random number of one start of a key manager: a restart is another instance.
using instance_id = std::array<std::byte, 16>;

/// What both sites know once they met: with it both sources deliver the same blocks.
struct key_source_session {
  std::string link;               ///< the link's name, equal at both sites
  instance_id lower{};            ///< instance of the site with the lower node id
  instance_id higher{};           ///< instance of the other
  std::uint64_t first_block = 0;  ///< the larger of both sites' position()
};

/// A value that is equal at both sites if and only if their sources are in step; says nothing about the key.
using key_source_check = std::array<std::byte, 32>;

/// A stretch of key, the same at both sites.
struct key_block {
  std::uint64_t number = 0;  ///< counts from key_source_session::first_block, without a gap
  secret_bytes bytes;        ///< any length above 0, equal at both sites
  std::shared_ptr<const key_provenance> provenance{};  ///< null: nothing to say
};

/// Order of calls: `(start poll*)* stop`. A new session forgets what the old one had not handed out: those octets
/// must never come again.
/// Threads: one at a time (the key manager's strand).
class key_source {
 public:
  virtual ~key_source() = default;

  [[nodiscard]] virtual const key_source_capabilities& capabilities() const noexcept = 0;

  /// Number of the first block this site could still hand out; 0 where sessions start afresh. It never falls.
  [[nodiscard]] virtual std::uint64_t position() const noexcept = 0;

  /// Begins a session. The key manager compares the value with the peer's before it uses a block.
  [[nodiscard]] virtual result<key_source_check> start(const key_source_session& session, time_point now) = 0;

  /// The next block, or none yet; its octets are in `arena`. Never blocks.
  /// Returns protocol_error when the two ends are out of step, or somebody interferes: the key manager gives the
  /// session up and begins another, as after a restart; resource_limit when `arena` has no room for the block, which is
  /// asked for again; any other error when the source is at its end or broken: no
  /// block will come in this session.
  [[nodiscard]] virtual result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) = 0;

  /// When poll() may have more, after it had none.
  [[nodiscard]] virtual time_point ready_at(time_point now) const noexcept = 0;

  virtual void stop() noexcept = 0;

  /// This end of its classical channel, which lives as long as the source; null: it needs none.
  [[nodiscard]] virtual classical_channel* channel() noexcept { return nullptr; }

 protected:
  key_source() = default;
  key_source(const key_source&) = default;
  key_source& operator=(const key_source&) = default;
};

}  // namespace qkd004
