// demo: keys travelling between two sites, each site and each application a process of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cli/exit_code.hpp"

namespace qkd004::cli {

struct demo_options {
  std::size_t count = 1'000;   ///< keys each application takes
  std::uint32_t chunk = 32;    ///< octets of a key
  std::uint64_t rate_bps = 0;  ///< bit/s of the link; 0: as fast as asked
  bool tls = false;        ///< certificates of an authority made for this, instead of plain TCP on loopback
  bool show_keys = false;  ///< print the first
  std::string keep;        ///< a new folder for everything, keys included; empty: nothing stays
  std::string log_level = "info";  ///< of the sites
};

exit_code demo(const demo_options& o);

}  // namespace qkd004::cli
