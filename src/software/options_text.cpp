// SPDX-License-Identifier: Apache-2.0
#include "software/options_text.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>

namespace qkd004::software {

namespace {

bool within(double x, double least, double most) noexcept { return x >= least && x <= most; }

}  // namespace

std::string find_fault(const software_link_options& o) {
  const decoy_bb84& s = o.system;
  if (!within(s.km, 0, 1'000)) return "km is from 0 to 1000";
  if (!within(s.loss_db_per_km, 0, 100)) return "loss_db_per_km is from 0 to 100";
  if (!within(s.efficiency, 1e-6, 1)) return "efficiency is from 1e-6 to 1";
  if (!within(s.dark_count, 0, 0.1)) return "dark_count is from 0 to 0.1";
  if (!within(s.afterpulse, 0, 0.5)) return "afterpulse is from 0 to 0.5";
  if (!within(s.misalignment, 0, 0.5)) return "misalignment is from 0 to 0.5";
  if (s.dead_pulses > 1'000'000) return "dead_pulses is at most 1,000,000";
  if (!within(s.x_basis, 0.5, 0.99)) return "x_basis is from 0.5 to 0.99";
  double sum = 0;
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    const auto& i = s.intensities[k];
    if (!within(i.mean_photons, 0, 10)) return "mean photon numbers are from 0 to 10";
    if (!within(i.probability, 0.001, 0.999)) return "probabilities of intensities are from 0.001 to 0.999";
    sum += i.probability;
  }
  if (std::abs(sum - 1) > 1e-9) return "the probabilities of the intensities do not add up to 1";
  const double weak = s.intensity_count() == 3 ? s.intensities[2].mean_photons : 0;
  if (!(s.intensities[1].mean_photons > weak) ||
      !(s.intensities[0].mean_photons > s.intensities[1].mean_photons + weak)) {
    return "intensities go from strong to weak, and the first is more than the others together";
  }
  if (!within(s.eps_sec, 1e-30, 1e-3) || !within(s.eps_cor, 1e-18, 1e-3)) {
    return "eps_sec is from 1e-30 to 1e-3, eps_cor from 1e-18";
  }
  if (o.block_bits < 65'536 || o.block_bits > (1U << 27U)) return "block_bits is from 65536 to 2^27";
  if (!within(o.qber_limit, 1e-3, 0.11)) return "qber_limit is from 0.001 to 0.11";
  if (!within(o.intercept_resend, 0, 1)) return "intercept_resend is from 0 to 1";
  if (o.blocks_in_flight < 1 || o.blocks_in_flight > 16) return "blocks_in_flight is from 1 to 16";
  const double pulses = s.efficiency * std::pow(10, -s.loss_db_per_km * s.km / 10) + s.dark_count;
  if (pulses < 1e-9) return "fewer than one pulse in 1e9 would be detected";
  return {};
}

std::string options_text(const software_link_options& o) {
  const decoy_bb84& s = o.system;
  // {:a} has every bit of a double
  std::string text =
      fmt::format("bb84 {} {:a} {:a} {:a} {:a} {:a} {:a} {} {:a} {:a} {:a}", static_cast<unsigned>(s.proof),
                  s.km, s.loss_db_per_km, s.efficiency, s.dark_count, s.afterpulse, s.misalignment,
                  s.dead_pulses, s.x_basis, s.eps_sec, s.eps_cor);
  for (std::size_t k = 0; k < s.intensity_count(); ++k) {
    text += fmt::format(" {:a} {:a}", s.intensities[k].mean_photons, s.intensities[k].probability);
  }
  return text + fmt::format(" {} {} {:a} {} {:a} {} {};", static_cast<unsigned>(o.sampling), o.block_bits,
                            o.qber_limit, static_cast<unsigned>(o.leak), o.intercept_resend, o.pulse_rate,
                            o.blocks_in_flight);
}

}  // namespace qkd004::software
