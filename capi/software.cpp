// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "guard.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "qkd004/software_link.hpp"
#include "source.hpp"
#include "structure.hpp"

namespace qkd004::capi {
namespace {

/// The number of an enumerator, in the order of both languages. Throws refusal (invalid_argument).
template <class Enum>
Enum one_of(std::int32_t number, std::int32_t last) {
  if (number < 0 || number > last) throw refusal{QKD004_INVALID_ARGUMENT, "a number is none of its enum"};
  return static_cast<Enum>(number);
}
static_assert(static_cast<int>(decoy_proof::w24) == QKD004_W24);
static_assert(static_cast<int>(photon_sampling::blocks) == QKD004_SAMPLE_BLOCKS);
static_assert(static_cast<int>(leak_account::both_directions) == QKD004_BOTH_DIRECTIONS);

qkd004_software_link_options defaults() {
  const software_link_options d;
  qkd004_software_link_options o{};
  o.struct_size = sizeof o;
  o.proof = static_cast<std::int32_t>(d.system.proof);
  o.km = d.system.km;
  o.loss_db_per_km = d.system.loss_db_per_km;
  o.efficiency = d.system.efficiency;
  o.dark_count = d.system.dark_count;
  o.afterpulse = d.system.afterpulse;
  o.misalignment = d.system.misalignment;
  o.dead_pulses = d.system.dead_pulses;
  o.x_basis = d.system.x_basis;
  for (std::size_t i = 0; i != d.system.intensities.size(); ++i) {
    o.intensities[i] = {d.system.intensities[i].mean_photons, d.system.intensities[i].probability};
  }
  o.eps_sec = d.system.eps_sec;
  o.eps_cor = d.system.eps_cor;
  o.sampling = static_cast<std::int32_t>(d.sampling);
  o.block_bits = d.block_bits;
  o.qber_limit = d.qber_limit;
  o.leak = static_cast<std::int32_t>(d.leak);
  o.intercept_resend = d.intercept_resend;
  o.pulse_rate = d.pulse_rate;
  o.blocks_in_flight = d.blocks_in_flight;
  return o;
}

software_link_options options_of(const qkd004_software_link_options& o) {
  software_link_options to;
  to.system.proof = one_of<decoy_proof>(o.proof, QKD004_W24);
  to.system.km = o.km;
  to.system.loss_db_per_km = o.loss_db_per_km;
  to.system.efficiency = o.efficiency;
  to.system.dark_count = o.dark_count;
  to.system.afterpulse = o.afterpulse;
  to.system.misalignment = o.misalignment;
  to.system.dead_pulses = o.dead_pulses;
  to.system.x_basis = o.x_basis;
  for (std::size_t i = 0; i != to.system.intensities.size(); ++i) {
    to.system.intensities[i] = {o.intensities[i].mean_photons, o.intensities[i].probability};
  }
  to.system.eps_sec = o.eps_sec;
  to.system.eps_cor = o.eps_cor;
  to.sampling = one_of<photon_sampling>(o.sampling, QKD004_SAMPLE_BLOCKS);
  to.block_bits = o.block_bits;
  to.qber_limit = o.qber_limit;
  to.leak = one_of<leak_account>(o.leak, QKD004_BOTH_DIRECTIONS);
  to.intercept_resend = o.intercept_resend;
  to.pulse_rate = o.pulse_rate;
  to.blocks_in_flight = o.blocks_in_flight;
  return to;
}

answer make(const qkd004_software_link_options* options, qkd004_source** alice, qkd004_source** bob) {
  qkd004_source*& one = needed(alice);
  qkd004_source*& other = needed(bob);
  const qkd004_software_link_options o = read_or(options, defaults());
  std::string why;
  new_handle<qkd004_source> handles[2];
  auto ends = make_software_link(options_of(o), &why);
  if (!ends) return {ends.error(), why};
  auto a = std::make_shared<source_object>(std::move(ends->first));
  auto b = std::make_shared<source_object>(std::move(ends->second));
  one = handles[0].publish(std::move(a));
  other = handles[1].publish(std::move(b));
  return 0;
}

answer report(qkd004_source* source, qkd004_software_report* report) {
  qkd004_software_report& out = needed(report);
  static_cast<void>(read(out));
  const auto s = use(source);
  if (!s->software) return {status::invalid_argument, "the key source is not an end of a software link"};
  const software_link_report r = s->software->report();
  qkd004_software_report to = QKD004_SOFTWARE_REPORT_INIT;
  to.pulses = r.pulses;
  to.detections = r.detections;
  to.sifted = r.sifted;
  to.secret = r.secret;
  to.accepted = r.accepted;
  to.over_limit = r.over_limit;
  to.no_key = r.no_key;
  to.unequal = r.unequal;
  to.qber = r.qber;
  to.efficiency = r.efficiency;
  write(out, to);
  return 0;
}

}  // namespace
}  // namespace qkd004::capi

using namespace qkd004::capi;

int qkd004_software_link_defaults(qkd004_software_link_options* options) {
  return guarded("qkd004_software_link_defaults", [&]() -> answer {
    qkd004_software_link_options& out = needed(options);
    static_cast<void>(usable_size(out));  // what stands in it is overwritten, whatever it is
    write(out, defaults());
    return 0;
  });
}

int qkd004_source_software_link(const qkd004_software_link_options* options, qkd004_source** alice,
                                qkd004_source** bob) {
  return guarded("qkd004_source_software_link", [&] { return make(options, alice, bob); });
}

int qkd004_source_software_report(qkd004_source* source, qkd004_software_report* to) {
  return guarded("qkd004_source_software_report", [&] { return report(source, to); });
}
