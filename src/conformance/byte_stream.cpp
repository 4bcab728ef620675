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

#include "conformance/rest_stream.hpp"
#include "net/address.hpp"
#include "net/channel.hpp"
#include "net/tls_session.hpp"

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

  /// Gives the socket away.
  [[nodiscard]] int release() noexcept { return std::exchange(socket_, -1); }

 private:
  int socket_;
};

class tls_stream final : public byte_stream {
 public:
  explicit tls_stream(int socket) : channel_{socket, net::scheme::tls} {}

  /// `why` receives the fault of a handshake that comes to nothing.
  result<void> begin(const net::tls_context& own, net::tls_expectation expected, steady::time_point until,
                     std::string& why) {
    if (const auto made = channel_.dial(own, std::move(expected)); !made) {
      why = made.error().message();
      return made;
    }
    for (;;) {
      const auto state = channel_.handshake();
      if (state == net::io_state::progress) return {};
      if (state == net::io_state::failed) {
        why = channel_.failure().words;
        return channel_.failure().error;
      }
      if (!wait(state, until)) {
        why = text_of(ETIMEDOUT);
        return std::make_error_code(std::errc::timed_out);
      }
    }
  }

  bool send(std::span<const std::uint8_t> octets, steady::time_point until) override {
    auto left = std::as_bytes(octets);
    while (!left.empty()) {
      const auto [state, count] = channel_.write(left);
      left = left.subspan(count);
      if (state != net::io_state::progress && !wait(state, until)) return false;
    }
    return true;
  }

  std::optional<std::size_t> receive(std::span<std::byte> room, steady::time_point until) override {
    for (;;) {
      const auto [state, count] = channel_.read(room);
      if (state == net::io_state::progress) return count;
      if (state == net::io_state::closed || state == net::io_state::failed) return 0;
      if (!wait(state, until)) return std::nullopt;
    }
  }

  void end_sending() override { channel_.end_output(); }

  std::string refusal() const override {
    const auto failure = channel_.failure();
    return failure.error == std::errc::permission_denied ? failure.words : std::string{};
  }

 private:
  /// Until the next attempt is worth while. Returns false when the time has come first, or there is none.
  bool wait(net::io_state wanted, steady::time_point until) {
    if (wanted != net::io_state::want_read && wanted != net::io_state::want_write) return false;
    const bool read = wanted == net::io_state::want_read;
    if (!wait_for(channel_.descriptor(), read ? POLLIN : POLLOUT, until)) return false;
    if (read) channel_.readable();
    return true;
  }

  net::channel channel_;
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

/// Wherever it is.
result<std::unique_ptr<socket_stream>> connect_tcp(const net::address& address, const std::string& uri,
                                                   steady::time_point until, std::string& why) {
  const auto endpoints = net::resolve(address, net::reach::anywhere, &why);
  if (!endpoints) return endpoints.error();
  int error = EADDRNOTAVAIL;
  for (const auto& endpoint : *endpoints) {
    auto made = std::make_unique<socket_stream>(endpoint.address().is_v6() ? AF_INET6 : AF_INET);
    error = made->connect(reinterpret_cast<const sockaddr*>(endpoint.data()),
                          static_cast<socklen_t>(endpoint.size()), until);
    if (error == 0) return made;
  }
  why = "cannot connect to " + uri + ": " + text_of(error);
  return std::error_code{error, std::system_category()};
}

/// Frames, whatever carries them.
std::unique_ptr<byte_stream> spoken_as(std::unique_ptr<byte_stream> carrier, const net::address& to) {
  if (to.spoken == net::protocol::frames) return carrier;
  const bool v6 = to.host.find(':') != std::string::npos;
  return over_rest(std::move(carrier), (v6 ? "[" + to.host + "]" : to.host) + ":" + std::to_string(to.port));
}

}  // namespace

result<std::unique_ptr<byte_stream>> connect_plain(const std::string& uri, milliseconds timeout,
                                                   std::string& why) {
  const auto until = steady::now() + timeout;
  if (uri.starts_with("unix:")) return connect_unix(uri.substr(5), until, why);
  const auto address = net::parse_address(uri, &why);
  if (!address) return address.error();
  if (address->kind == net::scheme::tls) {
    why = uri + " is TLS, for which a certificate is needed";
    return status::invalid_argument;
  }
  auto made = connect_tcp(*address, uri, until, why);
  if (!made) return made.error();
  return spoken_as(std::move(*made), *address);
}

result<connector> connect_tls(const net::tls_options& own, expected_servers servers, std::string& why) {
  auto context = net::tls_context::make(own, &why);
  if (!context) return context.error();
  return connector{[context = std::move(*context), servers = std::move(servers)](
                       const std::string& uri, milliseconds timeout,
                       std::string& fault) -> result<std::unique_ptr<byte_stream>> {
    const auto until = steady::now() + timeout;
    const auto address = net::parse_address(uri, &fault);
    if (!address) return address.error();
    if (address->kind != net::scheme::tls) return connect_plain(uri, timeout, fault);
    const auto socket = connect_tcp(*address, uri, until, fault);
    if (!socket) return socket.error();
    auto made = std::make_unique<tls_stream>((*socket)->release());
    const auto known = servers.find(uri);
    const auto expected = known == servers.end() ? net::tls_expectation{{}, address->host}
                                                 : net::tls_expectation{known->second, {}};
    std::string words;
    if (const auto began = made->begin(*context, expected, until, words); !began) {
      fault = "cannot connect to " + uri + ": " + words;
      return began.error();
    }
    return spoken_as(std::move(made), *address);
  }};
}

}  // namespace qkd004::conformance
