// SPDX-License-Identifier: Apache-2.0
#include "net/channel.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "qkd004/key_service.hpp"

namespace qkd004::net {

channel::channel(int descriptor, scheme kind, protocol spoken) noexcept
    : descriptor_{descriptor}, kind_{kind}, spoken_{spoken} {
  if (descriptor_ >= 0) ::fcntl(descriptor_, F_SETFD, FD_CLOEXEC);
}

channel& channel::operator=(channel&& other) noexcept {
  if (this == &other) return *this;
  close();
  descriptor_ = std::exchange(other.descriptor_, -1);
  kind_ = other.kind_;
  spoken_ = other.spoken_;
  error_ = other.error_;
  tls_ = std::move(other.tls_);
  return *this;
}

result<void> channel::accept(const tls_context& context) {
  tls_ = context.accept(descriptor_);
  if (!tls_) return std::make_error_code(std::errc::not_enough_memory);
  return {};
}

result<void> channel::dial(const tls_context& context, tls_expectation expected) {
  tls_ = context.dial(descriptor_, std::move(expected));
  if (!tls_) return std::make_error_code(std::errc::not_enough_memory);
  return {};
}

void channel::end_output() noexcept {
  if (tls_) tls_->end();
  if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_WR);
}

void channel::end() noexcept {
  if (tls_) tls_->end();
  if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_RDWR);
}

void channel::close() noexcept {
  if (descriptor_ >= 0 && tls_) tls_->end();
  abandon();
}

void channel::abandon() noexcept {
  if (descriptor_ < 0) return;
  tls_.reset();
  ::close(std::exchange(descriptor_, -1));
}

io_failure channel::failure() const {
  if (tls_ && tls_->failure().error) return tls_->failure();
  const std::error_code error{error_, std::system_category()};
  return {error, error.message()};
}

std::string channel::remote() const {
  if (kind_ == scheme::unix_socket) {
    const auto process = uid();
    return process ? "unix:uid:" + std::to_string(*process) : std::string{};
  }
  endpoint other;
  auto size = static_cast<socklen_t>(other.capacity());
  if (::getpeername(descriptor_, other.data(), &size) != 0) return {};
  other.resize(size);
  return to_uri(other, kind_, spoken_);
}

std::string channel::principal() const {
  if (tls_) return "tls:" + tls_->name();
  if (kind_ == scheme::unix_socket) {
    const auto process = uid();
    return "unix:uid:" + (process ? std::to_string(*process) : std::string{"unknown"});
  }
  return std::string{anonymous_principal};
}

std::optional<uid_t> channel::uid() const noexcept {
  if (kind_ != scheme::unix_socket) return std::nullopt;
  ucred process{};
  socklen_t size = sizeof process;
  if (::getsockopt(descriptor_, SOL_SOCKET, SO_PEERCRED, &process, &size) != 0) return std::nullopt;
  return process.uid;
}

}  // namespace qkd004::net
