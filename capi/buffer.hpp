// buffer: room that the caller gives, and the size that goes in and out beside it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

#include "error.hpp"
#include "structure.hpp"

namespace qkd004::capi {

template <class Octet>
class buffer {
 public:
  /// Throws refusal (invalid_argument): there is no size. A NULL buffer has room 0.
  buffer(Octet* octets, std::size_t* size)
      : octets_{octets}, size_{&needed(size)}, room_{octets == nullptr ? 0 : *size} {}

  /// Throws refusal (-ENOBUFS), and tells the caller what is needed.
  void need(std::size_t octets) const {
    if (octets <= room_) return;
    *size_ = octets;
    throw refusal{-ENOBUFS, ""};
  }

  void put(std::string_view text) {
    need(text.size());
    std::memcpy(octets_, text.data(), text.size());
    *size_ = text.size();
  }

  [[nodiscard]] std::size_t room() const noexcept { return room_; }
  [[nodiscard]] std::span<std::byte> first(std::size_t octets) const noexcept {
    return {reinterpret_cast<std::byte*>(octets_), octets};
  }
  void filled(std::size_t octets) noexcept { *size_ = octets; }

 private:
  Octet* octets_;
  std::size_t* size_;
  std::size_t room_;
};

}  // namespace qkd004::capi
