// simulation: repeats seeds of the simulated world from a command line.
// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "life.hpp"

namespace {

constexpr char usage[] =
    "simulation [--seed N] [--count N] [-v] [--find PROMISE]\n"
    "  --seed N         the first seed (1)\n"
    "  --count N        how many seeds (1)\n"
    "  -v               show what happens\n"
    "  --find PROMISE   succeed if one of the seeds breaks this promise, fail if none does\n";

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t first = 1;
  std::uint64_t count = 1;
  bool shown = false;
  std::string wanted;
  const option options[] = {{"seed", required_argument, nullptr, 's'},
                            {"count", required_argument, nullptr, 'c'},
                            {"find", required_argument, nullptr, 'f'},
                            {nullptr, 0, nullptr, 0}};
  for (int o = 0; (o = getopt_long(argc, argv, "v", options, nullptr)) != -1;) {
    switch (o) {
      case 's': first = std::strtoull(optarg, nullptr, 10); break;
      case 'c': count = std::strtoull(optarg, nullptr, 10); break;
      case 'f': wanted = optarg; break;
      case 'v': shown = true; break;
      default: std::fputs(usage, stderr); return 2;
    }
  }

  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> broken;  // promise: how often, first seed
  simulation::oracle::tally seen;
  std::uint64_t streams = 0;
  std::uint64_t hash = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const simulation::outcome o = simulation::life{seed, shown}.run();
    seen.add(o.seen);
    streams += o.read_at_both_ends;
    hash = simulation::mixed(hash) ^ o.hash;
    if (!o.found) continue;
    const auto [it, fresh] = broken.try_emplace(o.found->promise, 0, seed);
    it->second.first += 1;
    if (fresh) {
      std::printf("seed %llu: %s: %s\n", static_cast<unsigned long long>(seed), o.found->promise.c_str(),
                  o.found->text.c_str());
    }
    if (!wanted.empty() && o.found->promise == wanted) {
      std::printf("found with seed %llu\n", static_cast<unsigned long long>(seed));
      return 0;
    }
  }
  for (const auto& [promise, how] : broken) {
    std::printf("%llu of %llu seeds: %s (first: %llu)\n", static_cast<unsigned long long>(how.first),
                static_cast<unsigned long long>(count), promise.c_str(),
                static_cast<unsigned long long>(how.second));
  }
  std::printf(
      "%llu seeds from %llu, keys: %llu one by one, %llu in runs, %llu subscribed; %llu streams read at both "
      "ends in "
      "calm, promises summed up %llu times, trace %016llx\n",
      static_cast<unsigned long long>(count), static_cast<unsigned long long>(first),
      static_cast<unsigned long long>(seen.one_by_one), static_cast<unsigned long long>(seen.in_runs),
      static_cast<unsigned long long>(seen.subscribed), static_cast<unsigned long long>(streams),
      static_cast<unsigned long long>(seen.promises), static_cast<unsigned long long>(hash));
  return broken.empty() && wanted.empty() ? 0 : 1;
}
