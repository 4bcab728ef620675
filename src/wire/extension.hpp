// extension: encoders and decoders of the calls that the standard does not have, in frames of version {2,1,1} after
// HELLO; encoders append whole frames, decoders take a frame's payload.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "qkd004/limits.hpp"
#include "qkd004/message.hpp"
#include "qkd004/result.hpp"
#include "qkd004/vendor_metadata.hpp"
#include "wire/out_buffer.hpp"

/// Errors and threads are those of forge's encoders and decoders. Statuses are never narrowed: this comes after HELLO.
/// An index that a request begins at is invalid_argument to the encoder past last_index; an index that others are
/// below, and a lowest live one, is sent as the largest 32 bits from there on.
namespace qkd004::wire::extension {

// --- Requests ---

result<void> encode_wait_peer_request(out_buffer& out, const wait_peer_request& request);
/// Returns also invalid_argument for count 0.
result<void> encode_get_keys_request(out_buffer& out, const get_keys_request& request);
result<void> encode_acknowledge_request(out_buffer& out, const acknowledge_request& request);
result<void> encode_subscribe_request(out_buffer& out, const subscribe_request& request);
result<void> encode_report_request(out_buffer& out, const report_request& request);

[[nodiscard]] result<wait_peer_request> decode_wait_peer_request(std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<get_keys_request> decode_get_keys_request(std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<acknowledge_request> decode_acknowledge_request(
    std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<subscribe_request> decode_subscribe_request(std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<report_request> decode_report_request(std::span<const std::byte> payload) noexcept;

// --- Runs of keys ---

/// Octets of the payload of a GET_KEYS response with `count` keys and `vendor` octets of vendor metadata. A delivery
/// has key_stream_id::size more.
[[nodiscard]] constexpr std::size_t get_keys_response_size(std::uint16_t count, std::uint32_t chunk_size,
                                                           std::size_t vendor) noexcept {
  return 14 + count * (std::size_t{chunk_size} + 8) + 4 + vendor;
}

/// The most keys that a response, or a delivery, with `vendor` octets of vendor metadata may have, to stay within
/// limits::max_frame; never less than one, which fits whatever the frame's limit is.
[[nodiscard]] std::uint16_t most_keys(std::uint32_t chunk_size, const limits& bounds,
                                      std::size_t vendor = 0) noexcept;

/// Writes each key straight from its place to `out`. A failure is sent without keys and vendor metadata.
/// Returns also invalid_argument for a success without a key, with more than 65535, with one that has not
/// `chunk_size` octets, with an index past last_index, or with more than max_vendor_metadata.
result<void> encode_get_keys_response(out_buffer& out, const get_keys_response& response);
/// The same for a subscription of `stream`.
result<void> encode_delivery(out_buffer& out, const key_stream_id& stream, const get_keys_response& response);

/// A run of keys as it was received. Lifetime: all of it lies in the payload, whose owner wipes it.
struct get_keys_reply {
  status outcome = status::success;
  std::uint64_t first = 0;  ///< index of the first key; on failure the lowest live index
  std::uint16_t count = 0;
  std::uint32_t chunk_size = 0;                ///< octets of each key
  std::span<const std::byte> keys;             ///< count * chunk_size octets, one key after another
  std::span<const std::byte> metadata_octets;  ///< of each key, as it was sent
  std::string_view vendor_metadata;  ///< of any octets: nothing has read it yet; empty: there is none

  /// Requires: i < count.
  [[nodiscard]] std::span<const std::byte> key(std::size_t i) const noexcept {
    return keys.subspan(i * chunk_size, chunk_size);
  }
  /// Age and hops. Requires: i < count.
  [[nodiscard]] key_metadata metadata(std::size_t i) const noexcept;
};

struct delivery {
  key_stream_id stream;
  get_keys_reply reply;
};

/// Both allocate nothing.
[[nodiscard]] result<get_keys_reply> decode_get_keys_response(std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<delivery> decode_delivery(std::span<const std::byte> payload) noexcept;

// --- Other responses ---

result<void> encode_wait_peer_response(out_buffer& out, const wait_peer_response& response);
result<void> encode_acknowledge_response(out_buffer& out, const acknowledge_response& response);
/// A failure is sent without the JSON. It is the caller's to keep that within limits::max_frame.
result<void> encode_report_response(out_buffer& out, const report_response& response);

[[nodiscard]] result<wait_peer_response> decode_wait_peer_response(
    std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<acknowledge_response> decode_acknowledge_response(
    std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<report_response> decode_report_response(std::span<const std::byte> payload);

}  // namespace qkd004::wire::extension
