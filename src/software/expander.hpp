// expander: a 256-bit seed expanded by AES-256-CTR into as many octets as are wanted; the same at both sites.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace qkd004::software {

using seed256 = std::array<std::byte, 32>;

/// For what both ends have to draw alike: simulated photons, which blocks of bits Cascade compares. Not for key.
/// Threads: one at a time.
class expander {
 public:
  /// Streams of one seed with different `purpose` are independent. Throws std::bad_alloc.
  expander(const seed256& seed, std::uint64_t purpose);
  expander(expander&&) noexcept;
  expander& operator=(expander&&) noexcept;
  ~expander();

  /// The next octets of the stream.
  void fill(std::span<std::byte> out);

  /// The next 8 octets, as a number; drawn from a buffer, so that single numbers are cheap.
  [[nodiscard]] std::uint64_t next() {
    if (at_ == buffer_.size()) refill();
    return buffer_[at_++];
  }
  /// Uniform in [0, 1), a multiple of 2^-53.
  [[nodiscard]] double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  void refill();

  struct cipher;
  std::unique_ptr<cipher> cipher_;
  std::array<std::uint64_t, 512> buffer_{};
  std::size_t at_ = buffer_.size();
};

}  // namespace qkd004::software
