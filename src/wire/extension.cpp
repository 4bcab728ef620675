// SPDX-License-Identifier: Apache-2.0
#include "wire/extension.hpp"

#include <algorithm>
#include <limits>

#include "wire/fields.hpp"
#include "wire/frame.hpp"
#include "wire/octets.hpp"

namespace qkd004::wire::extension {

namespace {

constexpr std::uint32_t do_not_wait = 1;
constexpr std::uint32_t vendor_metadata = 2;

constexpr std::size_t metadata_size = 8;  ///< u32 age, u32 hops

std::string_view text_of(std::span<const std::byte> octets) noexcept {
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

/// A message that is one status.
result<void> append_status(out_buffer& out, service s, status outcome) {
  return append_frame(out, s, [&](auto& to) { to.u32(static_cast<std::uint32_t>(outcome)); });
}

template <class Response>
result<Response> read_only_status(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  Response response;
  if (!read_status(in, response.outcome) || !in.at_end()) return status::protocol_error;
  return response;
}

// --- Runs of keys ---

/// Whether the fields of a GET_KEYS response can say it.
bool sendable(const get_keys_response& response) noexcept {
  if (response.outcome != status::success) return true;
  const auto& keys = response.keys;
  return !keys.empty() && keys.size() <= std::numeric_limits<std::uint16_t>::max() &&
         response.chunk_size != 0 && response.first <= last_index &&
         keys.size() - 1 <= last_index - response.first &&
         response.vendor_metadata.size() <= max_vendor_metadata &&
         std::all_of(keys.begin(), keys.end(),
                     [&](const served_key& k) { return k.key.size() == response.chunk_size; });
}

template <class Output>
void put(Output& out, const get_keys_response& response) {
  const bool success = response.outcome == status::success;
  const auto keys = success ? response.keys : std::span<const served_key>{};
  const auto vendor = success ? response.vendor_metadata : std::string_view{};
  out.u32(static_cast<std::uint32_t>(response.outcome));
  out.u32(saturated(response.first));
  out.u16(static_cast<std::uint16_t>(keys.size()));
  out.u32(success ? response.chunk_size : 0);
  for (const served_key& k : keys) out.octets(k.key);
  for (const served_key& k : keys) {
    out.u32(k.metadata.age_ms);
    out.u32(k.metadata.hops);
  }
  out.u32(static_cast<std::uint32_t>(vendor.size()));
  out.text(vendor);
}

/// Reads up to the end. Returns whether it was all there and made sense.
bool read(octet_reader& in, get_keys_reply& reply) noexcept {
  if (!read_status(in, reply.outcome)) return false;
  reply.first = in.u32();
  reply.count = in.u16();
  reply.chunk_size = in.u32();
  if (const std::uint64_t octets = std::uint64_t{reply.count} * reply.chunk_size; octets <= in.left()) {
    reply.keys = in.octets(static_cast<std::size_t>(octets));
  } else {
    return false;
  }
  reply.metadata_octets = in.octets(reply.count * metadata_size);
  reply.vendor_metadata = text_of(in.octets(in.u32()));
  if (!in.at_end()) return false;
  if (reply.outcome != status::success) {
    return reply.count == 0 && reply.chunk_size == 0 && reply.vendor_metadata.empty();
  }
  return !reply.keys.empty() && reply.first + reply.count - 1 <= last_index;
}

}  // namespace

// --- Requests ---

result<void> encode_wait_peer_request(out_buffer& out, const wait_peer_request& request) {
  return append_frame(out, service::wait_peer_request, [&](auto& to) {
    to.octets(request.stream.octets());
    to.u32(request.timeout_ms);
  });
}

result<void> encode_get_keys_request(out_buffer& out, const get_keys_request& request) {
  if (request.count == 0 || request.first > last_index) return status::invalid_argument;
  const std::uint32_t flags =
      (request.no_wait ? do_not_wait : 0) | (request.vendor_metadata ? vendor_metadata : 0);
  return append_frame(out, service::get_keys_request, [&](auto& to) {
    to.octets(request.stream.octets());
    to.u64(request.epoch);
    to.u32(static_cast<std::uint32_t>(request.first));
    to.u16(request.count);
    to.u32(flags);
    to.u32(saturated(request.acknowledge_below));
  });
}

result<void> encode_acknowledge_request(out_buffer& out, const acknowledge_request& request) {
  return append_frame(out, service::acknowledge_request, [&](auto& to) {
    to.octets(request.stream.octets());
    to.u64(request.epoch);
    to.u32(saturated(request.below));
  });
}

result<void> encode_subscribe_request(out_buffer& out, const subscribe_request& request) {
  if (request.first > last_index) return status::invalid_argument;
  return append_frame(out, service::subscribe_request, [&](auto& to) {
    to.octets(request.stream.octets());
    to.u64(request.epoch);
    to.u32(static_cast<std::uint32_t>(request.first));
    to.u32(request.credit);
  });
}

result<void> encode_report_request(out_buffer& out, const report_request& request) {
  return append_frame(out, service::report_request, [&](auto& to) { to.octets(request.stream.octets()); });
}

result<wait_peer_request> decode_wait_peer_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  wait_peer_request request;
  request.stream = in.stream();
  request.timeout_ms = in.u32();
  if (!in.at_end()) return status::protocol_error;
  return request;
}

result<get_keys_request> decode_get_keys_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  get_keys_request request;
  request.stream = in.stream();
  request.epoch = in.u64();
  request.first = in.u32();
  request.count = in.u16();
  const std::uint32_t flags = in.u32();
  request.acknowledge_below = in.u32();
  if (!in.at_end()) return status::protocol_error;
  if (request.count == 0 || (flags & ~(do_not_wait | vendor_metadata)) != 0) return status::invalid_argument;
  request.no_wait = (flags & do_not_wait) != 0;
  request.vendor_metadata = (flags & vendor_metadata) != 0;
  return request;
}

result<acknowledge_request> decode_acknowledge_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  acknowledge_request request;
  request.stream = in.stream();
  request.epoch = in.u64();
  request.below = in.u32();
  if (!in.at_end()) return status::protocol_error;
  return request;
}

result<subscribe_request> decode_subscribe_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  subscribe_request request;
  request.stream = in.stream();
  request.epoch = in.u64();
  request.first = in.u32();
  request.credit = in.u32();
  if (!in.at_end()) return status::protocol_error;
  return request;
}

result<report_request> decode_report_request(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  const report_request request{in.stream()};
  if (!in.at_end()) return status::protocol_error;
  return request;
}

// --- Runs of keys ---

static_assert(key_stream_id::size + get_keys_response_size(1, 0, max_vendor_metadata) <= beside_key,
              "one key of the largest size fits into a frame");

std::uint16_t most_keys(std::uint32_t chunk_size, const limits& bounds, std::size_t vendor) noexcept {
  const std::size_t rest = key_stream_id::size + get_keys_response_size(0, chunk_size, vendor);
  const std::size_t room = bounds.max_frame - std::min(rest, bounds.max_frame);
  const std::size_t each = chunk_size + metadata_size;
  return static_cast<std::uint16_t>(
      std::clamp<std::size_t>(room / each, 1, std::numeric_limits<std::uint16_t>::max()));
}

result<void> encode_get_keys_response(out_buffer& out, const get_keys_response& response) {
  if (!sendable(response)) return status::invalid_argument;
  return append_frame(out, service::get_keys_response, [&](auto& to) { put(to, response); });
}

result<void> encode_delivery(out_buffer& out, const key_stream_id& stream,
                             const get_keys_response& response) {
  if (!sendable(response)) return status::invalid_argument;
  return append_frame(out, service::delivery, [&](auto& to) {
    to.octets(stream.octets());
    put(to, response);
  });
}

key_metadata get_keys_reply::metadata(std::size_t i) const noexcept {
  octet_reader in{metadata_octets.subspan(i * metadata_size, metadata_size)};
  key_metadata m;
  m.age_ms = in.u32();
  m.hops = in.u32();
  return m;
}

result<get_keys_reply> decode_get_keys_response(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  get_keys_reply reply;
  if (!read(in, reply)) return status::protocol_error;
  return reply;
}

result<delivery> decode_delivery(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  delivery d;
  d.stream = in.stream();
  if (!read(in, d.reply)) return status::protocol_error;
  return d;
}

// --- Other responses ---

result<void> encode_wait_peer_response(out_buffer& out, const wait_peer_response& response) {
  return append_status(out, service::wait_peer_response, response.outcome);
}

result<void> encode_acknowledge_response(out_buffer& out, const acknowledge_response& response) {
  return append_status(out, service::acknowledge_response, response.outcome);
}

result<void> encode_report_response(out_buffer& out, const report_response& response) {
  const std::string_view json =
      response.outcome == status::success ? std::string_view{response.json} : std::string_view{};
  if (json.size() > std::numeric_limits<std::uint32_t>::max()) return status::invalid_argument;
  return append_frame(out, service::report_response, [&](auto& to) {
    to.u32(static_cast<std::uint32_t>(response.outcome));
    to.u32(static_cast<std::uint32_t>(json.size()));
    to.text(json);
  });
}

result<wait_peer_response> decode_wait_peer_response(std::span<const std::byte> payload) noexcept {
  return read_only_status<wait_peer_response>(payload);
}

result<acknowledge_response> decode_acknowledge_response(std::span<const std::byte> payload) noexcept {
  return read_only_status<acknowledge_response>(payload);
}

result<report_response> decode_report_response(std::span<const std::byte> payload) {
  octet_reader in{payload};
  report_response response;
  if (!read_status(in, response.outcome)) return status::protocol_error;
  const std::string_view json = text_of(in.octets(in.u32()));
  if (!in.at_end()) return status::protocol_error;
  if (response.outcome != status::success && !json.empty()) return status::protocol_error;
  response.json = json;
  return response;
}

}  // namespace qkd004::wire::extension
