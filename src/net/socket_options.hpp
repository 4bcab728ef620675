// socket_options: what every TCP connection of this library sets: no delay, and how a silent peer is noticed.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>

namespace qkd004::net {

/// A peer that does not answer the system's probes is gone after idle + probes x interval.
struct liveness {
  std::chrono::seconds idle;
  std::chrono::seconds interval;
  int probes;
};
inline constexpr liveness application_liveness{std::chrono::seconds{60}, std::chrono::seconds{10}, 6};
inline constexpr liveness peer_liveness{std::chrono::seconds{3}, std::chrono::seconds{1}, 4};

/// Best effort: an option that the system does not have is left out.
inline void set_options(int descriptor, const liveness& alive) noexcept {
  const auto set = [descriptor](int level, int name, int value) {
    static_cast<void>(::setsockopt(descriptor, level, name, &value, sizeof value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
  set(IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(alive.idle.count()));
  set(IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(alive.interval.count()));
  set(IPPROTO_TCP, TCP_KEEPCNT, alive.probes);
#endif
#ifdef TCP_USER_TIMEOUT
  // keepalive probes stop while octets are unacknowledged; this bounds that case
  set(IPPROTO_TCP, TCP_USER_TIMEOUT,
      static_cast<int>(std::chrono::milliseconds{alive.idle + alive.interval * alive.probes}.count()));
#endif
}

}  // namespace qkd004::net
