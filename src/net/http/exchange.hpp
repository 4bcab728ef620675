// exchange: a client's way to a key manager over the HTTP binding of 004; what net::connect makes of http: and https:.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "net/address.hpp"
#include "net/tls_session.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::net::http {

/// Connects, and asks what the server can do unless `options.plain`. What is said of net::connect holds.
/// Requires: `tls` for an address of scheme::tls.
[[nodiscard]] result<std::shared_ptr<exchange>> connect(const address& to,
                                                        std::shared_ptr<const tls_context> tls,
                                                        const secret_arena& arena,
                                                        const connect_options& options, std::string* why);

}  // namespace qkd004::net::http
