// What the hash of authentication and verification costs: every kernel that runs here against OpenSSL's GMAC, which
// hashes by the same polynomial.
// SPDX-License-Identifier: Apache-2.0
//
// The variants take turns inside each repetition; the figures are medians over the repetitions with minima and maxima,
// of CPU time and of wall time, and the ratio is the median of the ratios (of CPU time) inside one repetition. Goal at
// 64 KiB: must 5 GB/s with VPCLMULQDQ, aim 10.
#include <benchmark/benchmark.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <vector>

#include "software/poly_hash.hpp"
#include "software/poly_hash_kernels.hpp"

using namespace qkd004::software;

namespace {

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

/// GMAC over one buffer, again and again: GHASH and one block of AES.
class gmac {
 public:
  gmac() {
    require(mac_ != nullptr, "no GMAC");
    char cipher[] = "AES-128-GCM";
    unsigned char key[16] = {1};
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
                                     OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof key),
                                     OSSL_PARAM_construct_end()};
    require(EVP_MAC_CTX_set_params(mac_.get(), parameters) == 1, "no AES-128-GCM");
  }

  void hash(const std::vector<std::byte>& message) {
    unsigned char nonce[12] = {1};
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, nonce, sizeof nonce),
        OSSL_PARAM_construct_end()};
    unsigned char tag[16];
    std::size_t size = 0;
    const bool good = EVP_MAC_init(mac_.get(), nullptr, 0, parameters) == 1 &&
                      EVP_MAC_update(mac_.get(), reinterpret_cast<const unsigned char*>(message.data()),
                                     message.size()) == 1 &&
                      EVP_MAC_final(mac_.get(), tag, &size, sizeof tag) == 1;
    require(good, "GMAC failed");
    benchmark::DoNotOptimize(tag);
  }

 private:
  std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> method_{EVP_MAC_fetch(nullptr, "GMAC", nullptr),
                                                            &EVP_MAC_free};
  std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> mac_{EVP_MAC_CTX_new(method_.get()),
                                                                 &EVP_MAC_CTX_free};
};

/// With the powers of the key computed anew for each message.
struct ours {
  const poly_hash_kernel& kernel;

  void hash(const std::vector<std::byte>& message) const {
    poly_hash hash{block128{std::byte{1}}, kernel};
    hash.update(message);
    auto value = hash.finish();
    benchmark::DoNotOptimize(value);
  }
};

double nanoseconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

struct speed {
  double cpu, wall;  ///< GB/s
};

template <class Variant>
speed speed_of(Variant& variant, const std::vector<std::byte>& message, std::size_t messages) {
  const double cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  const double wall = nanoseconds(CLOCK_MONOTONIC);
  for (std::size_t i = 0; i < messages; ++i) variant.hash(message);
  const auto octets = static_cast<double>(messages * message.size());
  return {octets / (nanoseconds(CLOCK_THREAD_CPUTIME_ID) - cpu),
          octets / (nanoseconds(CLOCK_MONOTONIC) - wall)};
}

struct spread {
  double median, lowest, highest;
};

spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

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
