// sifter: gathers the key of a block from batches of detections, at one side: the bits where both measured in X, until
// there are as many as a block has; and counts, by intensity.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "qkd004/decoy_bb84.hpp"
#include "software/bits.hpp"
#include "software/gap_code.hpp"
#include "software/quantum_pipe.hpp"

namespace qkd004::software {

using word_run = std::vector<std::uint64_t>;

/// What both sides know of a batch once Alice has answered, packed as `bits`: one bit for each detection.
struct sifted_batch {
  std::uint32_t count = 0;  ///< of detections, up to the one that fills the block
  word_run bases;           ///< Bob's: 0 is X
  word_run match;           ///< Alice chose the same basis
  word_run decoy1, decoy2;  ///< where they match: the intensity is the first, or the second, decoy
};

/// Threads: one at a time.
class sifter {
 public:
  sifter(decoy_proof proof, std::uint32_t n_x);

  /// At Alice: cuts the batch off after the detection that fills the block, if there is one.
  void cut(sifted_batch& batch) const;
  /// Requires: the batch was cut; `values` are this side's.
  void add(const sifted_batch& batch, std::span<const std::uint64_t> values);
  /// At Alice: the errors of Bob's in Z, which he discloses: `z_values` are his, one for each Z of his, in order.
  void count_errors(const sifted_batch& batch, std::span<const std::uint64_t> values,
                    std::span<const std::uint64_t> z_values);
  /// A block that was sifted elsewhere.
  void take(sifted_block&& block);

  [[nodiscard]] bool full() const noexcept { return filled_ == n_x_; }
  [[nodiscard]] std::uint32_t missing() const noexcept { return n_x_ - filled_; }
  /// Whether a batch has no more in X than are missing, and fills the block at its last detection or not at all.
  [[nodiscard]] bool fits(const sifted_batch& batch) const;

  [[nodiscard]] decoy_counts& counts() noexcept { return counts_; }
  [[nodiscard]] const decoy_counts& counts() const noexcept { return counts_; }
  /// Requires: full().
  [[nodiscard]] bits& key() noexcept { return key_; }
  /// The intensity of each bit of key: 1 is the decoy's. With w24 only.
  [[nodiscard]] std::span<const std::uint64_t> key_decoys() const noexcept { return decoys_; }

 private:
  std::uint32_t n_x_;
  std::uint32_t filled_ = 0;
  bool keeps_decoys_;
  bits key_;         ///< with a word of room behind
  word_run decoys_;  ///< no secret
  decoy_counts counts_;
};

/// Bob's message of a batch: gaps and bases of the detections, and his values in Z. `probability`: of a detection for
/// each pulse, about.
void write_detections(const detections& batch, double probability, std::vector<std::byte>& message);

struct read_detections {
  decoded_gaps where;
  word_run z_values;
};
/// False: that is no such message, or has more than `most` detections.
[[nodiscard]] bool parse_detections(std::span<const std::byte> message, std::size_t most,
                                    read_detections& out);

/// Alice's answer.
void write_sifted(const sifted_batch& batch, decoy_proof proof, std::vector<std::byte>& message);
/// `batch.bases` are there already, for `count` detections. False: that is no such message.
[[nodiscard]] bool parse_sifted(std::span<const std::byte> message, decoy_proof proof, std::size_t count,
                                sifted_batch& batch);

}  // namespace qkd004::software
