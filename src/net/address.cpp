// SPDX-License-Identifier: Apache-2.0
#include "net/address.hpp"

#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>

#include <charconv>
#include <utility>

#include "qkd004/status.hpp"

namespace qkd004::net {

namespace {

constexpr std::string_view tcp_scheme = "qkd004";

std::string quoted(std::string_view text) { return "'" + std::string{text} + "'"; }

}  // namespace

result<tcp_address> parse_address(std::string_view uri, std::string* why) {
  const auto colon = uri.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return fail(why, quoted(uri) + " is not a URI such as qkd004://127.0.0.1:25575",
                status::invalid_argument);
  }
  if (const auto scheme = uri.substr(0, colon); scheme != tcp_scheme) {
    return fail(
        why, "the scheme " + quoted(scheme) + " of " + quoted(uri) + " is not supported; qkd004:// (TCP) is",
        status::invalid_argument);
  }
  std::string_view rest = uri.substr(colon + 1);
  if (!rest.starts_with("//")) {
    return fail(why, quoted(uri) + " lacks the // after its scheme", status::invalid_argument);
  }
  rest.remove_prefix(2);
  if (rest.ends_with('/')) rest.remove_suffix(1);

  tcp_address address;
  std::string_view port;
  if (rest.starts_with('[')) {
    const auto bracket = rest.find(']');
    if (bracket == std::string_view::npos) {
      return fail(why, quoted(uri) + " has [ without ]", status::invalid_argument);
    }
    address.host = rest.substr(1, bracket - 1);
    port = rest.substr(bracket + 1);
  } else {
    const auto end = rest.find(':');
    address.host = rest.substr(0, end);
    if (end != std::string_view::npos) port = rest.substr(end);
  }
  if (address.host.empty() || address.host.find_first_of("/@?# ") != std::string::npos) {
    return fail(why, quoted(uri) + " names no host", status::invalid_argument);
  }
  if (port.empty()) return address;
  const char* const last = port.data() + port.size();
  const auto [end, error] = std::from_chars(port.data() + 1, last, address.port);
  if (port.front() != ':' || port.size() == 1 || error != std::errc{} || end != last) {
    return fail(why, quoted(uri) + " has no port from 0 to 65535", status::invalid_argument);
  }
  return address;
}

result<std::vector<asio::ip::tcp::endpoint>> resolve(const tcp_address& address, reach allowed,
                                                     std::string* why) {
  std::vector<asio::ip::tcp::endpoint> endpoints;
  std::error_code error;
  if (const auto number = asio::ip::make_address(address.host, error); !error) {
    endpoints.emplace_back(number, address.port);
  } else {
    asio::io_context context;
    asio::ip::tcp::resolver resolver{context};
    const auto found = resolver.resolve(address.host, std::to_string(address.port),
                                        asio::ip::resolver_base::numeric_service, error);
    if (error) return fail(why, "cannot resolve " + quoted(address.host) + ": " + error.message(), error);
    for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  }
  for (const auto& endpoint : endpoints) {
    if (allowed == reach::anywhere || endpoint.address().is_loopback()) continue;
    return fail(why, "plain TCP off loopback (" + to_uri(endpoint) + ") needs allow_insecure",
                status::invalid_argument);
  }
  return endpoints;
}

std::string to_uri(const asio::ip::tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return std::string{tcp_scheme} + "://" + (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(endpoint.port());
}

}  // namespace qkd004::net
