// SPDX-License-Identifier: Apache-2.0
#include "wire/frame.hpp"

#include <algorithm>

#include "qkd004/classical_channel.hpp"

namespace qkd004::wire {

namespace {

/// Octets of the payload of peer::classical, at most.
constexpr std::size_t largest_classical = 4 + classical_channel::largest_message;

/// Error and the three calls, which every version has.
bool is_plain(service s) noexcept {
  switch (s) {
    case service::error:
    case service::open_connect_request:
    case service::open_connect_response:
    case service::get_key_request:
    case service::get_key_response:
    case service::close_request:
    case service::close_response: return true;
    default: return false;
  }
}

bool is_known(service s) noexcept {
  return is_plain(s) || (s >= service::hello_request && s <= service::report_response) || is_peer_service(s);
}

bool may_have_key(service s) noexcept {
  return s == service::get_key_response || s == service::get_keys_response || s == service::delivery;
}

std::size_t max_payload(service s, const limits& bounds) noexcept {
  // what one site may send, every other must be able to take
  if (s == service::peer_classical) return std::max(bounds.max_frame, largest_classical);
  if (!may_have_key(s)) return bounds.max_frame;
  return std::max(bounds.max_frame, bounds.max_chunk + beside_key);
}

frame_state judge(const frame_header& header, const limits& bounds) noexcept {
  const bool forge = header.version == forge_version;
  if (!forge && header.version != qubip_version) return frame_state::unknown_version;
  if (header.service == service::stop_server) return frame_state::stop_server;
  if (!(forge ? is_known(header.service) : is_plain(header.service))) return frame_state::unknown_service;
  if (header.length > max_payload(header.service, bounds)) return frame_state::too_long;
  return frame_state::complete;
}

/// In place: a header that was just written octet by octet is slow to copy as a word.
frame_state read_header(std::span<const std::byte> input, const limits& bounds,
                        frame_header& header) noexcept {
  if (input.size() < frame_header::size) return frame_state::incomplete;
  octet_reader in{input};
  for (std::uint8_t& octet : header.version) octet = in.u8();
  header.service = static_cast<service>(in.u8());
  header.length = in.u32();
  return judge(header, bounds);
}

}  // namespace

std::string_view to_string(frame_state s) noexcept {
  switch (s) {
    case frame_state::incomplete: return "incomplete frame";
    case frame_state::complete: return "complete frame";
    case frame_state::unknown_version: return "unknown version";
    case frame_state::unknown_service: return "unknown service";
    case frame_state::too_long: return "frame too long";
    case frame_state::stop_server: return "this server is not stopped from here";
  }
  return "unknown state";
}

status to_status(frame_state s) noexcept {
  return s == frame_state::stop_server ? status::not_authorized : status::protocol_error;
}

header_reading parse_header(std::span<const std::byte> input, const limits& bounds) noexcept {
  header_reading reading;
  reading.state = read_header(input, bounds, reading.header);
  return reading;
}

frame_reading read_frame(std::span<const std::byte> input, const limits& bounds) noexcept {
  frame_reading reading;
  reading.state = read_header(input, bounds, reading.header);
  reading.size = frame_header::size;
  if (reading.state != frame_state::complete) return reading;
  reading.size += reading.header.length;
  if (input.size() < reading.size) {
    reading.state = frame_state::incomplete;
  } else {
    reading.payload = input.subspan(frame_header::size, reading.header.length);
  }
  return reading;
}

}  // namespace qkd004::wire
