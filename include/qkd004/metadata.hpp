// key_metadata: what GET_KEY may say about a key besides its octets, and its JSON form.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qkd004 {

/// Clause: GS QKD 004 V2.1.1, table 2 (Metadata); D14.
struct key_metadata {
  std::uint32_t age_ms = 0;  ///< since the key became deliverable at this side
  std::uint32_t hops = 0;    ///< 0 is a direct link

  friend bool operator==(const key_metadata&, const key_metadata&) = default;
};

/// The media type that is always supported. Clause: GS QKD 004 V2.1.1, table 2.
inline constexpr std::string_view metadata_json = "application/json";

/// Octets that hold the JSON of any key_metadata without vendor members; a buffer of this size never becomes too
/// small. Clause: D14.
inline constexpr std::size_t metadata_json_size = 36;

/// `{"age":<ms>,"hops":<n>}`, at most metadata_json_size octets, no NUL.
[[nodiscard]] inline std::string to_json(const key_metadata& metadata) {
  return "{\"age\":" + std::to_string(metadata.age_ms) + ",\"hops\":" + std::to_string(metadata.hops) + "}";
}

}  // namespace qkd004
