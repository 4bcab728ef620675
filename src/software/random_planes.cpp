// SPDX-License-Identifier: Apache-2.0
#include "software/random_planes.hpp"

namespace qkd004::software {

namespace {

#if defined(__x86_64__)
__attribute__((target("popcnt"))) std::uint64_t ones_by_popcnt(
    std::span<const std::uint64_t> words) noexcept {
  std::uint64_t ones = 0;
  for (const std::uint64_t w : words) ones += static_cast<std::uint64_t>(__builtin_popcountll(w));
  return ones;
}
#endif

std::uint64_t ones_by_any(std::span<const std::uint64_t> words) noexcept {
  std::uint64_t ones = 0;
  for (const std::uint64_t w : words) ones += static_cast<std::uint64_t>(std::popcount(w));
  return ones;
}

}  // namespace

std::uint64_t ones_of(std::span<const std::uint64_t> words) noexcept {
#if defined(__x86_64__)
  static const bool has_popcnt = __builtin_cpu_supports("popcnt") != 0;
  if (has_popcnt) return ones_by_popcnt(words);
#endif
  return ones_by_any(words);
}

}  // namespace qkd004::software
