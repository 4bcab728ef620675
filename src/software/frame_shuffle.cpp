// SPDX-License-Identifier: Apache-2.0
#include "software/frame_shuffle.hpp"

#include <cstring>
#include <utility>

namespace qkd004::software {

namespace {

using row_words = std::uint64_t __attribute__((vector_size(32)));

constexpr std::size_t rows = 256;

struct shuffle_tables {
  const std::uint8_t* row_turns;
  const std::uint64_t* turned_columns;
};

/// Inlined into functions for one kind of processor each: the compiler makes of the vectors what that has.
[[gnu::always_inline]] inline void shuffle(const shuffle_tables& tables, const std::uint64_t* from,
                                           std::uint64_t* to, std::uint64_t* scratch) noexcept {
  for (std::size_t row = 0; row < rows; ++row) {
    const std::uint64_t* const in = from + 4 * row;
    std::uint64_t* const out = to + 4 * row;
    const unsigned word = tables.row_turns[row] >> 6;
    const unsigned shift = tables.row_turns[row] & 63;
    for (unsigned i = 0; i < 4; ++i) {
      out[(i + word) & 3] = in[i] << shift | in[(i + 3) & 3] >> 1 >> (63 - shift);
    }
  }
  // A column turns by the sum of the powers of two that its number of turns has: one stage moves all columns that
  // have this power by that many rows. Eight stages end where they began.
  for (std::size_t stage = 0; stage < 8; ++stage) {
    const std::size_t down = std::size_t{1} << stage;
    row_words turned;
    std::memcpy(&turned, tables.turned_columns + 4 * stage, sizeof turned);
    const auto move = [&](std::size_t first, std::size_t last, std::size_t above) {
      for (std::size_t row = first; row < last; ++row) {
        row_words stays;
        row_words comes;
        std::memcpy(&stays, to + 4 * row, sizeof stays);
        std::memcpy(&comes, to + 4 * (row + above), sizeof comes);
        const row_words now = stays ^ ((stays ^ comes) & turned);
        std::memcpy(scratch + 4 * row, &now, sizeof now);
      }
    };
    move(0, down, rows - down);
    move(down, rows, std::size_t{0} - down);
    std::swap(to, scratch);
  }
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void shuffle_avx2(const shuffle_tables& tables, const std::uint64_t* from,
                                          std::uint64_t* to, std::uint64_t* scratch) noexcept {
  shuffle(tables, from, to, scratch);
}
#endif

void shuffle_portable(const shuffle_tables& tables, const std::uint64_t* from, std::uint64_t* to,
                      std::uint64_t* scratch) noexcept {
  shuffle(tables, from, to, scratch);
}

}  // namespace

frame_shuffle::frame_shuffle(expander& random) {
  random.fill(std::as_writable_bytes(std::span{row_turns_}));
  random.fill(std::as_writable_bytes(std::span{column_turns_}));
  for (std::size_t stage = 0; stage < turned_columns_.size(); ++stage) {
    for (std::size_t column = 0; column < column_turns_.size(); ++column) {
      turned_columns_[stage][column / 64] |= (std::uint64_t{column_turns_[column]} >> stage & 1U)
                                             << (column % 64);
    }
  }
}

void frame_shuffle::apply(const_words from, words to, words scratch) const noexcept {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (has_avx2) {
    shuffle_avx2({row_turns_.data(), turned_columns_[0].data()}, from.data(), to.data(), scratch.data());
    return;
  }
#endif
  apply_portable(from, to, scratch);
}

void frame_shuffle::apply_portable(const_words from, words to, words scratch) const noexcept {
  shuffle_portable({row_turns_.data(), turned_columns_[0].data()}, from.data(), to.data(), scratch.data());
}

}  // namespace qkd004::software
