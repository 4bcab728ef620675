// process: a child process with a pipe to its standard input, one from its standard output, and a file for what it
// logs. It does not survive its parent.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/result.hpp"

namespace qkd004::cli {

struct process_options {
  std::string program;                 ///< path
  std::vector<std::string> arguments;  ///< without the program's name
  std::string log;                     ///< where its standard error is appended
};

/// Threads: the parent has one.
class process {
 public:
  /// Returns errno of the failed call. A program that cannot be executed exits with 127.
  [[nodiscard]] static result<process> start(const process_options& options);

  process(process&& other) noexcept;
  process& operator=(process&& other) noexcept;
  /// Kills it if it still runs, and waits for its end.
  ~process();

  [[nodiscard]] pid_t id() const noexcept { return id_; }
  [[nodiscard]] const std::string& log() const noexcept { return log_; }

  /// Writes to its standard input; whoever has ended does not read it.
  void tell(std::string_view text);
  void signal(int number) const;

  /// The next line of its standard output that has arrived, without the line end.
  [[nodiscard]] std::optional<std::string> take_line();
  /// Whether its standard output has ended, and every line was taken.
  [[nodiscard]] bool at_end() const noexcept { return out_ < 0 && buffer_.empty(); }
  /// The next line, or none when the output ends or at the deadline.
  [[nodiscard]] std::optional<std::string> wait_line(std::chrono::milliseconds most);

  /// The exit status, 128 + n for the end by signal n; none if it runs on.
  [[nodiscard]] std::optional<int> wait_exit(std::chrono::milliseconds most);

  /// Waits until one of them has something to read, or ended, or the descriptor `other` (or -1) is readable.
  static void wait_any(std::span<process* const> which, int other, std::chrono::milliseconds most);

 private:
  process() noexcept = default;
  void read_some();
  void release() noexcept;

  pid_t id_ = -1;
  int in_ = -1;
  int out_ = -1;
  std::string buffer_;
  std::string log_;
  std::optional<int> exit_;
};

/// The last lines of a text file, each after two spaces; empty if there is nothing.
[[nodiscard]] std::string tail_of(const std::string& path, std::size_t lines);

}  // namespace qkd004::cli
