// open_get_close: the standard's three calls, one command each.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/dial.hpp"
#include "cli/exit_code.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"

namespace qkd004::cli {

struct open_options {
  server_options server;
  open_connect_request request;
  bool json = false;
};

/// OPEN_CONNECT; the stream stays open.
exit_code open_stream(const open_options& o);

struct get_options {
  server_options server;
  open_connect_request request;
  std::uint64_t count = 1;
  std::optional<std::uint64_t> index;  ///< instead of the next that was not taken
  bool show_keys = false;              ///< print them
  std::string out;                     ///< path of a new file for the octets; empty: none
};

/// GET_KEY on a stream that this end or the other has opened, which stays open. QoS Timeout of the request is how long
/// to wait for such a stream; nothing else of that QoS counts.
exit_code get_keys(const get_options& o);

struct close_options {
  server_options server;
  key_stream_id stream;
};

/// CLOSE.
exit_code close_stream(const close_options& o);

}  // namespace qkd004::cli
