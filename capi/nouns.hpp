// nouns: the standard's nouns between their C and their C++ form.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "qkd004.h"
#include "qkd004/key_source.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::capi {

[[nodiscard]] inline key_stream_id id_of(const qkd004_key_stream_id& id) noexcept {
  return key_stream_id{std::as_bytes(std::span{id.octets})};
}
inline void write_id(qkd004_key_stream_id& to, const key_stream_id& from) noexcept {
  std::memcpy(to.octets, from.octets().data(), sizeof to.octets);
}

/// Throws refusal (invalid_argument).
[[nodiscard]] qos qos_of(const qkd004_qos& q);
/// As a struct of this version.
[[nodiscard]] qkd004_qos qos_of(const qos& q) noexcept;

/// Throws refusal (invalid_argument) for a number that is none of them.
[[nodiscard]] security_class security_of(std::int32_t s);

/// 0 octets: the default.
[[nodiscard]] inline secret_options memory_of(std::size_t bytes, int allow_unlocked) noexcept {
  secret_options o;
  if (bytes != 0) o.bytes = bytes;
  o.allow_unlocked = allow_unlocked != 0;
  return o;
}

}  // namespace qkd004::capi
