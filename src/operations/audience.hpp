// audience: who may see how a site does: its metrics and its dashboard, and whose streams there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/net/http.hpp"

namespace qkd004::operations {

/// Each has those before it in it, `nobody` apart.
enum class audience : std::uint8_t {
  nobody,         ///< nothing is served at all
  operators,      ///< who is named
  loopback,       ///< and who asks from this host
  authenticated,  ///< and who has a certificate
  everyone,       ///< and plain HTTP from elsewhere, where a site listens for it
};

/// What one who asks may see.
enum class sight : std::uint8_t {
  nothing,  ///< whether the site is there and ready, no more
  own_streams,  ///< the site and its links, and of streams those of his own principal, as GET /qkd004/v2/streams has them
  all_streams,  ///< the same, and every stream, with whose it is
};

/// Who sees what. `operators` are identities as in the access table, `x*` for all that begin so.
struct viewers {
  audience who = audience::loopback;
  std::vector<std::string> operators;

  [[nodiscard]] sight of(const net::http::request& r) const;
};

/// Whether a page of another site's has the browser ask. Pages may make a browser ask 127.0.0.1 without seeing the answer;
/// that shall not cost anything either. Clause: Fetch Metadata Request Headers (W3C), 2.3; a browser says it, others need not.
[[nodiscard]] bool is_cross_site(const net::http::request& r) noexcept;

}  // namespace qkd004::operations
