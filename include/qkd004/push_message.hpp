// push_message: the four bodies of push mode as plain structs, the HTTP codes of their statuses, and the index that wraps.
// No JSON and no HTTP.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"
#include "qkd004/status.hpp"

namespace qkd004 {

// OPEN_CONNECT is open_connect_request and open_connect_response, CLOSE close_request and close_response.

/// GET_KEY of push mode arms the stream: keys come by themselves from then on.
struct push_get_key {
  key_stream_id stream;
  std::optional<std::uint32_t> index;  ///< the first that is wanted; none: the next one
  std::string metadata;
};

/// One key on its way to a key manager, or what a device has to say in place of one.
struct push_key_material {
  status outcome = status::success;  ///< any other: there is no key
  std::uint32_t index = 0;
  std::span<const std::byte> key;  ///< whoever hands the struct out says how long it stays
  bool has_metadata = false;       ///< `stream` says whose it is
  key_stream_id stream;
};

/// The code of an answer with this status. Clause: push mode 1.0.1, status codes.
[[nodiscard]] constexpr unsigned push_http_status(status s) noexcept {
  switch (s) {
    case status::success:
    case status::peer_not_connected: return 200;
    case status::get_key_peer_not_connected:
    case status::ksid_in_use:
    case status::metadata_size_insufficient: return 400;
    default: return 500;
  }
}

/// An index as it travels: indices go on behind 2^32 - 1 with 0. Inside they have 64 bits and do not wrap.
[[nodiscard]] constexpr std::uint32_t push_wire_index(std::uint64_t index) noexcept {
  return static_cast<std::uint32_t>(index & 0xffff'ffffU);
}

/// The index nearest to `near` that travels as `wire`; of two as near the higher.
[[nodiscard]] constexpr std::uint64_t push_unwrap(std::uint32_t wire, std::uint64_t near) noexcept {
  const std::uint32_t ahead = wire - push_wire_index(near);  // modulo 2^32
  const std::uint64_t behind = (std::uint64_t{1} << 32) - ahead;
  return ahead <= behind || near < behind ? near + ahead : near - behind;
}

}  // namespace qkd004
