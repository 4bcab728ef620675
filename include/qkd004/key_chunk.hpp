// key_chunk: one delivered key with its index and metadata.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "qkd004/metadata.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// What GET_KEY hands to an application. Move-only, wiped when it goes.
/// Clause: GS QKD 004 V2.1.1, 6.1 (GET_KEY).
struct key_chunk {
  std::uint64_t index = 0;  ///< the same at both ends for the same octets; 32 bits outside
  key_metadata metadata;
  secret_bytes key;
  std::string
      vendor_metadata;  ///< members `x_*`, a JSON object, where the stream was told to ask; empty: none (D14)

  /// The key: Key_chunk_size octets; bit 0 of octet 0 is the first bit of the key.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return key.span(); }
};

}  // namespace qkd004
