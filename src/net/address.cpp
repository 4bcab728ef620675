// SPDX-License-Identifier: Apache-2.0
#include "net/address.hpp"

#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/local/stream_protocol.hpp>

#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "qkd004/status.hpp"

namespace qkd004::net {

namespace {

constexpr std::string_view plain_scheme = "qkd004";
constexpr std::string_view tls_scheme = "qkd004s";
constexpr std::string_view unix_scheme = "unix";
constexpr std::string_view http_scheme = "http";
constexpr std::string_view https_scheme = "https";

/// Behind a scheme: the socket is not bound, it is given.
constexpr std::string_view given_suffix = "+systemd";

/// The system's bound, the NUL at the end not counted.
constexpr std::size_t longest_path = sizeof(sockaddr_un{}.sun_path) - 1;

std::string quoted(std::string_view text) { return "'" + std::string{text} + "'"; }

result<address> parse_path(std::string_view uri, std::string_view path, std::string* why) {
  if (path.starts_with("//")) path.remove_prefix(2);  // an empty host, as in unix:///run/x
  if (!path.starts_with('/') || path.ends_with('/') || path.find('\0') != std::string_view::npos) {
    return fail(why, quoted(uri) + " needs the path of a socket from the root, as in unix:/run/qkd004",
                status::invalid_argument);
  }
  if (path.size() > longest_path) {
    return fail(why,
                "the path of " + quoted(uri) +
                    " is too long for a Unix socket: " + std::to_string(path.size()) +
                    " octets, and at most " + std::to_string(longest_path) + " are possible",
                status::invalid_argument);
  }
  address a;
  a.kind = scheme::unix_socket;
  a.path = path;
  return a;
}

}  // namespace

result<address> parse_address(std::string_view uri, std::string* why) {
  const auto colon = uri.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return fail(why, quoted(uri) + " is not a URI such as qkd004://127.0.0.1:25575",
                status::invalid_argument);
  }
  const auto name = uri.substr(0, colon);
  std::string_view rest = uri.substr(colon + 1);
  if (name == unix_scheme) return parse_path(uri, rest, why);
  const bool is_http = name == http_scheme || name == https_scheme;
  if (name != plain_scheme && name != tls_scheme && !is_http) {
    return fail(why,
                "the scheme " + quoted(name) + " of " + quoted(uri) +
                    " is not supported; qkd004:// (TCP), qkd004s:// (TLS), unix:, http:// and https:// are",
                status::invalid_argument);
  }
  if (!rest.starts_with("//")) {
    return fail(why, quoted(uri) + " lacks the // after its scheme", status::invalid_argument);
  }
  rest.remove_prefix(2);
  if (rest.ends_with('/')) rest.remove_suffix(1);

  address a;
  a.kind = name == tls_scheme || name == https_scheme ? scheme::tls : scheme::plain;
  if (is_http) {
    a.spoken = protocol::http;
    a.port = a.kind == scheme::tls ? 443 : 80;
  }
  std::string_view port;
  if (rest.starts_with('[')) {
    const auto bracket = rest.find(']');
    if (bracket == std::string_view::npos) {
      return fail(why, quoted(uri) + " has [ without ]", status::invalid_argument);
    }
    a.host = rest.substr(1, bracket - 1);
    port = rest.substr(bracket + 1);
  } else {
    const auto end = rest.find(':');
    a.host = rest.substr(0, end);
    if (end != std::string_view::npos) port = rest.substr(end);
  }
  if (a.host.empty() || a.host.find_first_of("/@?# ") != std::string::npos) {
    return fail(why, quoted(uri) + " names no host", status::invalid_argument);
  }
  if (port.empty()) return a;
  const char* const last = port.data() + port.size();
  const auto [end, error] = std::from_chars(port.data() + 1, last, a.port);
  if (port.front() != ':' || port.size() == 1 || error != std::errc{} || end != last) {
    return fail(why, quoted(uri) + " has no port from 0 to 65535", status::invalid_argument);
  }
  return a;
}

bool is_number(const address& a) {
  std::error_code is_name;
  static_cast<void>(asio::ip::make_address(a.host, is_name));
  return !is_name;
}

std::string authority_of(const address& a) {
  const bool is_v6 = a.host.find(':') != std::string::npos;
  return (is_v6 ? "[" + a.host + "]" : a.host) + ":" + std::to_string(a.port);
}

result<address> parse_listener(std::string_view uri, std::string* why) {
  const auto colon = uri.find(':');
  const auto name = uri.substr(0, colon);
  if (colon == std::string_view::npos || !name.ends_with(given_suffix)) return parse_address(uri, why);
  address a;
  const auto scheme_name = name.substr(0, name.size() - given_suffix.size());
  if (scheme_name == unix_scheme) {
    a.kind = scheme::unix_socket;
  } else if (scheme_name == tls_scheme || scheme_name == https_scheme) {
    a.kind = scheme::tls;
  } else if (scheme_name != plain_scheme && scheme_name != http_scheme) {
    return fail(why,
                "the scheme " + quoted(scheme_name) + " of " + quoted(uri) +
                    " is not supported; qkd004+systemd:, qkd004s+systemd:, unix+systemd:, http+systemd: and "
                    "https+systemd: are",
                status::invalid_argument);
  }
  if (scheme_name == http_scheme || scheme_name == https_scheme) a.spoken = protocol::http;
  a.given = uri.substr(colon + 1);
  // as FileDescriptorName= of systemd.socket(5)
  const bool possible = std::all_of(a.given.begin(), a.given.end(),
                                    [](char c) { return c > 0x20 && c < 0x7f && c != ':' && c != '/'; });
  if (a.given.empty() || a.given.size() > 255 || !possible) {
    return fail(why, quoted(uri) + " needs the name of a socket, as in qkd004+systemd:applications",
                status::invalid_argument);
  }
  return a;
}

result<std::vector<asio::ip::tcp::endpoint>> resolve(const address& a, reach allowed, std::string* why) {
  std::vector<asio::ip::tcp::endpoint> endpoints;
  std::error_code error;
  if (const auto number = asio::ip::make_address(a.host, error); !error) {
    endpoints.emplace_back(number, a.port);
  } else {
    asio::io_context context;
    asio::ip::tcp::resolver resolver{context};
    const auto found =
        resolver.resolve(a.host, std::to_string(a.port), asio::ip::resolver_base::numeric_service, error);
    if (error) return fail(why, "cannot resolve " + quoted(a.host) + ": " + error.message(), error);
    for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  }
  for (const auto& where : endpoints) {
    if (allowed == reach::anywhere || a.kind == scheme::tls || where.address().is_loopback()) continue;
    return fail(why, "plain TCP off loopback (" + to_uri(where) + ") needs allow_insecure",
                status::invalid_argument);
  }
  return endpoints;
}

result<std::vector<endpoint>> endpoints_of(const address& a, reach allowed, std::string* why) {
  if (a.kind == scheme::unix_socket) {
    return std::vector<endpoint>{endpoint{asio::local::stream_protocol::endpoint{a.path}}};
  }
  const auto found = resolve(a, allowed, why);
  if (!found) return found.error();
  std::vector<endpoint> endpoints;
  for (const auto& where : *found) endpoints.emplace_back(where);
  return endpoints;
}

std::string to_uri(const asio::ip::tcp::endpoint& where, scheme kind, protocol spoken) {
  const std::string host = where.address().to_string();
  const bool secure = kind == scheme::tls;
  const auto name =
      spoken == protocol::http ? (secure ? https_scheme : http_scheme) : (secure ? tls_scheme : plain_scheme);
  return std::string{name} + "://" + (where.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(where.port());
}

std::string to_uri(const endpoint& where, scheme kind, protocol spoken) {
  if (kind == scheme::unix_socket) {
    sockaddr_un local{};  // zeros: whether the size counts the NUL or not
    std::memcpy(&local, where.data(), std::min(where.size(), sizeof local - 1));
    return std::string{unix_scheme} + ":" + local.sun_path;
  }
  asio::ip::tcp::endpoint tcp;
  if (where.size() > tcp.capacity()) return {};
  std::memcpy(tcp.data(), where.data(), where.size());
  return to_uri(tcp, kind, spoken);
}

}  // namespace qkd004::net
