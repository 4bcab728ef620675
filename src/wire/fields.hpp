// fields: what messages of several protocols have in common: the numbers of a QoS, statuses, indices.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "qkd004/qos.hpp"
#include "qkd004/status.hpp"
#include "wire/octets.hpp"

namespace qkd004::wire {

/// The seven numbers, in the standard's order, u32 each.
template <class Output>
void put_qos_numbers(Output& out, const qos& q) noexcept {
  out.u32(q.key_chunk_size);
  out.u32(q.max_bps);
  out.u32(q.min_bps);
  out.u32(q.jitter);
  out.u32(q.priority);
  out.u32(q.timeout_ms);
  out.u32(q.ttl_s);
}

[[nodiscard]] inline qos read_qos_numbers(octet_reader& in) noexcept {
  qos q;
  q.key_chunk_size = in.u32();
  q.max_bps = in.u32();
  q.min_bps = in.u32();
  q.jitter = in.u32();
  q.priority = in.u32();
  q.timeout_ms = in.u32();
  q.ttl_s = in.u32();
  return q;
}

/// Reads a status. Returns whether there is such a status.
[[nodiscard]] inline bool read_status(octet_reader& in, status& s) noexcept {
  s = static_cast<status>(in.u32());
  const auto code = static_cast<std::uint32_t>(s);
  return code <= static_cast<std::uint32_t>(status::metadata_size_insufficient) ||
         (code >= static_cast<std::uint32_t>(status::unknown_key_stream) &&
          code <= static_cast<std::uint32_t>(status::shutting_down));
}

/// An index on the wire: the largest 32 bits stand for all beyond. Clause: D12.
[[nodiscard]] constexpr std::uint32_t saturated(std::uint64_t index) noexcept {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(index, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace qkd004::wire
