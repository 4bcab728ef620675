// SPDX-License-Identifier: Apache-2.0
#include "net/readiness.hpp"

#include <errno.h>

namespace qkd004::net {

namespace {

int make_set() {
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  if (set < 0) throw std::system_error{errno, std::system_category(), "epoll_create1"};
  return set;
}

}  // namespace

readiness::readiness(asio::io_context& context) : set_{context, make_set()} {}

std::error_code readiness::add(int descriptor, void* who, std::uint32_t events) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.ptr = who;
  if (::epoll_ctl(set_.native_handle(), EPOLL_CTL_ADD, descriptor, &event) == 0) return {};
  return {errno, std::system_category()};
}

void readiness::change(int descriptor, void* who, std::uint32_t events) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.ptr = who;
  ::epoll_ctl(set_.native_handle(), EPOLL_CTL_MOD, descriptor, &event);
}

void readiness::remove(int descriptor) noexcept {
  ::epoll_ctl(set_.native_handle(), EPOLL_CTL_DEL, descriptor, nullptr);
}

std::span<const epoll_event> readiness::take() noexcept {
  const int count = ::epoll_wait(set_.native_handle(), events_.data(), static_cast<int>(events_.size()), 0);
  return {events_.data(), count > 0 ? static_cast<std::size_t>(count) : 0};
}

void readiness::cancel() {
  std::error_code ignored;
  set_.cancel(ignored);
}

}  // namespace qkd004::net
