// SPDX-License-Identifier: Apache-2.0
#include "cli/rate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <limits>
#include <string_view>
#include <system_error>

#include "cli/print.hpp"
#include "cli/rate_curve.hpp"
#include "cli/rate_plot.hpp"
#include "cli/rate_reference.hpp"
#include "qkd004/key_bound.hpp"

namespace qkd004::cli {

namespace {

constexpr double steps_of_picture = 200;  ///< at least, so that curves are smooth
constexpr double least_block = 1;
constexpr double most_block = 1e12;  ///< sifted bits
constexpr double most_pulses = 1e18;
constexpr double most_pulse_rate = 1e12;  ///< per second

/// What is asked, as it is computed; or why it cannot be.
struct asked {
  rate_question question;
  std::vector<block_plan> plans;
  std::string wrong;
};

asked refuse(std::string why) {
  asked a;
  a.wrong = std::move(why);
  return a;
}

/// What is wrong with the first number out of its range, or nothing.
struct bounded_number {
  std::string_view name;
  const std::optional<double>& value;
  double least;
  double most;
};

std::string out_of_range(const rate_options& o) {
  const bounded_number all[]{{"--loss", o.loss_db_per_km, 0, 100},
                             {"--efficiency", o.efficiency, 1e-9, 1},
                             {"--dark-count", o.dark_count, 0, 0.5},
                             {"--afterpulse", o.afterpulse, 0, 1},
                             {"--misalignment", o.misalignment, 0, 0.5},
                             {"--x-basis", o.x_basis, 1e-6, 1 - 1e-6},
                             {"--f-ec", o.f_ec, 1, 10},
                             {"--eps-sec", o.eps_sec, 1e-100, 0.5},
                             {"--eps-per-bit", o.eps_per_bit, 1e-100, 1e-6},
                             {"--eps-cor", o.eps_cor, 1e-100, 0.5}};
  for (const auto& b : all) {
    if (b.value && !(*b.value >= b.least && *b.value <= b.most)) {
      return fmt::format("{} is {:g} to {:g}", b.name, b.least, b.most);
    }
  }
  if (!(o.pulse_rate >= 0 && o.pulse_rate <= most_pulse_rate)) {
    return fmt::format("--pulse-rate is at most {:g}", most_pulse_rate);
  }
  return "";
}

/// The system of the model's publication with what was asked for put in. What is wrong, or nothing.
std::string put_into(decoy_bb84& s, const rate_options& o) {
  if (auto wrong = out_of_range(o); !wrong.empty()) return wrong;
  s.loss_db_per_km = o.loss_db_per_km.value_or(s.loss_db_per_km);
  s.efficiency = o.efficiency.value_or(s.efficiency);
  s.dark_count = o.dark_count.value_or(s.dark_count);
  s.afterpulse = o.afterpulse.value_or(s.afterpulse);
  s.misalignment = o.misalignment.value_or(s.misalignment);
  s.dead_pulses = o.dead_pulses.value_or(s.dead_pulses);
  s.x_basis = o.x_basis.value_or(s.x_basis);
  s.eps_sec = o.eps_sec.value_or(s.eps_sec);
  s.eps_cor = o.eps_cor.value_or(s.eps_cor);
  const std::size_t count = s.intensity_count();
  if (!o.intensities.empty()) {
    if (o.intensities.size() != count) return fmt::format("--intensities are {} with this model", count);
    for (std::size_t k = 0; k < count; ++k) s.intensities[k].mean_photons = o.intensities[k];
  }
  if (!o.probabilities.empty()) {
    if (o.probabilities.size() + 1 != count) {
      return fmt::format("--probabilities are {} with this model: the last follows from them", count - 1);
    }
    double rest = 1;
    for (std::size_t k = 0; k + 1 < count; ++k) {
      s.intensities[k].probability = o.probabilities[k];
      rest -= o.probabilities[k];
    }
    s.intensities[count - 1].probability = rest;
  }
  return "";
}

std::optional<double> block_of(std::string_view text) {
  if (text == "inf") return std::numeric_limits<double>::infinity();
  double bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return bits >= least_block && bits <= most_block ? std::optional{bits} : std::nullopt;
}

/// Sizes of blocks, one curve each. What is wrong, or nothing.
std::string plan(std::vector<block_plan>& plans, const rate_options& o, const rate_model_description& how) {
  block_plan one;
  one.f_ec = o.f_ec.value_or(how.f_ec);
  one.eps_per_bit = o.eps_sec ? 0 : o.eps_per_bit.value_or(how.eps_per_bit);
  if (!how.has_blocks) {
    if (!o.block_bits.empty() || !o.pulses.empty())
      return fmt::format("{} knows endless blocks only", how.name);
    one.block_bits = std::numeric_limits<double>::infinity();
    plans.push_back(one);
    return "";
  }
  if (!o.block_bits.empty() && !o.pulses.empty()) return "--block-bits or --pulses, not both";
  for (const double pulses : o.pulses) {
    if (!(pulses >= 1 && pulses <= most_pulses)) return fmt::format("--pulses is 1 to {:g}", most_pulses);
    plans.push_back(one);
    plans.back().pulses = pulses;
  }
  for (const auto& text : o.block_bits) {
    const auto bits = block_of(text);
    if (!bits) return fmt::format("--block-bits is {:g} to {:g}, or inf", least_block, most_block);
    plans.push_back(one);
    plans.back().block_bits = *bits;
  }
  if (plans.empty()) plans.push_back(one);
  if (plans.size() > most_rate_curves) return fmt::format("at most {} sizes of blocks", most_rate_curves);
  return "";
}

asked read(const rate_options& o) {
  asked a;
  const auto how = find_rate_model(o.model);
  if (!how) return refuse("--model is one of " + rate_model_names());
  a.question.how = *how;
  if (auto wrong = put_into(a.question.how.system, o); !wrong.empty()) return refuse(wrong);
  if (auto wrong = plan(a.plans, o, *how); !wrong.empty()) return refuse(wrong);
  const auto range = km_range::parse(o.km);
  if (!range) {
    return refuse(
        fmt::format("--km is FROM:TO:STEP within 0 and 1000, at most {} distances", km_range::most_points));
  }
  a.question.range = *range;
  a.question.settings = o.is_fixed || !how->has_blocks ? rate_settings::fixed : rate_settings::optimised;
  if (how->has_blocks && !is_provable(a.question.how.system)) {
    return refuse(
        "there is no proof for such intensities and probabilities: the strongest is more than the others "
        "together, "
        "and none is as strong as the one before; each is sent sometimes");
  }
  if (!how->has_blocks) {
    const auto& i = a.question.how.system.intensities;
    if (!(i[0].mean_photons > i[1].mean_photons && i[1].mean_photons > 0 && i[0].mean_photons < 100)) {
      return refuse("the decoy is weaker than the signal, and more than nothing");
    }
  }
  return a;
}

// --- For people -------------------------------------------------------------------------------------------

std::string head(const rate_question& q, const block_plan& plan) {
  const decoy_bb84& s = q.how.system;
  std::string out = fmt::format("A model, nothing is measured: {} ({})\n", q.how.what, q.how.source);
  out += fmt::format(
      "{:g} dB/km, receiver {:g} %, dark counts {:.3g} per pulse and detector, misalignment {:g} %, "
      "after-pulses {:g} "
      "%\n",
      s.loss_db_per_km, 100 * s.efficiency, s.dark_count, 100 * s.misalignment, 100 * s.afterpulse);
  out += fmt::format("reconciliation discloses {:g} times the Shannon limit", plan.f_ec);
  if (!q.how.has_blocks) return out + "\n";
  out += plan.eps_per_bit > 0 ? fmt::format("; eps_sec {:g} for each secret bit", plan.eps_per_bit)
                              : fmt::format("; eps_sec {:g}", s.eps_sec);
  out += fmt::format(", eps_cor {:g}\n", s.eps_cor);
  return out + (q.settings == rate_settings::optimised ? "settings optimised at each distance\n"
                                                       : "fixed settings\n");
}

std::string in_groups(double whole) {
  std::string digits = fmt::format("{:.0f}", whole);
  for (auto i = static_cast<std::ptrdiff_t>(digits.size()) - 3; i > 0; i -= 3) {
    digits.insert(static_cast<std::size_t>(i), 1, ',');
  }
  return digits;
}

/// What others have, a line for each kind.
std::string compared(const std::vector<rate_reference>& references) {
  std::string out;
  for (std::size_t i = 0; i < references.size(); ++i) {
    const auto& r = references[i];
    const bool is_first = i == 0 || references[i - 1].kind != r.kind;
    out += is_first ? fmt::format("{}  {}: ", i == 0 ? "" : "\n", to_string(r.kind)) : ", ";
    out += r.per_pulse > 0 ? fmt::format("{:g} km {:.3e}", r.km, r.per_pulse) : fmt::format("{:g} km", r.km);
  }
  return out.empty() ? out : out + '\n';
}

std::string table(const rate_question& q, const rate_curve& c, double pulse_rate) {
  const bool is_block = q.how.has_blocks && !c.is_endless();
  std::string out = fmt::format("\n  {}\n  {:>7}{:>9}{:>8}{:>8}{:>13}", block_name(c), "km", "loss dB",
                                "QBER %", q.how.has_blocks ? "phi %" : "e1 %", "bit/pulse");
  if (pulse_rate > 0) out += fmt::format("{:>16}", "bit/s");
  if (is_block) out += fmt::format("{:>18}", "bits of a block");
  if (q.how.has_blocks) {
    out += fmt::format("{:>8}{:>7}{:>7}{:>7}", "q_X", "mu1", "mu2", "p1");
    if (q.how.system.intensity_count() == 3) out += fmt::format("{:>7}", "p2");
  }
  out += '\n';
  for (const auto& p : c.points) {
    out += fmt::format("  {:>7g}{:>9.2f}{:>8.2f}", p.km, p.loss_db(), 100 * p.qber);
    if (p.per_pulse <= 0) {
      out += fmt::format("{:>8}{:>13}\n", "", "no key");
      continue;
    }
    out += fmt::format("{:>8.2f}{:>13.3e}", 100 * p.bound.phi, p.per_pulse);
    if (pulse_rate > 0) out += fmt::format("{:>16}", in_groups(std::floor(p.per_pulse * pulse_rate)));
    if (is_block) out += fmt::format("{:>18}", in_groups(p.block_length));
    if (q.how.has_blocks) {
      const auto& i = p.system.intensities;
      out += fmt::format("{:>8.3f}{:>7.3f}{:>7.3f}{:>7.3f}", p.system.x_basis, i[0].mean_photons,
                         i[1].mean_photons, i[0].probability);
      if (p.system.intensity_count() == 3) out += fmt::format("{:>7.3f}", i[1].probability);
    }
    out += '\n';
  }
  if (c.reach_km) out += fmt::format("  key up to {:.1f} km\n", *c.reach_km);
  return out + compared(references_of(q, c.plan));
}

// --- For programs -----------------------------------------------------------------------------------------

/// Elements of an array, with commas.
template <class Range, class ToText>
std::string list(const Range& range, const ToText& to_text) {
  std::string out;
  for (const auto& one : range) out += (out.empty() ? "" : ",") + to_text(one);
  return "[" + out + "]";
}

std::string to_json(const decoy_bb84& s) {
  std::size_t k = 0;
  std::string intensities;
  for (; k < s.intensity_count(); ++k) {
    intensities += fmt::format("{}{{\"mean_photons\":{},\"probability\":{}}}", k == 0 ? "" : ",",
                               s.intensities[k].mean_photons, s.intensities[k].probability);
  }
  return fmt::format("\"x_basis\":{},\"intensities\":[{}]", s.x_basis, intensities);
}

std::string to_json(const rate_point& p, double pulse_rate) {
  std::string out =
      fmt::format("{{\"km\":{},\"loss_db\":{},\"secret_per_pulse\":{},", p.km, p.loss_db(), p.per_pulse);
  if (pulse_rate > 0) out += fmt::format("\"secret_bps\":{},", p.per_pulse * pulse_rate);
  return out + fmt::format(
                   "\"block_secret_bits\":{},\"qber\":{},\"phi\":{},\"s_x0\":{},\"s_x1\":{},\"s_z1\":{},"
                   "\"v_z1\":{},{}}}",
                   p.block_length, p.qber, p.bound.phi, p.bound.s_x0, p.bound.s_x1, p.bound.s_z1,
                   p.bound.v_z1, to_json(p.system));
}

std::string to_json(const rate_reference& r) {
  return fmt::format("{{\"km\":{},\"secret_per_pulse\":{},\"what\":\"{}\",\"source\":\"{}\"}}", r.km,
                     r.per_pulse, to_string(r.kind), r.source);
}

std::string to_json(const rate_question& q, const rate_curve& c, double pulse_rate) {
  const bool is_bits = c.plan.pulses <= 0 && !c.is_endless();
  return fmt::format(
      "{{\"block_bits\":{},\"block_pulses\":{},\"endless\":{},\"reach_km\":{},\"points\":{},\"references\":{}"
      "}}",
      is_bits ? fmt::format("{}", c.plan.block_bits) : "null",
      c.plan.pulses > 0 ? fmt::format("{}", c.plan.pulses) : "null", c.is_endless(),
      c.reach_km ? fmt::format("{}", *c.reach_km) : "null",
      list(c.points, [&](const rate_point& p) { return to_json(p, pulse_rate); }),
      list(references_of(q, c.plan), [](const rate_reference& r) { return to_json(r); }));
}

std::string to_json(const rate_question& q, const std::vector<rate_curve>& curves, double pulse_rate) {
  const decoy_bb84& s = q.how.system;
  const block_plan& plan = curves.front().plan;
  return fmt::format(
      "{{\"schema\":1,\"measured\":false,\"model\":\"{}\",\"source\":\"{}\",\"settings\":\"{}\","
      "\"loss_db_per_km\":{},\"efficiency\":{},\"dark_count\":{},\"afterpulse\":{},\"misalignment\":{},"
      "\"dead_pulses\":{},\"f_ec\":{},\"eps_sec\":{},\"eps_per_bit\":{},\"eps_cor\":{},\"curves\":{}}}\n",
      q.how.name, q.how.source, q.settings == rate_settings::optimised ? "optimised" : "fixed",
      s.loss_db_per_km, s.efficiency, s.dark_count, s.afterpulse, s.misalignment, s.dead_pulses, plan.f_ec,
      plan.eps_per_bit > 0 ? "null" : fmt::format("{}", s.eps_sec),
      plan.eps_per_bit > 0 ? fmt::format("{}", plan.eps_per_bit) : "null", s.eps_cor,
      list(curves, [&](const rate_curve& c) { return to_json(q, c, pulse_rate); }));
}

std::vector<rate_curve> curves_of(const rate_question& q, const std::vector<block_plan>& plans) {
  std::vector<rate_curve> curves;
  for (const auto& one : plans) curves.push_back(rates_of(q, one));
  return curves;
}

}  // namespace

exit_code rate(const rate_options& o) {
  const asked a = read(o);
  if (!a.wrong.empty()) return complain(exit_code::usage, a.wrong);
  std::ofstream picture;
  if (!o.plot.empty()) {
    picture.open(o.plot, std::ios::binary | std::ios::trunc);
    if (!picture) return complain(exit_code::usage, "cannot write " + printable(o.plot));
  }
  const auto curves = curves_of(a.question, a.plans);
  if (o.json) {
    put(to_json(a.question, curves, o.pulse_rate));
  } else {
    put(head(a.question, a.plans.front()));
    for (const auto& c : curves) put(table(a.question, c, o.pulse_rate));
  }
  if (!o.plot.empty()) {
    rate_question smooth = a.question;
    const km_range& range = smooth.range;
    smooth.range.step = std::min(range.step, std::max((range.last - range.first) / steps_of_picture, 1e-3));
    picture << to_svg(smooth, curves_of(smooth, a.plans));
    picture.close();
    if (!picture) return complain(exit_code::usage, "cannot write " + printable(o.plot));
  }
  return exit_code::ok;
}

}  // namespace qkd004::cli
