// poly_hash: a hash by evaluating a polynomial over GF(2^128) at a secret point; almost universal, for verification and
// authentication.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace qkd004::software {

using block128 = std::array<std::byte, 16>;

struct poly_hash_kernel;  // poly_hash_kernels.hpp

/// Powers of the key, in the form of the kernel that multiplies with them.
struct alignas(64) poly_hash_powers {
  std::array<block128, 11> of{};
};

/// The message, cut into blocks of 16 octets (the last filled up with zeros) and followed by its length, as
/// coefficients of a polynomial of which the key is the point. Two messages of at most L blocks collide with a
/// probability of at most (L + 1) / 2^128 over the key, and their hashes differ by any other given value with no more.
///
/// It is the GHASH of NIST SP 800-38D with the message as additional data and no ciphertext: elements, their bits in
/// reverse, modulo x^128 + x^7 + x^2 + x + 1; the last block is the number of bits, in 64, and 64 zeros.
///
/// Not a cipher and not a MAC: who sees a hash and its message can compute the key. Cover it with a one-time pad (see
/// authenticator.hpp), or draw the key after the message is fixed and use it once (see verify.hpp).
/// Time: depends on lengths only. Threads: one at a time.
class poly_hash {
 public:
  explicit poly_hash(const block128& key) noexcept;
  /// With a kernel that runs here, for comparing them.
  poly_hash(const block128& key, const poly_hash_kernel& kernel) noexcept;
  poly_hash(const poly_hash&) = delete;
  poly_hash& operator=(const poly_hash&) = delete;
  ~poly_hash();  ///< wipes

  /// However a message is cut into calls, its hash is the same.
  void update(std::span<const std::byte> octets) noexcept;
  /// The hash of what came so far. Nothing may follow.
  [[nodiscard]] block128 finish() noexcept;
  /// Octets so far.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  const poly_hash_kernel& kernel_;
  poly_hash_powers powers_;
  block128 sum_{};
  block128 rest_{};  ///< the first size_ % 16 octets of it wait for the others of their block
  std::uint64_t size_ = 0;
};

}  // namespace qkd004::software
