// What privacy amplification costs: bits of key in, for each set of instructions that this processor has.
// SPDX-License-Identifier: Apache-2.0
//
// The result has 0.27 of the key's bits, as at 2 to 3 % of errors. Goals for one core: 400 Mbit/s of key at 2^20 bits
// and 100 at 10^7, aim 800 and 500. Run with --benchmark_repetitions=5 for medians.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "amplify_input.hpp"
#include "software/additive_fft.hpp"
#include "software/amplify.hpp"

using namespace qkd004::software;

namespace {

void amplify_by(benchmark::State& state, const additive_fft& fft) {
  const auto n = static_cast<std::size_t>(state.range(0));
  const qkd004::bench::amplify_input in{n};
  for (auto _ : state) {
    const bits result = amplify_with(fft, in.key, in.seed, in.length);
    benchmark::DoNotOptimize(result.words().data());
    benchmark::ClobberMemory();
  }
  state.counters["Mbit_per_CPU_s"] = benchmark::Counter(
      static_cast<double>(n) * 1e-6 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
  for (const auto& fft : additive_ffts()) {
    if (!fft.supported()) continue;
    const std::string name = std::string{"amplify ("} + fft.name + ")";
    auto* const each = benchmark::RegisterBenchmark(
        name.c_str(), [&fft](benchmark::State& state) { amplify_by(state, fft); });
    each->Arg(1 << 16)->Arg(1 << 20)->Arg(10'000'000)->Unit(benchmark::kMillisecond);
    if (std::strcmp(fft.name, "portable") != 0) each->Arg(100'000'000);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
