// SPDX-License-Identifier: Apache-2.0
#include "operations/link_trace.hpp"

#include <limits>

namespace qkd004::operations {

namespace {

double seconds(boot_clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

void link_trace::add(const link_report& seen, time_point now) {
  looks_.push_back({now, seen.received, seen.delivered_octets, seen.pooled + seen.in_streams, seen.waiting});
  if (looks_.size() > kept + 1) looks_.pop_front();
}

double link_trace::received_rate() const {
  return looks_.empty() ? 0 : rate_at(looks_.size() - 1, &look::received);
}

double link_trace::delivered_rate() const {
  return looks_.empty() ? 0 : rate_at(looks_.size() - 1, &look::delivered);
}

double link_trace::seconds_to_empty() const {
  constexpr double never = std::numeric_limits<double>::infinity();
  if (looks_.empty()) return never;
  const look& now = looks_.back();
  if (now.buffered == 0) return now.waiting > 0 ? 0 : never;
  const look& then = before(looks_.size() - 1, drain_window);
  if (then.at == now.at || then.buffered <= now.buffered) return never;
  const double lost_a_second = static_cast<double>(then.buffered - now.buffered) / seconds(now.at - then.at);
  return static_cast<double>(now.buffered) / lost_a_second;
}

std::vector<double> link_trace::rates() const {
  std::vector<double> all;
  for (std::size_t i = 1; i < looks_.size(); ++i) all.push_back(rate_at(i, &look::received));
  return all;
}

const link_trace::look& link_trace::before(std::size_t i, boot_clock::duration ago) const {
  const time_point at = looks_[i].at;
  while (i > 0 && at - looks_[i].at < ago) --i;
  return looks_[i];
}

double link_trace::rate_at(std::size_t i, std::uint64_t look::*count) const {
  const look& now = looks_[i];
  const look& then = before(i, rate_window);
  const double passed = seconds(now.at - then.at);
  return passed > 0 ? static_cast<double>(now.*count - then.*count) / passed : 0;
}

}  // namespace qkd004::operations
