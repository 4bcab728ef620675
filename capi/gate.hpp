// gate: who is inside the calls of an object, so that its end can call them back and wait for them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "error.hpp"

namespace qkd004::capi {

/// What this thread is in the middle of, from the innermost on: calls of objects, and callbacks of the application. A
/// callback may call again, but not what would wait for its own return.
class frame {
 public:
  explicit frame(const void* of) noexcept : of_{of}, outer_{innermost} { innermost = this; }
  frame(const frame&) = delete;
  frame& operator=(const frame&) = delete;
  ~frame() { innermost = outer_; }

  [[nodiscard]] static bool inside(const void* of) noexcept {
    if (of == nullptr) return false;
    for (const frame* f = innermost; f != nullptr; f = f->outer_) {
      if (f->of_ == of) return true;
    }
    return false;
  }

 private:
  static thread_local const frame* innermost;
  const void* of_;
  const frame* outer_;
};

/// Key managers that run in their callers' threads, under a lock: while they call a key source of the application, that
/// must not call them.
using domain = std::shared_ptr<const char>;

class gate {
 public:
  explicit gate(domain d = nullptr) : domain_{std::move(d)} {}

  /// One call. Throws refusal: -ECANCELED once the object ends, -EDEADLK.
  class visit {
   public:
    explicit visit(gate& g) : gate_{g}, frame_{&g} { g.enter(); }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() { gate_.leave(); }

   private:
    gate& gate_;
    frame frame_;
  };

  /// The gate is shut while this lives, and open again afterwards: the object's end came to nothing.
  class closure {
   public:
    explicit closure(gate& g) noexcept : gate_{&g} {}
    closure(closure&& other) noexcept : gate_{std::exchange(other.gate_, nullptr)} {}
    closure& operator=(closure&&) = delete;
    ~closure() {
      if (gate_ != nullptr) gate_->open();
    }
    /// For good: the object has ended.
    void keep() noexcept { gate_ = nullptr; }

   private:
    gate* gate_;
  };

  /// Lets nobody in any more, and calls `cancel` until all have left. Throws refusal: -ECANCELED if another thread is at
  /// it, -EDEADLK if this one is inside.
  template <class Cancel>
  [[nodiscard]] closure shut(Cancel&& cancel) {
    refuse_deadlock();
    if (frame::inside(this)) throw refusal{-EDEADLK, "from a callback of the object itself"};
    closure closed = let_nobody_in();
    std::unique_lock lock{mutex_};
    while (inside_ != 0) {
      lock.unlock();
      cancel();
      lock.lock();
      // again: who was on the way to wait when it was called off waits now
      left_.wait_for(lock, std::chrono::milliseconds{1}, [this] { return inside_ == 0; });
    }
    return closed;
  }

  [[nodiscard]] bool is_shut() {
    const std::lock_guard lock{mutex_};
    return shut_;
  }

  void refuse_deadlock() const {
    if (frame::inside(domain_.get())) throw refusal{-EDEADLK, "from a key source of this key manager"};
  }

  [[nodiscard]] const domain& managers() const noexcept { return domain_; }

 private:
  [[nodiscard]] closure let_nobody_in() {
    const std::lock_guard lock{mutex_};
    if (shut_) throw refusal{-ECANCELED, "the object is being ended"};
    shut_ = true;
    return closure{*this};
  }
  void open() noexcept {
    const std::lock_guard lock{mutex_};
    shut_ = false;
  }
  void enter() {
    refuse_deadlock();
    const std::lock_guard lock{mutex_};
    if (shut_) throw refusal{-ECANCELED, "the object is being ended"};
    inside_ += 1;
  }
  void leave() noexcept {
    const std::lock_guard lock{mutex_};
    inside_ -= 1;
    if (inside_ == 0) left_.notify_all();
  }

  const domain domain_;
  std::mutex mutex_;
  std::condition_variable left_;
  std::size_t inside_ = 0;
  bool shut_ = false;
};

}  // namespace qkd004::capi
