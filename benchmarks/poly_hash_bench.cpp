// What the hash of authentication and verification costs: every kernel that runs here against OpenSSL's GMAC, which
// hashes by the same polynomial.
// SPDX-License-Identifier: Apache-2.0
//
// The variants take turns inside each repetition; the figures are medians over the repetitions with minima and maxima,
// of CPU time and of wall time, and the ratio is the median of the ratios (of CPU time) inside one repetition. Goal at
// 64 KiB: must 5 GB/s with VPCLMULQDQ, aim 10.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdio>
#include <vector>

#include "hash_variants.hpp"
#include "measured.hpp"

using namespace qkd004::bench;
using qkd004::software::poly_hash_kernels;

namespace {

void poly_hash_and_gmac(benchmark::State& state) {
  const auto kernels = poly_hash_kernels();
  const auto& kernel = kernels[static_cast<std::size_t>(state.range(0))];
  if (!kernel.runs_here()) {
    state.SkipWithError("not on this processor");
    return;
  }
  const auto size = static_cast<std::size_t>(state.range(1));
  const std::size_t messages = (std::size_t{1} << 20) / size;
  const std::vector<std::byte> message(size, std::byte{0x5a});
  gmac theirs;
  ours our{kernel};
  std::vector<double> their_cpu, our_cpu, our_wall, ratios;
  for (auto _ : state) {
    their_cpu.push_back(speed_of(theirs, message, messages).cpu);
    const auto here = speed_of(our, message, messages);
    our_cpu.push_back(here.cpu);
    our_wall.push_back(here.wall);
    ratios.push_back(our_cpu.back() / their_cpu.back());
  }
  const auto gmac_cpu = spread_of(their_cpu);
  const auto cpu = spread_of(our_cpu);
  const auto wall = spread_of(our_wall);
  const auto ratio = spread_of(ratios);
  state.counters["gmac_GBps"] = gmac_cpu.median;
  state.counters["GBps"] = cpu.median;
  state.counters["ratio"] = ratio.median;
  std::printf(
      "%-10s %8zu octets: %6.2f GB/s of CPU time (%.2f to %.2f), %.2f of wall time, GMAC %.2f (%.2f to "
      "%.2f), "
      "ratio %.2f (%.2f to %.2f)\n",
      kernel.name, size, cpu.median, cpu.lowest, cpu.highest, wall.median, gmac_cpu.median, gmac_cpu.lowest,
      gmac_cpu.highest, ratio.median, ratio.lowest, ratio.highest);
}
BENCHMARK(poly_hash_and_gmac)
    ->ArgNames({"kernel", "octets"})
    ->Apply([](auto* bench) {
      for (std::size_t i = 0; i < poly_hash_kernels().size(); ++i) {
        for (const long octets : {256, 4096, 65536, 1 << 20}) bench->Args({static_cast<long>(i), octets});
      }
    }) -> Iterations(101) -> Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
