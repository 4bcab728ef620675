// authenticator: what one end said to the other about one block, under one tag that only they can make.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "software/poly_hash.hpp"

namespace qkd004::software {

enum class direction : std::uint8_t { alice_to_bob, bob_to_alice };

/// Most that the probability can be that a forged transcript is believed, of which the true and the forged have at most
/// so many octets: (L + 1) / 2^128 with L blocks of 16. Of several transcripts under one key the probabilities add up.
[[nodiscard]] constexpr double authentication_error(std::uint64_t octets) noexcept {
  return (static_cast<double>((octets + 15) / 16) + 1) * 0x1p-128;
}

/// The messages of one direction about one block, hashed as they pass, each with its number, its length, the block and
/// the direction: Wegman and Carter's authentication, tag = poly_hash(messages) + pad. Its security rests on no
/// assumption about what a forger can compute. What it does rest on:
///
/// - Hash key: 128 bits that only both ends have and nothing else uses, one for each direction. It serves a whole
///   session: as every hash is covered by a pad of its own no tag tells anything of it, and what a session adds up to
///   is the sum of authentication_error() over its tags (Portmann, arXiv:1202.1229, for hash families that are almost
///   strongly universal, as this one is with its pad). That holds while pads are uniform and independent of all that
///   the forger knows: key of a QKD link with secrecy eps adds its eps.
/// - Pad: 128 bits that cover this hash and nothing else ever. Two tags under one pad give the difference of two hashes,
///   a polynomial of which the hash key is a root: whoever solves it forges at will from there on. A pad that is partly
///   known, or shared between two tags by cutting it, fails likewise (Abidin and Larsson, arXiv:1109.5168). Hence
///   auth_pool stores that a pad is used before anybody has it, and tag() wipes it.
/// - What either end was told counts only once the tag of the whole transcript was found right: until then nothing that
///   depends on it leaves the two ends. A wrong tag ends the session.
///
/// Order of calls: `add* (tag | accepts)`.
/// Threads: one at a time.
class transcript {
 public:
  transcript(const block128& hash_key, std::uint64_t block, direction from_to) noexcept;

  /// The next message, as it crosses. It is read before this returns.
  void add(std::span<const std::byte> message) noexcept;

  /// The tag to send. Wipes the pad.
  [[nodiscard]] block128 tag(block128& pad) noexcept;
  /// Whether that is the tag of the messages. Takes the same time for every tag. Wipes the pad.
  [[nodiscard]] bool accepts(const block128& tag, block128& pad) noexcept;

  /// Octets hashed so far: what authentication_error() wants.
  [[nodiscard]] std::uint64_t octets() const noexcept { return hash_.size(); }
  [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }

 private:
  poly_hash hash_;
  std::uint64_t messages_ = 0;
};

}  // namespace qkd004::software
