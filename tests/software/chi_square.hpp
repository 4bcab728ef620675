// chi_square: whether counts could be draws from a distribution, for tests of simulated statistics.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace qkd004::tests {

/// Probability that a chi-square variable of so many degrees of freedom is above `value`: the incomplete gamma function,
/// by its series or its continued fraction, whichever converges.
inline double chi_square_above(double value, double degrees) {
  const double a = degrees / 2;
  const double x = value / 2;
  if (x <= 0) return 1;
  const double front = std::exp(a * std::log(x) - x - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a;
    double sum = term;
    for (double n = a + 1; term > sum * 1e-15; ++n) sum += term *= x / n;
    return 1 - sum * front;
  }
  double b = x + 1 - a;
  double c = 1e300;
  double d = 1 / b;
  double h = d;
  for (double i = 1; i < 10'000; ++i) {
    const double an = -i * (i - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    h *= d * c;
    if (std::abs(d * c - 1) < 1e-15) break;
  }
  return front * h;
}

/// Of counts of one sample and the probabilities of its cells. Cells that are expected to hold fewer than 10 are put
/// together.
inline double chi_square_p(const std::vector<std::uint64_t>& counts,
                           const std::vector<double>& probabilities) {
  double total = 0;
  for (const std::uint64_t count : counts) total += static_cast<double>(count);
  double value = 0;
  double cells = 0;
  double rare = 0;
  double rare_expected = 0;
  const auto add = [&](double count, double expected) {
    value += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * total;
    if (expected >= 10) {
      add(static_cast<double>(counts[i]), expected);
    } else {
      rare += static_cast<double>(counts[i]);
      rare_expected += expected;
    }
  }
  if (rare_expected > 1) {
    add(rare, rare_expected);
  } else if (rare > 20) {
    return 0;
  }
  return chi_square_above(value, cells - 1);
}

inline constexpr double least_p = 1e-4;

}  // namespace qkd004::tests
