// serve: one site as a daemon.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "cli/exit_code.hpp"

namespace qkd004::cli {

struct serve_options {
  std::string config;                       ///< path
  std::string log_level;                    ///< the least that is logged; empty: as the file says, else info
  std::string log_format;                   ///< auto, plain or journal; empty: as the file says, else auto
  bool check = false;                       ///< open nothing
  std::chrono::milliseconds link_report{};  ///< so often a line of JSON about every software link; 0: never
};

/// Serves until SIGINT or SIGTERM; a second one ends it at once.
exit_code serve(const serve_options& o);

}  // namespace qkd004::cli
