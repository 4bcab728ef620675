// readiness: whether a site can serve key on every link, and why not.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "qkd004/net/site_report.hpp"

namespace qkd004::operations {

/// Whether to send a site applications.
struct readiness {
  struct link {
    std::string name;
    std::string peer;
    std::string why_not;  ///< empty: it is ready
  };
  bool ready = false;
  bool stopping = false;
  std::vector<link> links;
};

/// Ready: it does not stop, and each link is up with a key source that gives key, or has some left. How much is there
/// does not matter: key that is short is a matter of alerts, not of taking the site out of service.
[[nodiscard]] readiness readiness_of(const net::site_report& site);

/// `{"ready":false,"links":[...]}`
[[nodiscard]] std::string to_json(const readiness& r);

}  // namespace qkd004::operations
