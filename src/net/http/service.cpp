// SPDX-License-Identifier: Apache-2.0
#include "net/http/service.hpp"

#include <chrono>

namespace qkd004::net::http {

std::string_view service::date(time_point now) {
  look_at_clock(now);
  return date_;
}

std::string_view service::json_head(time_point now) {
  look_at_clock(now);
  return json_head_;
}

void service::look_at_clock(time_point now) {
  if (now < date_until_) return;
  using namespace std::chrono;
  const auto wall = system_clock::now();
  const auto second = floor<seconds>(wall);
  date_ = "Date: " + date_of(second.time_since_epoch().count()) + "\r\n";
  json_head_ = "HTTP/1.1 200 OK\r\n" + date_ +
               "Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: ";
  date_until_ = now + duration_cast<boot_clock::duration>(second + seconds{1} - wall);
}

}  // namespace qkd004::net::http
