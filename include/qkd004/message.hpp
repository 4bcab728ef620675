// message: requests and responses of OPEN_CONNECT, GET_KEY and CLOSE, and of the calls we add to them, as plain
// structs, on no wire in particular.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "qkd004/key_stream_id.hpp"
#include "qkd004/metadata.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/status.hpp"

namespace qkd004 {

/// The last index of a stream; indices are 64 bits inside and 32 outside. Clause: D12.
inline constexpr std::uint64_t last_index = 0xffff'fffe;

/// Clause: GS QKD 004 V2.1.1, 6.1 (OPEN_CONNECT).
struct open_connect_request {
  open_connect_request() = default;
  open_connect_request(std::string from, std::string to, qos wanted = {}, key_stream_id id = {})
      : source{std::move(from)}, destination{std::move(to)}, quality{std::move(wanted)}, stream{id} {}

  std::string source;        ///< URI, at most limits::max_uri octets (D2)
  std::string destination;   ///< URI
  qos quality;               ///< 0 and empty: the key manager chooses (D3)
  key_stream_id stream;      ///< NULL: the key manager makes one
  bool no_wait = false;      ///< a first opener of a predefined KSID gets status 1 at once (D8)
  bool strict_once = false;  ///< a key is erased when it is handed out (R8)
};

/// Clause: GS QKD 004 V2.1.1, 6.1 (OPEN_CONNECT).
struct open_connect_response {
  status outcome = status::success;
  qos quality;  ///< what the system will do; for qos_not_met the counter-proposal
  key_stream_id stream;
  std::uint64_t epoch = 0;              ///< counts the OPEN_CONNECTs of this side (R3)
  std::uint64_t lowest_live_index = 0;  ///< the lowest index this side was not served yet
};

/// Clause: GS QKD 004 V2.1.1, 6.1 (GET_KEY).
struct get_key_request {
  key_stream_id stream;
  std::uint64_t index = 0;
  std::uint32_t metadata_size = 0;  ///< octets the caller has for metadata; 0: none wanted
  bool no_wait = false;             ///< not there yet: status 2 at once (D11)
};

/// Clause: GS QKD 004 V2.1.1, 6.1 (GET_KEY).
struct get_key_response {
  status outcome = status::success;
  std::uint64_t index = 0;  ///< of the key; on failure the lowest live index (D11)
  std::span<const std::byte>
      key;  ///< empty on failure; whoever hands out the response says how long it stays
  bool has_metadata =
      false;  ///< the caller gets `metadata`: it had room, and the stream's mimetype is not empty
  key_metadata metadata;
  std::uint32_t metadata_needed = 0;  ///< octets, with metadata_size_insufficient
};

/// Clause: GS QKD 004 V2.1.1, 6.1 (CLOSE).
struct close_request {
  key_stream_id stream;
};

/// Clause: GS QKD 004 V2.1.1, 6.1 (CLOSE).
struct close_response {
  status outcome = status::success;
};

// --- What the standard has no call for: wire-independent, spoken by servers that announce it ---

/// Waits until the peer application has opened the stream. Answered by wait_peer_response: success, or timeout.
struct wait_peer_request {
  key_stream_id stream;
  std::uint32_t timeout_ms = 0;  ///< 0: QoS Timeout
};

/// Answers wait_peer_request.
struct wait_peer_response {
  status outcome = status::success;
};

/// Several keys in one call: the first contiguous run from `first` on. Waits for the first key only.
struct get_keys_request {
  key_stream_id stream;
  std::uint64_t epoch = 0;  ///< of the OPEN_CONNECT it relies on: an older one gets not_authorized (R3)
  std::uint64_t first = 0;
  std::uint16_t count = 1;              ///< at most; 0 is invalid_argument
  std::uint64_t acknowledge_below = 0;  ///< served keys below this index are with the application (R5)
  bool no_wait = false;                 ///< not there yet: status 2 at once (D11)
  bool vendor_metadata = false;         ///< the members `x_*` of the run are wanted as well (D14)
};

/// One key of get_keys_response.
struct served_key {
  std::span<const std::byte> key;  ///< Key_chunk_size octets
  key_metadata metadata;
};

/// Answers get_keys_request, and each delivery of a subscription.
struct get_keys_response {
  status outcome = status::success;
  std::uint64_t first = 0;  ///< index of keys[0]; on failure the lowest live index (D11)
  std::uint32_t chunk_size = 0;
  std::span<const served_key> keys;  ///< with indices from `first` on without a gap; empty on failure
  std::string_view vendor_metadata;  ///< a JSON object of the run, if it was asked for; empty: there is none
};

/// Served keys below an index are with the application: they are destroyed. Clause: R5.
struct acknowledge_request {
  key_stream_id stream;
  std::uint64_t epoch = 0;
  std::uint64_t below = 0;
};

/// Answers acknowledge_request.
struct acknowledge_response {
  status outcome = status::success;
};

/// Keys are to come by themselves, each taking one credit, from `first` on as they are there. A further one adds
/// its credit and leaves the position as it is; one with credit 0 suspends, and the next begins at its own `first`.
/// Is answered by deliveries only: get_keys_response as often as there is something. One that is not a success is
/// the last: of a suspension it has insufficient_key, so that it is known where the old ones end.
struct subscribe_request {
  key_stream_id stream;
  std::uint64_t epoch = 0;
  std::uint64_t first = 0;
  std::uint32_t credit = 0;  ///< keys
};

/// How streams and the site stand. Answered by report_response.
struct report_request {
  key_stream_id stream;  ///< NULL: all that are the caller's
};

/// Answers report_request.
struct report_response {
  status outcome = status::success;
  std::string json;  ///< an object
};

}  // namespace qkd004
