// SPDX-License-Identifier: Apache-2.0
#include "operations/audience.hpp"

#include <asio/ip/address.hpp>

#include <algorithm>
#include <system_error>

#include "net/access.hpp"
#include "net/address.hpp"
#include "qkd004/key_service.hpp"

namespace qkd004::operations {

namespace {

bool matches(std::string_view pattern, std::string_view text) noexcept {
  if (!pattern.ends_with('*')) return pattern == text;
  pattern.remove_suffix(1);
  return text.starts_with(pattern);
}

bool is_loopback(std::string_view uri) {
  const auto from = net::parse_address(uri);
  if (!from) return false;
  std::error_code error;
  const auto number = asio::ip::make_address(from->host, error);
  if (error) return false;
  if (number.is_v6() && number.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, number.to_v6()).is_loopback();
  }
  return number.is_loopback();
}

}  // namespace

sight viewers::of(const net::http::request& r) const {
  if (who == audience::nobody) return sight::nothing;
  const auto identity = net::identity_of(r.principal);
  const bool is_operator = std::any_of(operators.begin(), operators.end(), [&](const std::string& pattern) {
    return !identity.empty() && matches(pattern, identity);
  });
  if (is_operator) return sight::all_streams;
  const bool sees = who == audience::everyone ||
                    (who >= audience::authenticated && r.principal != anonymous_principal) ||
                    (who >= audience::loopback && is_loopback(r.remote));
  return sees ? sight::own_streams : sight::nothing;
}

bool is_cross_site(const net::http::request& r) noexcept {
  const auto site = r.value_of("Sec-Fetch-Site");
  return site == "cross-site" || site == "same-site";
}

}  // namespace qkd004::operations
