// cascade: interactive reconciliation of a block: Bob finds and flips the bits in which his key differs from Alice's by
// comparing parities. Word-parallel, all frames of a block in every round.
// SPDX-License-Identifier: Apache-2.0
//
// Both ends derive from the outcomes so far which parities are compared next, so a message of Alice's is one bit for each
// of these parities of her key, and Bob's is one bit for each of them: whether his own was the same. Nothing else is
// sent, and what is sent is what is counted. A message is accepted if it has as many bits as were asked for: whatever
// they are, both ends stay within 1.2 parities for a bit of key and 4096 rounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "software/bits.hpp"
#include "software/expander.hpp"

namespace qkd004::software {

/// What both ends have to agree on before the first round, to the bit.
struct cascade_options {
  double qber =
      0.02;        ///< as estimated: block sizes follow from it. Any value works, a wrong one costs parities
  seed256 seed{};  ///< public, fresh for each block: permutations and masks
};

/// The same at both ends once Bob is done.
struct cascade_tally {
  std::uint64_t alice_bits = 0;  ///< parities of her key that Alice has sent
  std::uint64_t bob_bits =
      0;  ///< outcomes of comparisons that Bob tells, the last by his silence: one for each such parity
  std::uint64_t rounds = 0;  ///< messages of Bob's
};

/// Order of calls: `start (answer)*`. Threads: one at a time.
class cascade_alice {
 public:
  /// `key` stays the caller's, and as it is, as long as this lives.
  cascade_alice(const bits& key, const cascade_options& o);
  cascade_alice(cascade_alice&&) noexcept;
  cascade_alice& operator=(cascade_alice&&) noexcept;
  ~cascade_alice();

  /// Appends what is sent unasked.
  void start(std::vector<std::byte>& message);
  /// Appends the answer to a message of Bob's. False: that cannot be his, and nothing was appended; the block is lost.
  [[nodiscard]] bool answer(std::span<const std::byte> asked, std::vector<std::byte>& message);
  [[nodiscard]] const cascade_tally& tally() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Order of calls: `receive*`, until done(). Done does not say that the keys are equal: whoever meets far too many errors,
/// or forged messages, is done when a limit is reached.
class cascade_bob {
 public:
  /// Corrects `key` in place.
  cascade_bob(bits& key, const cascade_options& o);
  cascade_bob(cascade_bob&&) noexcept;
  cascade_bob& operator=(cascade_bob&&) noexcept;
  ~cascade_bob();

  /// Takes Alice's message and appends the next, nothing once done(). False: that cannot be hers, and nothing has changed.
  [[nodiscard]] bool receive(std::span<const std::byte> answered, std::vector<std::byte>& message);
  [[nodiscard]] bool done() const noexcept;
  [[nodiscard]] const cascade_tally& tally() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace qkd004::software
