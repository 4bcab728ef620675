// nelder_mead: the least value of a function of a few numbers, found without derivatives; the same each time.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace qkd004 {

/// The lowest point that was found.
template <std::size_t Size>
struct nelder_mead_minimum {
  std::array<double, Size> at{};
  double value = 0;
};

/// Where the search starts, and when it stops.
struct nelder_mead_limits {
  double step = 0.5;               ///< by which the first simplex reaches out in each direction
  double tolerance = 1e-10;        ///< of the values at its corners
  std::size_t evaluations = 1000;  ///< at most, and a few
};

/// A local minimum near `start`. Values must be numbers, infinity included.
/// Nelder and Mead, Computer Journal 7, 308 (1965).
template <std::size_t Size, class Function>
[[nodiscard]] nelder_mead_minimum<Size> nelder_mead(const Function& f, const std::array<double, Size>& start,
                                                    const nelder_mead_limits& limits = {}) {
  using corner = nelder_mead_minimum<Size>;
  std::array<corner, Size + 1> simplex;
  simplex[0] = {start, f(start)};
  for (std::size_t i = 0; i < Size; ++i) {
    auto at = start;
    at[i] += limits.step;
    simplex[i + 1] = {at, f(at)};
  }
  std::size_t evaluations = Size + 1;
  const auto order = [&] {
    std::stable_sort(simplex.begin(), simplex.end(),
                     [](const corner& a, const corner& b) { return a.value < b.value; });
  };
  // the point at middle + t (middle - worst)
  const auto beyond = [&](const std::array<double, Size>& middle, double t) {
    corner c;
    for (std::size_t i = 0; i < Size; ++i) c.at[i] = middle[i] + t * (middle[i] - simplex[Size].at[i]);
    c.value = f(c.at);
    ++evaluations;
    return c;
  };
  order();
  while (evaluations < limits.evaluations &&
         !(std::abs(simplex[Size].value - simplex[0].value) <= limits.tolerance)) {
    std::array<double, Size> middle{};
    for (std::size_t c = 0; c < Size; ++c) {
      for (std::size_t i = 0; i < Size; ++i) middle[i] += simplex[c].at[i] / static_cast<double>(Size);
    }
    const corner reflected = beyond(middle, 1);
    if (reflected.value < simplex[0].value) {
      const corner expanded = beyond(middle, 2);
      simplex[Size] = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < simplex[Size - 1].value) {
      simplex[Size] = reflected;
    } else {
      const bool is_outside = reflected.value < simplex[Size].value;
      const corner contracted = beyond(middle, is_outside ? 0.5 : -0.5);
      if (contracted.value < std::min(reflected.value, simplex[Size].value)) {
        simplex[Size] = contracted;
      } else {
        for (std::size_t c = 1; c <= Size; ++c) {
          for (std::size_t i = 0; i < Size; ++i) {
            simplex[c].at[i] = (simplex[c].at[i] + simplex[0].at[i]) / 2;
          }
          simplex[c].value = f(simplex[c].at);
        }
        evaluations += Size;
      }
    }
    order();
  }
  return simplex[0];
}

}  // namespace qkd004
