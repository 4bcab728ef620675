// octets: a reader and a writer of big-endian integers and runs of octets over a span, which neither leaves.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "qkd004/key_stream_id.hpp"

namespace qkd004::wire {

/// From the machine's order to big-endian, and back.
template <class Integer>
[[nodiscard]] constexpr Integer big_endian(Integer value) noexcept {
  if constexpr (std::endian::native == std::endian::big || sizeof(Integer) == 1) return value;
  if constexpr (sizeof(Integer) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(Integer) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(Integer) == 8) return __builtin_bswap64(value);
}

/// Reads from the front. A read past the end gives 0 or nothing and makes every later read fail too, so a
/// decoder reads all fields and asks once, at_end() or ok(), before it believes any of them.
/// Lifetime: spans and views it returns lie in the input.
class octet_reader {
 public:
  explicit octet_reader(std::span<const std::byte> input) noexcept : input_{input} {}

  /// Whether every read so far was inside the input.
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  /// Whether every read was inside the input and nothing is left of it.
  [[nodiscard]] bool at_end() const noexcept { return ok_ && input_.empty(); }
  [[nodiscard]] std::size_t left() const noexcept { return input_.size(); }

  [[nodiscard]] std::uint8_t u8() noexcept { return integer<std::uint8_t>(); }
  [[nodiscard]] std::uint16_t u16() noexcept { return integer<std::uint16_t>(); }
  [[nodiscard]] std::uint32_t u32() noexcept { return integer<std::uint32_t>(); }
  [[nodiscard]] std::uint64_t u64() noexcept { return integer<std::uint64_t>(); }

  [[nodiscard]] std::span<const std::byte> octets(std::size_t count) noexcept {
    if (count > input_.size()) {
      fail();
      return {};
    }
    const auto taken = input_.first(count);
    input_ = input_.subspan(count);
    return taken;
  }

  template <std::size_t N>
  [[nodiscard]] std::array<std::byte, N> array() noexcept {
    std::array<std::byte, N> taken{};
    if (const auto from = octets(N); from.size() == N) std::memcpy(taken.data(), from.data(), N);
    return taken;
  }

  [[nodiscard]] key_stream_id stream() noexcept {
    const auto from = octets(key_stream_id::size);
    return from.empty() ? key_stream_id{} : key_stream_id{from.first<key_stream_id::size>()};
  }

  /// u16 length and that many octets.
  [[nodiscard]] std::string_view string() noexcept { return text(octets(u16())); }

  /// The octets before the next NUL, which is taken too. Fails if there is none among the next `most`.
  [[nodiscard]] std::string_view until_nul(std::size_t most) noexcept {
    const std::size_t searched = std::min(most, input_.size());
    const void* nul = searched == 0 ? nullptr : std::memchr(input_.data(), 0, searched);
    if (nul == nullptr) {
      fail();
      return {};
    }
    const auto length = static_cast<std::size_t>(static_cast<const std::byte*>(nul) - input_.data());
    return text(octets(length + 1).first(length));
  }

  /// The octets before the first NUL among the next `size`, all of which are taken. Fails if there is none.
  [[nodiscard]] std::string_view padded(std::size_t size) noexcept {
    const std::string_view field = text(octets(size));
    const std::size_t length = field.find('\0');
    if (length == std::string_view::npos) {
      fail();
      return {};
    }
    return field.substr(0, length);
  }

 private:
  template <class Integer>
  Integer integer() noexcept {
    if (sizeof(Integer) > input_.size()) {
      fail();
      return 0;
    }
    Integer value = 0;
    std::memcpy(&value, input_.data(), sizeof value);
    input_ = input_.subspan(sizeof(Integer));
    return big_endian(value);
  }

  static std::string_view text(std::span<const std::byte> octets) noexcept {
    return {reinterpret_cast<const char*>(octets.data()), octets.size()};
  }

  void fail() noexcept {
    ok_ = false;
    input_ = {};
  }

  std::span<const std::byte> input_;
  bool ok_ = true;
};

/// Writes from the front. What does not fit is not written; that is a defect of the caller, who measured it.
class octet_writer {
 public:
  explicit octet_writer(std::span<std::byte> output) noexcept : output_{output} {}

  [[nodiscard]] std::size_t left() const noexcept { return output_.size(); }

  void u8(std::uint8_t value) noexcept { integer(value); }
  void u16(std::uint16_t value) noexcept { integer(value); }
  void u32(std::uint32_t value) noexcept { integer(value); }
  void u64(std::uint64_t value) noexcept { integer(value); }

  void octets(std::span<const std::byte> from) noexcept {
    const auto to = take(from.size());
    if (!to.empty()) std::memcpy(to.data(), from.data(), to.size());
  }
  void text(std::string_view from) noexcept { octets(std::as_bytes(std::span{from})); }
  void string(std::string_view from) noexcept {
    u16(static_cast<std::uint16_t>(from.size()));
    text(from);
  }
  void zeros(std::size_t count) noexcept {
    const auto to = take(count);
    if (!to.empty()) std::memset(to.data(), 0, to.size());
  }

 private:
  std::span<std::byte> take(std::size_t count) noexcept {
    assert(count <= output_.size());
    if (count > output_.size()) return {};
    const auto taken = output_.first(count);
    output_ = output_.subspan(count);
    return taken;
  }

  template <class Integer>
  void integer(Integer value) noexcept {
    const Integer ordered = big_endian(value);
    const auto to = take(sizeof(Integer));
    if (!to.empty()) std::memcpy(to.data(), &ordered, sizeof ordered);
  }

  std::span<std::byte> output_;
};

/// Takes what octet_writer takes and only counts it: so one function both measures a message and writes it.
class octet_counter {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  void u8(std::uint8_t) noexcept { size_ += 1; }
  void u16(std::uint16_t) noexcept { size_ += 2; }
  void u32(std::uint32_t) noexcept { size_ += 4; }
  void u64(std::uint64_t) noexcept { size_ += 8; }
  void octets(std::span<const std::byte> from) noexcept { size_ += from.size(); }
  void text(std::string_view from) noexcept { size_ += from.size(); }
  void string(std::string_view from) noexcept { size_ += 2 + from.size(); }
  void zeros(std::size_t count) noexcept { size_ += count; }

 private:
  std::size_t size_ = 0;
};

}  // namespace qkd004::wire
