// sp800_22: seven of the tests of NIST SP 800-22 rev. 1a, by the numbers of its sections; each gives the probability that
// true randomness looks worse. They say nothing about secrecy: a published sequence passes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numbers>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "software/chi_square.hpp"

namespace qkd004::tests::sp800_22 {

/// One bit in each element, 0 or 1.
using sequence = std::vector<std::uint8_t>;

inline sequence from_text(std::string_view zeros_and_ones) {
  sequence s;
  for (const char c : zeros_and_ones) {
    if (c != ' ') s.push_back(c == '1');
  }
  return s;
}

/// The upper incomplete gamma function Q(a, x).
inline double igamc(double a, double x) { return chi_square_above(2 * x, 2 * a); }

/// 2.1: as many ones as zeros.
inline double monobit(const sequence& s) {
  double sum = 0;
  for (const std::uint8_t bit : s) sum += bit == 0 ? -1 : 1;
  return std::erfc(std::abs(sum) / std::sqrt(2 * static_cast<double>(s.size())));
}

/// 2.2: the same in each block of `length` bits.
inline double block_frequency(const sequence& s, std::size_t length) {
  const std::size_t blocks = s.size() / length;
  double chi_square = 0;
  for (std::size_t i = 0; i < blocks; ++i) {
    double ones = 0;
    for (std::size_t j = 0; j < length; ++j) ones += s[i * length + j];
    const double off = ones / static_cast<double>(length) - 0.5;
    chi_square += off * off;
  }
  return chi_square_above(4 * static_cast<double>(length) * chi_square, static_cast<double>(blocks));
}

/// 2.3: how often the bit changes.
inline double runs(const sequence& s) {
  const double n = static_cast<double>(s.size());
  double ones = 0;
  double changes = 1;
  for (std::size_t i = 0; i < s.size(); ++i) {
    ones += s[i];
    if (i > 0 && s[i] != s[i - 1]) ++changes;
  }
  const double pi = ones / n;
  if (std::abs(pi - 0.5) >= 2 / std::sqrt(n)) return 0;  // not worth the test, says 2.3.4
  const double both = pi * (1 - pi);
  return std::erfc(std::abs(changes - 2 * n * both) / (2 * std::sqrt(2 * n) * both));
}

/// 2.4: the longest run of ones in each block. Requires: 128 bits or more.
inline double longest_run(const sequence& s) {
  struct table {
    std::size_t block;
    std::size_t least;  ///< the first cell counts runs of so many and fewer
    std::vector<double> probabilities;
  };
  // 2.4.2 and 3.4, with the digits of the reference implementation
  const table of =
      s.size() < 6'272 ? table{8, 1, {0.21484375, 0.3671875, 0.23046875, 0.1875}}
      : s.size() < 750'000
          ? table{128, 4, {0.1174035788, 0.242955959, 0.249363483, 0.17517706, 0.102701071, 0.112398847}}
          : table{10'000, 10, {0.0882, 0.2092, 0.2483, 0.1933, 0.1208, 0.0675, 0.0727}};
  const std::size_t blocks = s.size() / of.block;
  std::vector<double> counts(of.probabilities.size());
  for (std::size_t i = 0; i < blocks; ++i) {
    std::size_t longest = 0;
    std::size_t run = 0;
    for (std::size_t j = 0; j < of.block; ++j) {
      run = s[i * of.block + j] == 1 ? run + 1 : 0;
      longest = std::max(longest, run);
    }
    ++counts[std::clamp(longest, of.least, of.least + counts.size() - 1) - of.least];
  }
  double chi_square = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = static_cast<double>(blocks) * of.probabilities[i];
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return chi_square_above(chi_square, static_cast<double>(counts.size() - 1));
}

/// How often each pattern of `length` bits occurs, overlapping, the sequence closed to a ring.
inline std::vector<std::uint64_t> pattern_counts(const sequence& s, unsigned length) {
  std::vector<std::uint64_t> counts(std::size_t{1} << length);
  std::size_t pattern = 0;
  for (std::size_t i = 0; i < s.size() + length - 1; ++i) {
    pattern = (pattern << 1U | s[i < s.size() ? i : i - s.size()]) & (counts.size() - 1);
    if (i + 1 >= length) ++counts[pattern];
  }
  return counts;
}

/// 2.11: whether all patterns of `length` bits are as frequent; both of its values.
inline std::pair<double, double> serial(const sequence& s, unsigned length) {
  const auto psi_square = [&s](unsigned m) {
    if (m == 0) return 0.0;
    double sum = 0;
    for (const std::uint64_t count : pattern_counts(s, m)) {
      sum += static_cast<double>(count) * static_cast<double>(count);
    }
    return std::ldexp(sum, static_cast<int>(m)) / static_cast<double>(s.size()) -
           static_cast<double>(s.size());
  };
  const double at = psi_square(length), below = psi_square(length - 1), lowest = psi_square(length - 2);
  return {igamc(std::ldexp(1, static_cast<int>(length) - 2), (at - below) / 2),
          igamc(std::ldexp(1, static_cast<int>(length) - 3), (at - 2 * below + lowest) / 2)};
}

/// 2.12: how much patterns of `length` bits tell about the bit that follows.
inline double approximate_entropy(const sequence& s, unsigned length) {
  const double n = static_cast<double>(s.size());
  const auto phi = [&](unsigned m) {
    double sum = 0;
    for (const std::uint64_t count : pattern_counts(s, m)) {
      const double share = static_cast<double>(count) / n;
      if (count > 0) sum += share * std::log(share);
    }
    return sum;
  };
  const double chi_square = 2 * n * (std::numbers::ln2 - (phi(length) - phi(length + 1)));
  return igamc(std::ldexp(1, static_cast<int>(length) - 1), chi_square / 2);
}

enum class walk : std::uint8_t { forward, backward };

/// 2.13: how far the walk of ones and zeros goes from where it began.
inline double cumulative_sums(const sequence& s, walk which) {
  const auto n = static_cast<std::int64_t>(s.size());
  std::int64_t at = 0;
  std::int64_t z = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    at += s[which == walk::forward ? i : s.size() - 1 - i] == 1 ? 1 : -1;
    z = std::max(z, std::abs(at));
  }
  const auto normal = [&](std::int64_t times) {  // Phi(times z / sqrt(n))
    return std::erfc(-static_cast<double>(times * z) / std::sqrt(2 * static_cast<double>(n))) / 2;
  };
  // limits as in the reference implementation: whole numbers, cut off towards zero
  double p = 1;
  for (std::int64_t k = (-n / z + 1) / 4; k <= (n / z - 1) / 4; ++k) {
    p -= normal(4 * k + 1) - normal(4 * k - 1);
  }
  for (std::int64_t k = (-n / z - 3) / 4; k <= (n / z - 1) / 4; ++k) {
    p += normal(4 * k + 3) - normal(4 * k + 1);
  }
  return p;
}

struct outcome {
  std::string_view test;
  double p;
};

/// All of them, with the lengths that the document recommends for a million bits.
inline std::vector<outcome> all_of(const sequence& s) {
  const auto [first, second] = serial(s, 16);
  return {{"monobit", monobit(s)},
          {"block frequency", block_frequency(s, 128)},
          {"runs", runs(s)},
          {"longest run", longest_run(s)},
          {"serial, first", first},
          {"serial, second", second},
          {"approximate entropy", approximate_entropy(s, 10)},
          {"cumulative sums, forward", cumulative_sums(s, walk::forward)},
          {"cumulative sums, backward", cumulative_sums(s, walk::backward)}};
}

}  // namespace qkd004::tests::sp800_22
