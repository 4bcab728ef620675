// routing: the little that is read of source and destination URIs: whether they are URIs, and which node they name.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace qkd004 {

/// Whether `text` may stand as source or destination: `scheme:` with something, or `app@node`; at most `longest`
/// octets, none of them a control character or a space. Clause: D2.
[[nodiscard]] constexpr bool is_uri(std::string_view text, std::size_t longest) noexcept {
  if (text.empty() || text.size() > longest) return false;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) return false;
  }
  const auto is_alpha = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  const auto colon = text.find(':');
  if (colon != std::string_view::npos && colon > 0 && colon + 1 < text.size() && is_alpha(text[0])) {
    bool scheme = true;
    for (const char c : text.substr(0, colon)) {
      scheme = scheme && (is_alpha(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.');
    }
    if (scheme) return true;
  }
  const auto at = text.rfind('@');
  return at != std::string_view::npos && at > 0 && at + 1 < text.size();
}

/// `node:1234` in `qkd://app@node:1234/path` and `app@node:1234`; empty if there is none.
[[nodiscard]] constexpr std::string_view authority_of(std::string_view uri) noexcept {
  const auto scheme = uri.find("://");
  if (scheme != std::string_view::npos) {
    uri.remove_prefix(scheme + 3);
    uri = uri.substr(0, uri.find_first_of("/?#"));
  } else if (uri.find('@') == std::string_view::npos) {
    return {};
  }
  const auto at = uri.rfind('@');
  if (at != std::string_view::npos) uri.remove_prefix(at + 1);
  return uri.substr(0, uri.find_first_of("/?#"));
}

/// The node part: `node` in `qkd://app@node`, `app@node` and `qkd://node:1234/path`; empty if there is none.
/// Clause: D2.
[[nodiscard]] constexpr std::string_view node_of(std::string_view uri) noexcept {
  const auto authority = authority_of(uri);
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);  // an IPv6 literal
  return authority.substr(0, authority.find(':'));
}

/// Whether one of the patterns is `text`, or ends in `*` and begins as `text` does.
[[nodiscard]] inline bool matches_any(const std::vector<std::string>& patterns,
                                      std::string_view text) noexcept {
  return std::any_of(patterns.begin(), patterns.end(), [text](std::string_view p) {
    return p.ends_with('*') ? text.starts_with(p.substr(0, p.size() - 1)) : p == text;
  });
}

}  // namespace qkd004
