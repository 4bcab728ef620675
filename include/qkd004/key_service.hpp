// key_service: what a server in front of applications needs of a key manager, whatever it is made of.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "qkd004/clock.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/message.hpp"

namespace qkd004 {

using connection_id = std::uint32_t;  ///< of an application's connection; 0 is nobody

/// The principal of a caller without an identity (plain TCP on loopback): everyone who has none is this one.
inline constexpr std::string_view anonymous_principal = "anonymous";

/// Who asks, and the caller's own word for the request, which comes back with the answer.
struct caller {
  connection_id connection = 0;
  std::uint64_t ticket = 0;
};

/// Each of the three calls is answered exactly once, at once or later; those of a connection that is gone never.
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

  /// Does all that is due.
  virtual void advance(time_point now) = 0;
  /// When advance() is due again, if nothing else happens before.
  [[nodiscard]] virtual time_point next_deadline(time_point now) const = 0;
  /// Answers whatever waits with shutting_down and destroys every key.
  virtual void shutdown(time_point now) = 0;

  struct counters {
    std::uint64_t streams = 0;    ///< registered now
    std::uint64_t waiting = 0;    ///< calls that wait now
    std::uint64_t delivered = 0;  ///< GET_KEY answers that carried a key (rings' takers are not seen here)
    std::uint64_t burned_chunks = 0;  ///< strict once: asked for again after they were handed out (R8)
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
