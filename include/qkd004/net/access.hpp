// access: who may open a key stream between which URIs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qkd004::net {

/// A row of the access table. `x*` stands for everything that begins so. `identity` is matched against the SAN URI of
/// a certificate (any configured authority's), against `spki:` and the lower-case hexadecimal SHA-256 of its public key
/// where it has no such URI, against `uid:N` of a process on a Unix socket, and against `anonymous`, which everyone is
/// on plain TCP.
struct access_rule {
  std::string identity;
  std::string local = "*";   ///< the stream's URI at this site
  std::string remote = "*";  ///< its URI at the other

  friend bool operator==(const access_rule&, const access_rule&) = default;
};

}  // namespace qkd004::net
