// address: where a TCP listener is, as read from a URI `qkd004://host:port`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/ip/tcp.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/result.hpp"

namespace qkd004::net {

/// The port of a URI that has none: that of ETSI's reference code.
inline constexpr std::uint16_t default_port = 25575;

struct tcp_address {
  std::string host;  ///< a name or a number, an IPv6 number without its brackets
  std::uint16_t port = default_port;
};

/// Reads `qkd004://host`, `qkd004://host:port` or `qkd004://[v6]:port`.
/// Returns invalid_argument for anything else; `why`, if given, receives a sentence that names what is wrong.
[[nodiscard]] result<tcp_address> parse_address(std::string_view uri, std::string* why = nullptr);

/// The endpoints of an address; a name is looked up, which may take long.
/// Returns what the look-up returns, and invalid_argument if one of them is not on loopback while `secure_only`.
enum class reach : std::uint8_t { loopback, anywhere };
[[nodiscard]] result<std::vector<asio::ip::tcp::endpoint>> resolve(const tcp_address& address, reach allowed,
                                                                   std::string* why = nullptr);

/// The endpoint as a URI that parse_address() reads.
[[nodiscard]] std::string to_uri(const asio::ip::tcp::endpoint& endpoint);

/// Fills `why` if there is one, and gives the error back: `return fail(why, "…", error)`.
inline std::error_code fail(std::string* why, std::string text, std::error_code error) {
  if (why != nullptr) *why = std::move(text);
  return error;
}

}  // namespace qkd004::net
