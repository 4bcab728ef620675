// secret: makes the files that both ends of a link share before there is key: the secret of a seeded key source, the first
// authentication key of a software link.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "cli/exit_code.hpp"
#include "qkd004/result.hpp"

namespace qkd004::cli {

/// Random octets in a new file that only its owner may read.
/// Returns file_exists (std::errc) if there is anything at `path`, or errno of the failed call.
[[nodiscard]] result<void> create_secret(const std::string& path, std::string* why);

/// Octets of an authentication key; a link that comes up often before it has key of its own needs more than the least.
inline constexpr std::size_t least_auth_key = 512;
inline constexpr std::size_t usual_auth_key = 4'096;
inline constexpr std::size_t largest_auth_key = std::size_t{1} << 20;

/// The same for a software link.
[[nodiscard]] result<void> create_auth_key(const std::string& path, std::size_t octets, std::string* why);

struct secret_command_options {
  std::string path;
  bool auth = false;                    ///< an authentication key instead of a seeded source's secret
  std::size_t octets = usual_auth_key;  ///< of the authentication key
};

/// Either of them, as a command.
exit_code secret(const secret_command_options& o);

}  // namespace qkd004::cli
