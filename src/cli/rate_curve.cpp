// SPDX-License-Identifier: Apache-2.0
#include "cli/rate_curve.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

#include "qkd004/decoy_optimum.hpp"
#include "qkd004/ma05.hpp"

namespace qkd004::cli {

namespace {

constexpr double furthest_km = 1000;
constexpr double reach_tolerance_km = 0.01;

/// The defaults of the program that the authors of arXiv:2405.16578 published: 625 MHz, 200 dark counts a second in all.
decoy_bb84 w24_system() {
  decoy_bb84 s;
  s.proof = decoy_proof::w24;
  s.efficiency = 1;
  s.dark_count = 200 / 625e6 / 2;
  s.afterpulse = 0;
  s.misalignment = 0.02;
  s.x_basis = 0.9;
  s.intensities = {{{0.5, 0.9}, {0.15, 0.1}, {}}};
  s.eps_sec = 1e-12;
  s.eps_cor = 1e-12;
  return s;
}

const std::array<rate_model_description, 4>& models() {
  static const std::array<rate_model_description, 4> all{
      {{rate_model::lim14, "lim14", "two decoys, finite key", "Lim et al., PRA 89, 022307 (2014)",
        lim14_system(), 1.16, 1e-15},
       {rate_model::w24, "w24", "one decoy, finite key", "Wiesemann et al., arXiv:2405.16578", w24_system(),
        1.16},
       {rate_model::gys, "gys", "vacuum and weak decoy, endless blocks", "Ma et al., PRA 72, 012326 (2005)",
        gys_system(), 1.22, 0, false},
       {rate_model::gys_infinite, "gys-infinite", "infinitely many decoys, endless blocks",
        "Ma et al., PRA 72, 012326 (2005)", gys_system(), 1.22, 0, false}}};
  return all;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

}  // namespace

std::optional<rate_model_description> find_rate_model(std::string_view name) {
  for (const auto& m : models()) {
    if (m.name == name) return m;
  }
  return {};
}

std::string rate_model_names() {
  std::string all;
  for (const auto& m : models()) all += (all.empty() ? "" : ", ") + std::string{m.name};
  return all;
}

std::optional<km_range> km_range::parse(std::string_view text) {
  std::array<double, 3> read{};
  std::size_t count = 0;
  while (true) {
    const auto colon = text.find(':');
    const auto value = number(text.substr(0, colon));
    if (!value || count == read.size()) return {};
    read[count++] = *value;
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
  }
  km_range r{read[0], count > 1 ? read[1] : read[0], count > 2 ? read[2] : km_range{}.step};
  const bool is_possible = r.first >= 0 && r.first <= r.last && r.last <= furthest_km && r.step > 0;
  if (!is_possible || (r.last - r.first) / r.step >= static_cast<double>(most_points)) return {};
  return r.size() <= most_points ? std::optional{r} : std::nullopt;
}

std::size_t km_range::size() const noexcept {
  return static_cast<std::size_t>((last - first) / step + 1e-9) + 1;
}

bool rate_curve::is_endless() const noexcept { return plan.pulses <= 0 && std::isinf(plan.block_bits); }

rate_point rate_at(const rate_question& q, const block_plan& plan, double km) {
  rate_point p;
  p.km = km;
  p.system = q.how.system;
  p.system.km = km;
  if (!q.how.has_blocks) {
    const auto r = q.how.model == rate_model::gys ? ma05_vacuum_weak(p.system, plan.f_ec)
                                                  : ma05_infinite(p.system, plan.f_ec);
    p.per_pulse = std::max(0.0, r.secret_bits);
    p.qber = r.qber;
    p.bound.phi = r.e1;
    return p;
  }
  key_forecast f;
  if (q.settings == rate_settings::optimised) {
    auto best = optimise(p.system, plan);
    p.system = best.system;
    f = best.forecast;
  } else {
    f = forecast_key(p.system, plan);
  }
  p.per_pulse = f.per_pulse;
  const double qber = f.counts.qber();
  p.qber = std::isfinite(qber) ? qber : 0;
  p.bound = f.bound;
  const bool is_block = plan.pulses > 0 || std::isfinite(plan.block_bits);
  if (is_block && f.has_key()) p.block_length = std::floor(f.bound.length);
  return p;
}

rate_curve rates_of(const rate_question& q, const block_plan& plan) {
  rate_curve c;
  c.plan = plan;
  for (std::size_t i = 0; i < q.range.size(); ++i) c.points.push_back(rate_at(q, plan, q.range[i]));
  const auto none =
      std::find_if(c.points.rbegin(), c.points.rend(), [](const auto& p) { return p.per_pulse > 0; });
  if (none == c.points.rend() || none == c.points.rbegin()) return c;  // never any, or always some
  double with = none->km;
  double without = std::prev(none)->km;
  while (without - with > reach_tolerance_km) {
    const double middle = (with + without) / 2;
    auto p = rate_at(q, plan, middle);
    (p.per_pulse > 0 ? with : without) = middle;
    if (p.per_pulse > 0) c.end.push_back(p);
  }
  c.reach_km = with;
  return c;
}

}  // namespace qkd004::cli
