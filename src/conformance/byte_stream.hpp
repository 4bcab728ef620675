// byte_stream: a connection as the checks need it: octets out, octets in until a moment; and the one place where one is
// made of a URI, plain or under TLS.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "qkd004/net/tls.hpp"
#include "qkd004/result.hpp"

namespace qkd004::conformance {

using steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Threads: one at a time.
class byte_stream {
 public:
  byte_stream() = default;
  byte_stream(const byte_stream&) = delete;
  byte_stream& operator=(const byte_stream&) = delete;
  virtual ~byte_stream() = default;

  /// Sends all of it. Returns false if the other end is gone or takes nothing until then.
  [[nodiscard]] virtual bool send(std::span<const std::uint8_t> octets, steady::time_point until) = 0;
  /// Receives some octets into `room`: how many; 0 at the end of the connection; nothing when the time has come first.
  [[nodiscard]] virtual std::optional<std::size_t> receive(std::span<std::byte> room,
                                                           steady::time_point until) = 0;
  /// Nothing more will be sent.
  virtual void end_sending() = 0;
  /// After the end: why the other end wanted nothing to do with this one, if it said so; else empty.
  [[nodiscard]] virtual std::string refusal() const { return {}; }
};

/// Makes a connection of a URI. Returns invalid_argument for a URI that it cannot read, or the system's error; `why`
/// then receives a sentence.
using connector = std::function<result<std::unique_ptr<byte_stream>>(const std::string& uri,
                                                                     milliseconds timeout, std::string& why)>;

/// `qkd004://host:port` by plain TCP, wherever it is: the keys that the checks see are nobody's; `unix:/path`; and
/// `http://host:port`, over which frames go as requests (rest_stream).
[[nodiscard]] result<std::unique_ptr<byte_stream>> connect_plain(const std::string& uri, milliseconds timeout,
                                                                 std::string& why);

/// The SAN URI that the certificate of the server at each of these URIs must have; any other's has to name its host.
using expected_servers = std::map<std::string, std::string>;

/// A connector for `qkd004s://host:port` and `https://host:port` as well: as whoever the certificate names. Returns what cannot be used of the
/// files; `why` then receives a sentence with the path.
[[nodiscard]] result<connector> connect_tls(const net::tls_options& own, expected_servers servers,
                                            std::string& why);

}  // namespace qkd004::conformance
