// SPDX-License-Identifier: Apache-2.0
#include "cli/rate_plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "cli/rate_reference.hpp"

namespace qkd004::cli {

namespace {

// pixels
constexpr double width = 960;
constexpr double height = 620;
constexpr double left = 88;
constexpr double right = 926;
constexpr double top = 124;
constexpr double bottom = 556;
constexpr double line_of_legend = 21;

constexpr double most_decades = 7;
constexpr double gap = 0.3;  ///< decades that are free above the highest rate

/// Seen by people who do not see all colours as well: lightness runs with hue. On white, and on black.
constexpr std::array<std::string_view, most_rate_curves> on_light{"#c2570c", "#c9304f", "#a8278c", "#7a35b8",
                                                                  "#4545c4", "#1c5fb8", "#08707f", "#17693a"};
constexpr std::array<std::string_view, most_rate_curves> on_dark{"#ffab6b", "#ff8a94", "#f58ad6", "#cf9bff",
                                                                 "#a5acff", "#79b8ff", "#56cfdc", "#6fd68e"};

constexpr std::string_view style = R"(<style>
  text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; fill: #1f2328; }
  .title { font-size: 19px; font-weight: 600; }
  .quiet, .tick { fill: #59636e; }
  .tick { font-size: 12.5px; }
  .card { fill: #ffffff; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .frame { stroke: #8c959f; stroke-width: 1.2; fill: none; }
  .curve { fill: none; stroke-width: 2.4; stroke-linejoin: round; stroke-linecap: round; }
  .endless { stroke-dasharray: 8 6; }
  .mark { fill: #ffffff; stroke-width: 1.9; }
  .any { stroke: #1f2328; }
)";
constexpr std::string_view dark_style = R"(  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .quiet, .tick { fill: #9aa4af; }
    .card { fill: #0d1117; }
    .grid { stroke: #2b323b; }
    .frame { stroke: #6e7681; }
    .mark { fill: #0d1117; }
    .any { stroke: #f0f6fc; }
)";

std::string raised(int exponent) {
  constexpr std::array<std::string_view, 10> digits{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = exponent < 0 ? "⁻" : "";
  for (const char digit : std::to_string(std::abs(exponent)))
    out += digits[static_cast<std::size_t>(digit - '0')];
  return out;
}

/// `10⁷` where it is one, else all digits, in groups of three.
std::string count_in_words(double count) {
  const int exponent = static_cast<int>(std::lround(std::log10(count)));
  if (exponent >= 3 && std::abs(count / std::pow(10, exponent) - 1) < 1e-9) return "10" + raised(exponent);
  std::string digits = fmt::format("{:.0f}", count);
  for (auto i = static_cast<std::ptrdiff_t>(digits.size()) - 3; i > 0; i -= 3) {
    digits.insert(static_cast<std::size_t>(i), 1, ',');
  }
  return digits;
}

/// From km and secret bits per pulse to pixels.
class axes {
 public:
  axes(const km_range& range, std::span<const rate_curve> curves) : first_{range.first}, last_{range.last} {
    if (last_ <= first_) last_ = first_ + 1;
    double least = 1;
    double most = 0;
    for (const auto& c : curves) {
      for (const auto& p : c.points) {
        most = std::max(most, p.per_pulse);
        if (p.per_pulse > 0) least = std::min(least, p.per_pulse);
      }
    }
    if (most <= 0) most = least = 1e-3;  // there is nothing to show
    high_ = std::log10(most) + gap;
    low_ = std::max(std::floor(std::log10(least)), std::ceil(high_) - most_decades);
    high_ = std::max(high_, low_ + 1);  // two numbers make a scale
  }
  [[nodiscard]] double x(double km) const { return left + (km - first_) / (last_ - first_) * (right - left); }
  [[nodiscard]] double y(double per_pulse) const {
    const double decade = per_pulse > 0 ? std::log10(per_pulse) : low_ - 1;
    return bottom - (std::max(decade, low_ - 1) - low_) / (high_ - low_) * (bottom - top);
  }
  [[nodiscard]] int lowest_decade() const { return static_cast<int>(low_); }
  [[nodiscard]] int highest_decade() const { return static_cast<int>(std::floor(high_)); }

  /// Round distances, about ten.
  [[nodiscard]] std::vector<double> ticks() const {
    constexpr std::array steps{0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0};
    const auto few =
        std::find_if(steps.begin(), steps.end(), [&](double s) { return (last_ - first_) / s <= 10; });
    const double step = few == steps.end() ? 100 : *few;
    std::vector<double> at;
    // + 0.0: the first may be -0, and would be printed so
    for (double i = std::ceil(first_ / step - 1e-9) + 0.0; i * step <= last_ + 1e-9 * step; ++i) {
      at.push_back(i * step);
    }
    return at;
  }

 private:
  double first_;
  double last_;
  double high_;  ///< decades
  double low_;
};

std::string grid(const axes& a, const decoy_bb84& system) {
  std::string out;
  for (int decade = a.lowest_decade(); decade <= a.highest_decade(); ++decade) {
    const double y = a.y(std::pow(10, decade));
    out += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", left,
                       right, y, y);
    out += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">10{}</text>\n",
                       left - 10, y + 4.5, raised(decade));
  }
  for (const double km : a.ticks()) {
    const double x = a.x(km);
    out += fmt::format("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>\n", x, x, top,
                       bottom);
    out += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:g}</text>\n", x,
                       bottom + 20, km);
    out += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.3g}</text>\n", x,
                       top - 9, km * system.loss_db_per_km);
  }
  out += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", left, top,
                     right - left, bottom - top);
  const double beside = left - 18;  // the line of its numbers
  out += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">loss (dB)</text>\n", beside,
                     top - 9);
  out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">fibre (km)</text>\n", (left + right) / 2,
                     bottom + 46);
  out += fmt::format(
      "<text transform=\"translate(26 {}) rotate(-90)\" text-anchor=\"middle\">secret bits per "
      "pulse</text>\n",
      (top + bottom) / 2);
  return out;
}

/// Where the curve goes, down to the axis where there is no more key.
std::string path_of(const axes& a, const rate_curve& c) {
  std::string path;
  const auto add = [&](double km, double per_pulse) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", a.x(km), a.y(per_pulse));
  };
  for (const auto& p : c.points) {
    if (p.per_pulse > 0) add(p.km, p.per_pulse);
  }
  for (const auto& p : c.end) add(p.km, p.per_pulse);
  if (!path.empty() && c.reach_km) add(*c.reach_km, 0);
  if (path.find('L') == std::string::npos && !path.empty()) path += " h0";  // a dot
  return path;
}

std::string mark(reference_kind kind, double x, double y, std::string_view colour) {
  switch (kind) {
    case reference_kind::independent:
      return fmt::format("<circle class=\"mark {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.6\"/>\n", colour, x, y);
    case reference_kind::published_run:
      return fmt::format("<path class=\"mark {}\" d=\"M{:.1f} {:.1f} l5.8 5.8 l-5.8 5.8 l-5.8 -5.8 z\"/>\n",
                         colour, x, y - 5.8);
    case reference_kind::stated_reach:
      return fmt::format("<path class=\"mark {}\" d=\"M{:.1f} {:.1f} l6 -10.5 l-12 0 z\"/>\n", colour, x,
                         y - 1);
  }
  return "";
}

/// An endless block is a limit: dashed, beside blocks that there are.
std::vector<std::string> classes(std::span<const rate_curve> curves) {
  const auto is_endless = [](const rate_curve& c) { return c.is_endless(); };
  const bool is_limit = !std::all_of(curves.begin(), curves.end(), is_endless);
  std::vector<std::string> out;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    out.push_back(fmt::format("curve c{}{}", i, is_limit && curves[i].is_endless() ? " endless" : ""));
  }
  return out;
}

/// What stands in the legend: a line or a mark, and what it is.
struct legend_entry {
  std::string name;
  std::string curve;      ///< class of the line; empty: a mark
  reference_kind kind{};  ///< of the mark
};

/// At the top right, where no curve goes.
std::string legend(std::span<const legend_entry> entries) {
  const auto letters = [](std::string_view text) {  // of UTF-8
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
  };
  std::ptrdiff_t longest = 0;
  for (const auto& e : entries) longest = std::max<std::ptrdiff_t>(longest, letters(e.name));
  const double wide = 62 + 7.3 * static_cast<double>(longest);
  const double tall = 14 + line_of_legend * static_cast<double>(entries.size());
  const double x = right - 12 - wide;
  double y = top + 12;
  std::string out = fmt::format(
      "<rect class=\"card\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" rx=\"6\" "
      "opacity=\"0.92\"/>\n",
      x, y, wide, tall);
  y += 7 + line_of_legend / 2;
  for (const auto& e : entries) {
    out += e.curve.empty()
               ? mark(e.kind, x + 24, e.kind == reference_kind::stated_reach ? y + 6 : y, "any")
               : fmt::format("<path class=\"{}\" d=\"M{:.1f} {:.1f} h28\"/>\n", e.curve, x + 10, y);
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x + 50, y + 4.5, e.name);
    y += line_of_legend;
  }
  return out;
}

std::string colours(std::size_t count, const std::array<std::string_view, most_rate_curves>& all,
                    std::string_view indent) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    // far apart where there are few
    const std::size_t which = count == 1 ? 5 : i * (all.size() - 1) / (count - 1);
    out += fmt::format("{}.c{} {{ stroke: {}; }}\n", indent, i, all[which]);
  }
  return out;
}

/// `6·10⁻⁷`, or plain where that is short.
std::string small_number(double x) {
  if (x == 0 || x >= 1e-3) return fmt::format("{:g}", x);
  const int exponent = static_cast<int>(std::floor(std::log10(x) + 1e-9));
  const auto factor = fmt::format("{:.3g}", x / std::pow(10, exponent));
  return (factor == "1" ? "" : factor + "·") + "10" + raised(exponent);
}

/// What the curves hold for, a line each: model and settings, then the system.
std::array<std::string, 2> conditions(const rate_question& q, const block_plan& plan) {
  const decoy_bb84& s = q.how.system;
  std::string first = fmt::format(
      "{}, after {}; {}", q.how.what, q.how.source,
      q.settings == rate_settings::optimised ? "settings optimised at each distance" : "fixed settings");
  first.front() = static_cast<char>(first.front() & ~0x20);
  std::string second =
      fmt::format("{:g} dB/km; receiver {:.3g} %, dark counts {}, misalignment {:.3g} %", s.loss_db_per_km,
                  100 * s.efficiency, small_number(s.dark_count), 100 * s.misalignment);
  if (s.afterpulse > 0) second += fmt::format(", after-pulses {:.3g} %", 100 * s.afterpulse);
  second += fmt::format("; reconciliation at {:.4g}", plan.f_ec);
  if (q.how.has_blocks) {
    second += plan.eps_per_bit > 0 ? "; secrecy " + small_number(plan.eps_per_bit) + " per bit"
                                   : "; secrecy " + small_number(s.eps_sec) + " per block";
  }
  return {first, second};
}

}  // namespace

std::string block_name(const rate_curve& c) {
  if (c.plan.pulses > 0) return "block of " + count_in_words(c.plan.pulses) + " pulses";
  if (c.is_endless()) return "endless blocks";
  return "block of " + count_in_words(c.plan.block_bits) + " sifted bits";
}

std::string to_svg(const rate_question& q, std::span<const rate_curve> curves) {
  const axes a{q.range, curves};
  const auto [model, system] = conditions(q, curves.front().plan);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
      "role=\"img\">\n"
      "<title>Secret key rate over fibre: a model, nothing is measured</title>\n"
      "<desc>{2}: secret bits per pulse from {3:g} to {4:g} km. {5}.</desc>\n",
      width, height, model, q.range.first, q.range.last, system);
  out += style;
  out += colours(curves.size(), on_light, "  ");
  out += dark_style;
  out += colours(curves.size(), on_dark, "    ");
  out += "  }\n</style>\n";
  out +=
      fmt::format("<clipPath id=\"inside\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n",
                  left, top, right - left, bottom - top);
  out += fmt::format("<rect class=\"card\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n", width, height);
  out += fmt::format(
      "<text class=\"title\" x=\"{}\" y=\"36\">Secret key rate over fibre: a model, nothing is measured"
      "</text>\n",
      left);
  out += fmt::format("<text class=\"quiet\" x=\"{}\" y=\"60\">{}</text>\n", left, model);
  out += fmt::format("<text class=\"quiet\" x=\"{}\" y=\"80\">{}</text>\n", left, system);
  out += grid(a, q.how.system);

  std::vector<legend_entry> entries;
  std::vector<legend_entry> marks;
  const auto lines = classes(curves);
  for (std::size_t i = 0; i < curves.size(); ++i) {
    out += fmt::format("<path class=\"{}\" clip-path=\"url(#inside)\" d=\"{}\"/>\n", lines[i],
                       path_of(a, curves[i]));
    entries.push_back({q.how.has_blocks ? block_name(curves[i]) : std::string{q.how.name}, lines[i], {}});
  }
  for (std::size_t i = 0; i < curves.size(); ++i) {
    for (const auto& r : references_of(q, curves[i].plan)) {
      const double y = r.kind == reference_kind::stated_reach ? bottom : a.y(r.per_pulse);
      if (y > bottom) continue;
      out += mark(r.kind, a.x(r.km), y, fmt::format("c{}", i));
      const auto is_of_kind = [&](const legend_entry& e) { return e.kind == r.kind; };
      if (std::none_of(marks.begin(), marks.end(), is_of_kind))
        marks.push_back({std::string{to_string(r.kind)}, "", r.kind});
    }
  }
  entries.insert(entries.end(), marks.begin(), marks.end());
  return out + legend(entries) + "</svg>\n";
}

}  // namespace qkd004::cli
