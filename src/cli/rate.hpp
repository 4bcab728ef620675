// rate: what key rate a decoy-state BB84 system is expected to have over distance: for planning, and beside the literature.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/exit_code.hpp"

namespace qkd004::cli {

struct rate_options {
  std::string model = "lim14";
  std::string km = "0:200:10";          ///< FROM:TO:STEP
  std::vector<std::string> block_bits;  ///< sifted bits of a block, `inf` for endless; empty: 1e7
  std::vector<double> pulses;           ///< instead: pulses of a block
  bool is_fixed = false;                ///< the settings as they are, not the best at each distance
  bool json = false;                    ///< one object on standard output instead of a table
  std::string plot;                     ///< path of a picture to write as well
  double pulse_rate = 0;                ///< pulses per second; 0: nothing is said of bit/s

  // in place of what the model's publication has
  std::optional<double> loss_db_per_km;
  std::optional<double> efficiency;
  std::optional<double> dark_count;
  std::optional<double> afterpulse;
  std::optional<double> misalignment;
  std::optional<std::uint32_t> dead_pulses;
  std::optional<double> x_basis;
  std::vector<double> intensities;    ///< strongest first
  std::vector<double> probabilities;  ///< of the same, without the last
  std::optional<double> f_ec;
  std::optional<double> eps_sec;  ///< of a block
  std::optional<double> eps_per_bit;
  std::optional<double> eps_cor;
};

/// Returns ok, or usage: what is asked for cannot be, or the picture cannot be written.
exit_code rate(const rate_options& o);

}  // namespace qkd004::cli
