// serve: one site as a daemon.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "cli/exit_code.hpp"

namespace qkd004::cli {

struct serve_options {
  std::string config;                       ///< path
  std::string log_level = "info";           ///< the least that is logged: debug, info, warning or error
  bool check = false;                       ///< open nothing
  std::chrono::milliseconds link_report{};  ///< so often a line of JSON about every software link; 0: never
};

/// Serves until SIGINT or SIGTERM; a second one ends it at once.
exit_code serve(const serve_options& o);

}  // namespace qkd004::cli
