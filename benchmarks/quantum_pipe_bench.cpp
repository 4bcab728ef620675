// What the simulated quantum layer costs one side: detections and the pulses that they stand for, sifted bits in block
// mode, and what the message of Bob's detections costs.
// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "qkd004/decoy_channel.hpp"
#include "software/gap_code.hpp"
#include "software/quantum_pipe.hpp"

using namespace qkd004;
using namespace qkd004::software;

namespace {

constexpr std::size_t batch = 65'536;
constexpr seed256 seed{std::byte{1}};

decoy_bb84 system_at(std::int64_t km) {
  decoy_bb84 system;
  system.x_basis = 0.87;
  system.intensities = {{{0.45, 0.40}, {0.20, 0.45}, {2e-4, 0.15}}};
  system.km = static_cast<double>(km);
  return system;
}

using rate = benchmark::Counter;

void events(benchmark::State& state, side which) {
  event_stream stream{system_at(state.range(0)), {}, seed, which};
  detections out;
  double pulses = 0;
  for (auto _ : state) {
    stream.next(batch, out);
    benchmark::DoNotOptimize(out.values.words().data());
  }
  for (const std::uint32_t gap : out.gaps) pulses += gap;
  const auto batches = static_cast<double>(state.iterations());
  state.counters["detections/s"] = rate{batches * batch, rate::kIsRate};
  state.counters["pulses/s"] = rate{batches * pulses, rate::kIsRate};
}
BENCHMARK_CAPTURE(events, alice, side::alice)->Arg(0)->Arg(50)->Arg(100)->Arg(150);
BENCHMARK_CAPTURE(events, bob, side::bob)->Arg(0)->Arg(50)->Arg(100)->Arg(150);

void events_with_dead_time(benchmark::State& state, side which) {
  decoy_bb84 system = system_at(state.range(0));
  system.dead_pulses = 100;
  event_stream stream{system, {}, seed, which};
  detections out;
  for (auto _ : state) stream.next(batch, out);
  state.counters["detections/s"] = rate{static_cast<double>(state.iterations()) * batch, rate::kIsRate};
}
BENCHMARK_CAPTURE(events_with_dead_time, bob, side::bob)->Arg(0)->Arg(50);

void block(benchmark::State& state, side which) {
  decoy_bb84 system = system_at(0);
  system.proof = state.range(1) == 24 ? decoy_proof::w24 : decoy_proof::lim14;
  const auto n_x = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    const auto drawn = draw_block(system, {}, seed, n_x, which);
    benchmark::DoNotOptimize(drawn.counts.n_z[0]);
  }
  state.counters["sifted bit/s"] =
      rate{static_cast<double>(state.iterations()) * static_cast<double>(n_x), rate::kIsRate};
}
BENCHMARK_CAPTURE(block, alice, side::alice)
    ->Args({1 << 20, 14})
    ->Args({10'000'000, 14})
    ->Args({1 << 20, 24});
BENCHMARK_CAPTURE(block, bob, side::bob)->Args({1 << 20, 14})->Args({10'000'000, 14})->Args({1 << 20, 24});

void gaps_written(benchmark::State& state) {
  const decoy_bb84 system = system_at(state.range(0));
  detections out;
  event_stream{system, {}, seed, side::bob}.next(batch, out);
  std::vector<std::byte> message;
  for (auto _ : state) {
    message.clear();
    encode_gaps(out.gaps, out.bases, detection_probability(system), message);
    benchmark::DoNotOptimize(message.data());
  }
  state.counters["detections/s"] = rate{static_cast<double>(state.iterations()) * batch, rate::kIsRate};
  state.counters["bits"] = 8.0 * static_cast<double>(message.size()) / batch;
}
BENCHMARK(gaps_written)->Arg(0)->Arg(50)->Arg(100);

void gaps_read(benchmark::State& state) {
  const decoy_bb84 system = system_at(state.range(0));
  detections out;
  event_stream{system, {}, seed, side::bob}.next(batch, out);
  std::vector<std::byte> message;
  encode_gaps(out.gaps, out.bases, detection_probability(system), message);
  decoded_gaps read;
  for (auto _ : state) {
    if (!decode_gaps(message, batch, read)) state.SkipWithError("not read");
    benchmark::DoNotOptimize(read.gaps.data());
  }
  state.counters["detections/s"] = rate{static_cast<double>(state.iterations()) * batch, rate::kIsRate};
}
BENCHMARK(gaps_read)->Arg(0)->Arg(50)->Arg(100);

}  // namespace

BENCHMARK_MAIN();
