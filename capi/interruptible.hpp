// interruptible: an exchange whose waiting calls can be called off all at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "qkd004/exchange.hpp"

namespace qkd004::capi {

/// For the calls of one object over an exchange that others use as well.
class interruptible final : public exchange {
 public:
  explicit interruptible(std::shared_ptr<exchange> inner) : inner_{std::move(inner)} {}

  void start(std::span<call* const> calls) override { inner_->start(calls); }
  void wait(call& c) override {
    const waiting here{*this, c};
    inner_->wait(c);
  }
  void cancel(call& c) noexcept override { inner_->cancel(c); }
  [[nodiscard]] extensions supports() const override { return inner_->supports(); }

  /// What waits at this moment.
  void cancel_all() {
    const std::lock_guard lock{mutex_};
    for (call* const c : waiting_) inner_->cancel(*c);
  }

 private:
  class waiting {
   public:
    waiting(interruptible& in, call& c) : in_{in}, call_{c} {
      const std::lock_guard lock{in_.mutex_};
      in_.waiting_.push_back(&call_);
    }
    waiting(const waiting&) = delete;
    waiting& operator=(const waiting&) = delete;
    ~waiting() {
      const std::lock_guard lock{in_.mutex_};
      std::erase(in_.waiting_, &call_);
    }

   private:
    interruptible& in_;
    call& call_;
  };

  const std::shared_ptr<exchange> inner_;
  std::mutex mutex_;
  std::vector<call*> waiting_;
};

}  // namespace qkd004::capi
