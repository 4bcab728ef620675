// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_qos_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace qkd004::cli {

namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

constexpr double least_of_min = 0.95;     ///< of Min_bps, over any seconds that are judged
constexpr double lateness = 0.2;          ///< s, by which a busy machine may deliver late
constexpr double share_tolerance = 0.35;  ///< of the share that is expected

double weight_of(const qos& q) { return 1.0 + std::min(q.priority, 255U); }

/// What the stream gets when a weight of 1 gets `unit` bit/s.
double bps_at(const qos& q, double unit) {
  const double least = q.min_bps;
  const double most = q.max_bps;
  const double paced = q.jitter == 0 || q.min_bps == 0 ? most : std::min(most, least + q.jitter);
  return std::clamp(weight_of(q) * unit, least, paced);
}

double percent(double part, double all) { return all > 0 ? 100 * part / all : 0; }

/// The first seconds, one or more in a row, in which the stream had less than its Min_bps, in words; empty: none.
std::string below_min(const qos_row& r) {
  for (std::size_t i = unjudged_seconds; i < r.delivered_bps.size(); ++i) {
    std::uint64_t bits = 0;
    for (std::size_t k = i; k < r.delivered_bps.size(); ++k) {
      bits += r.delivered_bps[k];
      const auto passed = static_cast<double>(k - i + 1);
      if (static_cast<double>(bits) >= least_of_min * r.promised.min_bps * (passed - lateness)) continue;
      return fmt::format("{}: {:.0f} bit/s in seconds {} to {}, and Min_bps is {}", r.name,
                         static_cast<double>(bits) / passed, i + 1, k + 1, r.promised.min_bps);
    }
  }
  return "";
}

std::string or_dash(std::uint32_t bps) { return bps == 0 ? "-" : std::to_string(bps); }

}  // namespace

std::vector<std::uint64_t> delivered_bps(const qos_stream& stream, microseconds begin, std::size_t count) {
  std::vector<std::uint64_t> bps(count);
  const auto& a = stream.at_a.keys;
  const auto& b = stream.at_b.keys;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const auto at = std::max(a[i].at, b[i].at);
    if (at < begin) continue;
    const auto second = static_cast<std::size_t>((at - begin) / seconds{1});
    if (second < count) bps[second] += std::uint64_t{stream.promised().key_chunk_size} * 8;
  }
  return bps;
}

bool is_told_until(const qos_stream& stream, microseconds time) {
  const auto& a = stream.at_a.keys;
  const auto& b = stream.at_b.keys;
  return !a.empty() && !b.empty() && a.back().at >= time && b.back().at >= time;
}

std::vector<double> expected_bps(std::span<const qos> promised, double link_bps) {
  const auto sum_at = [&](double unit) {
    return std::accumulate(promised.begin(), promised.end(), 0.0,
                           [&](double sum, const qos& q) { return sum + bps_at(q, unit); });
  };
  // the sum grows with the unit: halving the range finds the one that uses up the link
  double low = 0;
  double high = link_bps;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (sum_at(middle) < link_bps ? low : high) = middle;
  }
  std::vector<double> bps;
  for (const qos& q : promised) bps.push_back(bps_at(q, high));
  return bps;
}

double qos_row::mean_bps() const {
  if (delivered_bps.size() <= unjudged_seconds) return 0;
  const auto first = delivered_bps.begin() + unjudged_seconds;
  return static_cast<double>(std::accumulate(first, delivered_bps.end(), std::uint64_t{0})) /
         static_cast<double>(delivered_bps.end() - first);
}

std::vector<qos_row> rows_of(std::span<const qos_stream> streams, double link_bps, microseconds begin,
                             std::size_t count) {
  std::vector<qos> promised;
  for (const qos_stream& s : streams) promised.push_back(s.promised());
  const auto expected = expected_bps(promised, link_bps);
  std::vector<qos_row> rows;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const qos_stream& s = streams[i];
    rows.push_back({s.name, s.asked, promised[i], expected[i], delivered_bps(s, begin, count),
                    compare_common(s.at_a, s.at_b)});
    auto& difference = rows.back().keys.difference;
    if (difference.empty() && s.at_b.promised != s.at_a.promised)
      difference = "the ends were promised different QoS";
  }
  return rows;
}

std::string seconds_head(std::span<const qos_stream> streams) {
  std::string head = fmt::format("  {:<8}", "second");
  for (const qos_stream& s : streams) head += fmt::format("{:>10}", s.name);
  return head + fmt::format("{:>10}\n", "together");
}

std::string seconds_row(std::size_t second, std::span<const std::uint64_t> bps) {
  std::string row = fmt::format("  {:<8}", second);
  for (const auto one : bps) row += fmt::format("{:>10}", one);
  return row + fmt::format("{:>10}\n", std::accumulate(bps.begin(), bps.end(), std::uint64_t{0}));
}

std::string table(std::span<const qos_row> rows) {
  double expected = 0;
  double got = 0;
  for (const qos_row& r : rows) {
    expected += r.expected_bps;
    got += r.mean_bps();
  }
  std::string text =
      fmt::format("  {:<9}{:^38}{:^28}{:^16}{:^16}", "", "asked", "promised", "due", "delivered");
  text.erase(text.find_last_not_of(' ') + 1);
  text += fmt::format("\n  {:<9}{:>9}{:>9}{:>9}{:>10}{:>11}{:>9}{:>9}{:>10}{:>6}{:>10}{:>6}\n", "", "Min_bps",
                      "Max_bps", "Jitter", "Priority", "Min_bps", "Max_bps", "Jitter", "bit/s", "%", "bit/s",
                      "%");
  for (const qos_row& r : rows) {
    text += fmt::format("  {:<9}{:>9}{:>9}{:>9}{:>10}{:>11}{:>9}{:>9}{:>10.0f}{:>6.1f}{:>10.0f}{:>6.1f}\n",
                        r.name, or_dash(r.asked.min_bps), or_dash(r.asked.max_bps), or_dash(r.asked.jitter),
                        r.asked.priority, or_dash(r.promised.min_bps), or_dash(r.promised.max_bps),
                        or_dash(r.promised.jitter), r.expected_bps, percent(r.expected_bps, expected),
                        r.mean_bps(), percent(r.mean_bps(), got));
  }
  text += fmt::format(
      "  due: to each its Min_bps, and what is left in the ratio of 1 + Priority; delivered: mean without "
      "the\n"
      "  first {} seconds, in which reserves may come\n",
      unjudged_seconds);
  return text;
}

std::vector<std::string> faults_of(std::span<const qos_row> rows) {
  std::vector<std::string> faults;
  double expected = 0;
  double got = 0;
  for (const qos_row& r : rows) {
    expected += r.expected_bps;
    got += r.mean_bps();
  }
  for (const qos_row& r : rows) {
    if (!r.keys.difference.empty()) faults.push_back(r.name + ": " + r.keys.difference);
    if (r.keys.equal == 0) faults.push_back(r.name + ": no key came to both ends");
    if (auto below = below_min(r); !below.empty()) faults.push_back(std::move(below));
    const double due = percent(r.expected_bps, expected);
    const double had = percent(r.mean_bps(), got);
    if (had < due * (1 - share_tolerance) || had > due * (1 + share_tolerance)) {
      faults.push_back(
          fmt::format("{}: {:.1f} % of what was delivered, and {:.1f} % was due", r.name, had, due));
    }
  }
  return faults;
}

}  // namespace qkd004::cli
