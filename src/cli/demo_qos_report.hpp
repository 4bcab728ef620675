// demo_qos_report: what the streams of the QoS demonstration asked, were promised and got, and whether that is as D6 has
// it. Pure; knows digests of keys, not keys.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/demo_report.hpp"
#include "qkd004/qos.hpp"

namespace qkd004::cli {

/// The first seconds, in which reserves are read that gathered before; they are shown and not judged.
inline constexpr std::size_t unjudged_seconds = 2;

/// One stream, from both of its ends.
struct qos_stream {
  std::string name;
  qos asked;
  application_report at_a{};
  application_report at_b{};

  /// Granted at the end that opened it.
  [[nodiscard]] const qos& promised() const { return *at_a.promised; }
};

/// bit/s in each of so many seconds after `begin`. A key counts when the later of the two ends got it.
[[nodiscard]] std::vector<std::uint64_t> delivered_bps(const qos_stream& stream,
                                                       std::chrono::microseconds begin, std::size_t seconds);

/// Whether both ends had a key at or after `time`, so that nothing before it is still to come.
[[nodiscard]] bool is_told_until(const qos_stream& stream, std::chrono::microseconds time);

/// bit/s of each stream when all take what they get: in the ratio of 1 + Priority, but none less than its Min_bps, and
/// none more than its Max_bps or, with a Jitter, than that above its Min_bps. Clause: D6.
[[nodiscard]] std::vector<double> expected_bps(std::span<const qos> promised, double link_bps);

/// A stream's line in the result.
struct qos_row {
  std::string name;
  qos asked;
  qos promised;
  double expected_bps = 0;
  std::vector<std::uint64_t> delivered_bps;  ///< each second
  comparison keys;

  /// Mean of the seconds that are judged; 0 if there is none.
  [[nodiscard]] double mean_bps() const;
};

[[nodiscard]] std::vector<qos_row> rows_of(std::span<const qos_stream> streams, double link_bps,
                                           std::chrono::microseconds begin, std::size_t seconds);

/// \name One second for people: its head, and a row each
///@{
[[nodiscard]] std::string seconds_head(std::span<const qos_stream> streams);
[[nodiscard]] std::string seconds_row(std::size_t second, std::span<const std::uint64_t> bps);
///@}

/// The result for people.
[[nodiscard]] std::string table(std::span<const qos_row> rows);

/// What is not as it should be, in words; empty: everything is. The tolerances are wide: a busy machine delivers late.
[[nodiscard]] std::vector<std::string> faults_of(std::span<const qos_row> rows);

}  // namespace qkd004::cli
