// rate_reference: rates and reaches that others state or found, to hold the models against.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "cli/rate_curve.hpp"

namespace qkd004::cli {

enum class reference_kind {
  stated_reach,   ///< a publication says that key ends here
  published_run,  ///< what the authors' program prints
  independent     ///< the same formulas, evaluated by other code
};

struct rate_reference {
  reference_kind kind;
  double km;
  double per_pulse;  ///< secret bits; 0 for a reach
  std::string_view source;
};

[[nodiscard]] std::string_view to_string(reference_kind kind) noexcept;

/// What there is for a curve: of the publication's system and of this size of a block, in the range.
[[nodiscard]] std::vector<rate_reference> references_of(const rate_question& q, const block_plan& plan);

}  // namespace qkd004::cli
