// structure: structs that say their own size, so that a program may be older or newer than the library.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "error.hpp"
#include "qkd004.h"

namespace qkd004::capi {

/// Octets of a struct in the first version that had it. Never changes; a struct only grows.
template <class T>
inline constexpr std::size_t first_size = 0;
template <>
inline constexpr std::size_t first_size<qkd004_qos> = 296;
template <>
inline constexpr std::size_t first_size<qkd004_metadata> = 32;
template <>
inline constexpr std::size_t first_size<qkd004_connect_options> = 72;
template <>
inline constexpr std::size_t first_size<qkd004_file_source_options> = 56;
template <>
inline constexpr std::size_t first_size<qkd004_software_link_options> = 192;
template <>
inline constexpr std::size_t first_size<qkd004_software_report> = 88;
template <>
inline constexpr std::size_t first_size<qkd004_source_ops> = 96;
template <>
inline constexpr std::size_t first_size<qkd004_manager_options> = 64;
template <>
inline constexpr std::size_t first_size<qkd004_server_options> = 56;
template <>
inline constexpr std::size_t first_size<qkd004_exchange_ops> = 32;
template <>
inline constexpr std::size_t first_size<qkd004_v1_qos> = 24;

/// More than any version will have: a struct_size that was forgotten must not be believed.
inline constexpr std::size_t largest_struct = 65'536;

/// What the caller's struct_size allows to touch of a T. Throws refusal (invalid_argument).
template <class T>
[[nodiscard]] std::size_t usable_size(const T& s) {
  static_assert(std::is_trivially_copyable_v<T> && first_size<T> != 0 && first_size<T> <= sizeof(T));
  if (s.struct_size < first_size<T> || s.struct_size > largest_struct) {
    throw refusal{QKD004_INVALID_ARGUMENT, "struct_size is not that of any version"};
  }
  return std::min(s.struct_size, sizeof(T));
}

/// A struct as this version knows it; what an older caller's has not is 0. Throws refusal (invalid_argument): also where
/// a newer caller's says something that this version does not know.
template <class T>
[[nodiscard]] T read(const T& from) {
  const std::size_t size = usable_size(from);
  const auto* const octets = reinterpret_cast<const unsigned char*>(&from);
  if (std::any_of(octets + size, octets + from.struct_size, [](unsigned char c) { return c != 0; })) {
    throw refusal{QKD004_INVALID_ARGUMENT, "a struct has something in it that this library does not know"};
  }
  T s{};
  std::memcpy(&s, &from, size);
  return s;
}

/// The same where NULL means `defaults`.
template <class T>
[[nodiscard]] T read_or(const T* from, const T& defaults) {
  return from == nullptr ? defaults : read(*from);
}

/// Writes as much as the caller's struct has room for; struct_size stays. Requires: read() of it was fine.
template <class T>
void write(T& to, const T& from) noexcept {
  constexpr std::size_t head = sizeof to.struct_size;
  const std::size_t size = std::min(to.struct_size, sizeof(T));
  std::memcpy(reinterpret_cast<unsigned char*>(&to) + head,
              reinterpret_cast<const unsigned char*>(&from) + head, size - head);
}

/// A pointer that has to be there. Throws refusal (invalid_argument).
template <class T>
[[nodiscard]] T& needed(T* p) {
  if (p == nullptr) throw refusal{QKD004_INVALID_ARGUMENT, "a pointer is NULL"};
  return *p;
}

}  // namespace qkd004::capi
