// SPDX-License-Identifier: Apache-2.0
#include "software/block_content.hpp"

#include "qkd004/decoy_channel.hpp"
#include "qkd004/finite_key.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

namespace {

/// Of Cascade here: bits disclosed over those that Shannon's limit asks for.
constexpr double expected_efficiency = 1.05;

bool read(wire::octet_reader& in, std::array<std::uint64_t, 3>& of) {
  for (auto& n : of) n = in.u64();
  return in.ok();
}

void append(std::vector<std::byte>& content, const std::array<std::uint64_t, 3>& of) {
  for (const auto n : of) append_number(content, n);
}

}  // namespace

void append_number(std::vector<std::byte>& content, std::uint64_t value) {
  content.resize(content.size() + sizeof value);
  wire::octet_writer{std::span{content}.last(sizeof value)}.u64(value);
}

// In the order of a little-endian machine; expander.cpp refuses to compile on others.
void append_words(std::vector<std::byte>& content, std::span<const std::uint64_t> words) {
  const auto octets = std::as_bytes(words);
  content.insert(content.end(), octets.begin(), octets.end());
}

void append_counts(std::vector<std::byte>& content, const decoy_counts& c) {
  append(content, c.n_x);
  append(content, c.n_z);
  append(content, c.m_z);
}

bool parse_counts(std::span<const std::byte> content, decoy_counts& c) {
  wire::octet_reader in{content};
  return read(in, c.n_x) && read(in, c.n_z) && read(in, c.m_z) && in.at_end();
}

void append_correction(std::vector<std::byte>& content, const correction& c) {
  append_number(content, c.errors);
  append(content, c.m_x);
  append_number(content, c.alice_bits);
  append_number(content, c.bob_bits);
}

bool parse_correction(std::span<const std::byte> content, correction& c) {
  wire::octet_reader in{content};
  c.errors = in.u64();
  if (!read(in, c.m_x)) return false;
  c.alice_bits = in.u64();
  c.bob_bits = in.u64();
  return in.at_end();
}

bool parse_tag(std::span<const std::byte> content, block128& tag) noexcept {
  wire::octet_reader in{content};
  tag = in.array<std::tuple_size_v<block128>>();
  return in.at_end();
}

bool may_be_errors(const correction& c, const decoy_counts& of, const software_link_options& o) {
  if (c.errors > o.block_bits) return false;
  if (o.system.proof == decoy_proof::lim14) return c.m_x == std::array<std::uint64_t, 3>{};
  for (std::size_t k = 0; k < c.m_x.size(); ++k) {
    if (c.m_x[k] > of.n_x[k]) return false;
  }
  return total(c.m_x) == c.errors;
}

std::uint64_t total(const std::array<std::uint64_t, 3>& of) noexcept { return of[0] + of[1] + of[2]; }

std::uint64_t key_length(const software_link_options& o, const decoy_counts& c, std::uint64_t leak,
                         double& phase_error) {
  const key_bound bound = bound_key(o.system, to_statistics(c), static_cast<double>(leak));
  phase_error = bound.phi;
  const std::uint64_t bits = secret_bits(bound);
  return bits < least_key || bits > o.block_bits ? 0 : bits;
}

double expected_rate(const software_link_options& o) {
  const decoy_statistics counts = expected_statistics(o.system, o.block_bits);
  const double leak = expected_leak(counts, expected_efficiency);
  const auto bits = static_cast<double>(secret_bits(bound_key(o.system, counts, leak)));
  return bits / expected_pulses(o.system, o.block_bits) * static_cast<double>(o.pulse_rate);
}

}  // namespace qkd004::software
