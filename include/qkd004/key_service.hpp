// key_service: what a server in front of applications needs of a key manager, whatever it is made of.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"
#include "qkd004/qos.hpp"

namespace qkd004 {

using connection_id = std::uint32_t;  ///< of an application's connection; 0 is nobody

/// The principal of a caller without an identity (plain TCP on loopback): everyone who has none is this one.
inline constexpr std::string_view anonymous_principal = "anonymous";

/// Who asks, and the caller's own word for the request, which comes back with the answer.
struct caller {
  connection_id connection = 0;
  std::uint64_t ticket = 0;
};

/// How a stream stands at one side.
struct stream_report {
  key_stream_id stream;
  std::string source;
  std::string destination;
  qos quality;
  bool strict_once = false;
  bool peer_open = false;
  std::uint64_t epoch = 0;
  std::uint32_t window = 0;      ///< chunks
  std::uint64_t next_index = 0;  ///< lowest that was not served
  std::uint64_t bound = 0;       ///< chunks; = acknowledged + expired + discarded + live (R7)
  std::uint64_t acknowledged = 0;
  std::uint64_t expired = 0;
  std::uint64_t discarded = 0;
  std::uint64_t live = 0;
  std::uint64_t rate_bps = 0;       ///< what came into the stream in the last full second
  std::uint64_t deviation_bps = 0;  ///< largest difference between two seconds that follow one another
  std::uint64_t link_bps = 0;       ///< of the link underneath, measured or stated; 0: as fast as asked
  std::uint64_t oldest_ms = 0;      ///< age of the oldest key that was not served; 0: there is none
  std::string owner;  ///< principal of this side, from report_all(); empty: nobody has opened it here
};

/// How a link to a peer stands at this side. Of counts, streams that have ended are a part.
struct link_report {
  /// How far it got with its present connection.
  enum class stage : std::uint8_t {
    down,      ///< there is no connection
    greeting,  ///< the key managers have not heard of each other yet
    starting,  ///< the key sources have not agreed yet
    ready,     ///< key goes to streams
  };

  std::string name;
  std::string peer;  ///< node id
  stage at = stage::down;
  std::string key_source;  ///< what kind it is
  security_class security = security_class::simulated_insecure;
  bool source_ended = false;     ///< it gives no more
  std::uint64_t streams = 0;     ///< registered now
  std::uint64_t waiting = 0;     ///< calls that wait now
  std::uint64_t received = 0;    ///< octets of key that came from the source
  std::uint64_t pooled = 0;      ///< octets that no stream has yet
  std::uint64_t in_streams = 0;  ///< octets in streams, from the lowest key that was not served on
  std::uint64_t room = 0;        ///< octets that both have when there is plenty
  std::uint64_t bound = 0;       ///< chunks that streams were given
  std::uint64_t delivered = 0;   ///< keys in answers (rings' takers are not seen here)
  std::uint64_t delivered_octets = 0;
  std::uint64_t expired = 0;       ///< chunks whose TTL was over
  std::uint64_t discarded = 0;     ///< chunks that were burned, or there when their stream ended
  std::uint64_t promised_bps = 0;  ///< sum of the Min_bps of its streams that were opened at this side first
  std::uint64_t bps = 0;           ///< measured or stated; 0: as fast as asked
};

/// How a caller's streams stand, or the one that was named.
struct stream_reports {
  std::size_t open = 0;                ///< how many there are
  std::vector<stream_report> streams;  ///< the first of them to be registered, `limits::max_reported` at most
};

/// Each call but subscribe() is answered exactly once, at once or later; those of a connection that is gone never.
/// Threads: one at a time.
class key_service {
 public:
  virtual ~key_service() = default;

  [[nodiscard]] virtual connection_id connect(std::string principal) = 0;
  virtual void disconnect(connection_id id, time_point now) = 0;

  /// Clause: GS QKD 004 V2.1.1, 6.1; D2, D3, D5, D8, D9.
  virtual void open_connect(caller who, const open_connect_request& request, time_point now) = 0;
  /// Clause: GS QKD 004 V2.1.1, 6.1; D10 to D14, R4, R5, R8.
  virtual void get_key(caller who, const get_key_request& request, time_point now) = 0;
  /// Clause: GS QKD 004 V2.1.1, 6.1; D16.
  virtual void close(caller who, const close_request& request, time_point now) = 0;

  /// \name Beyond the standard: see message.hpp
  ///@{
  /// Clause: R3, R4, R5, D11.
  virtual void get_keys(caller who, const get_keys_request& request, time_point now) = 0;
  virtual void wait_peer(caller who, const wait_peer_request& request, time_point now) = 0;
  /// Clause: R5.
  virtual void acknowledge(caller who, const acknowledge_request& request, time_point now) = 0;
  /// A stream has one subscription a side: that of another connection ends, with not_authorized.
  virtual void subscribe(caller who, const subscribe_request& request, time_point now) = 0;
  /// The caller's streams, or the one that is named; none if that is unknown or not the caller's.
  [[nodiscard]] virtual stream_reports report(connection_id who, const key_stream_id& stream,
                                              time_point now) = 0;
  ///@}

  /// \name For whoever runs the site: costs some memory accesses for each stream, so not for each request
  ///@{
  /// In the order in which they were added.
  [[nodiscard]] virtual std::vector<link_report> links(time_point now) = 0;
  /// The streams of all principals, and those that only the peer's application has opened.
  [[nodiscard]] virtual stream_reports report_all(time_point now) = 0;
  ///@}

  /// Does all that is due.
  virtual void advance(time_point now) = 0;
  /// When advance() is due again, if nothing else happens before.
  [[nodiscard]] virtual time_point next_deadline(time_point now) const = 0;
  /// Answers whatever waits with shutting_down and destroys every key.
  virtual void shutdown(time_point now) = 0;

  /// What happened at a site since it started, but for what is said to be now.
  struct counters {
    std::uint64_t streams = 0;        ///< registered now
    std::uint64_t waiting = 0;        ///< calls that wait now
    std::uint64_t delivered = 0;      ///< keys in answers (rings' takers are not seen here)
    std::uint64_t burned_chunks = 0;  ///< strict once: asked for again after they were handed out (R8)
    std::uint64_t bound_chunks = 0;   ///< of streams that ended; = acknowledged + expired + discarded (R7)
    std::uint64_t acknowledged_chunks = 0;
    std::uint64_t expired_chunks = 0;
    std::uint64_t discarded_chunks = 0;
    std::uint64_t burned_octets = 0;  ///< key destroyed because its stream was gone when it was bound
    std::uint64_t lost_chunks = 0;    ///< held for streams that ended because the peer is a new instance
    std::uint64_t lost_octets = 0;    ///< not bound to a stream when that happened
    std::uint64_t sessions = 0;       ///< of links with pairs of instances
  };
  [[nodiscard]] virtual counters totals() const = 0;

  [[nodiscard]] virtual const std::string& node() const noexcept = 0;
  [[nodiscard]] virtual const instance_id& instance() const noexcept = 0;

 protected:
  key_service() = default;
  key_service(const key_service&) = default;
  key_service& operator=(const key_service&) = default;
};

}  // namespace qkd004
