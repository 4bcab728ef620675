// certs: a certificate authority made on the spot, and what it certifies: two sites and their applications. For trials
// and small set-ups; it renews and revokes nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/exit_code.hpp"
#include "qkd004/result.hpp"

namespace qkd004::cli {

struct certs_options {
  std::string folder;  ///< made (mode 0700) if it is not there
  std::string node_a = "site-a";
  std::string node_b = "site-b";
  std::vector<std::string> applications{};  ///< URIs name@node; empty: qkd://alice@node_a, qkd://bob@node_b
  std::vector<std::string> hosts{};  ///< names and addresses of the sites; empty: localhost, 127.0.0.1, ::1
  int days = 365;                    ///< from now; an hour before now is allowed for
};

/// What one end of a connection shows, and what for.
struct credentials {
  std::string certificate;  ///< path
  std::string key;          ///< path, mode 0600
  std::string identity;     ///< the URI in the certificate; empty: the authority
};

/// Makes `authority`, a certificate of each node, and one of each application under its name, each with a private key:
/// files NAME.pem and NAME.key in the folder, mode 0600. ECDSA on P-256. All of them or nothing.
/// Returns them in that order; invalid_argument if an option makes no sense, file_exists (std::errc) if one of the files
/// is there, the errno of a call, or std::errc::io_error if OpenSSL fails. `why` says so in words.
[[nodiscard]] result<std::vector<credentials>> create_certs(const certs_options& o, std::string* why);

/// The same as a command.
exit_code certs(const certs_options& o);

}  // namespace qkd004::cli
