// One end of a link in a process of its own, two of them over a socket pair, and the most memory that each had.
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "evidence.hpp"
#include "software/two_distillers.hpp"

namespace qkd004::evidence {

namespace {

/// What a process tells of itself at its end.
struct outcome {
  std::uint64_t resident_kib = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bits = 0;
  sha256::digest key{};
};

/// VmHWM: the most that was resident since the process began.
std::uint64_t most_resident_kib() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6));
  }
  return 0;
}

/// Messages over a stream socket, each after its length.
class framed_socket {
 public:
  explicit framed_socket(int fd) : fd_{fd} { ::fcntl(fd, F_SETFL, O_NONBLOCK); }

  [[nodiscard]] std::size_t unsent() const noexcept { return out_.size() - sent_; }
  void send(std::span<const std::byte> message) {
    const auto length = static_cast<std::uint32_t>(message.size());
    std::array<std::byte, sizeof length> head;
    std::memcpy(head.data(), &length, sizeof length);
    out_.insert(out_.end(), head.begin(), head.end());
    out_.insert(out_.end(), message.begin(), message.end());
  }
  /// Carries on in both directions; each message that is complete goes to `use`. False: the other is gone.
  template <class Use>
  bool carry(int wait_ms, const Use& use) {
    pollfd p{fd_, static_cast<short>(POLLIN | (unsent() > 0 ? POLLOUT : 0)), 0};
    if (::poll(&p, 1, wait_ms) <= 0) return true;
    if ((p.revents & POLLOUT) != 0) {
      const ssize_t n = ::send(fd_, out_.data() + sent_, unsent(), MSG_NOSIGNAL);
      if (n > 0) sent_ += static_cast<std::size_t>(n);
      if (sent_ == out_.size()) {
        out_.clear();
        sent_ = 0;
      }
    }
    if ((p.revents & (POLLIN | POLLHUP)) == 0) return true;
    std::array<std::byte, 65'536> some;
    const ssize_t n = ::recv(fd_, some.data(), some.size(), 0);
    if (n == 0) return false;
    if (n > 0) in_.insert(in_.end(), some.begin(), some.begin() + n);
    std::size_t at = 0;
    std::uint32_t length = 0;
    while (in_.size() - at >= sizeof length) {
      std::memcpy(&length, in_.data() + at, sizeof length);
      if (in_.size() - at - sizeof length < length) break;
      use(std::span{in_}.subspan(at + sizeof length, length));
      at += sizeof length + length;
    }
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(at));
    return true;
  }

 private:
  int fd_;
  std::vector<std::byte> out_;
  std::size_t sent_ = 0;
  std::vector<std::byte> in_;
};

outcome distil(const arguments& a, software::side which, int fd) {
  using namespace software;
  expander random{two_distillers::seed_of(a.seed), 1};
  distiller end{
      {a.link, which, [&](std::span<std::byte> out) { random.fill(out); }, [] { return boot_clock::now(); }},
      made_pool(a.seed, 4'096)};
  key_source_session session;
  session.link = "memory";
  if (!end.start(session)) return {};
  framed_socket channel{fd};
  outcome o;
  sha256 hash;
  // as many blocks as are in work at a time, and one that is begun when there is room for it again
  const std::uint64_t wanted = a.link.blocks_in_flight + 1;
  bool connected = true;
  while (connected && !end.failure()) {
    const bool worked = end.work(channel.unsent());
    for (auto& message : std::exchange(end.messages(), {})) channel.send(message);
    while (auto made = end.take()) {
      if (o.blocks == wanted) break;  // Alice is ahead, and what she goes on with is cut off
      hash.add(std::as_bytes(made->key.words()));
      o.blocks += 1;
      o.bits += made->key.size();
      if (o.blocks == wanted) {
        o.key = hash.finish();
        o.resident_kib = most_resident_kib();
      }
    }
    if (o.blocks >= wanted && channel.unsent() == 0) {
      // Alice has it first: Bob's comes with her last message
      ::shutdown(fd, SHUT_WR);
      if (which == side::bob) break;
    }
    connected = channel.carry(worked ? 0 : 100, [&](std::span<const std::byte> m) { end.receive(m); });
  }
  return o;
}

}  // namespace

int memory(const arguments& a) {
  std::array<int, 2> between{};
  std::array<int, 2> told{};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, between.data()) != 0) return 2;
  std::array<outcome, 2> outcomes{};
  std::array<std::array<int, 2>, 2> pipes{};
  std::array<pid_t, 2> children{};
  for (const std::size_t i : {0U, 1U}) {
    if (::pipe(told.data()) != 0) return 2;
    pipes[i] = told;
    children[i] = ::fork();
    if (children[i] < 0) return 2;
    if (children[i] == 0) {
      ::close(between[1 - i]);
      const outcome o = distil(a, i == 0 ? software::side::alice : software::side::bob, between[i]);
      const bool said = ::write(told[1], &o, sizeof o) == static_cast<ssize_t>(sizeof o);
      ::_exit(said ? 0 : 2);
    }
    ::close(told[1]);
  }
  for (const int fd : between) ::close(fd);
  bool good = true;
  for (const std::size_t i : {0U, 1U}) {
    outcome& o = outcomes[i];
    good &= ::read(pipes[i][0], &o, sizeof o) == static_cast<ssize_t>(sizeof o);
    ::waitpid(children[i], nullptr, 0);
    std::printf("%s: %llu blocks, %llu bits of simulated key, at most %llu MiB resident\n",
                i == 0 ? "Alice" : "Bob", static_cast<unsigned long long>(o.blocks),
                static_cast<unsigned long long>(o.bits),
                static_cast<unsigned long long>(o.resident_kib >> 10));
    good &= o.resident_kib > 0 && o.resident_kib <= a.largest_mib << 10;
  }
  good &= outcomes[0].bits > 0 && outcomes[0].bits == outcomes[1].bits && outcomes[0].key == outcomes[1].key;
  std::puts(good ? "equal keys, within the bound" : "NOT as it must be");
  return good ? 0 : 1;
}

}  // namespace qkd004::evidence
