// dialer: makes a connection to one address, and tries until there is one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "net/address.hpp"
#include "net/channel.hpp"
#include "net/turn.hpp"

namespace qkd004::net {

/// Threads: inside the turns of its site.
/// Order of calls: `(dial | dial_later)* stop`; not while it dials.
class dialer : public std::enable_shared_from_this<dialer> {
 public:
  struct options {
    net::address address;
    reach allowed = reach::loopback;
    std::chrono::milliseconds timeout{5'000};
    std::function<void(channel)> connected;          ///< in a turn; without TLS yet
    std::function<void(const std::string&)> failed;  ///< in a turn: why this attempt was in vain
  };

  static constexpr std::chrono::milliseconds first_delay{50};
  static constexpr std::chrono::milliseconds last_delay{2'000};

  dialer(std::shared_ptr<turns> site, options o);

  void dial();
  /// After a delay that doubles from 50 ms to 2 s, a random part of it left out, so that sites that lost each other
  /// at one moment do not all come back at one moment.
  void dial_later();
  /// The connection was of use: the next delay is the shortest again.
  void reset() noexcept { delay_ = first_delay; }
  void stop();

 private:
  void look_up();
  [[nodiscard]] bool add(const asio::ip::tcp::endpoint& where);
  void try_next();
  void give_up(const std::string& why);

  std::shared_ptr<turns> site_;
  options options_;
  asio::steady_timer timer_;  ///< the delay, then the time-out
  asio::ip::tcp::resolver resolver_;
  stream_protocol::socket socket_;
  std::vector<endpoint> endpoints_;
  std::size_t next_ = 0;
  std::chrono::milliseconds delay_ = first_delay;
  std::minstd_rand jitter_;  ///< spreads attempts, nothing secret
  std::size_t attempt_ = 0;  ///< handlers of an earlier one are ignored
  bool stopped_ = false;
};

}  // namespace qkd004::net
