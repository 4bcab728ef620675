// rate_curve: key rates over distance by a model: what `rate` prints and draws.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/decoy_bb84.hpp"
#include "qkd004/key_bound.hpp"
#include "qkd004/key_forecast.hpp"

namespace qkd004::cli {

enum class rate_model {
  lim14,        ///< two decoys, finite key
  w24,          ///< one decoy, finite key
  gys,          ///< vacuum and weak decoy, endless blocks
  gys_infinite  ///< infinitely many decoys, endless blocks
};

/// How intensities, their probabilities and the basis are chosen.
enum class rate_settings { optimised, fixed };

/// What a model is, and the system of its publication.
struct rate_model_description {
  rate_model model;
  std::string_view name;  ///< as typed
  std::string_view what;
  std::string_view source;
  decoy_bb84 system;
  double f_ec = 1.16;
  double eps_per_bit = 0;  ///< as in block_plan
  bool has_blocks = true;  ///< of a size that matters, and settings to optimise
};

/// The model of this name; its names, with commas.
[[nodiscard]] std::optional<rate_model_description> find_rate_model(std::string_view name);
[[nodiscard]] std::string rate_model_names();

/// Distances in km, from the first to the last.
struct km_range {
  double first = 0;
  double last = 200;
  double step = 10;

  /// `FROM:TO:STEP`, `FROM:TO` by the default step, or a single distance. Nothing: not of this form, outside 0 to 1,000 km, or
  /// more than `most_points`.
  [[nodiscard]] static std::optional<km_range> parse(std::string_view text);
  static constexpr std::size_t most_points = 1001;

  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] double operator[](std::size_t i) const noexcept {
    return first + step * static_cast<double>(i);
  }
};

/// All numbers are finite.
struct rate_point {
  double km = 0;
  double per_pulse = 0;     ///< secret bits; 0: no key
  double block_length = 0;  ///< secret bits of a block, rounded down; 0: no key, or no block
  double qber = 0;
  key_bound bound;    ///< with the models of endless blocks only phi
  decoy_bb84 system;  ///< as it was chosen

  [[nodiscard]] double loss_db() const noexcept { return km * system.loss_db_per_km; }
};

struct rate_curve {
  block_plan plan;
  std::vector<rate_point> points;
  std::vector<rate_point> end;     ///< beyond the last point that has key: how it comes to none, in order
  std::optional<double> reach_km;  ///< where it comes to none, within 0.01 km, if that is in the range

  [[nodiscard]] bool is_endless() const noexcept;
};

struct rate_question {
  rate_model_description how;
  rate_settings settings = rate_settings::optimised;
  km_range range;
};

[[nodiscard]] rate_point rate_at(const rate_question& q, const block_plan& plan, double km);
[[nodiscard]] rate_curve rates_of(const rate_question& q, const block_plan& plan);

}  // namespace qkd004::cli
