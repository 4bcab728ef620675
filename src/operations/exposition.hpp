// exposition: Prometheus' text format, version 0.0.4: families of samples with their help and type.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "qkd004/net/site_report.hpp"

namespace qkd004::operations {

/// `link="a+b",peer="b"`. Values may have any octets: those that are no UTF-8 become U+FFFD, as the format wants UTF-8.
[[nodiscard]] std::string labels(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs);

/// A text that grows by families. Names of families and labels are ours; help has no octet that would need an escape.
/// Order of calls: `(family sample*)* text`.
class exposition {
 public:
  static constexpr char content_type[] = "text/plain; version=0.0.4; charset=utf-8";

  enum class type : std::uint8_t { counter, gauge, histogram };

  /// What follows is of this family. `name` with its unit, and `_total` if it is a counter.
  void family(std::string_view name, type t, std::string_view help);
  /// `of` is what labels() made, and may be empty.
  void sample(std::string_view of, std::uint64_t value);
  void sample(std::string_view of, double value);
  void sample(std::string_view of, const net::duration_histogram& value);

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  void line(std::string_view suffix, std::string_view of, std::string_view value);

  std::string name_;
  std::string text_;
};

}  // namespace qkd004::operations
