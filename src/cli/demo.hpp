// demo: keys travelling between two sites, each site and each application a process of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/exit_code.hpp"
#include "qkd004/decoy_bb84.hpp"
#include "qkd004/software_link.hpp"

namespace qkd004::cli {

struct demo_options {
  std::size_t count = 1'000;    ///< keys each application takes
  std::uint32_t chunk = 32;     ///< octets of a key
  double km = decoy_bb84{}.km;  ///< of fibre between the sites
  std::uint32_t block_bits =
      software_link_options{}.block_bits;  ///< sifted bits that the link distils at a time
  double eve = 0;                          ///< share of the photons that somebody measures and sends again
  std::optional<std::uint64_t> rate_bps;   ///< instead: a seeded link of so many bit/s; 0: as fast as asked
  bool tls = false;        ///< certificates of an authority made for this, instead of plain TCP on loopback
  bool show_keys = false;  ///< print the first
  std::string keep;        ///< a new folder for everything, keys included; empty: nothing stays
  std::string log_level = "info";  ///< of the sites
};

exit_code demo(const demo_options& o);

}  // namespace qkd004::cli
