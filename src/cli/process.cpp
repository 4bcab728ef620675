// SPDX-License-Identifier: Apache-2.0
#include "cli/process.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <system_error>
#include <utility>

namespace qkd004::cli {

namespace {

using clock = std::chrono::steady_clock;

std::error_code last_error() { return {errno, std::generic_category()}; }

struct pipe_ends {
  int read = -1;
  int write = -1;

  pipe_ends() = default;
  pipe_ends(const pipe_ends&) = delete;
  pipe_ends& operator=(const pipe_ends&) = delete;
  ~pipe_ends() {
    if (read >= 0) ::close(read);
    if (write >= 0) ::close(write);
  }
  bool open() {
    int both[2];
    if (::pipe2(both, O_CLOEXEC) != 0) return false;
    read = both[0];
    write = both[1];
    return true;
  }
};

/// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become(const char* program, char* const* arguments, const int (&descriptors)[3],
                         pid_t parent) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // whatever becomes of the parent, it does not leave this one behind
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() == parent) {
    for (int i = 0; i < 3; ++i) {
      if (::dup2(descriptors[i], i) < 0) ::_exit(127);
    }
    ::execv(program, arguments);
  }
  ::_exit(127);
}

int milliseconds_until(clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 3'600'000));
}

}  // namespace

result<process> process::start(const process_options& options) {
  pipe_ends in;
  pipe_ends out;
  pipe_ends log;
  if (!in.open() || !out.open()) return last_error();
  log.write = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (log.write < 0) return last_error();
  if (::fcntl(out.read, F_SETFL, O_NONBLOCK) != 0) return last_error();

  std::vector<std::string> words{"qkd004"};
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int descriptors[3] = {in.read, out.write, log.write};

  const pid_t parent = ::getpid();
  const pid_t id = ::fork();
  if (id < 0) return last_error();
  if (id == 0) become(options.program.c_str(), arguments.data(), descriptors, parent);

  process child;
  child.id_ = id;
  child.in_ = std::exchange(in.write, -1);
  child.out_ = std::exchange(out.read, -1);
  child.log_ = options.log;
  return child;
}

process::process(process&& other) noexcept { *this = std::move(other); }

process& process::operator=(process&& other) noexcept {
  if (this == &other) return *this;
  release();
  id_ = std::exchange(other.id_, -1);
  in_ = std::exchange(other.in_, -1);
  out_ = std::exchange(other.out_, -1);
  buffer_ = std::move(other.buffer_);
  log_ = std::move(other.log_);
  exit_ = std::exchange(other.exit_, std::nullopt);
  return *this;
}

process::~process() { release(); }

void process::release() noexcept {
  if (id_ > 0 && !exit_) {
    ::kill(id_, SIGKILL);
    while (::waitpid(id_, nullptr, 0) < 0 && errno == EINTR) {}
  }
  if (in_ >= 0) ::close(in_);
  if (out_ >= 0) ::close(out_);
  id_ = in_ = out_ = -1;
}

void process::tell(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(in_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void process::signal(int number) const {
  if (id_ > 0 && !exit_) ::kill(id_, number);
}

void process::read_some() {
  char part[16384];
  while (out_ >= 0) {
    const ssize_t got = ::read(out_, part, sizeof part);
    if (got > 0) {
      buffer_.append(part, static_cast<std::size_t>(got));
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    ::close(out_);
    out_ = -1;
  }
}

std::optional<std::string> process::take_line() {
  auto end = buffer_.find('\n');
  if (end == std::string::npos) {
    read_some();
    end = buffer_.find('\n');
  }
  if (end == std::string::npos) {
    if (out_ >= 0 || buffer_.empty()) return std::nullopt;
    end = buffer_.size();  // the last line, without its end
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

std::optional<std::string> process::wait_line(std::chrono::milliseconds most) {
  const auto deadline = clock::now() + most;
  process* const self = this;
  for (;;) {
    if (auto line = take_line()) return line;
    if (at_end() || clock::now() >= deadline) return std::nullopt;
    wait_any(std::span{&self, 1}, -1, std::chrono::milliseconds{milliseconds_until(deadline)});
  }
}

std::optional<int> process::wait_exit(std::chrono::milliseconds most) {
  const auto deadline = clock::now() + most;
  while (!exit_) {
    int state = 0;
    const pid_t ended = ::waitpid(id_, &state, WNOHANG);
    if (ended == id_) {
      exit_ = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
      break;
    }
    if (ended < 0 && errno != EINTR) exit_ = -1;  // somebody else waited for it
    if (clock::now() >= deadline) break;
    // nothing that can be waited for with a deadline everywhere: a pidfd needs Linux 5.3
    const timespec pause{0, 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return exit_;
}

void process::wait_any(std::span<process* const> which, int other, std::chrono::milliseconds most) {
  std::vector<pollfd> descriptors;
  for (const process* p : which) {
    if (p->out_ >= 0) descriptors.push_back({p->out_, POLLIN, 0});
  }
  if (other >= 0) descriptors.push_back({other, POLLIN, 0});
  ::poll(descriptors.data(), descriptors.size(), milliseconds_until(clock::now() + most));
}

std::string tail_of(const std::string& path, std::size_t lines) {
  std::ifstream in{path};
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    last.push_back(std::move(line));
    if (last.size() > lines) last.pop_front();
  }
  std::string text;
  for (const auto& line : last) text += "  " + line + "\n";
  return text;
}

}  // namespace qkd004::cli
