// service_process: the program as a service manager starts it, with an environment, listening sockets, and a socket on
// which it is heard.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/site_pair.hpp"

namespace qkd004::cli::test {

class descriptor {
 public:
  explicit descriptor(int number) : number_{number} { REQUIRE(number >= 0); }
  descriptor(descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int get() const noexcept { return number_; }

 private:
  int number_;
};

/// A Unix socket, at a path or, with '@' in front, at an abstract name.
inline descriptor unix_socket(int type, const std::string& name) {
  descriptor made{::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)};
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  REQUIRE(name.size() < sizeof where.sun_path);
  std::memcpy(where.sun_path, name.data(), name.size());
  const bool abstract = name.front() == '@';
  if (abstract) where.sun_path[0] = '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1));
  REQUIRE(::bind(made.get(), reinterpret_cast<const sockaddr*>(&where), size) == 0);
  return made;
}

/// A TCP or UDP socket that is bound, and does not listen.
struct bound_port {
  explicit bound_port(int type = SOCK_STREAM, in_addr_t at = INADDR_LOOPBACK)
      : socket{::socket(AF_INET, type | SOCK_CLOEXEC, 0)} {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(at);
    auto* const where = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket.get(), where, size) == 0);
    REQUIRE(::getsockname(socket.get(), where, &size) == 0);
  }
  [[nodiscard]] std::string uri(const std::string& scheme) const {
    return scheme + "://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  /// A connection, which waits in the backlog until somebody accepts it.
  [[nodiscard]] descriptor connected() const {
    descriptor made{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in where = address;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(made.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
    return made;
  }

  descriptor socket;
  sockaddr_in address{};
};

/// The other end of NOTIFY_SOCKET.
class notify_socket {
 public:
  explicit notify_socket(const std::string& name) : socket_{unix_socket(SOCK_DGRAM, name)} {}

  /// The next datagram; nothing if none comes.
  std::optional<std::string> next(std::chrono::milliseconds wait = patience) {
    pollfd ready{socket_.get(), POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(wait.count())) != 1) return std::nullopt;
    std::array<char, 4096> text{};
    const ssize_t size = ::recv(socket_.get(), text.data(), text.size(), 0);
    if (size < 0) return std::nullopt;
    return std::string{text.data(), static_cast<std::size_t>(size)};
  }

  /// Whether a datagram with that line comes.
  bool hears(std::string_view line) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto text = next();
      if (!text) return false;
      if (("\n" + *text).find("\n" + std::string{line} + "\n") != std::string::npos) return true;
    }
    return false;
  }

 private:
  descriptor socket_;
};

/// How it is started.
struct service_start {
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<int> sockets;  ///< from descriptor 3 on; with LISTEN_PID
  std::string log;           ///< file of standard error
  bool stderr_is_journal = false;
  std::optional<rlim_t> locked_memory;  ///< RLIMIT_MEMLOCK, and no capability to pass it
};

/// Ends with this object.
class service_process {
 public:
  explicit service_process(service_start with) : log_{std::move(with.log)} {
    std::vector<std::string> words{"qkd004"};
    words.insert(words.end(), with.arguments.begin(), with.arguments.end());
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const descriptor log{::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    const descriptor nowhere{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    struct stat found {};
    REQUIRE(::fstat(log.get(), &found) == 0);
    if (with.stderr_is_journal) {
      with.environment.emplace_back("JOURNAL_STREAM",
                                    std::to_string(found.st_dev) + ":" + std::to_string(found.st_ino));
    }
    id_ = ::fork();
    REQUIRE(id_ >= 0);
    if (id_ > 0) return;
    // the test has one thread: all may be called here
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool good = ::dup2(nowhere.get(), 0) == 0 && ::dup2(nowhere.get(), 1) == 1 && ::dup2(log.get(), 2) == 2;
    constexpr int aside = 200;
    for (std::size_t i = 0; i < with.sockets.size(); ++i) {
      good = good && ::dup2(with.sockets[i], aside + static_cast<int>(i)) > 0;
    }
    for (int i = 0; i < static_cast<int>(with.sockets.size()); ++i) {
      good = good && ::dup2(aside + i, 3 + i) == 3 + i && ::close(aside + i) == 0;
    }
    if (!with.sockets.empty()) {
      ::setenv("LISTEN_FDS", std::to_string(with.sockets.size()).c_str(), 1);
      ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    }
    for (const auto& [name, value] : with.environment) ::setenv(name.c_str(), value.c_str(), 1);
    if (with.locked_memory) {
      const rlimit limit{*with.locked_memory, *with.locked_memory};
      good = good && ::setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
      static_cast<void>(::prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK));  // who may not, has it not
    }
    if (good) ::execv(QKD004_PROGRAM, arguments.data());
    ::_exit(127);
  }
  service_process(const service_process&) = delete;
  service_process& operator=(const service_process&) = delete;
  ~service_process() {
    if (ended_) return;
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }

  [[nodiscard]] pid_t id() const noexcept { return id_; }
  void signal(int number) const { REQUIRE(::kill(id_, number) == 0); }

  /// Its exit code, once it has ended by itself; the test's time limit is what bounds that.
  int exit_code() {
    int state = 0;
    REQUIRE(::waitpid(id_, &state, 0) == id_);
    ended_ = true;
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  }
  [[nodiscard]] std::string log() const { return read_file(log_); }

 private:
  std::string log_;
  pid_t id_ = -1;
  bool ended_ = false;
};

}  // namespace qkd004::cli::test
