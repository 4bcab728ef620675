// SPDX-License-Identifier: Apache-2.0
#include "software/sifter.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "software/bit_selection.hpp"
#include "software/block_content.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

namespace {

std::size_t words_of(std::size_t count) noexcept { return (count + 63) / 64; }

/// The first `count` bits of a word.
std::uint64_t below(std::size_t count) noexcept {
  return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

/// Whether the bits from `count` on, in the last word, are 0.
bool is_clean(std::span<const std::uint64_t> words, std::size_t count) noexcept {
  return count % 64 == 0 || (words.back() & ~below(count % 64)) == 0;
}

bool read_words(wire::octet_reader& in, std::size_t count, word_run& out) {
  const auto octets = in.octets(words_of(count) * sizeof(std::uint64_t));
  if (!in.ok()) return false;
  out.resize(words_of(count));
  if (!out.empty()) std::memcpy(out.data(), octets.data(), octets.size());
  return out.empty() || is_clean(out, count);
}

void append_u32(std::vector<std::byte>& message, std::uint32_t value) {
  message.resize(message.size() + sizeof value);
  wire::octet_writer{std::span{message}.last(sizeof value)}.u32(value);
}

}  // namespace

sifter::sifter(decoy_proof proof, std::uint32_t n_x)
    : n_x_{n_x}, keeps_decoys_{proof == decoy_proof::w24}, key_{std::size_t{n_x} + 64} {
  if (keeps_decoys_) decoys_.resize(words_of(n_x) + 1);
}

void sifter::cut(sifted_batch& batch) const {
  std::size_t room = missing();
  for (std::size_t i = 0; i < batch.match.size(); ++i) {
    std::uint64_t x = batch.match[i] & ~batch.bases[i];
    const auto here = static_cast<std::size_t>(std::popcount(x));
    if (here < room) {
      room -= here;
      continue;
    }
    while (--room > 0) x &= x - 1;
    const std::size_t count = 64 * i + static_cast<std::size_t>(std::countr_zero(x)) + 1;
    batch.count = static_cast<std::uint32_t>(count);
    for (word_run* run : {&batch.bases, &batch.match, &batch.decoy1, &batch.decoy2}) {
      if (run->empty()) continue;
      run->resize(words_of(count));
      run->back() &= below(count - 64 * i);
    }
    return;
  }
}

bool sifter::fits(const sifted_batch& batch) const {
  const std::size_t x = count_ones(batch.match) - count_common(batch.match, batch.bases);
  if (x < missing()) return true;
  if (x > missing() || batch.count == 0) return false;
  const std::size_t last = batch.count - 1U;
  return ((batch.match[last / 64] & ~batch.bases[last / 64]) >> (last % 64) & 1U) != 0;
}

namespace {

/// Adds how many of these detections are of each intensity.
void count_intensities(std::span<const std::uint64_t> of, const sifted_batch& batch,
                       std::array<std::uint64_t, 3>& counts) {
  const std::uint64_t decoy1 = count_common(of, batch.decoy1);
  const std::uint64_t decoy2 = batch.decoy2.empty() ? 0 : count_common(of, batch.decoy2);
  counts[0] += count_ones(of) - decoy1 - decoy2;
  counts[1] += decoy1;
  counts[2] += decoy2;
}

}  // namespace

void sifter::add(const sifted_batch& batch, std::span<const std::uint64_t> values) {
  assert(fits(batch));
  const std::size_t words = batch.match.size();
  word_run x(words);
  word_run z(words);
  for (std::size_t i = 0; i < words; ++i) {
    x[i] = batch.match[i] & ~batch.bases[i];
    z[i] = batch.match[i] & batch.bases[i];
  }
  count_intensities(x, batch, counts_.n_x);
  count_intensities(z, batch, counts_.n_z);
  if (keeps_decoys_) static_cast<void>(gather(batch.decoy1, x, decoys_, filled_));
  filled_ = static_cast<std::uint32_t>(gather(values.first(words), x, key_.words(), filled_));
  if (full()) key_.shorten(n_x_);
}

void sifter::count_errors(const sifted_batch& batch, std::span<const std::uint64_t> values,
                          std::span<const std::uint64_t> z_values) {
  const std::size_t words = batch.match.size();
  word_run wrong(words);
  scatter(z_values, batch.bases, wrong);
  for (std::size_t i = 0; i < words; ++i) {
    wrong[i] = (wrong[i] ^ values[i]) & batch.match[i] & batch.bases[i];
  }
  count_intensities(wrong, batch, counts_.m_z);
}

void sifter::take(sifted_block&& block) {
  assert(block.x.size() == n_x_);
  key_ = std::move(block.x);
  counts_ = block.counts;
  filled_ = n_x_;
  for (std::size_t i = 0; keeps_decoys_ && i < n_x_; ++i) {
    decoys_[i / 64] |= std::uint64_t{block.x_intensities[i] == 1} << (i % 64);
  }
}

// --- Messages ---

void write_detections(const detections& batch, double probability, std::vector<std::byte>& message) {
  const std::size_t at = message.size();
  append_u32(message, 0);
  encode_gaps(batch.gaps, batch.bases, probability, message);
  wire::octet_writer{std::span{message}.subspan(at, 4)}.u32(
      static_cast<std::uint32_t>(message.size() - at - 4));
  word_run z_values(words_of(count_ones(batch.bases)) + 1);
  z_values.resize(words_of(gather(batch.values.words(), batch.bases, z_values, 0)));
  append_words(message, z_values);
}

bool parse_detections(std::span<const std::byte> message, std::size_t most, read_detections& out) {
  wire::octet_reader in{message};
  const auto code = in.octets(in.u32());
  if (!in.ok() || !decode_gaps(code, most, out.where)) return false;
  return read_words(in, count_ones(out.where.bases), out.z_values) && in.at_end();
}

void write_sifted(const sifted_batch& batch, decoy_proof proof, std::vector<std::byte>& message) {
  append_u32(message, batch.count);
  append_words(message, batch.match);
  word_run packed(batch.match.size() + 1);
  const std::size_t matches = gather(batch.decoy1, batch.match, packed, 0);
  append_words(message, std::span{packed}.first(words_of(matches)));
  if (proof == decoy_proof::w24) return;
  std::fill(packed.begin(), packed.end(), 0);
  static_cast<void>(gather(batch.decoy2, batch.match, packed, 0));
  append_words(message, std::span{packed}.first(words_of(matches)));
}

bool parse_sifted(std::span<const std::byte> message, decoy_proof proof, std::size_t count,
                  sifted_batch& batch) {
  wire::octet_reader in{message};
  batch.count = in.u32();
  if (!in.ok() || batch.count == 0 || batch.count > count) return false;
  if (!read_words(in, batch.count, batch.match)) return false;
  batch.bases.resize(batch.match.size());
  if (batch.count % 64 != 0) batch.bases.back() &= below(batch.count % 64);
  const std::size_t matches = count_ones(batch.match);
  word_run packed;
  const auto read = [&](word_run& decoy) {
    if (!read_words(in, matches, packed)) return false;
    decoy.resize(batch.match.size());
    scatter(packed, batch.match, decoy);
    return true;
  };
  batch.decoy2.clear();
  if (!read(batch.decoy1)) return false;
  if (proof == decoy_proof::lim14) {
    if (!read(batch.decoy2)) return false;
    for (std::size_t i = 0; i < batch.decoy1.size(); ++i) {
      if ((batch.decoy1[i] & batch.decoy2[i]) != 0) return false;
    }
  }
  return in.at_end();
}

}  // namespace qkd004::software
