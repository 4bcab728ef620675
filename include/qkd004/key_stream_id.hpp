// key_stream_id: the 16 octets that name a key stream; no secret.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace qkd004 {

/// A UUID in network octet order. All zeros is NULL: OPEN_CONNECT makes one.
/// Clause: GS QKD 004 V2.1.1, table 2 (Key_stream_ID); D1.
class key_stream_id {
 public:
  static constexpr std::size_t size = 16;

  constexpr key_stream_id() noexcept = default;
  explicit key_stream_id(std::span<const std::byte, size> octets) noexcept {
    std::memcpy(octets_.data(), octets.data(), size);
  }

  /// The version 4 UUID with these random octets (six bits of them are overwritten).
  [[nodiscard]] static key_stream_id from_random(std::span<const std::byte, size> random) noexcept {
    key_stream_id id{random};
    id.octets_[6] = (id.octets_[6] & std::byte{0x0f}) | std::byte{0x40};
    id.octets_[8] = (id.octets_[8] & std::byte{0x3f}) | std::byte{0x80};
    return id;
  }

  /// Reads the form 8-4-4-4-12 of hexadecimal digits in either case, or none if `text` is not of that form.
  [[nodiscard]] static std::optional<key_stream_id> parse(std::string_view text) noexcept {
    if (text.size() != 36) return std::nullopt;
    key_stream_id id;
    std::size_t digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i == 8 || i == 13 || i == 18 || i == 23) {
        if (text[i] != '-') return std::nullopt;
        continue;
      }
      const char c = text[i];
      unsigned value = 0;
      if (c >= '0' && c <= '9') {
        value = static_cast<unsigned>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        value = static_cast<unsigned>((c | 0x20) - 'a') + 10;
      } else {
        return std::nullopt;
      }
      auto& octet = id.octets_[digits++ / 2];
      octet = static_cast<std::byte>(std::to_integer<unsigned>(octet) << 4 | value);
    }
    return id;
  }

  [[nodiscard]] std::string to_string() const {
    static constexpr char hex[] = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < size; ++i) {
      if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
      text += hex[std::to_integer<unsigned>(octets_[i]) >> 4];
      text += hex[std::to_integer<unsigned>(octets_[i]) & 15];
    }
    return text;
  }

  [[nodiscard]] std::span<const std::byte, size> octets() const noexcept {
    return std::span<const std::byte, size>{octets_};
  }
  [[nodiscard]] bool is_null() const noexcept { return *this == key_stream_id{}; }

  friend auto operator<=>(const key_stream_id&, const key_stream_id&) noexcept = default;

 private:
  std::array<std::byte, size> octets_{};
};

}  // namespace qkd004

/// A predefined id is any 16 octets that a peer chose, so all of them are mixed.
template <>
struct std::hash<qkd004::key_stream_id> {
  [[nodiscard]] std::size_t operator()(const qkd004::key_stream_id& id) const noexcept {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, id.octets().data(), 8);
    std::memcpy(&b, id.octets().data() + 8, 8);
    // two multiply-xor-shift rounds with the constants of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)
    std::uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15U)) * 0xbf58476d1ce4e5b9U;
    h = (h ^ (h >> 27) ^ b) * 0x94d049bb133111ebU;
    return static_cast<std::size_t>(h ^ (h >> 31));
  }
};
