// SPDX-License-Identifier: Apache-2.0
#include "software/amplify.hpp"

#include <algorithm>
#include <limits>

#include "software/additive_fft.hpp"

namespace qkd004::software {

namespace {

/// How a product is cut: blocks of the key times blocks of the result, each by a transform of 2^log words.
struct plan {
  unsigned log = 0;
  std::size_t key_block = 0;     ///< words
  std::size_t result_block = 0;  ///< words
};

std::size_t divided(std::size_t a, std::size_t b) noexcept { return (a + b - 1) / b; }

/// The plan that transforms least. A window of the seed is as long as both blocks together.
plan plan_of(std::size_t key_words, std::size_t result_words) noexcept {
  plan best;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (unsigned log = additive_fft::least_log; log <= additive_fft::most_log; log += 2) {
    const std::size_t window = (std::size_t{1} << log) - additive_fft_overflow(log);
    const std::size_t fewest = divided(result_words, window - 1);
    for (std::size_t parts = fewest; parts <= std::min(result_words, 4 * fewest); ++parts) {
      const std::size_t result_block = divided(result_words, parts);
      const std::size_t key_parts = divided(key_words, window - result_block);
      const std::size_t cost = (key_parts * (1 + parts) + 2 * parts) * (log + 16) << log;
      if (cost >= least) continue;
      least = cost;
      best = {log, divided(key_words, key_parts), result_block};
    }
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

  // All that depends on key, in memory that is wiped: the words of 64 bits of a transform, two spectra, and the sum of
  // spectra of each part of the result.
  bits scratch{(2 * size + 2 * 2 * size + 2 * size * result_parts) * 64};
  const auto words = scratch.words().subspan(0, size);
  const auto high = scratch.words().subspan(size, size);
  std::uint64_t* const of_key = high.data() + size;
  std::uint64_t* const of_seed = of_key + 2 * size;
  std::uint64_t* const sums = of_seed + 2 * size;

  const auto clipped_seed = seed.first(std::min(seed.size(), (toeplitz_seed_bits(key.size(), l) + 63) / 64));
  for (std::size_t k = 0; k < key_parts; ++k) {
    const std::size_t from = k * how.key_block;
    copy_window(key.words().subspan(from, std::min(how.key_block, key_words - from)), 0, words);
    fft.forward(words.data(), of_key, how.log);
    for (std::size_t r = 0; r < result_parts; ++r) {
      // Words `first - 1 + r * result_block` and on of the product, as many as a block and one, by this block of the
      // key: they begin at coefficient key_block - 1 of the product with the window that begins here.
      const auto begin = static_cast<std::ptrdiff_t>(first + r * how.result_block) -
                         static_cast<std::ptrdiff_t>(from + how.key_block);
      copy_window(clipped_seed, begin, words.first(how.key_block + how.result_block));
      std::fill(words.begin() + static_cast<std::ptrdiff_t>(how.key_block + how.result_block), words.end(),
                0);
      fft.forward(words.data(), of_seed, how.log);
      fft.multiply_add(sums + 2 * size * r, of_key, of_seed, how.log);
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
