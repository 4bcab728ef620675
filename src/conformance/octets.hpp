// octets: big-endian integers and texts, written and read for the checks alone. It is a second writing of what the wire
// room has, on purpose: a check that shares the server's code shares its mistakes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/key_stream_id.hpp"

namespace qkd004::conformance {

using octets = std::vector<std::uint8_t>;

class writer {
 public:
  writer& u8(std::uint32_t value) {
    out_.push_back(static_cast<std::uint8_t>(value & 0xffU));
    return *this;
  }
  writer& u16(std::uint32_t value) { return u8(value >> 8).u8(value); }
  writer& u32(std::uint32_t value) { return u16(value >> 16).u16(value); }
  writer& u64(std::uint64_t value) {
    return u32(static_cast<std::uint32_t>(value >> 32)).u32(static_cast<std::uint32_t>(value));
  }
  writer& text(std::string_view text) {
    out_.insert(out_.end(), text.begin(), text.end());
    return *this;
  }
  writer& text0(std::string_view t) { return text(t).u8(0); }
  writer& zeros(std::size_t count) {
    out_.insert(out_.end(), count, 0);
    return *this;
  }
  writer& id(const key_stream_id& id) {
    for (const std::byte octet : id.octets()) u8(std::to_integer<std::uint8_t>(octet));
    return *this;
  }
  writer& all(const octets& other) {
    out_.insert(out_.end(), other.begin(), other.end());
    return *this;
  }
  [[nodiscard]] octets take() { return std::move(out_); }

 private:
  octets out_;
};

/// A read past the end gives zeros, and ok() is false from then on.
/// Lifetime: spans lie in the input.
class reader {
 public:
  explicit reader(std::span<const std::byte> input) : in_{input} {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t left() const { return in_.size() - at_; }

  std::span<const std::byte> octets(std::size_t count) {
    if (count > left()) {
      ok_ = false;
      at_ = in_.size();
      return {};
    }
    at_ += count;
    return in_.subspan(at_ - count, count);
  }
  std::uint64_t number(std::size_t count) {
    std::uint64_t value = 0;
    for (const std::byte octet : octets(count)) value = value << 8 | std::to_integer<std::uint64_t>(octet);
    return value;
  }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::string text(std::size_t count) {
    std::string text;
    for (const std::byte octet : octets(count)) text += static_cast<char>(octet);
    return text;
  }
  std::string text0() {
    const auto rest = in_.subspan(at_);
    const auto end = std::find(rest.begin(), rest.end(), std::byte{0});
    if (end == rest.end()) ok_ = false;
    auto found = text(static_cast<std::size_t>(end - rest.begin()));
    if (ok_) octets(1);
    return found;
  }
  key_stream_id id() {
    const auto from = octets(key_stream_id::size);
    return from.empty() ? key_stream_id{} : key_stream_id{from.first<key_stream_id::size>()};
  }

 private:
  std::span<const std::byte> in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace qkd004::conformance
