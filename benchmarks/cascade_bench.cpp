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
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>

#include "cascade_runs.hpp"

using namespace qkd004::bench;

namespace {

void blocks(benchmark::State& state) {
  const double qber = 1e-3 * static_cast<double>(state.range(0));
  const auto size = static_cast<std::size_t>(state.range(1));
  std::mt19937_64 random{static_cast<std::uint64_t>(state.range(0))};
  cascade_runs all;
  for ([[maybe_unused]] auto _ : state) all.run(size, qber, random);
  const auto megabits = static_cast<double>(size) * 1e-6;
  const auto count = static_cast<double>(all.bob.size());
  state.counters["bob_Mbps"] = megabits / spread_of(all.bob).median;
  state.counters["alice_Mbps"] = megabits / spread_of(all.alice).median;
  state.counters["best_bob"] = megabits / spread_of(all.bob).lowest;
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
