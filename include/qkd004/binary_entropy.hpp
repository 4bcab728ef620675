// binary_entropy: how much is unknown of a bit that is 1 with a given probability.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

namespace qkd004 {

/// h(x) in bits; 0 at and beyond 0 and 1.
[[nodiscard]] inline double binary_entropy(double x) noexcept {
  if (!(x > 0 && x < 1)) return 0;
  // log1p: 1 - x has lost the digits of a small x
  return -x * std::log2(x) - (1 - x) * std::log1p(-x) / 0.693147180559945309417;  // ln 2
}

}  // namespace qkd004
