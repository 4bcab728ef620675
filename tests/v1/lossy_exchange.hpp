// lossy_exchange: a way to a key manager that loses requests or replies when a test says so.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <utility>
#include <variant>

#include "qkd004/exchange.hpp"

namespace test {

using namespace qkd004;

/// Passes calls on; the replies of some GET_KEYs get lost, or the requests do.
class lossy_exchange final : public exchange {
 public:
  explicit lossy_exchange(std::shared_ptr<exchange> via) : via_{std::move(via)} {}

  void start(std::span<call* const> calls) override {
    for (call* const c : calls) {
      const auto* get = std::get_if<get_key_request>(&c->request);
      int& left = lost_requests > 0 ? lost_requests : lost_replies;
      if (get == nullptr || left == 0) {
        via_->start(std::span{&c, 1});
        continue;
      }
      if (&left == &lost_replies) {
        call unseen;
        std::array<std::byte, 64> key{};
        unseen.request = *get;
        unseen.key_buffer = key;
        unseen.deadline = c->deadline;
        call* const one = &unseen;
        via_->start(std::span{&one, 1});
        via_->wait(unseen);
      }
      left -= 1;
      c->error = std::make_error_code(std::errc::connection_reset);
      c->complete();
    }
  }
  void wait(call& c) override {
    if (!c.done()) via_->wait(c);
  }
  void cancel(call& c) noexcept override { via_->cancel(c); }
  extensions supports() const override { return via_->supports(); }

  int lost_requests = 0;
  int lost_replies = 0;

 private:
  std::shared_ptr<exchange> via_;
};

}  // namespace test
