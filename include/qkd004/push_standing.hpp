// push_standing: what the key managers at the two ends of a pushed stream tell each other about it, and its octets on
// their channel. No octet of key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "qkd004/key_stream_id.hpp"
#include "qkd004/push_keys.hpp"

namespace qkd004 {

/// How the stream stands at one end. The whole of it is said every time, so that it may be lost and said again.
struct push_standing {
  std::uint32_t generation = 0;  ///< counts the streams of a session of the key source
  key_stream_id stream;          ///< NULL: this end has none yet
  std::uint64_t first = 0;       ///< the lowest index that this end could hand on as the session began
  std::uint64_t resolved = 0;    ///< each index below is here, or never comes
  std::uint64_t heard = 0;       ///< `resolved` of the other end, as this one knows it
  std::uint32_t chunk = 0;       ///< octets of a key; 0: not known yet
  bool ended = false;            ///< nothing more of this stream is taken here
  bool heard_ended = false;      ///< and the same was heard from the other end
  std::vector<push_range> lost;  ///< what never comes, from `heard` of the other end on

  static constexpr std::size_t most_ranges = 3'000;

  friend bool operator==(const push_standing&, const push_standing&) = default;
};

namespace detail {

constexpr std::byte push_standing_version{1};
constexpr std::size_t push_standing_head = 1 + 4 + 16 + 3 * 8 + 4 + 1 + 2;
static_assert(push_standing_head + push_standing::most_ranges * 16 <= 60'000);

template <class Integer>
void put(std::vector<std::byte>& out, Integer value) {
  for (std::size_t i = sizeof value; i-- > 0;) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}
template <class Integer>
Integer get(std::span<const std::byte>& in) {
  Integer value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) {
    value = static_cast<Integer>(value << 8 | std::to_integer<Integer>(in[i]));
  }
  in = in.subspan(sizeof value);
  return value;
}

}  // namespace detail

/// Requires: at most most_ranges of `lost`.
inline void encode(const push_standing& s, std::vector<std::byte>& out) {
  out.clear();
  out.push_back(detail::push_standing_version);
  detail::put(out, s.generation);
  out.insert(out.end(), s.stream.octets().begin(), s.stream.octets().end());
  detail::put(out, s.first);
  detail::put(out, s.resolved);
  detail::put(out, s.heard);
  detail::put(out, s.chunk);
  out.push_back(static_cast<std::byte>((s.ended ? 1 : 0) | (s.heard_ended ? 2 : 0)));
  detail::put(out, static_cast<std::uint16_t>(s.lost.size()));
  for (const push_range& r : s.lost) {
    detail::put(out, r.first);
    detail::put(out, r.end);
  }
}

/// None: that is no standing.
[[nodiscard]] inline std::optional<push_standing> decode_push_standing(std::span<const std::byte> in) {
  if (in.size() < detail::push_standing_head || in[0] != detail::push_standing_version) return std::nullopt;
  in = in.subspan(1);
  push_standing s;
  s.generation = detail::get<std::uint32_t>(in);
  s.stream = key_stream_id{in.first<key_stream_id::size>()};
  in = in.subspan(key_stream_id::size);
  s.first = detail::get<std::uint64_t>(in);
  s.resolved = detail::get<std::uint64_t>(in);
  s.heard = detail::get<std::uint64_t>(in);
  s.chunk = detail::get<std::uint32_t>(in);
  const auto flags = detail::get<std::uint8_t>(in);
  const std::size_t ranges = detail::get<std::uint16_t>(in);
  if (flags > 3 || ranges > push_standing::most_ranges || in.size() != ranges * 16 || s.resolved < s.first)
    return std::nullopt;
  s.ended = (flags & 1) != 0;
  s.heard_ended = (flags & 2) != 0;
  std::uint64_t known = 0;
  for (std::size_t i = 0; i < ranges; ++i) {
    push_range r;
    r.first = detail::get<std::uint64_t>(in);
    r.end = detail::get<std::uint64_t>(in);
    if (r.first < known || r.first >= r.end || r.end > s.resolved) return std::nullopt;
    known = r.end;
    s.lost.push_back(r);
  }
  return s;
}

}  // namespace qkd004
