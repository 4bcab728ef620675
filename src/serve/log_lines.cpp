// SPDX-License-Identifier: Apache-2.0
#include "serve/log_lines.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "serve/printable.hpp"
#include "serve/service_environment.hpp"

namespace qkd004::serve {

namespace {

using net::log_level;

struct level_words {
  std::string_view name;
  int priority;  ///< of syslog(3), which the journal has
};
constexpr std::array<level_words, 5> levels{
    {{"debug", 7}, {"info", 6}, {"notice", 5}, {"warning", 4}, {"error", 3}}};

const level_words& words_of(log_level level) { return levels.at(static_cast<std::size_t>(level)); }

}  // namespace

std::optional<log_level> log_level_of(std::string_view word) noexcept {
  const auto* const found =
      std::find_if(levels.begin(), levels.end(), [&](const level_words& l) { return l.name == word; });
  if (found == levels.end()) return std::nullopt;
  return static_cast<log_level>(found - levels.begin());
}

std::optional<log_format> log_format_of(std::string_view word) noexcept {
  if (word == "auto") return log_format::automatic;
  if (word == "plain") return log_format::plain;
  if (word == "journal") return log_format::journal;
  return std::nullopt;
}

std::string_view to_string(log_level level) noexcept { return words_of(level).name; }

log_lines::log_lines(log_level least, log_format format) : least_{least}, format_{format} {
  if (format_ == log_format::automatic)
    format_ = writes_to_journal() ? log_format::journal : log_format::plain;
}

void log_lines::always(log_level level, std::string_view text) const {
  // what made the line has escaped what others said; this holds for those that did not
  const std::string shown = printable(text);
  std::string line;
  if (format_ == log_format::journal) {
    line = fmt::format("<{}>{}\n", words_of(level).priority, shown);
  } else {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    tm utc{};
    ::gmtime_r(&now.tv_sec, &utc);
    line = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z {:7} {}\n", utc.tm_year + 1900,
                       utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                       now.tv_nsec / 1'000'000, words_of(level).name, shown);
  }
  std::string_view left = line;
  while (!left.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody reads: there is nowhere to say so
    left.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace qkd004::serve
