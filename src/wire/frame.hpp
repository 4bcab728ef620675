// frame: what stands around every message on a byte stream: version, service, length; knows no payload.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "qkd004/limits.hpp"
#include "qkd004/result.hpp"
#include "wire/octets.hpp"
#include "wire/out_buffer.hpp"

namespace qkd004::wire {

/// The three version octets. A reply carries those of its request.
using frame_version = std::array<std::uint8_t, 3>;
inline constexpr frame_version forge_version{2, 1, 1};
inline constexpr frame_version qubip_version{1, 0, 1};

/// The services that are spoken: in frames of qubip_version only those of the three calls, and error. Others may
/// be in a frame_header, within the range of peers.
enum class service : std::uint8_t {
  error = 0x00,
  open_connect_request = 0x02,
  open_connect_response = 0x03,
  get_key_request = 0x04,
  get_key_response = 0x05,
  close_request = 0x08,
  close_response = 0x09,
  hello_request = 0x40,
  hello_response = 0x41,
  open_connect2_request = 0x42,
  open_connect2_response = 0x43,
  wait_peer_request = 0x44,
  wait_peer_response = 0x45,
  get_keys_request = 0x46,
  get_keys_response = 0x47,
  acknowledge_request = 0x48,
  acknowledge_response = 0x49,
  subscribe_request = 0x4a,
  delivery = 0x4b,
  report_request = 0x4c,
  report_response = 0x4d,
  peer_hello = 0x80,
  peer_start = 0x81,
  peer_announce = 0x82,
  peer_accept = 0x83,
  peer_refuse = 0x84,
  peer_bind = 0x85,
  peer_confirm = 0x86,
  peer_mark = 0x87,
  peer_close = 0x88,
  peer_closed = 0x89,
  peer_fault = 0x8a,
  peer_borrow = 0x8b,
  peer_lend = 0x8c,
  peer_classical = 0x8d,
  stop_server = 0xff,  ///< never obeyed
};

/// Whether `s` is between key managers, known or not.
[[nodiscard]] constexpr bool is_peer_service(service s) noexcept {
  return static_cast<std::uint8_t>(s) >= 0x80 && static_cast<std::uint8_t>(s) <= 0x9f;
}

/// Octets that the payload of a frame with keys may have beside limits::max_chunk.
inline constexpr std::size_t beside_key = 4096;

struct frame_header {
  static constexpr std::size_t size = 8;

  frame_version version{};
  wire::service service = service::error;
  std::uint32_t length = 0;  ///< octets of payload
};

/// What the front of the input is. From unknown_version on: the connection is to be closed, after one error
/// frame with to_status() and to_string().
enum class frame_state : std::uint8_t {
  incomplete,
  complete,
  unknown_version,
  unknown_service,
  too_long,
  stop_server
};

[[nodiscard]] std::string_view to_string(frame_state s) noexcept;

/// The code of the error frame: not_authorized for stop_server, else protocol_error.
[[nodiscard]] status to_status(frame_state s) noexcept;

struct header_reading {
  frame_state state = frame_state::incomplete;
  frame_header header;  ///< read unless `state` is incomplete
};

/// Reads a header from the front of `input`, which may hold less or more than that. The length is checked
/// against `bounds` before a single octet of payload is there.
[[nodiscard]] header_reading parse_header(std::span<const std::byte> input,
                                          const limits& bounds = {}) noexcept;

struct frame_reading {
  frame_state state = frame_state::incomplete;
  frame_header header;
  std::span<const std::byte> payload;  ///< if complete
  std::size_t size = 0;  ///< octets of the frame; if incomplete, how many `input` must have to get further
};

/// Reads a frame from the front of `input`: complete once its whole payload is there; an error as soon as its
/// header is.
/// Lifetime: `payload` lies in `input`.
[[nodiscard]] frame_reading read_frame(std::span<const std::byte> input, const limits& bounds = {}) noexcept;

/// Appends one frame; for encoders. `put` writes the payload to whatever it is given: it is called twice,
/// with an octet_counter and with an octet_writer.
/// Returns resource_limit when `out` has reached its bound; then nothing was appended.
template <class Put>
result<void> append_frame(out_buffer& out, service s, const Put& put, frame_version version = forge_version) {
  octet_counter counter;
  put(counter);
  if (counter.size() > std::numeric_limits<std::uint32_t>::max()) return status::resource_limit;
  auto room = out.grow(frame_header::size + counter.size());
  if (!room) return room.error();
  octet_writer writer{*room};
  for (const std::uint8_t octet : version) writer.u8(octet);
  writer.u8(static_cast<std::uint8_t>(s));
  writer.u32(static_cast<std::uint32_t>(counter.size()));
  put(writer);
  assert(writer.left() == 0);
  return {};
}

}  // namespace qkd004::wire
