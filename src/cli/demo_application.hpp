// demo_application: one of the two applications of the demonstration: opens or joins a key stream, takes keys, reports
// their digests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "cli/dial.hpp"
#include "cli/exit_code.hpp"
#include "qkd004/message.hpp"

namespace qkd004::cli {

struct application_options {
  server_options server;
  open_connect_request request;
  bool join = false;            ///< the stream whose Key_stream_ID comes on standard input
  bool accept_counter = false;  ///< send a counter-proposal back as it came, instead of giving up
  bool until_told =
      false;  ///< instead of `count` keys: until there is a line on standard input; CLOSE at another
  std::size_t count = 1;
  std::size_t show = 0;  ///< keys that are reported as they are
  std::string out;       ///< path of a new file for the keys; empty: none
};

/// Writes the lines of demo_report.hpp to standard output.
exit_code demo_application(const application_options& o);

}  // namespace qkd004::cli
