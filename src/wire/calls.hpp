// calls: the octets of OPEN_CONNECT and of a GET_KEY that succeeds, as far as both dialects, forge and qubip, have
// them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "qkd004/limits.hpp"
#include "qkd004/message.hpp"
#include "qkd004/result.hpp"
#include "wire/fields.hpp"
#include "wire/forge.hpp"
#include "wire/frame.hpp"
#include "wire/octets.hpp"
#include "wire/out_buffer.hpp"

namespace qkd004::wire {

/// Octets of a mimetype with its NUL, at most. Clause: GS QKD 004 V2.1.1, table 2.
inline constexpr std::size_t max_mimetype = 256;

/// How Metadata_mimetype is written: ended by a NUL, or filled up with them to max_mimetype octets.
enum class mimetype_form : std::uint8_t { text0, padded };

/// Whether these octets can say it.
[[nodiscard]] bool sendable(const qos& q) noexcept;
[[nodiscard]] bool sendable(const open_connect_request& request) noexcept;

template <class Output>
void put_text0(Output& out, std::string_view text) {
  out.text(text);
  out.u8(0);
}

/// Requires: sendable(q).
template <class Output>
void put_qos(Output& out, const qos& q, mimetype_form form) {
  put_qos_numbers(out, q);
  out.text(q.metadata_mimetype);
  out.zeros(form == mimetype_form::text0 ? 1 : max_mimetype - q.metadata_mimetype.size());
}

/// Requires: sendable(request).
template <class Output>
void put_open_connect(Output& out, const open_connect_request& request, mimetype_form form) {
  put_text0(out, request.source);
  put_text0(out, request.destination);
  put_qos(out, request.quality, form);
  out.octets(request.stream.octets());
}

/// What comes behind the status. Requires: sendable(response.quality).
template <class Output>
void put_open_connect(Output& out, const open_connect_response& response, mimetype_form form) {
  put_qos(out, response.quality, form);
  out.octets(response.stream.octets());
}

/// Returns protocol_error, or invalid_argument for a URI that is too long; what comes behind is not looked at.
[[nodiscard]] result<open_connect_request> read_open_connect(octet_reader& in, const limits& bounds,
                                                             mimetype_form form);
/// What comes behind the status; whether it was there, the reader knows.
void read_open_connect(octet_reader& in, open_connect_response& response, mimetype_form form);

/// Appends the frame of a GET_KEY response that is a success, the key straight from `response.key`; metadata that
/// is there and has at most `metadata_size` octets as JSON.
/// Returns resource_limit, or invalid_argument without a key or with an index past the last.
result<void> append_key(out_buffer& out, const get_key_response& response, std::uint32_t metadata_size,
                        frame_version version);
/// What comes behind status 0, up to the end. Returns whether it was all there and made sense.
[[nodiscard]] bool read_key(octet_reader& in, forge::get_key_reply& reply) noexcept;

}  // namespace qkd004::wire
