// Key of a seeded run, both ends in one thread, for programs that read it from a pipe.
// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "evidence.hpp"
#include "software/two_distillers.hpp"

namespace qkd004::evidence {

int key(const arguments& a) {
  // even simulated key is never written where it would stay, or be looked at
  struct stat out {};
  if (::fstat(STDOUT_FILENO, &out) != 0 || !S_ISFIFO(out.st_mode)) {
    std::fputs("key: goes into a pipe only\n", stderr);
    return 2;
  }
  software::two_distillers w{a.link, a.seed};
  if (!w.start()) return 2;
  for (std::uint64_t left = a.octets; left > 0;) {
    w.run_for(1);
    if (w.of_alice.empty() || w.of_bob.empty() || !w.agree()) return 1;
    const auto octets = std::as_bytes(w.of_alice.front().key.words());
    const std::size_t whole = w.of_alice.front().key.size() / 8;
    auto rest = octets.first(std::min<std::size_t>(whole, left));
    left -= rest.size();
    while (!rest.empty()) {
      const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
      if (written <= 0) return 2;
      rest = rest.subspan(static_cast<std::size_t>(written));
    }
    w.of_alice.erase(w.of_alice.begin());
    w.of_bob.erase(w.of_bob.begin());
  }
  return 0;
}

}  // namespace qkd004::evidence
