// service: what all HTTP connections of a site share: its resources, and what is the same in every answer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "net/http/resources.hpp"
#include "net/http/syntax.hpp"
#include "qkd004/clock.hpp"
#include "wire/rest.hpp"

namespace qkd004::net::http {

/// Threads: inside the turns of the site.
class service {
 public:
  [[nodiscard]] http::resources& resources() noexcept { return resources_; }
  /// Where a head is read into.
  [[nodiscard]] request_head& head() noexcept { return head_; }
  /// The line `Date: ...`, its end included, of this second.
  [[nodiscard]] std::string_view date(time_point now);
  /// The head of an answer in JSON with status 200, up to the number behind `Content-Length: `.
  [[nodiscard]] std::string_view json_head(time_point now);
  [[nodiscard]] wire::rest::reader& reader() noexcept { return reader_; }

 private:
  void look_at_clock(time_point now);

  http::resources resources_;
  request_head head_;
  time_point date_until_{};
  std::string date_;
  std::string json_head_;
  wire::rest::reader reader_;
};

}  // namespace qkd004::net::http
