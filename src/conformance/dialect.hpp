// dialect: the octets of the standard's three calls as the two families of 004 servers speak them, and of our
// extension; written from the description of the wire, not from the code of the server.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conformance/octets.hpp"
#include "conformance/probe.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/status.hpp"

namespace qkd004::conformance {

enum class dialect : std::uint8_t { forge = 1, qubip = 2 };

[[nodiscard]] std::string_view to_string(dialect d) noexcept;
[[nodiscard]] frame_version version_of(dialect d) noexcept;

namespace service {
inline constexpr std::uint8_t error = 0x00;
inline constexpr std::uint8_t open_connect = 0x02;
inline constexpr std::uint8_t get_key = 0x04;
inline constexpr std::uint8_t close = 0x08;
inline constexpr std::uint8_t hello = 0x40;
inline constexpr std::uint8_t open_connect2 = 0x42;
inline constexpr std::uint8_t wait_peer = 0x44;
inline constexpr std::uint8_t get_keys = 0x46;
inline constexpr std::uint8_t acknowledge = 0x48;
inline constexpr std::uint8_t subscribe = 0x4a;
inline constexpr std::uint8_t report = 0x4c;
inline constexpr std::uint8_t stop_server = 0xff;
/// Every response's service is one above its request's.
[[nodiscard]] constexpr std::uint8_t answer_to(std::uint8_t request) noexcept {
  return static_cast<std::uint8_t>(request + 1);
}
}  // namespace service

/// SHA-256 of a key: what the checks compare, so that no key is kept.
using key_print = std::array<std::byte, 32>;

struct open_answer {
  std::uint32_t status = 0;
  bool has_body = false;  ///< QUBIP leaves QoS and KSID out of most failures
  qos quality;
  key_stream_id stream;
  std::uint64_t epoch = 0;        ///< OPEN_CONNECT2 only
  std::uint32_t lowest_live = 0;  ///< OPEN_CONNECT2 only
};

struct key_answer {
  std::uint32_t status = 0;
  bool has_body = false;
  std::uint32_t index = 0;
  std::size_t key_length = 0;
  key_print print{};
  bool plain = false;  ///< all octets of the key are equal, which no key's are
  std::uint32_t metadata_length = 0;
  std::string metadata;
};

/// A run of keys, of GET_KEYS or delivered to a subscriber.
struct run_answer {
  key_stream_id stream;  ///< of a delivery
  std::uint32_t status = 0;
  std::uint32_t first = 0;
  std::uint32_t chunk_size = 0;
  std::vector<key_print> prints;  ///< of each key
  std::string vendor_metadata;
};

struct hello_answer {
  std::uint32_t minor = 0;
  std::uint32_t features = 0;
  std::uint64_t instance = 0;
  std::string name;
};

// --- Requests: payloads ---

[[nodiscard]] octets open_connect_payload(dialect d, const open_connect_request& request);
/// `metadata_size` octets of zeros follow in forge, none in QUBIP.
[[nodiscard]] octets get_key_payload(dialect d, const key_stream_id& id, std::uint32_t index,
                                     std::uint32_t metadata_size);
[[nodiscard]] octets close_payload(const key_stream_id& id);
[[nodiscard]] octets hello_payload(std::uint32_t minor = 1);
/// Of OPEN_CONNECT2; takes flags of the request, or any.
[[nodiscard]] octets open_connect2_payload(const open_connect_request& request, std::uint32_t flags);

// --- Answers: nothing if the octets are not exactly such a message; `why` then says what is wrong ---

[[nodiscard]] std::optional<open_answer> read_open_connect(dialect d, std::span<const std::byte> payload,
                                                           std::string& why);
[[nodiscard]] std::optional<open_answer> read_open_connect2(std::span<const std::byte> payload,
                                                            std::string& why);
[[nodiscard]] std::optional<key_answer> read_get_key(dialect d, std::span<const std::byte> payload,
                                                     std::string& why);
[[nodiscard]] std::optional<run_answer> read_get_keys(std::span<const std::byte> payload, std::string& why);
[[nodiscard]] std::optional<run_answer> read_delivery(std::span<const std::byte> payload, std::string& why);
/// A status and nothing else: CLOSE, WAIT_PEER and ACK.
[[nodiscard]] std::optional<std::uint32_t> read_close(std::span<const std::byte> payload, std::string& why);
[[nodiscard]] std::optional<hello_answer> read_hello(std::span<const std::byte> payload, std::string& why);

/// What stands on the wire for a status: before HELLO and in QUBIP 0 to 8 only (D7), and QUBIP says 0 for 1.
[[nodiscard]] std::uint32_t code_of(dialect d, status s, operation op, bool greeted) noexcept;

}  // namespace qkd004::conformance
