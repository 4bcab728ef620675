// net::connect: a URI becomes an exchange with the key manager that listens there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "qkd004/exchange.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::net {

struct connect_options {
  std::chrono::milliseconds connect_timeout{5'000};
  std::size_t max_reply = 64 * 1024 + 4 * 1024;  ///< octets of the largest frame taken from the server
  bool allow_insecure = false;                   ///< plain TCP off loopback
  bool plain = false;                            ///< speak 004 only: no HELLO, statuses 0 to 8 (D7)
  bool per_call = false;                         ///< a connection for every call, as some servers want it
};

/// Connects to `qkd004://host:port` (TCP; port 25575 if none is given).
/// The exchange has no thread: its callers drive it in exchange::wait(). A broken connection is made again at the
/// next call; a call that was in flight completes with the error.
/// Returns invalid_argument (the URI, or plain TCP off loopback without allow_insecure), or the system's error.
/// `why`, if given, receives a sentence on failure.
[[nodiscard]] result<std::shared_ptr<exchange>> connect(std::string_view uri, const secret_arena& arena,
                                                        const connect_options& options = {},
                                                        std::string* why = nullptr);

}  // namespace qkd004::net
