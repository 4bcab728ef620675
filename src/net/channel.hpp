// channel: one connected descriptor that never blocks, plain or under TLS: octets in, octets out, and who is there.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>
#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <sys/types.h>

#include "net/address.hpp"
#include "net/tls_session.hpp"

namespace qkd004::net {

/// What a plain socket does is inline, and one comparison away.
/// Threads: one at a time.
class channel {
 public:
  channel() noexcept = default;
  /// Takes a descriptor over. Programs that this one starts do not inherit it: Asio's come without that.
  channel(int descriptor, scheme kind, protocol spoken = protocol::frames) noexcept;
  channel(channel&& other) noexcept
      : descriptor_{std::exchange(other.descriptor_, -1)},
        kind_{other.kind_},
        spoken_{other.spoken_},
        error_{other.error_},
        tls_{std::move(other.tls_)} {}
  channel& operator=(channel&& other) noexcept;
  ~channel() { close(); }

  /// Puts TLS onto it; the handshake comes next. Returns not_enough_memory.
  [[nodiscard]] result<void> accept(const tls_context& context);
  [[nodiscard]] result<void> dial(const tls_context& context, tls_expectation expected);

  [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] scheme kind() const noexcept { return kind_; }
  [[nodiscard]] bool is_tls() const noexcept { return tls_ != nullptr; }

  /// Readiness has told that it may be read.
  void readable() noexcept {
    if (tls_) tls_->readable();
  }
  /// Until progress or failed. A plain channel has none.
  [[nodiscard]] io_state handshake() { return tls_ ? tls_->handshake() : io_state::progress; }

  /// What has come, as much as `into` holds.
  [[nodiscard]] io_result read(std::span<std::byte> into) { return tls_ ? tls_->read(into) : receive(into); }
  /// There is more to read, and no readiness will tell.
  [[nodiscard]] bool has_more() const noexcept { return tls_ && tls_->has_more(); }

  /// As much as is taken; the rest comes again, and more may stand behind it.
  [[nodiscard]] io_result write(std::span<const std::byte> octets) {
    if (tls_) return tls_->write(octets);
    const ssize_t taken = ::send(descriptor_, octets.data(), octets.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken >= 0) return {io_state::progress, static_cast<std::size_t>(taken)};
    return stopped(io_state::want_write);
  }

  /// Takes octets off the socket that nobody will look at. Same results as read().
  [[nodiscard]] io_result discard(std::span<std::byte> into) { return receive(into); }

  /// Says that this was all; reading goes on.
  void end_output() noexcept;
  /// Ends both ways, but keeps the descriptor for whoever is polling it.
  void end() noexcept;
  void close() noexcept;
  /// Closes without a word: in a child of fork(), where the connection is the parent's.
  void abandon() noexcept;

  /// After failed.
  [[nodiscard]] io_failure failure() const;

  /// The other end as a URI, empty when it is not known; a process on a Unix socket is `unix:uid:N`.
  [[nodiscard]] std::string remote() const;
  /// Who an application at the other end is; see site. Requires: a handshake that is over.
  [[nodiscard]] std::string principal() const;
  /// The SAN URI of the other end's certificate; empty if it has none or shows none.
  [[nodiscard]] std::string uri() const { return tls_ ? tls_->uri() : std::string{}; }
  /// Of the process at the other end of a Unix socket, when it connected or began to listen.
  [[nodiscard]] std::optional<uid_t> uid() const noexcept;

 private:
  [[nodiscard]] io_result receive(std::span<std::byte> into) noexcept {
    const ssize_t got = ::recv(descriptor_, into.data(), into.size(), MSG_DONTWAIT);
    if (got > 0) return {io_state::progress, static_cast<std::size_t>(got)};
    if (got == 0) return {io_state::closed, 0};
    return stopped(io_state::want_read);
  }
  [[nodiscard]] io_result stopped(io_state wanted) noexcept {
    if (errno == EAGAIN || errno == EINTR) return {wanted, 0};
    error_ = errno;
    return {io_state::failed, 0};
  }

  int descriptor_ = -1;
  scheme kind_ = scheme::plain;
  protocol spoken_ = protocol::frames;  ///< for remote() only
  int error_ = 0;                       ///< of the system, on a plain channel
  std::unique_ptr<tls_session> tls_;
};

}  // namespace qkd004::net
