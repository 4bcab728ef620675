// service: what a site tells whoever runs it, on its HTTP listeners: /metrics, /healthz, /readyz, and a dashboard at /
// with its events at /events.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "operations/audience.hpp"
#include "operations/readiness.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/result.hpp"
#include "qkd004/software_link.hpp"

namespace qkd004::operations {

struct options {
  operations::viewers viewers;
  /// Beyond that a dashboard gets 503. Each costs 64 KiB at the most, if it does not read.
  std::size_t max_dashboards = 32;
  std::chrono::milliseconds period{1'000};  ///< how often links are looked at, and events are sent
  /// What the ends of software links have counted, by the name of their link; empty: there are none.
  std::function<std::vector<std::pair<std::string, software_link_report>>()> distilled;
};

/// Order of calls: `start stop`, before and after the site's.
/// Threads: any.
/// Lifetime: the io_context and the site outlive the service.
class service {
 public:
  service(asio::io_context& context, net::site& site, options o);
  ~service();
  service(const service&) = delete;
  service& operator=(const service&) = delete;

  /// Adds the resources, unless nobody may see them, and begins to look at the links.
  [[nodiscard]] result<void> start(std::string* why = nullptr);
  /// Ends the dashboards. The io_context runs out of work afterwards.
  void stop();

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace qkd004::operations
