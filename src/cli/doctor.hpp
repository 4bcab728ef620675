// doctor: examines a 004 server, ours or anybody's, by the cases of the conformance room.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/exit_code.hpp"
#include "qkd004/net/tls.hpp"

namespace qkd004::cli {

struct doctor_options {
  std::string uri;   ///< the server; empty only with `list`
  std::string peer;  ///< the server of the other end; empty: `uri` is its own peer, or one end has to do
  std::string dialect = "auto";  ///< auto, forge or qubip
  std::string source;            ///< URIs to open between; empty: from what the servers say in HELLO
  std::string destination;
  std::uint32_t timeout_ms = 5'000;  ///< for any answer, beyond the QoS Timeout of the call
  std::vector<std::string> only;     ///< ids or groups; empty: all
  std::uint64_t seed = 0;            ///< 0: another one each time
  bool ours = false;         ///< our decisions are mandatory, also if the server does not answer HELLO
  bool destructive = false;  ///< send the reference code's stop server too
  net::tls_options tls;  ///< for qkd004s://: of the application at `uri`; all three paths, or none is used
  std::string server;    ///< SAN URI that the certificate of `uri` must have; empty: it names the host
  std::string peer_certificate;  ///< of the application at `peer`; empty: the same as at `uri`
  std::string peer_key;
  std::string peer_server;  ///< as `server`, of `peer`
  bool list = false;        ///< print the cases and ask nobody
  bool json = false;        ///< one object on standard output instead of text
  std::string html;         ///< path of a page to write as well
};

/// Returns ok if every mandatory case passed, check_failed if one did not, transport if nobody is there who speaks 004,
/// refused if he opens no stream between the URIs.
exit_code doctor(const doctor_options& o);

}  // namespace qkd004::cli
