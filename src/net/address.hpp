// address: where a listener is, as read from a URI: `qkd004://host:port`, `qkd004s://host:port`, `unix:/path`,
// `http://host:port` or `https://host:port`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/result.hpp"

namespace qkd004::net {

/// The port of a URI that has none: that of ETSI's reference code.
inline constexpr std::uint16_t default_port = 25575;

/// What carries the octets.
enum class scheme : std::uint8_t {
  plain,        ///< `qkd004:`, `http:`, TCP
  tls,          ///< `qkd004s:`, `https:`, TLS over TCP
  unix_socket,  ///< `unix:`
};

/// What is said there.
enum class protocol : std::uint8_t { frames, http };

/// A place of any scheme, ready for socket() and connect().
using stream_protocol = asio::generic::stream_protocol;
using endpoint = stream_protocol::endpoint;

struct address {
  scheme kind = scheme::plain;
  std::string host;  ///< a name or a number, an IPv6 number without its brackets
  std::uint16_t port = default_port;
  std::string path;  ///< of a Unix socket, from the root
  protocol spoken = protocol::frames;
  std::string given;  ///< name of a socket that is there already; then host, port and path say nothing
};

/// Reads `qkd004://host`, `qkd004://host:port`, `qkd004://[v6]:port`, the same with `qkd004s`, `http` and
/// `https`, whose ports are 80 and 443 if none is given, and `unix:/path`.
/// Returns invalid_argument for anything else; `why`, if given, receives a sentence that names what is wrong.
[[nodiscard]] result<address> parse_address(std::string_view uri, std::string* why = nullptr);

/// The same of a listener, which may also be `qkd004+systemd:NAME`, or so of any other scheme: a socket that is given.
[[nodiscard]] result<address> parse_listener(std::string_view uri, std::string* why = nullptr);

/// Whether the host is a number, which is never looked up.
[[nodiscard]] bool is_number(const address& a);

/// Host and port as HTTP's field Host has them: `127.0.0.1:80`, `[::1]:80`. Requires: an address with a host.
[[nodiscard]] std::string authority_of(const address& a);

/// Off loopback only TLS goes without being asked for.
enum class reach : std::uint8_t { loopback, anywhere };

/// The endpoints of an address with a host; a name is looked up, which may take long.
/// Returns what the look-up returns, and invalid_argument if one of them is not on loopback, `allowed` is no more than
/// that, and the scheme is not TLS.
[[nodiscard]] result<std::vector<asio::ip::tcp::endpoint>> resolve(const address& a, reach allowed,
                                                                   std::string* why = nullptr);

/// The same for every scheme.
[[nodiscard]] result<std::vector<endpoint>> endpoints_of(const address& a, reach allowed,
                                                         std::string* why = nullptr);

/// The endpoint as a URI that parse_address() reads.
[[nodiscard]] std::string to_uri(const asio::ip::tcp::endpoint& where, scheme kind = scheme::plain,
                                 protocol spoken = protocol::frames);
[[nodiscard]] std::string to_uri(const endpoint& where, scheme kind, protocol spoken = protocol::frames);

/// Fills `why` if there is one, and gives the error back: `return fail(why, "…", error)`.
inline std::error_code fail(std::string* why, std::string text, std::error_code error) {
  if (why != nullptr) *why = std::move(text);
  return error;
}

}  // namespace qkd004::net
