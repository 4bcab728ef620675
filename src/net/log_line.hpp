// log_line: one line of the log: what happened, in constant words, then `name=value` of who and why.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qkd004::net {

/// `log_line{"refused"}.with("remote", remote).with("why", why)` is `refused remote=… why="not a request"`.
///
/// A value is quoted where it has anything but printable ASCII, or a space, `=`, `"` or `\`; in quotes these two have a
/// `\` in front, and other octets are \xHH. So no value, whoever says it, ends its field or the line. Longer ones than
/// `longest` are cut off, with "…" as three dots.
class log_line {
 public:
  static constexpr std::size_t longest = 512;

  /// `what` is one of a few: lines with the same words count together (log_limit).
  explicit log_line(std::string_view what) : text_{what}, kind_{what} {}

  log_line& with(std::string_view name, std::string_view value);
  log_line& with(std::string_view name, std::uint64_t value) { return with(name, std::to_string(value)); }

  /// A link of the configuration. The lines of each count by themselves: what befalls one hides nothing of another.
  log_line& link(std::string_view name) {
    kind_ += ' ';
    kind_ += name;
    return with("link", name);
  }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] const std::string& kind() const noexcept { return kind_; }

 private:
  std::string text_;
  std::string kind_;
};

}  // namespace qkd004::net
