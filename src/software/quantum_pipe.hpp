// quantum_pipe: the simulated quantum layer: from one seed each side draws the same detections and keeps only what
// it would know. Whoever has the seed has the key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "qkd004/decoy_bb84.hpp"
#include "software/bits.hpp"
#include "software/expander.hpp"

namespace qkd004::software {

enum class side : std::uint8_t { alice, bob };

[[nodiscard]] constexpr side other(side s) noexcept { return s == side::alice ? side::bob : side::alice; }

/// Who listens at the fibre.
struct eavesdropper {
  double intercept_resend = 0;  ///< fraction of the pulses that are measured in a random basis and sent again
};

/// A run of detections. Of what is listed, each side has its own: Bob does not know `intensities` (empty), the other
/// two columns are what that side chose and has.
struct detections {
  std::vector<std::uint32_t> gaps;        ///< pulses since the detection before, 1 or more
  std::vector<std::uint64_t> bases;       ///< packed as in `bits`: 0 is X, 1 is Z
  std::vector<std::uint8_t> intensities;  ///< Alice: 0 signal, 1 and 2 decoys
  bits values;
};

/// Pulses between a click and its after-pulse, in the mean of a geometric distribution: at a gigahertz a microsecond,
/// the order of the lifetime of a charge that is trapped in an avalanche diode. It counts from the end of the dead time.
inline constexpr double mean_afterpulse_delay = 1000;

/// Event mode: one draw per detection, dead time and after-pulses in sequence.
///
/// - Detections come in the proportions that photon_odds states: per pulse R_k = D_k (1 + p_ap) of intensity k, e_k of
///   them in error in equal bases. With dead time there are fewer.
/// - An after-pulse falls on a later pulse, on the next if its own is detected already, with bases and bits that have
///   nothing to do with those of the click, and an intensity drawn as that of a click: in proportion to p_k D_k, as Lim
///   et al. count after-pulses. (In a receiver they fall on whatever Alice sends then, in proportion to p_k, and so
///   weigh more upon the weakest decoy.) It has no after-pulse itself.
/// - With dead time each of Bob's four detectors, one for each basis and bit, is blind for as many pulses after a click
///   of its own, and what it does not see has no after-pulse.
/// - Numbers are drawn by integer arithmetic on the expanded seed. What is drawn does not depend on the machine, nor on
///   how many detections are asked for at a time.
///
/// Threads: one at a time.
class event_stream {
 public:
  event_stream(const decoy_bb84& system, const eavesdropper& eve, const seed256& seed, side which);
  event_stream(event_stream&&) noexcept;
  event_stream& operator=(event_stream&&) noexcept;
  ~event_stream();

  /// The next `count` detections; `out` is overwritten, its memory reused where it can be.
  void next(std::size_t count, detections& out);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// A whole block after sifting, as one side has it.
struct sifted_block {
  std::uint64_t pulses = 0;                 ///< that such a block takes in the mean
  bits x;                                   ///< n_x bits
  std::vector<std::uint8_t> x_intensities;  ///< w24 only: of each bit
  decoy_counts counts;                      ///< without m_x
};

/// Block mode: no memory of dead time and after-pulses (which are counted, as in photon_odds, but have no place). For
/// loads that events would be too slow for. A block ends with the detection that is the n_x-th with both in X.
/// Requires: X is chosen often enough; it takes time in proportion to n_x over the share of X among equal bases.
[[nodiscard]] sifted_block draw_block(const decoy_bb84& system, const eavesdropper& eve, const seed256& seed,
                                      std::uint64_t n_x, side which);

}  // namespace qkd004::software
