// demo_qos: three streams of different QoS on a link that is too small for all, and what each of them gets.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "cli/exit_code.hpp"

namespace qkd004::cli {

struct demo_qos_options {
  std::size_t seconds = 6;         ///< that are measured, at least 3
  bool tls = false;                ///< as in demo_options
  std::string keep;                ///< as in demo_options
  std::string log_level = "info";  ///< of the sites
};

exit_code demo_qos(const demo_qos_options& o);

}  // namespace qkd004::cli
