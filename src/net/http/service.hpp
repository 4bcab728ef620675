// service: what all HTTP connections of a site share: its resources, and what is the same in every answer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "net/http/resources.hpp"
#include "net/http/syntax.hpp"
#include "qkd004/clock.hpp"

namespace qkd004::net::http {

/// Threads: inside the turns of the site.
class service {
 public:
  [[nodiscard]] http::resources& resources() noexcept { return resources_; }
  /// Where a head is read into.
  [[nodiscard]] request_head& head() noexcept { return head_; }
  /// The line `Date: ...`, its end included, of this second.
  [[nodiscard]] std::string_view date(time_point now);

 private:
  http::resources resources_;
  request_head head_;
  time_point date_until_{};
  std::string date_;
};

}  // namespace qkd004::net::http
