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

/// Event mode: one draw per detection, dead time and after-pulses in sequence.
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
  bits x;                                   ///< n_x bits
  std::vector<std::uint8_t> x_intensities;  ///< w24 only: of each bit
  decoy_counts counts;                      ///< without m_x
};

/// Block mode: no memory of dead time and after-pulses. For loads that events would be too slow for.
[[nodiscard]] sifted_block draw_block(const decoy_bb84& system, const eavesdropper& eve, const seed256& seed,
                                      std::uint64_t n_x, side which);

}  // namespace qkd004::software
