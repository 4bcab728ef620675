// The promise of the data path: while the ring is filled, GET_KEY in one process makes no system call.
#include <doctest/doctest.h>

#ifdef __linux__
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "qkd004/in_process.hpp"

namespace {

/// Runs `prepare` and then `quiet` in a child, the second where any system call but read, write and exit is death.
/// Returns how the child ended, as waitpid says it.
template <class Prepare>
int in_quiet_child(Prepare&& prepare) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto quiet = prepare();
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) ::_exit(2);
    const int code = quiet();
    ::syscall(SYS_exit, code);
  }
  int how = 0;
  ::waitpid(child, &how, 0);
  return how;
}

}  // namespace

TEST_CASE("key_stream: makes no system call while keys are there") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return;  // the sanitizers make their own
#endif
  const auto take_keys = [](int keys) {
    return [keys] {
      // the ring is made and filled in the child, as a fork would wipe it
      auto* ends = new auto(qkd004::pair());
      auto* stream = new auto(ends->first.open_connect({"qkd://alice@A", "qkd://bob@B"}).value());
      std::array<std::byte, 32> out{};
      (void)stream->next_key_into(out);
      return [stream, keys] {
        std::array<std::byte, 32> key{};
        for (int i = 0; i < keys; ++i) {
          if (!stream->next_key_into(key)) return 1;
        }
        return 0;
      };
    };
  };
  const int quiet = in_quiet_child(take_keys(127));
  CHECK(WIFEXITED(quiet));
  CHECK(WEXITSTATUS(quiet) == 0);
  // with no key left it has to wait, and dies of it: the trap works
  const int loud = in_quiet_child(take_keys(128));
  CHECK(WIFSIGNALED(loud));
  CHECK(WTERMSIG(loud) == SIGKILL);
}
#endif
