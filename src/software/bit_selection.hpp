// bit_selection: taking the bits of a run that a mask selects together, and putting them back apart; packed as in `bits`.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qkd004::software {

/// Appends the bits of `from` that `mask` selects to `out`, of which `filled` bits are there; what follows them is 0.
/// Returns how many bits are there now.
/// Requires: from and mask of one size; room for them, and for a word more if it is not at the end of `out`.
std::size_t gather(std::span<const std::uint64_t> from, std::span<const std::uint64_t> mask,
                   std::span<std::uint64_t> out, std::size_t filled) noexcept;

/// The opposite: the bits of `packed` from the first on go to the places that `mask` selects; the others are 0.
/// Requires: packed has as many bits as mask selects; mask and out of one size.
void scatter(std::span<const std::uint64_t> packed, std::span<const std::uint64_t> mask,
             std::span<std::uint64_t> out) noexcept;

[[nodiscard]] std::size_t count_ones(std::span<const std::uint64_t> words) noexcept;
/// How many bits are set in both. Requires: two runs of one size.
[[nodiscard]] std::size_t count_common(std::span<const std::uint64_t> a,
                                       std::span<const std::uint64_t> b) noexcept;

/// One implementation of each, for tests and for whoever chooses.
struct bit_selection {
  const char* name;
  std::size_t (*gather)(const std::uint64_t* from, const std::uint64_t* mask, std::size_t words,
                        std::uint64_t* out, std::size_t filled);
  void (*scatter)(const std::uint64_t* packed, const std::uint64_t* mask, std::size_t words,
                  std::uint64_t* out);
  std::size_t (*count_common)(const std::uint64_t* a, const std::uint64_t* b, std::size_t words);
};

/// What this processor can do, the fastest first; the last is portable.
[[nodiscard]] std::span<const bit_selection> bit_selections() noexcept;

}  // namespace qkd004::software
