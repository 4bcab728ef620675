// block_content: octets of the short messages of a block, and numbers that both sides work out from what they carry.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "qkd004/decoy_bb84.hpp"
#include "qkd004/software_link.hpp"
#include "software/poly_hash.hpp"

namespace qkd004::software {

/// What Bob tells when he has flipped what he found.
struct correction {
  std::uint64_t errors = 0;
  std::array<std::uint64_t, 3> m_x{};  ///< by intensity; with w24 only
  std::uint64_t alice_bits = 0;        ///< of cascade_tally
  std::uint64_t bob_bits = 0;
};

void append_number(std::vector<std::byte>& content, std::uint64_t value);
void append_words(std::vector<std::byte>& content, std::span<const std::uint64_t> words);
void append_counts(std::vector<std::byte>& content, const decoy_counts& c);
void append_correction(std::vector<std::byte>& content, const correction& c);

/// False: those are not the octets of one.
[[nodiscard]] bool parse_counts(std::span<const std::byte> content, decoy_counts& c);
[[nodiscard]] bool parse_correction(std::span<const std::byte> content, correction& c);
[[nodiscard]] bool parse_tag(std::span<const std::byte> content, block128& tag) noexcept;

/// Whether there can be such errors in a block of those counts.
[[nodiscard]] bool may_be_errors(const correction& c, const decoy_counts& of, const software_link_options& o);

[[nodiscard]] std::uint64_t total(const std::array<std::uint64_t, 3>& of) noexcept;

/// A block with less is not worth its tags: it has to give back what they use and have something left.
inline constexpr std::uint64_t least_key = 1'024;

/// Bits that amplification leaves, 0 if they are fewer than least_key; and the bound of the phase error.
[[nodiscard]] std::uint64_t key_length(const software_link_options& o, const decoy_counts& c,
                                       std::uint64_t leak, double& phase_error);

/// bit/s of key where Alice's laser sets the pace; 0 where nothing does.
[[nodiscard]] double expected_rate(const software_link_options& o);

}  // namespace qkd004::software
