// client: what a qkd004_client stands for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "gate.hpp"
#include "handle.hpp"
#include "qkd004/client.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::capi {

class stream_object;

/// Every call goes through a client of its own, so that it, and the stream that comes of it, can be cancelled alone.
class client_object final : public object {
 public:
  client_object(std::shared_ptr<exchange> way, secret_arena memory, domain managers = nullptr)
      : calls{std::move(managers)}, way_{std::move(way)}, memory_{std::move(memory)} {}

  /// One call of this handle, by way of a client that cancel_calls() finds.
  class asking {
   public:
    explicit asking(client_object& of) : visit_{of.calls}, of_{of}, client_{of.way_, of.memory_} {
      const std::lock_guard lock{of_.mutex_};
      of_.asking_.push_back(&client_);
    }
    asking(const asking&) = delete;
    asking& operator=(const asking&) = delete;
    ~asking() {
      const std::lock_guard lock{of_.mutex_};
      std::erase(of_.asking_, &client_);
    }
    client* operator->() noexcept { return &client_; }

   private:
    gate::visit visit_;
    client_object& of_;
    client client_;
  };

  /// Those of this handle, without its streams.
  void cancel_calls() {
    const std::lock_guard lock{mutex_};
    for (client* const c : asking_) c->cancel();
  }
  void cancel_streams();
  void opened(const std::shared_ptr<stream_object>& s);

  [[nodiscard]] const std::shared_ptr<exchange>& way() const noexcept { return way_; }

  gate calls;

 private:
  const std::shared_ptr<exchange> way_;
  const secret_arena memory_;
  std::mutex mutex_;
  std::vector<client*> asking_;
  std::vector<std::weak_ptr<stream_object>> streams_;
  std::size_t sweep_at_ = 16;
};

/// Hands a client out.
void give(std::shared_ptr<exchange> way, secret_arena memory, domain managers, qkd004_client*& out);

}  // namespace qkd004::capi
