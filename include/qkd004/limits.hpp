// limits: every bound of a key manager and of the servers in front of it, with its default.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace qkd004 {

/// Every bound that a site keeps, with its default. What goes beyond is refused, mostly with status resource_limit.
struct limits {
  std::uint32_t max_chunk = 64 * 1024;            ///< octets of the largest Key_chunk_size
  std::uint32_t ring_chunks = 128;                ///< window of a stream, a power of two (D12)
  std::size_t ring_bytes = std::size_t{1} << 20;  ///< octets of one ring: large chunks get a smaller window
  std::size_t max_streams = 10'000;
  std::size_t max_retired = 1'000'000;              ///< closed KSIDs remembered (D8)
  std::size_t max_waiting = 65'536;                 ///< calls that wait, all streams together
  std::size_t pool_bytes = std::size_t{256} << 10;  ///< key held per link before it is bound to a stream
  std::size_t max_uri = 2'000;                      ///< octets of a source or destination (D2)
  std::size_t max_reported = 64;                    ///< streams that one report tells of

  std::size_t max_connections = 4'096;
  std::size_t max_frame = 64 * 1024;  ///< octets of a frame's payload that a peer may send
  std::size_t max_in_flight = 256;    ///< requests of one connection that were read and not answered
  std::size_t max_unsent = std::size_t{1} << 20;  ///< octets of answers a connection may leave unread
  std::size_t max_log_lines = 20;  ///< of one kind in ten seconds; of the rest the log has the number
};

}  // namespace qkd004
