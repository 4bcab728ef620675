// SPDX-License-Identifier: Apache-2.0
#include "software/amplify.hpp"

#include <algorithm>
#include <limits>

#include "software/additive_fft.hpp"

namespace qkd004::software {

namespace {

/// How a product is cut: blocks of the key times blocks of the result, each by a transform of 2^log words. A window of
/// the seed is as long as both together. Where there are more blocks of the result than one, they are as long as those
/// of the key: then block k of the key and block r of the result need the window that all others of the same r - k need.
struct plan {
  unsigned log = 0;
  std::size_t key_block = 0;     ///< words
  std::size_t result_block = 0;  ///< words
};

std::size_t divided(std::size_t a, std::size_t b) noexcept { return (a + b - 1) / b; }

/// The plan that costs least, by measured weights: a transform of 2^log words 2^log (16 + log), an inverse 7/4 of that,
/// a product of spectra 2^log 8.
plan plan_of(std::size_t key_words, std::size_t result_words) noexcept {
  plan best;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  const auto consider = [&](const plan& candidate) {
    const std::size_t keys = divided(key_words, candidate.key_block);
    const std::size_t results = divided(result_words, candidate.result_block);
    const std::size_t transforms = (2 * keys + results - 1) * 4 + results * 7;
    const std::size_t cost = (transforms * (16 + candidate.log) + keys * results * 32) << candidate.log;
    if (cost >= least) return;
    least = cost;
    best = candidate;
  };
  for (unsigned log = additive_fft::least_log; log <= additive_fft::most_log; log += 2) {
    const std::size_t window = (std::size_t{1} << log) - additive_fft_overflow(log);
    consider({log, window / 2, window / 2});
    if (result_words < window) consider({log, window - result_words, result_words});
  }
  return best;
}

/// words[i] = from[first + i], and 0 outside of `from`.
void copy_window(std::span<const std::uint64_t> from, std::ptrdiff_t first,
                 std::span<std::uint64_t> words) noexcept {
  const auto end = static_cast<std::ptrdiff_t>(from.size());
  const auto begin_copy = std::clamp<std::ptrdiff_t>(first, 0, end);
  const auto end_copy = std::clamp<std::ptrdiff_t>(first + static_cast<std::ptrdiff_t>(words.size()), 0, end);
  const auto before = static_cast<std::size_t>(begin_copy - first);
  const auto count = static_cast<std::size_t>(end_copy - begin_copy);
  if (count == 0) {
    std::fill(words.begin(), words.end(), 0);
    return;
  }
  std::fill_n(words.begin(), before, 0);
  std::copy_n(from.begin() + begin_copy, count, words.begin() + static_cast<std::ptrdiff_t>(before));
  std::fill(words.begin() + static_cast<std::ptrdiff_t>(before + count), words.end(), 0);
}

}  // namespace

bits amplify(const bits& key, std::span<const std::uint64_t> seed, std::size_t l) {
  return amplify_with(best_additive_fft(), key, seed, l);
}

bits amplify_with(const additive_fft& fft, const bits& key, std::span<const std::uint64_t> seed,
                  std::size_t l) {
  assert(l <= key.size());
  assert(seed.size() >= (toeplitz_seed_bits(key.size(), l) + 63) / 64);
  bits result{l};
  if (l == 0) return result;

  // Bit i of the result is bit n - 1 + i of the product: bit `shift` of its word `first` is the first.
  const std::size_t first = (key.size() - 1) / 64;
  const std::size_t shift = (key.size() - 1) % 64;
  const std::size_t key_words = key.words().size();
  const std::size_t result_words = (shift + l + 63) / 64;
  const plan how = plan_of(key_words, result_words);
  const std::size_t size = std::size_t{1} << how.log;
  const std::size_t key_parts = divided(key_words, how.key_block);
  const std::size_t result_parts = divided(result_words, how.result_block);

  // All that depends on key or on the seed, in memory that is wiped: the two halves of a transform's words, the spectra
  // of a block of the key and of the last windows of the seed, and the sums for each block of the result.
  bits scratch{(2 + 2 + 4 * result_parts) * size * 64};
  const auto words = scratch.words().first(size);
  const auto high = scratch.words().subspan(size, size);
  std::uint64_t* const of_key = high.data() + size;
  std::uint64_t* const of_seed = of_key + 2 * size;
  std::uint64_t* const sums = of_seed + 2 * size * result_parts;

  const auto whole_seed = seed.first(std::min(seed.size(), (toeplitz_seed_bits(key.size(), l) + 63) / 64));
  // Block k of the key and block r of the result need window key_parts - 1 - k + r: its product with the block of the
  // key has, from coefficient key_block - 1 on, what that contributes to the words of the block of the result.
  const auto window = [&](std::size_t number) { return of_seed + number % result_parts * 2 * size; };
  const auto transform_window = [&](std::size_t number) {
    const auto begin = static_cast<std::ptrdiff_t>(first + number * how.key_block) -
                       static_cast<std::ptrdiff_t>(key_parts * how.key_block);
    copy_window(whole_seed, begin, words.first(how.key_block + how.result_block));
    std::fill(words.begin() + static_cast<std::ptrdiff_t>(how.key_block + how.result_block), words.end(), 0);
    fft.forward(words.data(), window(number), how.log);
  };
  for (std::size_t r = 1; r < result_parts; ++r) transform_window(key_parts - 1 + r);
  for (std::size_t k = 0; k < key_parts; ++k) {
    const std::size_t lowest = key_parts - 1 - k;
    transform_window(lowest);
    const std::size_t from = k * how.key_block;
    copy_window(key.words().subspan(from, std::min(how.key_block, key_words - from)), 0, words);
    fft.forward(words.data(), of_key, how.log);
    for (std::size_t r = 0; r < result_parts; ++r) {
      fft.multiply_add(sums + 2 * size * r, of_key, window(lowest + r), how.log);
    }
  }

  const auto out = result.words();
  for (std::size_t r = 0; r < result_parts; ++r) {
    fft.inverse(sums + 2 * size * r, words.data(), high.data(), how.log);
    const std::size_t begin = r * how.result_block;
    const std::size_t end = std::min(begin + how.result_block, result_words);
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t at = how.key_block + i - begin;
      const std::uint64_t word = words[at] ^ high[at - 1];
      if (i < out.size()) out[i] |= word >> shift;
      if (i > 0 && shift > 0) out[i - 1] |= word << (64 - shift);
    }
  }
  if (l % 64 != 0) out.back() &= (std::uint64_t{1} << (l % 64)) - 1;
  return result;
}

}  // namespace qkd004::software
