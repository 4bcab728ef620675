// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_progress.hpp"

#include <unistd.h>

#include "cli/print.hpp"

namespace qkd004::cli {

namespace {

constexpr std::size_t longest = 79;             ///< a longer line would wrap, and could not be written over
constexpr std::chrono::seconds plain_every{2};  ///< between two plain lines

/// Faster than that nobody reads.
constexpr std::chrono::milliseconds rewritten_every{100};

constexpr std::string_view erase = "\r\x1b[K";

}  // namespace

demo_progress::demo_progress() : output_{::isatty(STDOUT_FILENO) == 1 ? on::terminal : on::pipe} {}

std::string demo_progress::next(std::string_view line, clock::time_point now) {
  if (output_ == on::terminal) {
    line = line.substr(0, longest);
    if (line == shown_ || (!shown_.empty() && now - shown_at_ < rewritten_every)) return {};
    shown_ = line;
    shown_at_ = now;
    return std::string{erase} + shown_;
  }
  // the first only once it has taken so long: a short wait needs no line
  if (next_plain_ == clock::time_point{}) next_plain_ = now + plain_every;
  if (now < next_plain_) return {};
  next_plain_ = now + plain_every;
  return std::string{line} + '\n';
}

void demo_progress::show(std::string_view line) {
  if (const auto text = next(line, clock::now()); !text.empty()) put(text);
}

void demo_progress::say(std::string_view lines) {
  std::string text;
  if (!shown_.empty()) text = erase;
  shown_.clear();
  text += lines;
  if (!text.empty()) put(text);
}

}  // namespace qkd004::cli
