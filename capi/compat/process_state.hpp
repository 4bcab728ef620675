// process_state: the one hidden object of a library whose calls have no argument to carry it: made when it is
// first needed, ended with the process, and of no use after fork().
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

namespace qkd004::compat {

/// State has `static std::shared_ptr<State> make(std::string& said)`: null on failure, then `said` is why; on
/// success `said` is empty, or what the user has to know. It goes to standard error, as these libraries have
/// no other way to say it. Threads: any number. A call that has its State keeps it, also while the process
/// ends.
template <class State>
class process_state {
 public:
  /// `at_exit` calls end(). It is registered when the state is there, so that it runs before what the state
  /// needs goes.
  constexpr process_state(const char* library, void (*at_exit)()) noexcept
      : library_{library}, at_exit_{at_exit} {}
  process_state(const process_state&) = delete;
  process_state& operator=(const process_state&) = delete;

  /// At exit() and dlclose(). A child must not end what its parent goes on with.
  void end() noexcept {
    if (maker_.load(std::memory_order_relaxed) != ::getpid()) return;
    const std::lock_guard lock{mutex_};
    over_ = true;
    delete std::exchange(state_, nullptr);
  }

  /// What `call` comes to, which has the state and returns a result of qkd004.h; minus an errno where there is none.
  /// Nothing is thrown across the C interface.
  template <class Call>
  [[nodiscard]] int with(Call&& call) noexcept try {
    int failed = 0;
    const std::shared_ptr<State> state = get(failed);
    return state ? std::forward<Call>(call)(*state) : failed;
  } catch (const std::exception&) {  // no memory
    return -ENOMEM;
  }

 private:
  /// The state, or null, and then `error` is minus an errno: -EPERM in a child of the process that made it.
  [[nodiscard]] std::shared_ptr<State> get(int& error) noexcept try {
    // Before the lock, which in a child may be held by a thread that is not there. Relaxed: a child has one
    // thread, and within a process everybody reads 0 or the same number.
    const pid_t here = ::getpid();
    pid_t maker = 0;
    if (!maker_.compare_exchange_strong(maker, here, std::memory_order_relaxed) && maker != here) {
      error = -EPERM;
      return nullptr;
    }
    const std::lock_guard lock{mutex_};
    if (state_ == nullptr && !over_) {
      maker_.store(here, std::memory_order_relaxed);  // whoever failed while we waited has taken it back
      std::string said;
      auto made = State::make(said);
      if (made) state_ = new std::shared_ptr<State>{std::move(made)};
      if (state_ != nullptr) std::atexit(at_exit_);
      tell(said);
    }
    if (state_ != nullptr) return *state_;
    maker_.store(0, std::memory_order_relaxed);  // there is nothing that a child could have in common with us
    error = over_ ? -ESHUTDOWN : -ENOTCONN;
    return nullptr;
  } catch (const std::bad_alloc&) {
    error = -ENOMEM;
    return nullptr;
  }

  /// A program that tries again and again is told once.
  void tell(const std::string& said) noexcept {
    if (said.empty() || std::strncmp(told_, said.c_str(), sizeof told_ - 1) == 0) return;
    std::strncpy(told_, said.c_str(), sizeof told_ - 1);
    std::fprintf(stderr, "%s: %s\n", library_, said.c_str());
  }

  const char* const library_;
  void (*const at_exit_)();
  std::atomic<pid_t> maker_{0};
  std::mutex mutex_;
  std::shared_ptr<State>* state_ = nullptr;  ///< a plain pointer: in a child it stays
  bool over_ = false;
  char told_[512] = {};
};

}  // namespace qkd004::compat
