// service_notice: tells the service manager that the service is ready, how it stands, that it lives, and that it ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "qkd004/net/site.hpp"

namespace qkd004::serve {

/// The datagrams of sd_notify(3) to the socket that NOTIFY_SOCKET names. They never hold the caller up: what the receiver
/// has no room for now is sent at the next beat, and a socket that is none is given up with one line of the log.
///
/// A beat of the io_context asks the service how it stands, and what it answers is told: WATCHDOG=1, twice as often as is
/// asked for, and STATUS= when that has changed. A loop that is stuck has no beat, and a service that is stuck does not
/// answer: nothing else speaks for them.
/// Order of calls: `ready stopping`; either may be left out. Threads: those of the io_context, one at a time.
class service_notice {
 public:
  struct options {
    std::string socket;                        ///< empty: nothing is told to anybody
    std::chrono::microseconds watchdog{0};     ///< 0: no WATCHDOG=1
    std::chrono::milliseconds refresh{5'000};  ///< of the status, at least so often
    /// Asks for one line on how the service stands, which is given to the function now or later, on the io_context.
    std::function<void(std::function<void(std::string)>)> ask;
    std::function<void(std::string_view)> lost;  ///< why nobody can be told
  };

  service_notice(asio::io_context& context, options o);
  ~service_notice();
  service_notice(const service_notice&) = delete;
  service_notice& operator=(const service_notice&) = delete;

  /// READY=1, and the first beat.
  void ready();
  /// STOPPING=1, and no more beats: the io_context is not kept from running out of work.
  void stopping();

 private:
  /// What is to be told and was not.
  struct untold {
    bool ready = false;
    bool stopping = false;
    bool alive = false;
    std::string status;  ///< empty: no other
  };

  void beat();
  void answered(std::string status);
  void tell();
  void give_up(int error);

  options options_;
  asio::steady_timer timer_;
  std::chrono::microseconds period_;
  std::string told_;  ///< the last status
  untold untold_;
  int descriptor_ = -1;
};

}  // namespace qkd004::serve
