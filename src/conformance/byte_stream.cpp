// SPDX-License-Identifier: Apache-2.0
#include "conformance/byte_stream.hpp"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "net/address.hpp"

namespace qkd004::conformance {

namespace {

std::string text_of(int error) { return std::system_category().message(error); }

/// Waits until the socket can be read or written. Returns false when the time has come first.
bool wait_for(int socket, short events, steady::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - steady::now()).count();
    pollfd one{socket, events, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::clamp<decltype(left)>(left, 0, 3'600'000)));
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

class socket_stream final : public byte_stream {
 public:
  explicit socket_stream(int family)
      : socket_{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)} {}
  ~socket_stream() override {
    if (socket_ >= 0) ::close(socket_);
  }

  /// Returns an error number, or 0.
  int connect(const sockaddr* address, socklen_t size, steady::time_point until) {
    if (socket_ < 0) return errno;
    if (::connect(socket_, address, size) != 0) {
      if (errno != EINPROGRESS) return errno;
      if (!wait_for(socket_, POLLOUT, until)) return ETIMEDOUT;
      int error = 0;
      socklen_t length = sizeof error;
      if (::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
      if (error != 0) return error;
    }
    const int on = 1;  // fails on a Unix socket, which needs it not
    static_cast<void>(::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    return 0;
  }

  bool send(std::span<const std::uint8_t> octets, steady::time_point until) override {
    while (!octets.empty()) {
      const ssize_t sent = ::send(socket_, octets.data(), octets.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        octets = octets.subspan(static_cast<std::size_t>(sent));
      } else if (errno == EAGAIN) {
        if (!wait_for(socket_, POLLOUT, until)) return false;
      } else if (errno != EINTR) {
        return false;
      }
    }
    return true;
  }

  std::optional<std::size_t> receive(std::span<std::byte> room, steady::time_point until) override {
    for (;;) {
      const ssize_t received = ::recv(socket_, room.data(), room.size(), 0);
      if (received >= 0) return static_cast<std::size_t>(received);
      if (errno == EAGAIN) {
        if (!wait_for(socket_, POLLIN, until)) return std::nullopt;
      } else if (errno != EINTR) {
        return 0;  // reset: the end as well
      }
    }
  }

  void end_sending() override { ::shutdown(socket_, SHUT_WR); }

 private:
  int socket_;
};

result<std::unique_ptr<byte_stream>> connect_unix(const std::string& path, steady::time_point until,
                                                  std::string& why) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    why = "a Unix socket's path has 1 to " + std::to_string(sizeof address.sun_path - 1) + " octets";
    return status::invalid_argument;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  auto made = std::make_unique<socket_stream>(AF_UNIX);
  const int error = made->connect(reinterpret_cast<const sockaddr*>(&address), sizeof address, until);
  if (error == 0) return std::unique_ptr<byte_stream>{std::move(made)};
  why = "cannot connect to unix:" + path + ": " + text_of(error);
  return std::error_code{error, std::system_category()};
}

}  // namespace

result<std::unique_ptr<byte_stream>> connect_plain(const std::string& uri, milliseconds timeout,
                                                   std::string& why) {
  const auto until = steady::now() + timeout;
  if (uri.starts_with("unix:")) return connect_unix(uri.substr(5), until, why);
  if (!uri.starts_with("qkd004:")) {
    why = "only qkd004:// (plain TCP) and unix: can be examined, not " + uri;
    return status::invalid_argument;
  }
  const auto address = net::parse_address(uri, &why);
  if (!address) return address.error();
  const auto endpoints = net::resolve(*address, net::reach::anywhere, &why);
  if (!endpoints) return endpoints.error();
  int error = EADDRNOTAVAIL;
  for (const auto& endpoint : *endpoints) {
    auto made = std::make_unique<socket_stream>(endpoint.address().is_v6() ? AF_INET6 : AF_INET);
    error = made->connect(reinterpret_cast<const sockaddr*>(endpoint.data()),
                          static_cast<socklen_t>(endpoint.size()), until);
    if (error == 0) return std::unique_ptr<byte_stream>{std::move(made)};
  }
  why = "cannot connect to " + uri + ": " + text_of(error);
  return std::error_code{error, std::system_category()};
}

}  // namespace qkd004::conformance
