// SPDX-License-Identifier: Apache-2.0
#include "net/http/service.hpp"

#include <chrono>

namespace qkd004::net::http {

std::string_view service::date(time_point now) {
  if (now >= date_until_) {
    using namespace std::chrono;
    const auto wall = system_clock::now();
    const auto second = floor<seconds>(wall);
    date_ = "Date: " + date_of(second.time_since_epoch().count()) + "\r\n";
    date_until_ = now + duration_cast<boot_clock::duration>(second + seconds{1} - wall);
  }
  return date_;
}

}  // namespace qkd004::net::http
