// rate_plot: curves of rates over distance as an SVG picture that needs nothing else, for light and dark pages.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "cli/rate_curve.hpp"

namespace qkd004::cli {

/// Most curves that can be told apart.
inline constexpr std::size_t most_rate_curves = 8;

/// Requires: one curve or more, at most most_rate_curves.
[[nodiscard]] std::string to_svg(const rate_question& q, std::span<const rate_curve> curves);

/// `10^7 sifted bits`, with the exponent raised: what tells one curve from another.
[[nodiscard]] std::string block_name(const rate_curve& curve);

}  // namespace qkd004::cli
