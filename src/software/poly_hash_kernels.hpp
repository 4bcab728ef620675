// poly_hash_kernels: the multiplications in GF(2^128) behind poly_hash, one set for each kind of processor; all give the
// same.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "software/poly_hash.hpp"

namespace qkd004::software {

struct poly_hash_kernel {
  const char* name;
  bool (*runs_here)() noexcept;
  void (*prepare)(poly_hash_powers& powers, const block128& key) noexcept;
  /// With blocks b_1 to b_n: sum = (sum + b_1) key^n + b_2 key^(n-1) + ... + b_n key. Requires: whole blocks, one or
  /// more.
  void (*absorb)(const poly_hash_powers& powers, block128& sum, std::span<const std::byte> blocks) noexcept;
};

/// All of this build, the fastest first. The last runs everywhere.
[[nodiscard]] std::span<const poly_hash_kernel> poly_hash_kernels() noexcept;

}  // namespace qkd004::software
