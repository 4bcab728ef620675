// demo_progress: a line that changes in place while a demonstration waits, where there is a terminal; elsewhere a few plain
// lines.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace qkd004::cli {

/// Threads: one. Everything else that is printed meanwhile goes through say().
class demo_progress {
 public:
  using clock = std::chrono::steady_clock;

  enum class on { terminal, pipe };

  /// On standard output, as it is.
  demo_progress();
  explicit demo_progress(on output) : output_{output} {}
  demo_progress(const demo_progress&) = delete;
  demo_progress& operator=(const demo_progress&) = delete;
  ~demo_progress() { say(""); }

  /// What is there to be written for that line, if anything; it is shown for as long as nothing else is.
  [[nodiscard]] std::string next(std::string_view line, clock::time_point now);
  /// The same, written.
  void show(std::string_view line);

  /// Whole lines, above the one that changes.
  void say(std::string_view lines);

 private:
  const on output_;
  std::string shown_;  ///< what stands on the terminal now
  clock::time_point shown_at_{};
  clock::time_point next_plain_{};
};

}  // namespace qkd004::cli
