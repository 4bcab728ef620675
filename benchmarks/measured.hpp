// measured: how benchmarks with a main() of their own take times and say them: CPU and wall time, medians with what was
// lowest and highest, and on which machine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace qkd004::bench {

inline double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
/// Of this thread. It does not stand still while others are given the processor's caches: compare within one run.
inline double cpu_seconds() { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }
inline double wall_seconds() { return seconds_of(CLOCK_MONOTONIC); }

struct spread {
  double median, lowest, highest;
};
/// Requires: there is one.
inline spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

/// Processor, how many of it, and how many others want it just now.
inline std::string machine() {
  std::string name = "unknown processor";
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    name = line.substr(line.find(':') + 2);
    break;
  }
  double load = 0;
  std::ifstream{"/proc/loadavg"} >> load;
  char text[64];
  std::snprintf(text, sizeof text, ", %u processors, load %.1f", std::thread::hardware_concurrency(), load);
  return name + text;
}

}  // namespace qkd004::bench
