// secret: makes the file that both ends of a seeded key source share.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/exit_code.hpp"
#include "qkd004/result.hpp"

namespace qkd004::cli {

/// Random octets in a new file that only its owner may read.
/// Returns file_exists (std::errc) if there is anything at `path`, or errno of the failed call.
[[nodiscard]] result<void> create_secret(const std::string& path, std::string* why);

/// The same as a command.
exit_code secret(const std::string& path);

}  // namespace qkd004::cli
