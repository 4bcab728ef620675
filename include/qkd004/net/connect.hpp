// net::connect: a URI becomes an exchange with the key manager that listens there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "qkd004/exchange.hpp"
#include "qkd004/net/asio_version.hpp"
#include "qkd004/net/tls.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::net::inline QKD004_ASIO_VERSION {

/// How a client connects, and whom it believes.
struct connect_options {
  std::chrono::milliseconds connect_timeout{5'000};
  std::size_t max_reply = 64 * 1024 + 4 * 1024;  ///< octets of the largest frame taken from the server
  bool allow_insecure = false;                   ///< plain TCP off loopback
  bool plain = false;                            ///< speak 004 only: no HELLO, statuses 0 to 8 (D7)
  bool per_call = false;  ///< a connection for every call, as some servers want it: plain 004, not HTTP
  std::optional<tls_options> tls;  ///< for `qkd004s:`, which needs it
  std::string
      server;  ///< SAN URI that the server's certificate must have; empty: it must name the URI's host
};

/// Connects to `qkd004://host:port` (TCP), `qkd004s://host:port` (TLS; port 25575 if none is given), `unix:/path`,
/// `http://host:port` or `https://host:port` (the same calls as REST; what is said of TCP and TLS holds; a server that
/// does not serve them is std::errc::operation_not_supported; keys do not come unasked), and says HELLO; a server that refuses the first one is spoken to in plain 004 from then on.
/// The exchange has no thread: its callers drive it in exchange::wait(). A broken connection is made again at the
/// next call (a name is then looked up again, which may block); a call that was in flight completes with the error,
/// mostly std::errc::connection_reset. A server that speaks nonsense is protocol_error; a full arena, or more than
/// 4,096 calls in flight, is resource_limit.
/// A call that timed out or was cancelled here may still be answered by the server, and answers come in the order of
/// requests: those behind it wait for that, most of all behind an OPEN_CONNECT that waits for the other side. (A stream's
/// calls for what is next are sent in the order of their indices: none waits for one behind it.) Key that comes so late is
/// its call's heir's. connect() itself asks a waiting_hook; looking up a name blocks. Plain 004 cannot say strict_once
/// (invalid_argument) nor no_wait: OPEN_CONNECT then waits at the server. GET_KEY with no_wait is
/// std::errc::operation_not_supported: no message says it yet.
/// In a child of fork() calls complete with std::errc::operation_not_permitted.
/// Over TLS, a certificate that either end refuses, or the lack of one, is std::errc::permission_denied; a server that
/// speaks no TLS, or no version of it that is allowed here, std::errc::protocol_not_supported. With TLS 1.3 the server's
/// refusal comes with the first answer: here with the one to HELLO; with `plain` or `per_call`, to the first call.
/// Returns these, invalid_argument (the URI, plain TCP off loopback without allow_insecure, `qkd004s:` without `tls`,
/// `server` without `qkd004s:`, `per_call` with HTTP, what a file of `tls` holds), permission_denied too for a file of
/// `tls` that may not be read or may be by too many, what the server said to HELLO, or the system's error. `why`, if
/// given, receives a sentence on failure.
[[nodiscard]] result<std::shared_ptr<exchange>> connect(std::string_view uri, const secret_arena& arena,
                                                        const connect_options& options = {},
                                                        std::string* why = nullptr);

}  // namespace qkd004::net::inline QKD004_ASIO_VERSION
