// bits: a run of secret bits, packed, in memory of their own that is wiped; what the stages hand to one another.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace qkd004::software {

/// Bit i is bit i % 64 of word i / 64; the bits past size() in the last word are 0.
/// Memory: whole pages, kept out of core dumps and wiped in a forked child, locked if the system allows it, and wiped
/// when it is let go of.
/// Threads: one owner at a time.
class bits {
 public:
  bits() noexcept = default;
  /// `count` zeros. Throws std::bad_alloc.
  explicit bits(std::size_t count);
  bits(bits&& other) noexcept
      : words_{std::exchange(other.words_, nullptr)}, count_{std::exchange(other.count_, 0)} {}
  bits& operator=(bits&& other) noexcept {
    std::swap(words_, other.words_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~bits();

  /// A copy has to be asked for.
  [[nodiscard]] bits copy() const;

  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] std::span<std::uint64_t> words() noexcept { return {words_, (count_ + 63) / 64}; }
  [[nodiscard]] std::span<const std::uint64_t> words() const noexcept { return {words_, (count_ + 63) / 64}; }

  [[nodiscard]] bool operator[](std::size_t i) const noexcept {
    assert(i < count_);
    return (words_[i / 64] >> (i % 64) & 1U) != 0;
  }
  void flip(std::size_t i) noexcept {
    assert(i < count_);
    words_[i / 64] ^= std::uint64_t{1} << (i % 64);
  }
  void set(std::size_t i, bool value) noexcept {
    if ((*this)[i] != value) flip(i);
  }
  /// Cuts the run off after `count` bits and wipes the rest. Requires: count <= size().
  void shorten(std::size_t count) noexcept;

 private:
  std::uint64_t* words_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace qkd004::software
