// SPDX-License-Identifier: Apache-2.0
#include "serve/link_report.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

#include "serve/json_member.hpp"
#include "wire/json_text.hpp"

namespace qkd004::serve {

namespace {

using report = software_link_report;

constexpr std::array<std::pair<std::string_view, std::uint64_t report::*>, 18> counts{{
    {"sessions", &report::sessions},
    {"pulses", &report::pulses},
    {"detections", &report::detections},
    {"sifted", &report::sifted},
    {"secret", &report::secret},
    {"errors", &report::errors},
    {"leak_alice", &report::leak_alice},
    {"leak_bob", &report::leak_bob},
    {"rounds", &report::rounds},
    {"accepted", &report::accepted},
    {"over_limit", &report::over_limit},
    {"no_key", &report::no_key},
    {"unequal", &report::unequal},
    {"cut_off", &report::cut_off},
    {"forged", &report::forged},
    {"auth_used", &report::auth_used},
    {"auth_returned", &report::auth_returned},
    {"auth_left", &report::auth_left},
}};

constexpr std::array<std::pair<std::string_view, double report::*>, 3> fractions{{
    {"qber", &report::qber},
    {"efficiency", &report::efficiency},
    {"progress", &report::progress},
}};

constexpr std::array<std::string_view, report::stages> stage_names{
    "photons", "sifting", "reconciliation", "verification", "amplification", "authentication"};

bool read_histogram(std::string_view line, std::string_view name, report::histogram& value) {
  auto text = value_of(line, name);
  if (!text) return false;
  for (auto& n : value) {
    if (!text->starts_with(&n == value.data() ? '[' : ',')) return false;
    text->remove_prefix(1);
    if (!take_number(*text, n)) return false;
  }
  return text->starts_with(']');
}

}  // namespace

void link_history::add(const link_sample& sample) {
  if (!first_ && sample.counts.sessions > 0) first_ = sample;
  if (sample.counts.accepted > last_.counts.accepted) accepted_ = sample;
  last_ = sample;
}

double link_history::rate(std::uint64_t report::*count) const {
  if (!first_ || accepted_.at <= first_->at) return 0;
  const double seconds = std::chrono::duration<double>(accepted_.at - first_->at).count();
  return static_cast<double>(accepted_.counts.*count - first_->counts.*count) / seconds;
}

std::string to_json(const link_sample& sample) {
  const report& r = sample.counts;
  std::string text =
      fmt::format("{{\"link\":{},\"ms\":{}", wire::json_quoted(sample.link), sample.at.count());
  for (const auto& [name, member] : counts) text += fmt::format(",\"{}\":{}", name, r.*member);
  // no number of JSON says infinite
  for (const auto& [name, member] : fractions) {
    text += fmt::format(",\"{}\":{}", name, std::isfinite(r.*member) ? r.*member : 0.0);
  }
  text += fmt::format(",\"stage\":\"{}\",\"failure\":{},\"duration\":{{", to_string(r.at),
                      wire::json_quoted(r.failure));
  for (std::size_t i = 0; i < report::stages; ++i) {
    text +=
        fmt::format("{}\"{}\":[{}]", i == 0 ? "" : ",", stage_names.at(i), fmt::join(r.duration.at(i), ","));
  }
  return text + "}}";
}

std::optional<link_sample> parse_link_sample(std::string_view line) {
  if (!line.starts_with('{') || !line.ends_with("}}")) return std::nullopt;
  link_sample sample;
  report& r = sample.counts;
  std::int64_t ms = 0;
  bool good = read_member(line, "link", sample.link) && read_member(line, "ms", ms);
  for (const auto& [name, member] : counts) good = good && read_member(line, name, r.*member);
  for (const auto& [name, member] : fractions) good = good && read_member(line, name, r.*member);
  std::string stage;
  good = good && read_member(line, "stage", stage) && read_member(line, "failure", r.failure);
  bool known = false;
  for (std::size_t i = 0; i < report::stages; ++i) {
    good = good && read_histogram(line, stage_names.at(i), r.duration.at(i));
    if (stage != stage_names.at(i)) continue;
    r.at = static_cast<report::stage>(i);
    known = true;
  }
  if (!good || !known) return std::nullopt;
  sample.at = std::chrono::milliseconds{ms};
  return sample;
}

std::string_view to_string(report::stage stage) noexcept {
  const auto i = static_cast<std::size_t>(stage);
  return i < stage_names.size() ? stage_names[i] : std::string_view{"unknown"};
}

std::uint64_t discarded(const report& r) noexcept { return r.over_limit + r.no_key + r.unequal + r.cut_off; }

std::string reasons(const report& r) {
  std::string text;
  const auto add = [&text](std::uint64_t count, std::string_view what) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", grouped(count), what);
  };
  add(r.over_limit, "over the QBER limit");
  add(r.no_key, "without secret key");
  add(r.unequal, "unequal");
  add(r.cut_off, "cut off");
  return text;
}

std::string text_of_rate(double bps) {
  constexpr std::array<std::string_view, 4> units{"bit/s", "kbit/s", "Mbit/s", "Gbit/s"};
  std::size_t unit = 0;
  // what would be printed as 1000 is 1 of the next
  for (; bps >= 999.5 && unit + 1 < units.size(); ++unit) bps /= 1000;
  return fmt::format("{:.{}f} {}", bps, unit == 0 || bps >= 99.95 ? 0 : bps >= 9.995 ? 1 : 2, units.at(unit));
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, ",");
  }
  return text;
}

std::string percent(double fraction) { return fmt::format("{:.2f} %", 100 * fraction); }

std::string not_quantum_secure(security_class security) {
  return fmt::format(
      "NOT QUANTUM-SECURE: simulated photons, whose seeds cross between the sites {} ({})",
      security == security_class::simulated_over_tls ? "under TLS alone" : "for everybody on the way to read",
      to_string(security));
}

std::string text_of(const software_link_options& o) {
  std::string text =
      fmt::format("{:g} km, proof {}, {} sifted bits a block", o.system.km,
                  o.system.proof == decoy_proof::lim14 ? "lim14" : "w24", grouped(o.block_bits));
  if (o.intercept_resend > 0) {
    text += fmt::format(", an eavesdropper on {:g} % of the pulses", 100 * o.intercept_resend);
  }
  return text;
}

}  // namespace qkd004::serve
