// site_report: how a site stands and what it has answered, for whoever runs it: its links, calls by status, how long
// GET_KEY took, how old key was. Never an octet of key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/key_service.hpp"
#include "qkd004/status.hpp"

namespace qkd004::net {

/// What was asked of a site.
enum class call_kind : std::uint8_t {
  open_connect,
  get_key,
  get_keys,
  close,
  wait_peer,
  acknowledge,
  subscription,  ///< each delivery counts
};

/// The name as in a request, `get_key`.
[[nodiscard]] constexpr std::string_view to_string(call_kind k) noexcept {
  constexpr std::array<std::string_view, 7> names{"open_connect", "get_key",     "get_keys",    "close",
                                                  "wait_peer",    "acknowledge", "subscription"};
  return names.at(static_cast<std::size_t>(k));
}

/// How many calls of each kind came to which status.
class call_counts {
 public:
  static constexpr std::size_t kinds = 7;
  static constexpr std::size_t standard = 9;   ///< statuses of the standard, from 0 on
  static constexpr std::size_t statuses = 17;  ///< with ours, from 1024 on

  void add(call_kind k, status s) noexcept {
    const auto code = static_cast<std::uint32_t>(s);
    const std::size_t at = code < standard ? code : code - 1024 + standard;
    if (at < statuses) ++counts_[static_cast<std::size_t>(k)][at];
  }
  /// Requires: at < statuses.
  [[nodiscard]] std::uint64_t of(call_kind k, std::size_t at) const noexcept {
    return counts_[static_cast<std::size_t>(k)][at];
  }
  [[nodiscard]] static constexpr status status_at(std::size_t at) noexcept {
    return static_cast<status>(at < standard ? at : at - standard + 1024);
  }

 private:
  std::array<std::array<std::uint64_t, statuses>, kinds> counts_{};
};

/// How often something took how long. Lifetime: the bounds outlive it.
class duration_histogram {
 public:
  using duration = std::chrono::nanoseconds;
  static constexpr std::size_t most = 24;  ///< bounds

  /// Requires: at most `most` bounds, rising.
  explicit constexpr duration_histogram(std::span<const duration> bounds) noexcept : bounds_{bounds} {}

  void add(duration took, std::uint64_t times = 1) noexcept {
    const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), took) - bounds_.begin();
    counts_[static_cast<std::size_t>(at)] += times;
    sum_ += std::chrono::duration<double>(took).count() * static_cast<double>(times);
  }

  /// Each is the longest that its count has.
  [[nodiscard]] std::span<const duration> bounds() const noexcept { return bounds_; }
  /// One for each bound, without those of smaller bounds, and one for what took longer than all.
  [[nodiscard]] std::span<const std::uint64_t> counts() const noexcept {
    return std::span{counts_}.first(bounds_.size() + 1);
  }
  [[nodiscard]] double sum() const noexcept { return sum_; }  ///< seconds

 private:
  std::span<const duration> bounds_;
  std::array<std::uint64_t, most + 1> counts_{};
  double sum_ = 0;
};

namespace detail {
using namespace std::chrono_literals;
inline constexpr std::array<duration_histogram::duration, 18> latency_bounds{
    10us, 25us, 50us, 100us, 250us, 500us, 1ms, 2'500us, 5ms,
    10ms, 25ms, 50ms, 100ms, 250ms, 500ms, 1s,  5s,      30s};
inline constexpr std::array<duration_histogram::duration, 15> age_bounds{
    1ms, 5ms, 10ms, 50ms, 100ms, 500ms, 1s, 5s, 10s, 30s, 1min, 5min, 15min, 1h, 24h};
}  // namespace detail

/// A link, and why it is not up, in words that may be the peer's; empty if that is not known.
struct peer_report {
  link_report link;
  std::string failure;
};

/// All of a site. Counts are since it was made.
struct site_report {
  std::string node;
  bool stopping = false;         ///< stop() was called
  std::size_t applications = 0;  ///< their connections, in any protocol
  key_service::counters totals;
  std::vector<peer_report> peers;  ///< in the order of the options; with a self_link that one
  call_counts answers;
  /// From the turn that read the call to the end of the one that answered it. With several connections in a turn, what
  /// is there at once counts with the whole of it.
  duration_histogram get_key{detail::latency_bounds};
  duration_histogram get_keys{detail::latency_bounds};  ///< the same for calls of several keys
  duration_histogram key_age{
      detail::age_bounds};  ///< of each key that was handed out, since it was in its stream
};

}  // namespace qkd004::net
