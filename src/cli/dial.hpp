// dial: how a command reaches its key manager.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>

#include "cli/exit_code.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/net/tls.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::cli {

struct server_options {
  std::string uri;
  net::tls_options tls;  ///< paths of the certificate, its key, the authority: all three, or none is used
  std::string server;  ///< SAN URI that the server's certificate must have; empty: it names the host of `uri`
  bool allow_insecure = false;
  bool allow_unlocked = false;
};

/// An application's connection, and memory for the keys that come over it.
struct dialled {
  secret_arena arena;
  std::shared_ptr<exchange> via;  ///< empty: it failed, as was said on standard error
  exit_code failed = exit_code::ok;
};

/// Connects. `bytes` is what the keys may take.
[[nodiscard]] dialled dial(const server_options& o, std::size_t bytes);

/// One request and its answer. Returns the transport's error; a status other than success is in the answer.
std::error_code ask(exchange& via, call& c, std::chrono::milliseconds timeout);

}  // namespace qkd004::cli
