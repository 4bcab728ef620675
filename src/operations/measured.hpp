// measured: everything that the operations pages show, as it stands at one moment; made into metrics and into events.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "operations/link_trace.hpp"
#include "operations/readiness.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/net/site_report.hpp"
#include "qkd004/software_link.hpp"

namespace qkd004::operations {

/// A link of measured.
struct measured_link {
  const net::peer_report* peer = nullptr;
  const link_trace* trace = nullptr;
  std::optional<software_link_report> distilled;  ///< of a software link
};

struct measured {
  measured() = default;
  measured(measured&&) noexcept = default;  // links point into what moves along
  measured& operator=(measured&&) = delete;

  net::site_report site;
  operations::readiness readiness;
  std::vector<measured_link> links;  ///< they point into `site` and to whoever made this
  std::chrono::system_clock::time_point started;
  std::optional<double> get_key_p50;  ///< seconds, of the GET_KEYs of the last minute
  std::optional<double> get_key_p99;
  std::optional<double> age_p50;  ///< seconds, of the keys that were handed out in the last minute
  std::optional<double> age_p99;

  /// Whether key of some link was not made by quantum hardware.
  [[nodiscard]] bool is_simulated() const;
};

/// All of it for Prometheus. A family has a sample for each link, and never one for a stream.
[[nodiscard]] std::string metrics_text(const measured& m);

/// All of it as an event for the dashboard: one line of JSON, with these streams.
struct event_options {
  const stream_reports& streams;
  bool shows_all_streams = false;  ///< of every principal
  bool has_history = false;        ///< the rates of the last two minutes, for who has just come
};
[[nodiscard]] std::string event_json(const measured& m, const event_options& o);

/// As labels and events call it: `timeout`. Requires: at < call_counts::statuses.
[[nodiscard]] std::string_view name_of_status(std::size_t at);

/// In how much time `share` (0 to 1) of what `now` has more than `then` was done, in seconds; nothing if that is none.
[[nodiscard]] std::optional<double> quantile(const net::duration_histogram& then,
                                             const net::duration_histogram& now, double share);

}  // namespace qkd004::operations
