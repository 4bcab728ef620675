// turn: one handler of a site at a time, from its lock to the writes at its end; and what the connections of a site
// share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/readiness.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/secret.hpp"
#include "wire/out_buffer.hpp"

namespace qkd004::net {

class transport;

/// The turns of one site. A turn takes in what happened (octets, a timer, a new connection), and at its end sends what
/// has come of it: one write for each connection, however many requests were answered.
class turns : public std::enable_shared_from_this<turns> {
 public:
  turns(asio::io_context& context, secret_arena arena, const limits& bounds, site_timeouts wait);
  turns(const turns&) = delete;
  turns& operator=(const turns&) = delete;
  virtual ~turns();

  /// Runs `body` as a turn. Not from inside one.
  template <class Body>
  void run(const Body& body) {
    const std::lock_guard lock{mutex_};
    current_ = this;
    now_ = boot_clock::now();
    body();
    end_of_turn();
    current_ = nullptr;
  }

  /// Runs `body` in the turn that this thread is in, or soon in one of its own.
  template <class Body>
  void join(Body body) {
    if (current_ == this) return body();
    asio::post(context_, [self = shared_from_this(), body = std::move(body)]() mutable {
      self->run([&body] { body(); });
    });
  }

  [[nodiscard]] asio::io_context& context() noexcept { return context_; }
  [[nodiscard]] const limits& bounds() const noexcept { return bounds_; }
  [[nodiscard]] const site_timeouts& wait() const noexcept { return wait_; }
  [[nodiscard]] const secret_arena& arena() const noexcept { return arena_; }
  [[nodiscard]] time_point now() const noexcept { return now_; }  ///< of this turn
  [[nodiscard]] std::size_t transports() const noexcept { return transports_.size(); }

  /// Octets of secret answers that a connection may leave unread before nothing more is read from it.
  [[nodiscard]] std::size_t most_unsent() const noexcept { return most_unsent_; }

 protected:
  /// After the connections were settled. May leave some unsettled again: then they are, and this follows once more.
  virtual void on_settled() = 0;
  /// Last in a turn.
  virtual void on_turn_end() = 0;
  virtual void on_transport_gone() = 0;
  virtual void on_drop(const transport& which, const std::string& why) = 0;
  void fail_all(const std::string& why);

  std::mutex mutex_;

 private:
  static thread_local const turns* current_;  ///< whose turn this thread is in

  friend class transport;

  void end_of_turn();
  void settle_all();
  void add(std::shared_ptr<transport> t);
  void remove(transport& t);
  void unsettle(transport& t);

  [[nodiscard]] std::unique_ptr<wire::out_buffer> lend();
  void give_back(std::unique_ptr<wire::out_buffer> buffer);
  void count_parked(std::size_t& of_one, std::size_t octets);

  void await_ready();
  void on_ready();
  void watch(time_point deadline);
  void sweep();

  asio::io_context& context_;
  const secret_arena arena_;
  const limits bounds_;
  const site_timeouts wait_;
  const std::size_t most_unsent_;
  const std::size_t most_parked_;
  std::size_t parked_ = 0;
  time_point now_{};

  readiness ready_;
  bool awaiting_ = false;
  std::unordered_map<transport*, std::shared_ptr<transport>> transports_;
  std::vector<std::shared_ptr<transport>> gone_;  ///< until the turn ends
  std::vector<transport*> unsettled_;
  std::vector<std::byte> scratch_;  ///< what one read may bring
  std::vector<std::unique_ptr<wire::out_buffer>> spare_;
  asio::steady_timer sweeper_;
  bool sweeping_ = false;
};

}  // namespace qkd004::net
