// service_environment: what a service manager (systemd, or one that speaks as it does) tells a process that it starts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "qkd004/net/site.hpp"
#include "qkd004/result.hpp"

namespace qkd004::serve {

/// What was in the environment; by default nothing.
struct service_environment {
  std::string notify_socket;              ///< where states are told, see service_notice; empty: to nobody
  std::chrono::microseconds watchdog{0};  ///< whoever is silent for longer is taken for dead; 0: nobody looks
  std::vector<net::given_socket> sockets;

  /// Takes it out of the environment, so that nothing that this process starts takes it for its own. What names
  /// another process is left out. The sockets are closed on exec from here on.
  /// Requires: no other thread looks at the environment.
  /// Returns invalid_argument when a variable is not what it should be, and errno of a descriptor that is none; `why`
  /// receives a sentence.
  [[nodiscard]] static result<service_environment> take(std::string* why);
};

/// Whether standard error goes to the journal: JOURNAL_STREAM names the device and inode that descriptor 2 has.
[[nodiscard]] bool writes_to_journal();

}  // namespace qkd004::serve
