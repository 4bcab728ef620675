// peer: encoder and decoder of what key managers say to each other: peer::message to a frame and back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "qkd004/peer_message.hpp"
#include "qkd004/result.hpp"
#include "wire/frame.hpp"
#include "wire/out_buffer.hpp"

namespace qkd004::wire {

/// Bounds of the protocol: both ends have the same, whatever their settings are.
struct peer_bounds {
  static constexpr std::size_t uri = 2'000;  ///< octets (D2)
  static constexpr std::size_t name = 255;   ///< octets of a node, link, source_kind or mimetype
  static constexpr std::uint32_t window = std::uint32_t{1} << 24;  ///< chunks of a window or of one bind
  static constexpr std::size_t fault_text = 512;  ///< octets that are sent, the rest is cut off
};

/// Appends `message` as one frame.
/// Returns resource_limit when `out` has reached its bound, invalid_argument for a message that the other end
/// would refuse; then nothing was appended.
result<void> encode_peer(out_buffer& out, const peer::message& message);

/// Reads the payload of a frame whose service is_peer_service(). None: the service is not known here; the
/// answer is an error frame (protocol_error), and the connection goes on.
/// Returns protocol_error for octets that are no such message, invalid_argument for content that is refused;
/// after either the connection cannot go on.
[[nodiscard]] result<std::optional<peer::message>> decode_peer(service s, std::span<const std::byte> payload);

}  // namespace qkd004::wire
