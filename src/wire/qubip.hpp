// qubip: encoders and decoders of what applications and key managers say to each other in frames of version
// {1,0,1}: the three calls, with other bodies than forge's; encoders append whole frames, decoders take a frame's
// payload.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "qkd004/limits.hpp"
#include "qkd004/message.hpp"
#include "qkd004/result.hpp"
#include "wire/forge.hpp"
#include "wire/out_buffer.hpp"

/// The functions have the names, the errors and the threads of forge's. There are no statuses but 0 to 8 here:
/// encoders narrow the others, and decoders take them for no message. Clause: D7.
/// An error frame is forge::encode_error() with qubip_version.
namespace qkd004::wire::qubip {

// --- Requests ---

/// Returns also invalid_argument for a request with a flag.
result<void> encode_open_connect_request(out_buffer& out, const open_connect_request& request);
/// Returns also invalid_argument for no_wait and for an index past last_index.
result<void> encode_get_key_request(out_buffer& out, const get_key_request& request);
result<void> encode_close_request(out_buffer& out, const close_request& request);

[[nodiscard]] result<open_connect_request> decode_open_connect_request(std::span<const std::byte> payload,
                                                                       const limits& bounds = {});
/// Allocates nothing.
[[nodiscard]] result<get_key_request> decode_get_key_request(std::span<const std::byte> payload) noexcept;
using forge::decode_close_request;  // the same octets

// --- Responses ---

/// peer_not_connected is sent as success, because these clients take it for a failure. A failure other than
/// qos_not_met has neither QoS nor KSID.
result<void> encode_open_connect_response(out_buffer& out, const open_connect_response& response);
/// Writes the key straight from `response.key` to `out`. `metadata_size` is the request's. A failure has no index,
/// metadata_size_insufficient the size that is needed.
result<void> encode_get_key_response(out_buffer& out, const get_key_response& response,
                                     std::uint32_t metadata_size);
result<void> encode_close_response(out_buffer& out, const close_response& response);

[[nodiscard]] result<open_connect_response> decode_open_connect_response(std::span<const std::byte> payload);
using forge::get_key_reply;
/// Allocates nothing. Lifetime: the key and the metadata lie in `payload`, whose owner wipes them.
[[nodiscard]] result<get_key_reply> decode_get_key_response(std::span<const std::byte> payload) noexcept;
/// The ninth failure that servers of this dialect have, of CLOSE alone, reads as get_key_peer_not_connected.
[[nodiscard]] result<close_response> decode_close_response(std::span<const std::byte> payload) noexcept;

}  // namespace qkd004::wire::qubip
