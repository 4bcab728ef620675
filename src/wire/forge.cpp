// SPDX-License-Identifier: Apache-2.0
#include "wire/forge.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "wire/fields.hpp"
#include "wire/octets.hpp"

namespace qkd004::wire::forge {

namespace {

constexpr std::size_t max_mimetype = 256;  ///< octets with the NUL (GS QKD 004 V2.1.1, table 2)
constexpr std::uint32_t do_not_wait = 1;
constexpr std::uint32_t strict_once = 2;

std::uint32_t saturated(std::uint64_t index) noexcept {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(index, std::numeric_limits<std::uint32_t>::max()));
}

std::uint32_t code(status s, operation op, statuses which) noexcept {
  return static_cast<std::uint32_t>(which == statuses::all ? s : to_standard(s, op));
}

/// Whether `text` can be ended by a NUL, and has at most `most` octets without it.
bool fits(std::string_view text, std::size_t most) noexcept {
  return text.size() <= most && text.find('\0') == std::string_view::npos;
}

template <class Output>
void put_text(Output& out, std::string_view text) {
  out.text(text);
  out.u8(0);
}

template <class Output>
void put_qos(Output& out, const qos& q) {
  put_qos_numbers(out, q);
  put_text(out, q.metadata_mimetype);
}

qos read_qos(octet_reader& in) {
  qos q = read_qos_numbers(in);
  q.metadata_mimetype = in.until_nul(max_mimetype);
  return q;
}

bool fits(const qos& q) noexcept { return fits(q.metadata_mimetype, max_mimetype - 1); }

// --- OPEN_CONNECT ---

template <class Output>
void put_open_connect(Output& out, const open_connect_request& request) {
  put_text(out, request.source);
  put_text(out, request.destination);
  put_qos(out, request.quality);
  out.octets(request.stream.octets());
}

bool sendable(const open_connect_request& request) noexcept {
  constexpr std::size_t any = std::numeric_limits<std::size_t>::max();  // the receiver has the bound
  return fits(request.source, any) && fits(request.destination, any) && fits(request.quality);
}

template <class Output>
void put_open_connect(Output& out, const open_connect_response& response, std::uint32_t outcome) {
  out.u32(outcome);
  put_qos(out, response.quality);
  out.octets(response.stream.octets());
}

/// The fields that both forms of the request begin with.
result<open_connect_request> read_open_connect(octet_reader& in, const limits& bounds) {
  const std::string_view source = in.until_nul(in.left());
  const std::string_view destination = in.until_nul(in.left());
  qos quality = read_qos(in);
  const key_stream_id stream = in.stream();
  if (!in.ok()) return status::protocol_error;
  if (source.size() > bounds.max_uri || destination.size() > bounds.max_uri) return status::invalid_argument;
  return open_connect_request{std::string{source}, std::string{destination}, std::move(quality), stream};
}

result<open_connect_response> read_open_connect_response(octet_reader& in) {
  open_connect_response response;
  if (!read_status(in, response.outcome)) return status::protocol_error;
  response.quality = read_qos(in);
  response.stream = in.stream();
  return response;
}

// --- Metadata ---

/// to_json() without an allocation.
class json_text {
 public:
  explicit json_text(const key_metadata& metadata) noexcept {
    add("{\"age\":");
    add(metadata.age_ms);
    add(",\"hops\":");
    add(metadata.hops);
    add("}");
  }

  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  void add(std::string_view piece) noexcept {
    std::copy(piece.begin(), piece.end(), text_.data() + size_);
    size_ += piece.size();
  }
  void add(std::uint32_t number) noexcept {
    const auto written = std::to_chars(text_.data() + size_, text_.data() + text_.size(), number);
    size_ = static_cast<std::size_t>(written.ptr - text_.data());
  }

  std::array<char, metadata_json_size> text_;
  std::size_t size_ = 0;
};

/// The inverse of to_json(). Returns whether `text` has that form; else `metadata` stays as it was.
bool read_json(std::string_view text, key_metadata& metadata) noexcept {
  const auto take = [&text](std::string_view piece) noexcept {
    if (!text.starts_with(piece)) return false;
    text.remove_prefix(piece.size());
    return true;
  };
  const auto number = [&text](std::uint32_t& value) noexcept {
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    return true;
  };
  key_metadata read;
  const bool matched = take("{\"age\":") && number(read.age_ms) && take(",\"hops\":") && number(read.hops) &&
                       take("}") && text.empty();
  if (matched) metadata = read;
  return matched;
}

}  // namespace

// --- Requests ---

result<void> encode_open_connect_request(out_buffer& out, const open_connect_request& request) {
  if (!sendable(request) || request.no_wait || request.strict_once) return status::invalid_argument;
  return append_frame(out, service::open_connect_request, [&](auto& to) { put_open_connect(to, request); });
}

result<void> encode_open_connect2_request(out_buffer& out, const open_connect_request& request) {
  if (!sendable(request)) return status::invalid_argument;
  const std::uint32_t flags = (request.no_wait ? do_not_wait : 0) | (request.strict_once ? strict_once : 0);
  return append_frame(out, service::open_connect2_request, [&](auto& to) {
    put_open_connect(to, request);
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
  auto request = read_open_connect(in, bounds);
  if (!in.at_end()) return status::protocol_error;
  return request;
}

result<open_connect_request> decode_open_connect2_request(std::span<const std::byte> payload,
                                                          const limits& bounds) {
  octet_reader in{payload};
  auto request = read_open_connect(in, bounds);
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
  if (!fits(response.quality)) return status::invalid_argument;
  const std::uint32_t outcome = code(response.outcome, operation::open_connect, which);
  return append_frame(out, service::open_connect_response,
                      [&](auto& to) { put_open_connect(to, response, outcome); });
}

result<void> encode_open_connect2_response(out_buffer& out, const open_connect_response& response) {
  if (!fits(response.quality)) return status::invalid_argument;
  return append_frame(out, service::open_connect2_response, [&](auto& to) {
    put_open_connect(to, response, static_cast<std::uint32_t>(response.outcome));
    to.u64(response.epoch);
    to.u32(saturated(response.lowest_live_index));
  });
}

result<void> encode_get_key_response(out_buffer& out, const get_key_response& response,
                                     std::uint32_t metadata_size, statuses which) {
  const std::uint32_t outcome = code(response.outcome, operation::get_key, which);
  if (response.outcome != status::success) {
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

  if (response.key.empty() || response.key.size() > std::numeric_limits<std::uint32_t>::max() ||
      response.index > last_index) {
    return status::invalid_argument;
  }
  const auto append = [&](std::string_view metadata) {
    return append_frame(out, service::get_key_response, [&](auto& to) {
      to.u32(outcome);
      to.u32(static_cast<std::uint32_t>(response.index));
      to.u32(static_cast<std::uint32_t>(response.key.size()));
      to.octets(response.key);
      to.u32(static_cast<std::uint32_t>(metadata.size()));
      to.text(metadata);
    });
  };
  if (!response.has_metadata || metadata_size == 0) return append({});
  const json_text json{response.metadata};
  return append(json.view().size() <= metadata_size ? json.view() : std::string_view{});
}

result<void> encode_close_response(out_buffer& out, const close_response& response, statuses which) {
  const std::uint32_t outcome = code(response.outcome, operation::close, which);
  return append_frame(out, service::close_response, [&](auto& to) { to.u32(outcome); });
}

result<open_connect_response> decode_open_connect_response(std::span<const std::byte> payload) {
  octet_reader in{payload};
  auto response = read_open_connect_response(in);
  if (!in.at_end()) return status::protocol_error;
  return response;
}

result<open_connect_response> decode_open_connect2_response(std::span<const std::byte> payload) {
  octet_reader in{payload};
  auto response = read_open_connect_response(in);
  const std::uint64_t epoch = in.u64();
  const std::uint32_t lowest_live_index = in.u32();
  if (!response || !in.at_end()) return status::protocol_error;
  response->epoch = epoch;
  response->lowest_live_index = lowest_live_index;
  return response;
}

result<get_key_reply> decode_get_key_response(std::span<const std::byte> payload) noexcept {
  octet_reader in{payload};
  get_key_reply reply;
  get_key_response& response = reply.response;
  if (!read_status(in, response.outcome)) return status::protocol_error;
  response.index = in.u32();
  response.key = in.octets(in.u32());
  const auto metadata = in.octets(in.u32());
  if (!in.at_end()) return status::protocol_error;

  // a success has a key, and nothing else has
  if ((response.outcome == status::success) == response.key.empty()) return status::protocol_error;
  if (response.outcome == status::success) {
    if (response.index > last_index) return status::protocol_error;
    reply.metadata = metadata;
    const std::string_view text{reinterpret_cast<const char*>(metadata.data()), metadata.size()};
    response.has_metadata = read_json(text, response.metadata);
  } else if (response.outcome == status::metadata_size_insufficient) {
    response.metadata_needed = static_cast<std::uint32_t>(metadata.size());
  } else if (!metadata.empty()) {
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
