// decoy_bb84: a decoy-state BB84 system as plain data: what Alice sends, what lies between, what Bob detects with, and
// what is claimed about the key. Knows no formula.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace qkd004 {

/// Which proof turns counts into a length of key.
enum class decoy_proof : std::uint8_t {
  lim14,  ///< two decoys: Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014)
  w24     ///< one decoy: Wiesemann, Krause, Tupkary, Luetkenhaus, Rusca, Walenta, arXiv:2405.16578
};

/// One intensity of Alice's pulses.
struct pulse_intensity {
  double mean_photons = 0;  ///< mu of the coherent state
  double probability = 0;   ///< with which a pulse has it
};

/// Channel and detectors are by default those of Lim et al. 2014, section IV, at 25 km; what Alice and Bob choose is what
/// gives the most key there in blocks of 2^20 bits, rounded: `qkd004 rate --optimise` finds it.
struct decoy_bb84 {
  decoy_proof proof = decoy_proof::lim14;
  double km = 25;                 ///< of fibre
  double loss_db_per_km = 0.2;    ///< of the fibre
  double efficiency = 0.1;        ///< of Bob: his detectors and all loss in his receiver
  double dark_count = 6e-7;       ///< probability per pulse and detector
  double afterpulse = 0.04;       ///< probability that a click is followed by another
  double misalignment = 5e-3;     ///< probability that a photon goes to the wrong detector
  std::uint32_t dead_pulses = 0;  ///< a detector that clicked is blind for so many pulses
  double x_basis = 0.80;          ///< probability that Alice chooses the X basis, and that Bob does
  /// Signal first, then the decoys, from strong to weak. With w24 the third is not used.
  std::array<pulse_intensity, 3> intensities{{{0.45, 0.21}, {0.196, 0.595}, {2e-4, 0.195}}};
  double eps_sec = 1e-10;  ///< secrecy: distance from an ideal key, of each block
  double eps_cor = 1e-15;  ///< correctness: probability that the two keys of a block differ

  [[nodiscard]] constexpr std::size_t intensity_count() const noexcept {
    return proof == decoy_proof::lim14 ? 3 : 2;
  }
};

/// What was counted in one block, by intensity. Key comes from the X basis; the Z basis is disclosed.
struct decoy_counts {
  std::array<std::uint64_t, 3> n_x{};  ///< detections with both in X
  std::array<std::uint64_t, 3> n_z{};
  std::array<std::uint64_t, 3> m_x{};  ///< errors among n_x, known once they are corrected; w24 only
  std::array<std::uint64_t, 3> m_z{};  ///< errors among n_z
};

}  // namespace qkd004
