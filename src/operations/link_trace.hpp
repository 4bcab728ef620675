// link_trace: what was seen of a link in the last two minutes, a look a second: its rate, and when its key will be at its
// end. Reads no clock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/key_service.hpp"

namespace qkd004::operations {

class link_trace {
 public:
  static constexpr std::size_t kept = 120;
  static constexpr std::chrono::seconds rate_window{10};
  /// Long enough for several blocks of a source that gives large ones.
  static constexpr std::chrono::seconds drain_window{30};

  /// `now` does not go back.
  void add(const link_report& seen, time_point now);

  /// Octets a second that came from the key source in the last rate_window; 0 before there are two looks.
  [[nodiscard]] double received_rate() const;
  /// Octets a second that were handed to applications, likewise.
  [[nodiscard]] double delivered_rate() const;
  /// When the buffer will be empty if it goes on as in the last drain_window; infinity: it does not shrink. 0: it is
  /// empty, and somebody waits.
  [[nodiscard]] double seconds_to_empty() const;
  /// received_rate() as it was at each look but the first, oldest first: what comes in large blocks does not look like a
  /// comb.
  [[nodiscard]] std::vector<double> rates() const;

 private:
  struct look {
    time_point at;
    std::uint64_t received;
    std::uint64_t delivered;
    std::uint64_t buffered;
    std::uint64_t waiting;
  };
  /// The last look so long before that one, else the first there is.
  [[nodiscard]] const look& before(std::size_t i, boot_clock::duration ago) const;
  [[nodiscard]] double rate_at(std::size_t i, std::uint64_t look::*count) const;

  std::deque<look> looks_;
};

}  // namespace qkd004::operations
