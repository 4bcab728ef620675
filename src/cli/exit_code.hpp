// exit_code: what the program's exit status means to a script.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qkd004::cli {

enum class exit_code : int {
  ok = 0,
  check_failed = 1,  ///< the demonstration, or the doctor, found what must not be; or something unforeseen
  usage = 2,         ///< the command line, the configuration, or a file it names
  refused = 3,       ///< the key manager said no; its status is named
  transport = 4,     ///< no connection, or it broke
};

/// Stands in the help of every command.
inline constexpr char exit_codes_help[] =
    "Exit codes: 0 ok; 1 a check failed; 2 usage or configuration; 3 the key manager\n"
    "said no (its status is named); 4 the transport failed.";

}  // namespace qkd004::cli
