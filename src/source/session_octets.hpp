// session_octets: a session and a configuration as octets that no other session or configuration has, to be
// mixed into a derived key or a check value.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "qkd004/key_source.hpp"

namespace qkd004::source {

/// label, link, lower and higher instance, each after its length in 4 octets; then `numbers` in 8 octets
/// each. All big-endian.
[[nodiscard]] inline std::vector<unsigned char> session_octets(std::string_view label,
                                                               const key_source_session& session,
                                                               std::initializer_list<std::uint64_t> numbers) {
  std::vector<unsigned char> out;
  const auto number = [&out](std::uint64_t value, unsigned octets) {
    while (octets-- > 0) out.push_back(static_cast<unsigned char>(value >> (8 * octets)));
  };
  const auto text = [&](std::span<const std::byte> octets) {
    number(octets.size(), 4);
    for (const auto octet : octets) out.push_back(std::to_integer<unsigned char>(octet));
  };
  text(std::as_bytes(std::span{label}));
  text(std::as_bytes(std::span{session.link}));
  text(session.lower);
  text(session.higher);
  for (const auto value : numbers) number(value, 8);
  return out;
}

}  // namespace qkd004::source
