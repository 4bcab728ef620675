// What a key source costs: the seeded source against AES-256-CTR alone, which is all it has to do.
// SPDX-License-Identifier: Apache-2.0
//
// The variants take turns inside each repetition; the figures are medians over the repetitions with minima
// and maxima, and the ratio is the median of the ratios inside one repetition. Goal: must 0.7, aim 0.95.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "qkd004/memory_source.hpp"
#include "qkd004/random.hpp"
#include "qkd004/seeded_source.hpp"

using namespace qkd004;

namespace {

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

secret_arena arena_of(std::size_t bytes) {
  secret_options options;
  options.bytes = bytes;
  options.allow_unlocked = true;
  return secret_arena{options};
}

/// AES-256-CTR over one buffer, again and again.
class cipher_alone {
 public:
  explicit cipher_alone(std::size_t block_bytes) : buffer_(block_bytes) {
    const std::array<unsigned char, 32> key{1};
    const std::array<unsigned char, 16> counter{};
    require(EVP_EncryptInit_ex2(cipher_.get(), EVP_aes_256_ctr(), key.data(), counter.data(), nullptr) == 1,
            "no AES-256-CTR");
  }

  void one_block() {
    int written = 0;
    EVP_EncryptUpdate(cipher_.get(), buffer_.data(), &written, buffer_.data(),
                      static_cast<int>(buffer_.size()));
    benchmark::DoNotOptimize(buffer_.data());
    benchmark::ClobberMemory();
  }

 private:
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher_{EVP_CIPHER_CTX_new(),
                                                                          &EVP_CIPHER_CTX_free};
  std::vector<unsigned char> buffer_;
};

/// The seeded source as the key manager uses it: a block into an arena, wiped when it is let go.
class seeded {
 public:
  explicit seeded(std::size_t block_bytes) {
    auto secret = arena_.allocate(seeded_secret_bytes);
    require(secret.has_value(), "no memory");
    system_random(secret->span());
    seeded_source_options options;
    options.block_bytes = block_bytes;
    auto source = make_seeded_source(std::move(*secret), options);
    require(source.has_value(), "no seeded source");
    source_ = std::move(*source);
    require(source_->start({.link = "bench"}, time_point{}).has_value(), "no session");
  }

  void one_block() {
    auto block = source_->poll(arena_, time_point{});
    benchmark::DoNotOptimize((*block)->bytes.data());
    benchmark::ClobberMemory();
  }

 private:
  secret_arena arena_ = arena_of(std::size_t{2} << 20);
  std::unique_ptr<key_source> source_;
};

template <class Variant>
double gigabytes_per_second(Variant& variant, std::size_t block_bytes, std::size_t blocks) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < blocks; ++i) variant.one_block();
  const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(block_bytes * blocks) / passed.count();
}

struct spread {
  double median, lowest, highest;
};

spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

void seeded_and_cipher(benchmark::State& state) {
  const auto block_bytes = static_cast<std::size_t>(state.range(0));
  const std::size_t blocks = (std::size_t{8} << 20) / block_bytes;
  cipher_alone alone{block_bytes};
  seeded source{block_bytes};
  std::vector<double> of_cipher;
  std::vector<double> of_source;
  std::vector<double> ratios;
  for (auto _ : state) {
    of_cipher.push_back(gigabytes_per_second(alone, block_bytes, blocks));
    of_source.push_back(gigabytes_per_second(source, block_bytes, blocks));
    ratios.push_back(of_source.back() / of_cipher.back());
  }
  const auto cipher = spread_of(of_cipher);
  const auto seeded = spread_of(of_source);
  const auto ratio = spread_of(ratios);
  state.counters["cipher_GBps"] = cipher.median;
  state.counters["seeded_GBps"] = seeded.median;
  state.counters["ratio"] = ratio.median;
  std::printf(
      "%6zu octets: AES-256-CTR alone %.2f GB/s (%.2f to %.2f), seeded source %.2f GB/s (%.2f to %.2f), "
      "ratio %.2f (%.2f to %.2f; must 0.70, aim 0.95 at 16384)\n",
      block_bytes, cipher.median, cipher.lowest, cipher.highest, seeded.median, seeded.lowest, seeded.highest,
      ratio.median, ratio.lowest, ratio.highest);
}
BENCHMARK(seeded_and_cipher)
    ->Arg(4096)
    ->Arg(16384)
    ->Arg(65536)
    ->Iterations(301)
    ->Unit(benchmark::kMillisecond);

void memory_both_ends(benchmark::State& state) {
  const auto arena = arena_of(std::size_t{2} << 20);
  const auto ends = make_memory_sources();
  require(ends.first->start({.link = "bench"}, time_point{}).has_value(), "no session");
  require(ends.second->start({.link = "bench"}, time_point{}).has_value(), "no session");
  for (auto _ : state) {
    auto first = ends.first->poll(arena, time_point{});
    auto second = ends.second->poll(arena, time_point{});
    benchmark::DoNotOptimize((*first)->bytes.data());
    benchmark::DoNotOptimize((*second)->bytes.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 4096);
}
BENCHMARK(memory_both_ends);

}  // namespace

BENCHMARK_MAIN();
