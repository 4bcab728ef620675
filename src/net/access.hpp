// access: the access table asked: may this principal open that stream?
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "qkd004/net/access.hpp"

namespace qkd004::net {

/// What rows of the table name of a principal: a SAN URI, `spki:<hex>`, `uid:N`, or `anonymous`.
[[nodiscard]] std::string_view identity_of(std::string_view principal) noexcept;

/// The table, or what holds where there is none; see site_options::access.
/// Threads: any.
class access_table {
 public:
  /// `own`: the user whose processes may open anything on a Unix socket where there are no rows; root's may, too.
  access_table(std::vector<access_rule> rows, uid_t own) : rows_{std::move(rows)}, own_{own} {}

  [[nodiscard]] bool allows(std::string_view principal, std::string_view local,
                            std::string_view remote) const noexcept;

 private:
  std::vector<access_rule> rows_;
  uid_t own_;
};

}  // namespace qkd004::net
