// forge: encoders and decoders of what applications and key managers say to each other in frames of version
// {2,1,1}; encoders append whole frames, decoders take a frame's payload.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "qkd004/limits.hpp"
#include "qkd004/message.hpp"
#include "qkd004/result.hpp"
#include "qkd004/status.hpp"
#include "wire/frame.hpp"
#include "wire/out_buffer.hpp"

/// Every decoder: allocates for text only, never throws for what is in the input, and
/// Returns protocol_error for octets that are no such message: the connection cannot be trusted any more;
/// invalid_argument for a message whose content is refused: an answer with that status is enough.
/// Every encoder:
/// Returns resource_limit when `out` has reached its bound, invalid_argument for what these octets cannot
/// say; then nothing was appended.
/// Threads: any.
namespace qkd004::wire::forge {

/// Which statuses a response may carry: before HELLO the standard's 0 to 8, others are narrowed. Clause: D7.
enum class statuses : std::uint8_t { standard, all };

// --- Requests ---

/// Returns also invalid_argument for a request with a flag: only OPEN_CONNECT2 can say it.
result<void> encode_open_connect_request(out_buffer& out, const open_connect_request& request);
result<void> encode_open_connect2_request(out_buffer& out, const open_connect_request& request);

/// Octets of metadata that a request asks room for at most: each of them travels as a zero.
inline constexpr std::uint32_t max_metadata_asked = 32 * 1024;

/// Returns also invalid_argument for no_wait and for an index past last_index. A metadata_size over
/// max_metadata_asked is sent as that.
result<void> encode_get_key_request(out_buffer& out, const get_key_request& request);
result<void> encode_close_request(out_buffer& out, const close_request& request);

[[nodiscard]] result<open_connect_request> decode_open_connect_request(std::span<const std::byte> payload,
                                                                       const limits& bounds = {});
[[nodiscard]] result<open_connect_request> decode_open_connect2_request(std::span<const std::byte> payload,
                                                                        const limits& bounds = {});
/// Allocates nothing.
[[nodiscard]] result<get_key_request> decode_get_key_request(std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<close_request> decode_close_request(std::span<const std::byte> payload) noexcept;

// --- Responses ---

result<void> encode_open_connect_response(out_buffer& out, const open_connect_response& response,
                                          statuses which);
/// After HELLO only, so with all statuses.
result<void> encode_open_connect2_response(out_buffer& out, const open_connect_response& response);
/// Writes the key straight from `response.key` to `out`. `metadata_size` is the request's: metadata that the
/// response has and that fits is sent as JSON.
result<void> encode_get_key_response(out_buffer& out, const get_key_response& response,
                                     std::uint32_t metadata_size, statuses which);
result<void> encode_close_response(out_buffer& out, const close_response& response, statuses which);

[[nodiscard]] result<open_connect_response> decode_open_connect_response(std::span<const std::byte> payload);
[[nodiscard]] result<open_connect_response> decode_open_connect2_response(std::span<const std::byte> payload);

struct get_key_reply {
  get_key_response response;            ///< has_metadata: it has the form of to_json()
  std::span<const std::byte> metadata;  ///< what the key manager sent; empty on failure
};
/// Allocates nothing. Lifetime: the key and the metadata lie in `payload`, whose owner wipes them.
[[nodiscard]] result<get_key_reply> decode_get_key_response(std::span<const std::byte> payload) noexcept;
[[nodiscard]] result<close_response> decode_close_response(std::span<const std::byte> payload) noexcept;

// --- Error frame ---

struct error_message {
  status code = status::protocol_error;  ///< never success
  std::string_view text;                 ///< of any octets: clean it before it is shown
};

/// Octets of text that are sent at most; the rest is cut off.
inline constexpr std::size_t max_error_text = 512;

/// `version`: of the frame that is answered, where it had another one.
result<void> encode_error(out_buffer& out, const error_message& error, frame_version version = forge_version);
/// Lifetime: the text lies in `payload`.
[[nodiscard]] result<error_message> decode_error(std::span<const std::byte> payload) noexcept;

// --- HELLO ---

inline constexpr std::uint16_t protocol_minor = 2;
inline constexpr std::size_t max_hello_name = 255;

/// Bits of hello::features: what the sender serves of extension.hpp. A client uses only what the server announced.
namespace feature {
inline constexpr std::uint32_t wait_peer = 1;
inline constexpr std::uint32_t get_keys = 2;
inline constexpr std::uint32_t acknowledge = 4;
inline constexpr std::uint32_t subscribe = 8;
inline constexpr std::uint32_t status = 16;
}  // namespace feature

/// The same in both directions; both sides go on with the lower minor.
struct hello {
  std::uint16_t minor = protocol_minor;
  std::uint32_t features = 0;  ///< feature::*, or bits of a newer minor
  std::uint64_t instance = 0;
  std::string name;  ///< at most max_hello_name octets

  friend bool operator==(const hello&, const hello&) = default;
};

result<void> encode_hello_request(out_buffer& out, const hello& h);
result<void> encode_hello_response(out_buffer& out, const hello& h);
/// Of a request or a response.
[[nodiscard]] result<hello> decode_hello(std::span<const std::byte> payload);

}  // namespace qkd004::wire::forge
