// polled_exchange: an exchange over sockets that has no thread: of the callers in wait() one polls for all, or an event
// loop in drive() does. What is said on its connections is of those who derive from it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "net/address.hpp"
#include "net/client_socket.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::net {

/// Of the callers in wait(), one polls for all, and those whose answers it reads are woken; when its own is there, it
/// hands over to another. A call costs one write, one poll and one read, and no thread changes when there is one caller.
/// Everything happens in mutex_, but the poll itself. Who derives ends his connections before he goes.
class polled_exchange : public exchange {
 public:
  ~polled_exchange() override;

  void start(std::span<call* const> calls) final;
  void wait(call& c) final;
  void wait_until(call& c, time_point until) final;
  void cancel(call& c) noexcept final;
  time_point drive(time_point now) final;
  [[nodiscard]] int descriptor() final;
  void wake() noexcept final;

 protected:
  using socket_ptr = std::shared_ptr<client_socket>;
  using unique_lock = std::unique_lock<std::mutex>;

  polled_exchange(address to, std::shared_ptr<const tls_context> tls, secret_arena arena,
                  const connect_options& options);

  /// \name What is said; in the mutex
  ///@{
  /// Appends these requests and sends what goes; those that cannot be said are done.
  virtual void ask(std::span<call* const> calls) = 0;
  /// Adds those that are not over.
  virtual void connections(std::vector<socket_ptr>& to) = 0;
  /// Nobody waits for the call any more but its heir, if it has one. It is done next, by `why`.
  virtual void forget(call& c, std::error_code why) = 0;
  /// Ends what is late; at time_point::min() that is nothing. Returns when to ask again.
  virtual time_point expire(time_point now) = 0;
  ///@}

  /// Before the first connection: where it leads.
  [[nodiscard]] result<void> prepare(std::string* why);
  /// Polls until `settled`, or the deadline. Returns false if a waiting_hook ended that.
  [[nodiscard]] bool open_until(unique_lock& lock, time_point deadline, const std::function<bool()>& settled);
  /// Fills `why`, and gives the error back.
  std::error_code cannot_connect(std::string* why, const std::string& because, std::error_code error) const;

  /// Where the next connection leads; after connection_failed() a name is looked up anew.
  [[nodiscard]] client_socket::target next_target();
  void connection_failed() noexcept { endpoints_failed_ = true; }
  /// Whether a second has passed since this was asked last: whoever was there may have gone.
  [[nodiscard]] bool has_rested() noexcept;

  /// Polls once, for everybody; without the mutex while it sleeps. Returns false if a signal ended that.
  bool poll_once(unique_lock& lock, time_point until);
  /// Whoever leaves with nobody polling wakes one who still waits.
  void hand_over();
  /// What is wanted of the connections may be something else now: those who watch them hear of it.
  void changed();
  /// The call is its owner's again after this.
  void done(call& c, std::error_code error);

  [[nodiscard]] bool is_driven() const noexcept { return driven_; }

  const address address_;
  const secret_arena arena_;
  const connect_options options_;
  mutable std::mutex mutex_;

 private:
  /// A caller that sleeps in wait(), on its own stack.
  struct sleeper {
    call* for_what;
    std::condition_variable wake;
  };
  /// In the set that an event loop watches.
  struct watched_socket {
    socket_ptr what;
    client_socket::interest how;
  };

  void sleep(unique_lock& lock, call& c, time_point until);
  void give_up(call& c, std::error_code why);
  void watch();
  void wake_driver() noexcept;

  const std::shared_ptr<const tls_context> tls_;
  const reach allowed_;
  const tick_clock clock_;
  std::vector<endpoint> endpoints_;
  bool endpoints_failed_ = false;  ///< look the name up again
  time_point last_start_{};

  bool driven_ = false;                     ///< somebody polls, without the mutex
  std::vector<pollfd> polled_;              ///< of the one who polls
  std::vector<socket_ptr> polled_sockets_;  ///< the same
  std::vector<sleeper*> sleepers_;
  int wake_[2] = {-1, -1};  ///< a pipe: wakes the one who polls

  /// What an event loop watches: an epoll set with all connections, and an eventfd for wake().
  std::atomic<int> loop_{-1};
  std::atomic<int> signal_{-1};
  std::vector<watched_socket> watched_;
  std::vector<socket_ptr> current_;  ///< of changed() only
};

}  // namespace qkd004::net
