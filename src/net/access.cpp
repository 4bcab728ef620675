// SPDX-License-Identifier: Apache-2.0
#include "net/access.hpp"

#include <algorithm>

#include "qkd004/key_service.hpp"

namespace qkd004::net {

namespace {

constexpr std::string_view over_tls = "tls:";
constexpr std::string_view on_unix = "unix:";

bool matches(std::string_view pattern, std::string_view text) noexcept {
  if (!pattern.ends_with('*')) return pattern == text;
  pattern.remove_suffix(1);
  return text.starts_with(pattern);
}

}  // namespace

std::string_view identity_of(std::string_view principal) noexcept {
  if (principal.starts_with(over_tls)) {
    const auto end_of_issuer = principal.find('#');  // an issuer has none: see tls_session::name()
    return end_of_issuer == std::string_view::npos ? std::string_view{} : principal.substr(end_of_issuer + 1);
  }
  if (principal.starts_with(on_unix)) return principal.substr(on_unix.size());
  return principal;
}

bool access_table::allows(std::string_view principal, std::string_view local,
                          std::string_view remote) const noexcept {
  const auto identity = identity_of(principal);
  if (identity.empty()) return false;
  if (!rows_.empty()) {
    return std::any_of(rows_.begin(), rows_.end(), [&](const access_rule& row) {
      return matches(row.identity, identity) && matches(row.local, local) && matches(row.remote, remote);
    });
  }
  if (principal == anonymous_principal) return true;
  if (principal.starts_with(over_tls)) return identity == local;
  return identity == "uid:0" || identity == "uid:" + std::to_string(own_);
}

}  // namespace qkd004::net
