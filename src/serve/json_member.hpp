// json_member: finds a member of a JSON object that this program wrote itself: on one line, without spaces, each name once.
// Not a parser for what comes from elsewhere.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace qkd004::serve {

/// What stands after `"name":`; nothing if that is not there. A text cannot hold it: its quotes are escaped.
[[nodiscard]] inline std::optional<std::string_view> value_of(std::string_view object,
                                                              std::string_view name) {
  std::string label = "\"";
  label.append(name).append("\":");
  const auto at = object.find(label);
  if (at == std::string_view::npos) return std::nullopt;
  return object.substr(at + label.size());
}

/// Takes a number off the beginning of `text`.
template <class Number>
[[nodiscard]] bool take_number(std::string_view& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

/// False: it is not there, or no such number.
template <class Number>
[[nodiscard]] bool read_member(std::string_view object, std::string_view name, Number& value) {
  auto text = value_of(object, name);
  return text && take_number(*text, value) && (text->starts_with(',') || text->starts_with('}'));
}

/// False: it is not there, or no text. Control characters, which JSON writes as numbers, do not come out as they were.
[[nodiscard]] inline bool read_member(std::string_view object, std::string_view name, std::string& value) {
  const auto text = value_of(object, name);
  if (!text || !text->starts_with('"')) return false;
  value.clear();
  for (std::size_t i = 1; i < text->size(); ++i) {
    char c = (*text)[i];
    if (c == '"') return true;
    if (c == '\\' && ++i < text->size()) c = (*text)[i];
    value += c;
  }
  return false;
}

}  // namespace qkd004::serve
