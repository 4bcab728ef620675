// What Cascade costs: megabits of key a second at either end, how many parities more than Shannon's limit, how many
// rounds, and how many frames it leaves wrong, by error rate.
// SPDX-License-Identifier: Apache-2.0
//
// Both ends take turns in one thread, over no network. "bob" and "alice" are CPU time of all that an end does: making
// its state, all its messages, and letting go of it; medians over the blocks. efficiency is all parities of Alice's over
// n h(Q) of the errors that there really were, summed over the blocks. Goals: 250 Mbit/s at 3 %, 150 at 8 % (aim 450 and
// 220); efficiency 1.06 for 1-3 %, 1.09 for 5-8 % (aim 1.045 and 1.07); frames wrong at most 0.001 (aim 0.0001).
//
//     bench_cascade_bench --benchmark_counters_tabular=true      (QKD004_CASCADE_BLOCKS=1000: more than 64 blocks)
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "software/cascade.hpp"

using namespace qkd004::software;

namespace {

constexpr std::size_t frame_bits = 65536;

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> of) {
  const auto middle = of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2);
  std::nth_element(of.begin(), middle, of.end());
  return *middle;
}

/// Bob's copy of a key, with errors; returns how many.
std::size_t add_errors(bits& key, double qber, std::mt19937_64& random) {
  std::geometric_distribution<std::size_t> gap{qber};
  std::size_t errors = 0;
  for (std::size_t at = gap(random); at < key.size(); at += 1 + gap(random), ++errors) key.flip(at);
  return errors;
}

struct sums {
  std::vector<double> bob{};
  std::vector<double> alice{};
  double parities = 0;
  double limit = 0;
  double rounds = 0;
  double most_rounds = 0;
  double frames = 0;
  double wrong = 0;
};

void one_block(std::size_t size, double qber, std::mt19937_64& random, sums& all) {
  bits alices{size};
  for (std::uint64_t& word : alices.words()) word = random();
  if (size % 64 != 0) alices.words().back() &= (std::uint64_t{1} << (size % 64)) - 1;
  bits bobs = alices.copy();
  const auto q = static_cast<double>(add_errors(bobs, qber, random)) / static_cast<double>(size);
  cascade_options options;
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
    std::optional<cascade_alice> alice{std::in_place, alices, options};
    alice->start(message);
    lap(alice_seconds);
    std::optional<cascade_bob> bob{std::in_place, bobs, options};
    for (;;) {
      asked.clear();
      if (!bob->receive(message, asked)) std::abort();
      lap(bob_seconds);
      if (bob->done()) break;
      message.clear();
      if (!alice->answer(asked, message)) std::abort();
      lap(alice_seconds);
    }
    all.parities += static_cast<double>(bob->tally().alice_bits);
    all.rounds += static_cast<double>(bob->tally().rounds);
    all.most_rounds = std::max(all.most_rounds, static_cast<double>(bob->tally().rounds));
    then = cpu_seconds();
    bob.reset();
    lap(bob_seconds);
    alice.reset();
    lap(alice_seconds);
  }
  all.bob.push_back(bob_seconds);
  all.alice.push_back(alice_seconds);
  all.limit += static_cast<double>(size) * (-q * std::log2(q) - (1 - q) * std::log2(1 - q));
  const std::size_t frames = (size + frame_bits - 1) / frame_bits;
  for (std::size_t i = 0, at = 0; i < frames; ++i) {
    const std::size_t end = at + size / frames + (i < size % frames ? 1 : 0);
    bool same = true;
    for (; at < end; ++at) same = same && alices[at] == bobs[at];
    all.frames += 1;
    all.wrong += same ? 0 : 1;
  }
}

void blocks(benchmark::State& state) {
  const double qber = 1e-3 * static_cast<double>(state.range(0));
  const auto size = static_cast<std::size_t>(state.range(1));
  std::mt19937_64 random{static_cast<std::uint64_t>(state.range(0))};
  sums all;
  for ([[maybe_unused]] auto _ : state) one_block(size, qber, random, all);
  const auto megabits = static_cast<double>(size) * 1e-6;
  const auto count = static_cast<double>(all.bob.size());
  state.counters["bob_Mbps"] = megabits / median(all.bob);
  state.counters["alice_Mbps"] = megabits / median(all.alice);
  state.counters["best_bob"] = megabits / *std::ranges::min_element(all.bob);
  state.counters["efficiency"] = all.parities / all.limit;
  state.counters["rounds"] = all.rounds / count;
  state.counters["most_rounds"] = all.most_rounds;
  state.counters["frames"] = all.frames;
  state.counters["wrong"] = all.wrong;
}

}  // namespace

int main(int argc, char** argv) {
  const char* const asked = std::getenv("QKD004_CASCADE_BLOCKS");
  const int count = asked == nullptr ? 64 : std::max(1, std::atoi(asked));
  for (const int per_mille : {10, 20, 30, 50, 80}) {
    benchmark::RegisterBenchmark("cascade/per_mille/bits", blocks)
        ->Args({per_mille, 16 * frame_bits})
        ->Iterations(count)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RegisterBenchmark("cascade/per_mille/bits", blocks)
      ->Args({30, 10'000'000})
      ->Iterations(std::max(1, count / 8))
      ->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
