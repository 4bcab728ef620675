// system_random: octets from the operating system's generator, the only randomness that may become key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <system_error>

namespace qkd004 {

/// Fills `out`. Waits only while the system's generator was never seeded (early in the machine's start).
/// Throws std::system_error when the system has no generator: there is nothing sensible to go on with.
/// Threads: any number.
inline void system_random(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw std::system_error{errno, std::generic_category(), "getrandom"};
    }
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace qkd004
