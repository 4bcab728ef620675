// log_lines: lines of the log on standard error, for people or for the journal. A line stays one line, whatever is in it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "qkd004/net/site.hpp"

namespace qkd004::serve {

/// How a line looks.
enum class log_format : std::uint8_t {
  automatic,  ///< as for the journal if standard error goes there, else for people
  plain,      ///< `2026-01-31T12:00:00.000Z warning text`, the time in UTC
  journal,    ///< `<4>text`, the level as sd-daemon(3) writes it; the journal has the time
};

/// `[log]` of a configuration; what is not said there is left to the program.
struct log_settings {
  std::optional<net::log_level> level;
  std::optional<log_format> format;
};

/// The words of a configuration and of the command line. Nothing if it is none of them.
[[nodiscard]] std::optional<net::log_level> log_level_of(std::string_view word) noexcept;
[[nodiscard]] std::optional<log_format> log_format_of(std::string_view word) noexcept;
[[nodiscard]] std::string_view to_string(net::log_level level) noexcept;

/// Writes lines of a level and above.
/// Threads: any; a line is one write().
class log_lines {
 public:
  /// `automatic` looks at standard error now.
  explicit log_lines(net::log_level least, log_format format = log_format::automatic);

  void operator()(net::log_level level, std::string_view text) const {
    if (level >= least_) always(level, text);
  }
  /// What nobody can switch off.
  void always(net::log_level level, std::string_view text) const;

  [[nodiscard]] net::log_level least() const noexcept { return least_; }

 private:
  net::log_level least_;
  log_format format_;
};

}  // namespace qkd004::serve
