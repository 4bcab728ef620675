// SPDX-License-Identifier: Apache-2.0
#include "wire/qubip.hpp"

#include "wire/calls.hpp"
#include "wire/fields.hpp"
#include "wire/frame.hpp"
#include "wire/octets.hpp"

namespace qkd004::wire::qubip {

namespace {

constexpr mimetype_form form = mimetype_form::padded;

/// "The peer is not connected" as the answer to CLOSE, which has no such code in table 2.
constexpr std::uint32_t close_without_peer = 9;

template <class Put>
result<void> append(out_buffer& out, service s, const Put& put) {
  return append_frame(out, s, put, qubip_version);
}

std::uint32_t code(status s, operation op) noexcept { return static_cast<std::uint32_t>(to_standard(s, op)); }

/// A status that this dialect can say. Returns whether it is one.
bool read_standard_status(octet_reader& in, status& s) noexcept {
  return read_status(in, s) && s <= status::metadata_size_insufficient;
}

}  // namespace

// --- Requests ---

result<void> encode_open_connect_request(out_buffer& out, const open_connect_request& request) {
  if (!sendable(request) || request.no_wait || request.strict_once) return status::invalid_argument;
  return append(out, service::open_connect_request, [&](auto& to) { put_open_connect(to, request, form); });
}

result<void> encode_get_key_request(out_buffer& out, const get_key_request& request) {
  if (request.no_wait || request.index > last_index) return status::invalid_argument;
  return append(out, service::get_key_request, [&](auto& to) {
    to.octets(request.stream.octets());
    to.u32(static_cast<std::uint32_t>(request.index));
    to.u32(request.metadata_size);
  });
}

result<void> encode_close_request(out_buffer& out, const close_request& request) {
  return append(out, service::close_request, [&](auto& to) { to.octets(request.stream.octets()); });
}

result<open_connect_request> decode_open_connect_request(std::span<const std::byte> payload,
                                                         const limits& bounds) {
  octet_reader in{payload};
  auto request = read_open_connect(in, bounds, form);
  if (!in.at_end()) return status::protocol_error;
  return request;
}

result<get_key_request> decode_get_key_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  get_key_request request;
  request.stream = in.stream();
  request.index = in.u32();
  request.metadata_size = in.u32();
  if (!in.at_end()) return status::protocol_error;
  return request;
}

// --- Responses ---

result<void> encode_open_connect_response(out_buffer& out, const open_connect_response& response) {
  if (!sendable(response.quality)) return status::invalid_argument;
  const status outcome = response.outcome == status::peer_not_connected ? status::success : response.outcome;
  return append(out, service::open_connect_response, [&](auto& to) {
    to.u32(code(outcome, operation::open_connect));
    if (is_answer(outcome, operation::open_connect)) put_open_connect(to, response, form);
  });
}

result<void> encode_get_key_response(out_buffer& out, const get_key_response& response,
                                     std::uint32_t metadata_size) {
  if (response.outcome == status::success) return append_key(out, response, metadata_size, qubip_version);
  return append(out, service::get_key_response, [&](auto& to) {
    to.u32(code(response.outcome, operation::get_key));
    if (response.outcome == status::metadata_size_insufficient) to.u32(response.metadata_needed);
  });
}

result<void> encode_close_response(out_buffer& out, const close_response& response) {
  return append(out, service::close_response,
                [&](auto& to) { to.u32(code(response.outcome, operation::close)); });
}

result<open_connect_response> decode_open_connect_response(std::span<const std::byte> payload) {
  octet_reader in{payload};
  open_connect_response response;
  if (!read_standard_status(in, response.outcome)) return status::protocol_error;
  if (response.outcome == status::peer_not_connected) return status::protocol_error;  // is sent as success
  if (is_answer(response.outcome, operation::open_connect)) read_open_connect(in, response, form);
  if (!in.at_end()) return status::protocol_error;
  return response;
}

result<get_key_reply> decode_get_key_response(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  get_key_reply reply;
  get_key_response& response = reply.response;
  if (!read_standard_status(in, response.outcome)) return status::protocol_error;
  if (response.outcome == status::success) {
    if (!read_key(in, reply)) return status::protocol_error;
    return reply;
  }
  if (response.outcome == status::metadata_size_insufficient) response.metadata_needed = in.u32();
  if (!in.at_end()) return status::protocol_error;
  return reply;
}

result<close_response> decode_close_response(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  const std::uint32_t outcome = in.u32();
  if (!in.at_end()) return status::protocol_error;
  if (outcome == close_without_peer) return close_response{status::get_key_peer_not_connected};
  if (outcome > static_cast<std::uint32_t>(status::metadata_size_insufficient)) return status::protocol_error;
  return close_response{static_cast<status>(outcome)};
}

}  // namespace qkd004::wire::qubip
