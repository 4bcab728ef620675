// cascade_runs: blocks of random key with errors through both ends of Cascade, in one thread, over no network; what that
// cost and how it ended.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <random>
#include <vector>

#include "measured.hpp"
#include "software/cascade.hpp"

namespace qkd004::bench {

inline constexpr std::size_t frame_bits = 65536;

struct cascade_runs {
  std::vector<double>
      bob{};  ///< CPU seconds of each block: the end's state, all its messages, and letting go of it
  std::vector<double> alice{};
  double parities = 0;
  double limit = 0;  ///< Shannon's, by the errors that there really were
  double rounds = 0;
  double most_rounds = 0;
  double frames = 0;
  double wrong = 0;

  void run(std::size_t size, double qber, std::mt19937_64& random);
};

/// Into Bob's copy of a key; returns how many.
inline std::size_t add_errors(software::bits& key, double qber, std::mt19937_64& random) {
  std::geometric_distribution<std::size_t> gap{qber};
  std::size_t errors = 0;
  for (std::size_t at = gap(random); at < key.size(); at += 1 + gap(random), ++errors) key.flip(at);
  return errors;
}

inline void cascade_runs::run(std::size_t size, double qber, std::mt19937_64& random) {
  software::bits alices{size};
  for (std::uint64_t& word : alices.words()) word = random();
  if (size % 64 != 0) alices.words().back() &= (std::uint64_t{1} << (size % 64)) - 1;
  software::bits bobs = alices.copy();
  const auto q = static_cast<double>(add_errors(bobs, qber, random)) / static_cast<double>(size);
  software::cascade_options options;
  options.qber = qber;
  for (std::byte& octet : options.seed) octet = static_cast<std::byte>(random());

  double alice_seconds = 0;
  double bob_seconds = 0;
  {
    double then = cpu_seconds();
    const auto lap = [&then](double& sum) {
      const double now = cpu_seconds();
      sum += now - then;
      then = now;
    };
    std::vector<std::byte> message;
    std::vector<std::byte> asked;
    std::optional<software::cascade_alice> alice_end{std::in_place, alices, options};
    alice_end->start(message);
    lap(alice_seconds);
    std::optional<software::cascade_bob> bob_end{std::in_place, bobs, options};
    for (;;) {
      asked.clear();
      if (!bob_end->receive(message, asked)) std::abort();
      lap(bob_seconds);
      if (bob_end->done()) break;
      message.clear();
      if (!alice_end->answer(asked, message)) std::abort();
      lap(alice_seconds);
    }
    parities += static_cast<double>(bob_end->tally().alice_bits);
    rounds += static_cast<double>(bob_end->tally().rounds);
    most_rounds = std::max(most_rounds, static_cast<double>(bob_end->tally().rounds));
    then = cpu_seconds();
    bob_end.reset();
    lap(bob_seconds);
    alice_end.reset();
    lap(alice_seconds);
  }
  bob.push_back(bob_seconds);
  alice.push_back(alice_seconds);
  limit += static_cast<double>(size) * (-q * std::log2(q) - (1 - q) * std::log2(1 - q));
  const std::size_t count = (size + frame_bits - 1) / frame_bits;
  for (std::size_t i = 0, at = 0; i < count; ++i) {
    const std::size_t end = at + size / count + (i < size % count ? 1 : 0);
    bool same = true;
    for (; at < end; ++at) same = same && alices[at] == bobs[at];
    frames += 1;
    wrong += same ? 0 : 1;
  }
}

}  // namespace qkd004::bench
