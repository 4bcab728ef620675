// SPDX-License-Identifier: Apache-2.0
#include "net/log_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace qkd004::net {

namespace {

bool is_plain(char c) { return c > 0x20 && c < 0x7f && c != '=' && c != '"' && c != '\\'; }

}  // namespace

log_line& log_line::with(std::string_view name, std::string_view value) {
  text_ += ' ';
  text_ += name;
  text_ += '=';
  const bool cut = value.size() > longest;
  value = value.substr(0, longest);
  if (!cut && !value.empty() && std::all_of(value.begin(), value.end(), is_plain)) {
    text_ += value;
    return *this;
  }
  text_ += '"';
  for (const char c : value) {
    if (is_plain(c) || c == ' ' || c == '=') {
      text_ += c;
    } else if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else {
      fmt::format_to(std::back_inserter(text_), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  text_ += cut ? "...\"" : "\"";
  return *this;
}

}  // namespace qkd004::net
