// The status of a GS QKD 004 call: the standard's nine codes, our codes above them, and their std::error_category.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace qkd004 {

/// What a call came to. 0 to 8 are the standard's, from 1024 on are this implementation's.
/// Clause: GS QKD 004 V2.1.1, table 2; D7.
enum class status : std::uint32_t {
  success = 0,
  peer_not_connected = 1,          ///< OPEN_CONNECT succeeded, the peer application is not there yet
  insufficient_key = 2,            ///< no key now, and the caller did not want to wait
  get_key_peer_not_connected = 3,  ///< the peer application is gone, or is insisted upon and missing
  no_qkd_connection = 4,           ///< no link towards the destination
  ksid_in_use = 5,                 ///< the Key_stream_ID belongs to somebody else, or was closed
  timeout = 6,                     ///< not done within QoS Timeout
  qos_not_met = 7,                 ///< the QoS returned is a counter-proposal; no stream exists
  metadata_size_insufficient = 8,  ///< the needed size is returned; no key was consumed
  unknown_key_stream = 1024,       ///< not open here, or not the caller's
  invalid_argument = 1025,
  not_authorized = 1026,  ///< the access table says no, or a newer OPEN_CONNECT fenced the caller off
  resource_limit = 1027,  ///< a bound of `limits` was reached
  protocol_error = 1028,
  index_not_available = 1029,  ///< acknowledged, expired, skipped or already consumed
  stream_exhausted = 1030,     ///< the last index was used
  shutting_down = 1031,
};

/// The three calls, where a status depends on which one was made.
enum class operation : std::uint8_t { open_connect, get_key, close };

/// The status in words, without a full stop; never empty.
[[nodiscard]] constexpr std::string_view to_string(status s) noexcept {
  switch (s) {
    case status::success: return "success";
    case status::peer_not_connected: return "success, the peer is not connected yet";
    case status::insufficient_key: return "insufficient key available";
    case status::get_key_peer_not_connected: return "the peer application is not connected";
    case status::no_qkd_connection: return "no QKD connection towards the destination";
    case status::ksid_in_use: return "the key stream id is in use or was closed";
    case status::timeout: return "timed out";
    case status::qos_not_met: return "the requested QoS cannot be met";
    case status::metadata_size_insufficient: return "the metadata buffer is too small";
    case status::unknown_key_stream: return "unknown key stream";
    case status::invalid_argument: return "invalid argument";
    case status::not_authorized: return "not authorized";
    case status::resource_limit: return "a resource limit was reached";
    case status::protocol_error: return "protocol error";
    case status::index_not_available: return "the key at this index is no longer available";
    case status::stream_exhausted: return "the key stream is exhausted";
    case status::shutting_down: return "shutting down";
  }
  return "unknown status";
}

/// Whether `s` answers `op` rather than fails it: 0 always; 1 and 7 for OPEN_CONNECT, whose caller reads them.
[[nodiscard]] constexpr bool is_answer(status s, operation op) noexcept {
  return s == status::success ||
         (op == operation::open_connect && (s == status::peer_not_connected || s == status::qos_not_met));
}

/// The status on a wire that can only say 0 to 8. Clause: D7.
[[nodiscard]] constexpr status to_standard(status s, operation op) noexcept {
  switch (s) {
    case status::unknown_key_stream:
    case status::not_authorized:
      return op == operation::open_connect ? status::ksid_in_use : status::get_key_peer_not_connected;
    case status::index_not_available:
    case status::stream_exhausted: return status::insufficient_key;
    default: return static_cast<std::uint32_t>(s) <= 8 ? s : status::no_qkd_connection;
  }
}

/// The category of every status that travels as a std::error_code.
[[nodiscard]] inline const std::error_category& status_category() noexcept {
  struct category final : std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "qkd004"; }
    [[nodiscard]] std::string message(int value) const override {
      return std::string{to_string(static_cast<status>(value))};
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
      switch (static_cast<status>(value)) {
        case status::timeout: return std::errc::timed_out;
        case status::invalid_argument: return std::errc::invalid_argument;
        case status::not_authorized: return std::errc::permission_denied;
        default: return {value, *this};
      }
    }
  };
  // Never ended: a program may close its streams at its own end, after static objects that were first used later are gone.
  union immortal {
    category instance;
    constexpr immortal() noexcept : instance{} {}
    ~immortal() {}
  };
  static constinit const immortal kept;
  return kept.instance;
}

/// Found by std::error_code's converting constructor.
[[nodiscard]] inline std::error_code make_error_code(status s) noexcept {
  return {static_cast<int>(s), status_category()};
}

/// The status an error stands for; an error of another category reads as protocol_error.
[[nodiscard]] inline status to_status(std::error_code e) noexcept {
  if (!e) return status::success;
  return e.category() == status_category() ? static_cast<status>(e.value()) : status::protocol_error;
}

}  // namespace qkd004

template <>
struct std::is_error_code_enum<qkd004::status> : std::true_type {};
