// SPDX-License-Identifier: Apache-2.0
#include "net/log_limit.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace qkd004::net {

void log_limit::write(log_level level, const log_line& line, time_point now) {
  if (!to_) return;
  write_rest(now);
  {
    const std::lock_guard lock{mutex_};
    count& c = kinds_.try_emplace(line.kind(), count{now}).first->second;
    if (now - c.since >= period) c = {now};
    if (c.written == most_) {
      ++c.left_out;
      c.level = std::max(c.level, level);
      next_ = std::min(next_, c.since + period);
      return;
    }
    ++c.written;
  }
  to_(level, line.text());
}

void log_limit::always(log_level level, const log_line& line) const {
  if (to_) to_(level, line.text());
}

void log_limit::write_rest(time_point now) {
  std::vector<std::pair<log_level, std::string>> lines;
  {
    const std::lock_guard lock{mutex_};
    if (!to_ || now < next_) return;
    next_ = time_point::max();
    for (auto& [kind, c] : kinds_) {
      if (c.left_out == 0) continue;
      if (now < c.since + period) {
        next_ = std::min(next_, c.since + period);
        continue;
      }
      lines.emplace_back(c.level, log_line{kind}.with("left_out", c.left_out).text());
      c.left_out = 0;
    }
  }
  for (const auto& [level, text] : lines) to_(level, text);
}

time_point log_limit::next() const {
  const std::lock_guard lock{mutex_};
  return next_;
}

}  // namespace qkd004::net
