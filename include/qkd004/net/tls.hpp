// tls: which certificate an end of a connection shows, and whose it believes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace qkd004::net {

/// Paths of PEM files. Both ends of a connection show a certificate: there is no other way to be somebody. Its extended
/// key usage has to be there: serverAuth where it is a listener's, clientAuth where it is a client's; a site that dials a
/// peer is its client. Revocation lists are not read.
struct tls_options {
  std::string certificate;     ///< of this end, and after it those between it and its authority
  std::string key;             ///< its private key; nobody but its owner may read the file
  std::string authority;       ///< the authorities that the other end's certificate may come from
  bool allow_tls_1_2 = false;  ///< else TLS 1.3 only

  friend bool operator==(const tls_options&, const tls_options&) = default;
};

}  // namespace qkd004::net
