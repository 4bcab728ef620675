// SPDX-License-Identifier: Apache-2.0
#include "wire/forge.hpp"

#include <algorithm>

#include "wire/calls.hpp"
#include "wire/fields.hpp"
#include "wire/octets.hpp"

namespace qkd004::wire::forge {

namespace {

constexpr mimetype_form form = mimetype_form::text0;
constexpr std::uint32_t do_not_wait = 1;
constexpr std::uint32_t strict_once = 2;

std::uint32_t code(status s, operation op, statuses which) noexcept {
  return static_cast<std::uint32_t>(which == statuses::all ? s : to_standard(s, op));
}

}  // namespace

// --- Requests ---

result<void> encode_open_connect_request(out_buffer& out, const open_connect_request& request) {
  if (!sendable(request) || request.no_wait || request.strict_once) return status::invalid_argument;
  return append_frame(out, service::open_connect_request,
                      [&](auto& to) { put_open_connect(to, request, form); });
}

result<void> encode_open_connect2_request(out_buffer& out, const open_connect_request& request) {
  if (!sendable(request)) return status::invalid_argument;
  const std::uint32_t flags = (request.no_wait ? do_not_wait : 0) | (request.strict_once ? strict_once : 0);
  return append_frame(out, service::open_connect2_request, [&](auto& to) {
    put_open_connect(to, request, form);
    to.u32(flags);
  });
}

result<void> encode_get_key_request(out_buffer& out, const get_key_request& request) {
  if (request.no_wait || request.index > last_index) return status::invalid_argument;
  const std::uint32_t metadata_size = std::min(request.metadata_size, max_metadata_asked);
  return append_frame(out, service::get_key_request, [&](auto& to) {
    to.octets(request.stream.octets());
    to.u32(static_cast<std::uint32_t>(request.index));
    to.u32(metadata_size);
    to.zeros(metadata_size);
  });
}

result<void> encode_close_request(out_buffer& out, const close_request& request) {
  return append_frame(out, service::close_request, [&](auto& to) { to.octets(request.stream.octets()); });
}

result<open_connect_request> decode_open_connect_request(std::span<const std::byte> payload,
                                                         const limits& bounds) {
  octet_reader in{payload};
  auto request = read_open_connect(in, bounds, form);
  if (!in.at_end()) return status::protocol_error;
  return request;
}

result<open_connect_request> decode_open_connect2_request(std::span<const std::byte> payload,
                                                          const limits& bounds) {
  octet_reader in{payload};
  auto request = read_open_connect(in, bounds, form);
  const std::uint32_t flags = in.u32();
  if (!in.at_end()) return status::protocol_error;
  if (!request) return request;
  if ((flags & ~(do_not_wait | strict_once)) != 0) return status::invalid_argument;
  request->no_wait = (flags & do_not_wait) != 0;
  request->strict_once = (flags & strict_once) != 0;
  return request;
}

result<get_key_request> decode_get_key_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  get_key_request request;
  request.stream = in.stream();
  request.index = in.u32();
  request.metadata_size = in.u32();
  const auto metadata = in.octets(request.metadata_size);
  if (!in.at_end()) return status::protocol_error;
  // two octets are {key_type, role}, and there is but one type of key
  if (metadata.size() == 2 && metadata[0] != std::byte{0}) return status::invalid_argument;
  return request;
}

result<close_request> decode_close_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  const close_request request{in.stream()};
  if (!in.at_end()) return status::protocol_error;
  return request;
}

// --- Responses ---

result<void> encode_open_connect_response(out_buffer& out, const open_connect_response& response,
                                          statuses which) {
  if (!sendable(response.quality)) return status::invalid_argument;
  const std::uint32_t outcome = code(response.outcome, operation::open_connect, which);
  return append_frame(out, service::open_connect_response, [&](auto& to) {
    to.u32(outcome);
    put_open_connect(to, response, form);
  });
}

result<void> encode_open_connect2_response(out_buffer& out, const open_connect_response& response) {
  if (!sendable(response.quality)) return status::invalid_argument;
  return append_frame(out, service::open_connect2_response, [&](auto& to) {
    to.u32(static_cast<std::uint32_t>(response.outcome));
    put_open_connect(to, response, form);
    to.u64(response.epoch);
    to.u32(saturated(response.lowest_live_index));
  });
}

result<void> encode_get_key_response(out_buffer& out, const get_key_response& response,
                                     std::uint32_t metadata_size, statuses which) {
  if (response.outcome == status::success) return append_key(out, response, metadata_size, forge_version);
  const std::uint32_t outcome = code(response.outcome, operation::get_key, which);
  const bool too_small = response.outcome == status::metadata_size_insufficient;
  const std::uint32_t needed = too_small ? response.metadata_needed : 0;
  return append_frame(out, service::get_key_response, [&](auto& to) {
    to.u32(outcome);
    to.u32(saturated(response.index));
    to.u32(0);
    to.u32(needed);
    to.zeros(needed);
  });
}

result<void> encode_close_response(out_buffer& out, const close_response& response, statuses which) {
  const std::uint32_t outcome = code(response.outcome, operation::close, which);
  return append_frame(out, service::close_response, [&](auto& to) { to.u32(outcome); });
}

result<open_connect_response> decode_open_connect_response(std::span<const std::byte> payload) {
  octet_reader in{payload};
  open_connect_response response;
  if (!read_status(in, response.outcome)) return status::protocol_error;
  read_open_connect(in, response, form);
  if (!in.at_end()) return status::protocol_error;
  return response;
}

result<open_connect_response> decode_open_connect2_response(std::span<const std::byte> payload) {
  octet_reader in{payload};
  open_connect_response response;
  if (!read_status(in, response.outcome)) return status::protocol_error;
  read_open_connect(in, response, form);
  response.epoch = in.u64();
  response.lowest_live_index = in.u32();
  if (!in.at_end()) return status::protocol_error;
  return response;
}

result<get_key_reply> decode_get_key_response(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  get_key_reply reply;
  get_key_response& response = reply.response;
  if (!read_status(in, response.outcome)) return status::protocol_error;
  if (response.outcome == status::success) {
    if (!read_key(in, reply)) return status::protocol_error;
    return reply;
  }

  response.index = in.u32();
  const std::uint32_t key_size = in.u32();
  const auto room = in.octets(in.u32());
  if (!in.at_end() || key_size != 0) return status::protocol_error;
  if (response.outcome == status::metadata_size_insufficient) {
    response.metadata_needed = static_cast<std::uint32_t>(room.size());
  } else if (!room.empty()) {
    return status::protocol_error;
  }
  return reply;
}

result<close_response> decode_close_response(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  close_response response;
  if (!read_status(in, response.outcome) || !in.at_end()) return status::protocol_error;
  return response;
}

// --- Error frame ---

result<void> encode_error(out_buffer& out, const error_message& error, frame_version version) {
  if (error.code == status::success) return status::invalid_argument;
  const auto put = [&](auto& to) {
    to.u32(static_cast<std::uint32_t>(error.code));
    to.string(error.text.substr(0, max_error_text));
  };
  return append_frame(out, service::error, put, version);
}

result<error_message> decode_error(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  error_message error;
  if (!read_status(in, error.code) || error.code == status::success) return status::protocol_error;
  error.text = in.string();
  if (!in.at_end()) return status::protocol_error;
  return error;
}

// --- HELLO ---

namespace {

result<void> encode_hello(out_buffer& out, service s, const hello& h) {
  if (h.name.size() > max_hello_name) return status::invalid_argument;
  return append_frame(out, s, [&](auto& to) {
    to.u16(h.minor);
    to.u32(h.features);
    to.u64(h.instance);
    to.string(h.name);
  });
}

}  // namespace

result<void> encode_hello_request(out_buffer& out, const hello& h) {
  return encode_hello(out, service::hello_request, h);
}

result<void> encode_hello_response(out_buffer& out, const hello& h) {
  return encode_hello(out, service::hello_response, h);
}

result<hello> decode_hello(std::span<const std::byte> payload) {
  octet_reader in{payload};
  hello h;
  h.minor = in.u16();
  h.features = in.u32();
  h.instance = in.u64();
  const std::string_view name = in.string();
  // a newer minor may have added fields at the end
  const bool whole = h.minor > protocol_minor ? in.ok() : in.at_end();
  if (!whole) return status::protocol_error;
  if (name.size() > max_hello_name) return status::invalid_argument;
  h.name = name;
  return h;
}

}  // namespace qkd004::wire::forge
