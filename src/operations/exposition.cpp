// SPDX-License-Identifier: Apache-2.0
#include "operations/exposition.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <iterator>

#include "wire/json_text.hpp"

namespace qkd004::operations {

namespace {

std::string text_of(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

void append_escaped(std::string& to, std::string_view value) {
  while (!value.empty()) {
    const std::size_t size = wire::utf8_sequence_size(value);
    if (size == 0) {
      to += "\xef\xbf\xbd";
    } else if (value.front() == '\n') {
      to += "\\n";
    } else {
      if (value.front() == '"' || value.front() == '\\') to += '\\';
      to.append(value, 0, size);
    }
    value.remove_prefix(size == 0 ? 1 : size);
  }
}

}  // namespace

std::string labels(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
  std::string text;
  for (const auto& [name, value] : pairs) {
    if (!text.empty()) text += ',';
    text.append(name).append("=\"");
    append_escaped(text, value);
    text += '"';
  }
  return text;
}

void exposition::family(std::string_view name, type t, std::string_view help) {
  constexpr std::string_view types[] = {"counter", "gauge", "histogram"};
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name,
                 types[static_cast<std::size_t>(t)]);
}

void exposition::sample(std::string_view of, std::uint64_t value) { line({}, of, std::to_string(value)); }

void exposition::sample(std::string_view of, double value) { line({}, of, text_of(value)); }

void exposition::sample(std::string_view of, const net::duration_histogram& value) {
  const auto below = [of](std::string_view bound) {
    return fmt::format("{}{}le=\"{}\"", of, of.empty() ? "" : ",", bound);
  };
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < value.counts().size(); ++i) {
    count += value.counts()[i];
    const bool is_last = i == value.bounds().size();
    const double bound = is_last ? INFINITY : std::chrono::duration<double>(value.bounds()[i]).count();
    line("_bucket", below(text_of(bound)), std::to_string(count));
  }
  line("_sum", of, text_of(value.sum()));
  line("_count", of, std::to_string(count));
}

void exposition::line(std::string_view suffix, std::string_view of, std::string_view value) {
  text_.append(name_).append(suffix);
  if (!of.empty()) text_.append("{").append(of).append("}");
  text_.append(" ").append(value).append("\n");
}

}  // namespace qkd004::operations
