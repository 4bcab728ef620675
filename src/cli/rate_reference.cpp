// SPDX-License-Identifier: Apache-2.0
#include "cli/rate_reference.hpp"

#include <cmath>
#include <limits>

namespace qkd004::cli {

namespace {

constexpr double endless = std::numeric_limits<double>::infinity();

struct row {
  rate_model model;
  rate_settings settings;
  double block_bits;  ///< 0: whatever
  double pulses;      ///< above 0: instead
  rate_reference reference;
};

constexpr auto optimised = rate_settings::optimised;
constexpr auto fixed = rate_settings::fixed;
constexpr auto independent = reference_kind::independent;
constexpr auto stated = reference_kind::stated_reach;
constexpr auto printed = reference_kind::published_run;

constexpr std::string_view lim_optimum = "Nelder-Mead over q_X, p1, p2, mu1, mu2 of Lim et al. 2014";
constexpr std::string_view lim_paper = "Lim et al. 2014, section IV: up to 135 km";
constexpr std::string_view w24_program = "the program published with arXiv:2405.16578, its defaults";
constexpr std::string_view ma_formulas = "equations of Ma et al. 2005";
constexpr std::string_view ma_paper = "Ma et al. 2005, section IV";

constexpr row rows[]{
    {rate_model::lim14, optimised, 1e4, 0, {stated, 135, 0, lim_paper}},
    {rate_model::lim14, optimised, 1e5, 0, {independent, 0, 1.58e-3, lim_optimum}},
    {rate_model::lim14, optimised, 1e5, 0, {independent, 50, 1.49e-4, lim_optimum}},
    {rate_model::lim14, optimised, 1e5, 0, {independent, 100, 1.19e-5, lim_optimum}},
    {rate_model::lim14, optimised, 1e5, 0, {independent, 150, 1.2e-7, lim_optimum}},
    {rate_model::lim14, optimised, 1e6, 0, {independent, 0, 3.70e-3, lim_optimum}},
    {rate_model::lim14, optimised, 1e6, 0, {independent, 50, 3.52e-4, lim_optimum}},
    {rate_model::lim14, optimised, 1e6, 0, {independent, 100, 3.07e-5, lim_optimum}},
    {rate_model::lim14, optimised, 1e6, 0, {independent, 150, 1.10e-6, lim_optimum}},
    {rate_model::lim14, optimised, 1e7, 0, {independent, 0, 5.99e-3, lim_optimum}},
    {rate_model::lim14, optimised, 1e7, 0, {independent, 50, 5.74e-4, lim_optimum}},
    {rate_model::lim14, optimised, 1e7, 0, {independent, 100, 5.16e-5, lim_optimum}},
    {rate_model::lim14, optimised, 1e7, 0, {independent, 150, 2.64e-6, lim_optimum}},
    {rate_model::lim14, optimised, 1e9, 0, {independent, 0, 9.93e-3, lim_optimum}},
    {rate_model::lim14, optimised, 1e9, 0, {independent, 50, 9.57e-4, lim_optimum}},
    {rate_model::lim14, optimised, 1e9, 0, {independent, 100, 8.80e-5, lim_optimum}},
    {rate_model::lim14, optimised, 1e9, 0, {independent, 150, 5.86e-6, lim_optimum}},
    {rate_model::lim14, optimised, endless, 0, {independent, 0, 1.72e-2, lim_optimum}},
    {rate_model::lim14, optimised, endless, 0, {independent, 50, 1.68e-3, lim_optimum}},
    {rate_model::lim14, optimised, endless, 0, {independent, 100, 1.64e-4, lim_optimum}},
    {rate_model::lim14, optimised, endless, 0, {independent, 150, 1.31e-5, lim_optimum}},
    // 625 MHz; printed in bit/s
    {rate_model::w24, fixed, 0, 1e10, {printed, 0, 7.471e7 / 625e6, w24_program}},
    {rate_model::w24, fixed, 0, 1e10, {printed, 50, 4.962e6 / 625e6, w24_program}},
    {rate_model::w24, fixed, 0, 1e12, {printed, 0, 7.748e7 / 625e6, w24_program}},
    {rate_model::w24, fixed, 0, 1e12, {printed, 50, 5.964e6 / 625e6, w24_program}},
    {rate_model::gys, fixed, 0, 0, {independent, 0, 2.414e-3, ma_formulas}},
    {rate_model::gys, fixed, 0, 0, {independent, 50, 2.096e-4, ma_formulas}},
    {rate_model::gys, fixed, 0, 0, {independent, 100, 1.602e-5, ma_formulas}},
    {rate_model::gys, fixed, 0, 0, {independent, 120, 4.369e-6, ma_formulas}},
    {rate_model::gys, fixed, 0, 0, {stated, 140.55, 0, ma_paper}},
    {rate_model::gys_infinite, fixed, 0, 0, {stated, 142.05, 0, ma_paper}},
};

bool is_same(double a, double b) {
  return a == b || (std::isfinite(a) && std::isfinite(b) && std::abs(a - b) <= 1e-9 * std::abs(b));
}

/// But for distance.
bool is_same(const decoy_bb84& a, const decoy_bb84& b) {
  if (a.proof != b.proof || a.dead_pulses != b.dead_pulses) return false;
  for (std::size_t k = 0; k < a.intensity_count(); ++k) {
    if (!is_same(a.intensities[k].mean_photons, b.intensities[k].mean_photons) ||
        !is_same(a.intensities[k].probability, b.intensities[k].probability)) {
      return false;
    }
  }
  return is_same(a.loss_db_per_km, b.loss_db_per_km) && is_same(a.efficiency, b.efficiency) &&
         is_same(a.dark_count, b.dark_count) && is_same(a.afterpulse, b.afterpulse) &&
         is_same(a.misalignment, b.misalignment) && is_same(a.x_basis, b.x_basis) &&
         is_same(a.eps_sec, b.eps_sec) && is_same(a.eps_cor, b.eps_cor);
}

}  // namespace

std::string_view to_string(reference_kind kind) noexcept {
  switch (kind) {
    case reference_kind::stated_reach: return "reach stated by the paper";
    case reference_kind::published_run: return "printed by the authors' program";
    case reference_kind::independent: return "same formulas, other code";
  }
  return "";
}

std::vector<rate_reference> references_of(const rate_question& q, const block_plan& plan) {
  std::vector<rate_reference> found;
  const auto published = find_rate_model(q.how.name);
  if (!published || !is_same(published->system, q.how.system)) return found;
  if (!is_same(published->f_ec, plan.f_ec) || !is_same(published->eps_per_bit, plan.eps_per_bit))
    return found;
  for (const row& r : rows) {
    if (r.model != q.how.model || r.settings != q.settings) continue;
    if (!is_same(r.pulses, plan.pulses)) continue;
    if (r.block_bits > 0 && !is_same(r.block_bits, plan.block_bits)) continue;
    if (r.reference.km < q.range.first || r.reference.km > q.range.last) continue;
    found.push_back(r.reference);
  }
  return found;
}

}  // namespace qkd004::cli
