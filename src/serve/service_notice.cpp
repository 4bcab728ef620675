// SPDX-License-Identifier: Apache-2.0
#include "serve/service_notice.hpp"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <system_error>
#include <utility>

namespace qkd004::serve {

service_notice::service_notice(asio::io_context& context, options o)
    : options_{std::move(o)}, timer_{context}, period_{options_.refresh} {
  // at half of the time: one beat may come late
  if (options_.watchdog.count() > 0) period_ = std::min(period_, options_.watchdog / 2);
  period_ = std::max(period_, std::chrono::microseconds{1'000});
  if (options_.socket.empty()) return;
  descriptor_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0) give_up(errno);
}

service_notice::~service_notice() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void service_notice::ready() {
  untold_.ready = true;
  tell();
  beat();
}

void service_notice::stopping() {
  timer_.cancel();
  untold_.stopping = true;
  untold_.alive = false;
  untold_.status = "ending";
  tell();
}

void service_notice::beat() {
  if (descriptor_ < 0 || untold_.stopping) return;
  options_.ask([this](std::string status) { answered(std::move(status)); });
}

void service_notice::answered(std::string status) {
  if (descriptor_ < 0 || untold_.stopping) return;
  // one line of the message: there may be names in it
  std::replace_if(
      status.begin(), status.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
      '?');
  untold_.alive = options_.watchdog.count() > 0;
  if (status != told_) untold_.status = told_ = std::move(status);
  tell();
  if (descriptor_ < 0) return;
  timer_.expires_after(period_);
  timer_.async_wait([this](const std::error_code& error) {
    if (!error) beat();
  });
}

void service_notice::tell() {
  if (descriptor_ < 0) return;
  std::string text;
  if (untold_.ready) text += "READY=1\n";
  if (untold_.stopping) text += "STOPPING=1\n";
  if (untold_.alive) text += "WATCHDOG=1\n";
  if (!untold_.status.empty()) text += "STATUS=" + untold_.status + "\n";
  if (text.empty()) return;

  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  const std::string& name = options_.socket;
  const bool abstract = name.front() == '@';
  // the NUL behind a path is part of it; an abstract name has one in front and none behind
  if ((name.front() != '/' && !abstract) || name.size() + (abstract ? 0 : 1) > sizeof where.sun_path) {
    return give_up(EINVAL);
  }
  std::memcpy(where.sun_path, name.data(), name.size());
  if (abstract) where.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1));
  const ssize_t sent = ::sendto(descriptor_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&where), size);
  if (sent >= 0) {
    const bool stopping = untold_.stopping;
    untold_ = {};
    untold_.stopping = stopping;
  } else if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
    give_up(errno);
  }
}

void service_notice::give_up(int error) {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  if (options_.lost) options_.lost(std::error_code{error, std::generic_category()}.message());
}

}  // namespace qkd004::serve
