// tls_files: whether the files that TLS needs can be read, before anything is opened: a file that is missing is another
// mistake than a key manager that is.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "qkd004/net/tls.hpp"
#include "qkd004/result.hpp"

namespace qkd004::serve {

/// Looks at no more than the files' permissions.
/// Returns errno of open, invalid_argument for what is not a regular file, permission_denied for a private key that
/// group or others have access to; `why` receives a sentence with the path.
[[nodiscard]] result<void> check_tls_files(const net::tls_options& o, std::string* why);

}  // namespace qkd004::serve
