// log_limit: a log that others cannot fill: of each kind of line some in a period, and then how many more there were.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "net/log_line.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/net/site.hpp"

namespace qkd004::net {

/// In front of a site's `log`. Kinds are constant words and links of the configuration: there are few.
/// Threads: any.
class log_limit {
 public:
  using log = std::function<void(log_level, std::string_view)>;

  static constexpr std::chrono::seconds period{10};

  /// `to` may be empty: then nothing is done. `most` lines of a kind in a period.
  log_limit(log to, std::size_t most) : to_{std::move(to)}, most_{most} {}

  /// Writes the line, or counts it.
  void write(log_level level, const log_line& line, time_point now);
  /// Writes it in any case: for what nobody but the operator can cause.
  void always(log_level level, const log_line& line) const;

  /// Writes `KIND left_out=N` for each kind of which lines were counted in a period that is over; with
  /// time_point::max() in one that is not.
  void write_rest(time_point now);
  /// When write_rest() has something to do.
  [[nodiscard]] time_point next() const;

 private:
  struct count {
    time_point since;
    std::size_t written = 0;
    std::size_t left_out = 0;
    log_level level = log_level::info;
  };

  log to_;
  std::size_t most_;
  mutable std::mutex mutex_;
  std::map<std::string, count, std::less<>> kinds_;
  time_point next_ = time_point::max();
};

}  // namespace qkd004::net
