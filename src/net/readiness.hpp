// readiness: which of many descriptors may be read or written, told in batches: Asio is asked once for all of them,
// not once for each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>

namespace qkd004::net {

/// One epoll set, itself watched by an io_context. With a wait of Asio's for each connection every request costs one
/// more system call (a tenth of its processor time), and each wait its memory.
/// Threads: one at a time.
class readiness {
 public:
  static constexpr std::uint32_t input = EPOLLIN;
  static constexpr std::uint32_t output = EPOLLOUT;
  /// Comes unasked.
  static constexpr std::uint32_t broken = EPOLLERR | EPOLLHUP;

  /// Throws std::system_error when the system has no descriptor left.
  explicit readiness(asio::io_context& context);

  /// `who` comes back with the events, until remove().
  [[nodiscard]] std::error_code add(int descriptor, void* who, std::uint32_t events) noexcept;
  void change(int descriptor, void* who, std::uint32_t events) noexcept;
  /// Before the descriptor is closed: that alone does not do it while a child of fork() has a copy, and then `who`
  /// would come back when it is gone.
  void remove(int descriptor) noexcept;

  /// Calls `ready` once, without arguments but for an error, when take() may have something.
  template <class Handler>
  void async_wait(Handler ready) {
    set_.async_wait(asio::posix::stream_descriptor::wait_read, std::move(ready));
  }
  /// Those that are ready, as many as one batch takes. Lifetime: until the next take().
  [[nodiscard]] std::span<const epoll_event> take() noexcept;
  void cancel();

 private:
  asio::posix::stream_descriptor set_;
  std::array<epoll_event, 64> events_{};
};

}  // namespace qkd004::net
