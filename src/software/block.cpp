// SPDX-License-Identifier: Apache-2.0
#include "software/block.hpp"

#include <algorithm>

#include "qkd004/binary_entropy.hpp"
#include "qkd004/secret.hpp"
#include "software/amplify.hpp"
#include "software/block_content.hpp"
#include "software/verify.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

namespace {

/// The element of a histogram that counts a duration.
std::size_t slot_of(boot_clock::duration d) noexcept {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(d).count();
  std::size_t slot = 0;
  for (auto rest = us; rest > 1; rest >>= 1) ++slot;
  return std::min(slot, std::tuple_size_v<software_link_report::histogram> - 1);
}

direction direction_from(side s) noexcept {
  return s == side::alice ? direction::alice_to_bob : direction::bob_to_alice;
}

const block128& hash_key(const block_host& host, side from) noexcept {
  return from == side::alice ? host.hash_alice : host.hash_bob;
}

}  // namespace

std::vector<std::byte> compose(message_kind kind, std::uint32_t block, std::span<const std::byte> content) {
  std::vector<std::byte> message;
  message.reserve(link_message::head + content.size());
  message.resize(link_message::head);
  wire::octet_writer out{message};
  out.u8(static_cast<std::uint8_t>(kind));
  out.u32(block);
  message.insert(message.end(), content.begin(), content.end());
  return message;
}

bool parse_message(std::span<const std::byte> octets, link_message& out) noexcept {
  wire::octet_reader in{octets};
  out.kind = static_cast<message_kind>(in.u8());
  out.block = in.u32();
  out.content = in.octets(in.left());
  out.all = octets;
  return in.ok();
}

block_pads::~block_pads() {
  wipe(alice.data(), alice.size());
  wipe(bob.data(), bob.size());
  wipe(accepted.data(), accepted.size());
}

result<void> block_pads::take(auth_pool& pool) {
  // one call, so that all are stored as used at once
  std::array<std::byte, size> all{};
  const auto taken = pool.take(all);
  if (taken) {
    auto from = all.begin();
    for (auto& octet : alice) octet = *from++;
    for (auto& octet : bob) octet = *from++;
    for (auto& octet : accepted) octet = *from++;
  }
  wipe(all.data(), all.size());
  return taken;
}

std::size_t batch_of(const software_link_options& o) noexcept {
  return std::clamp<std::size_t>(o.block_bits / 16 / 64 * 64, 4'096, 65'536);
}

block::block(block_host& host, std::uint32_t id, side which)
    : host_{host},
      id_{id},
      side_{which},
      said_{hash_key(host, which), id, direction_from(which)},
      heard_{hash_key(host, other(which)), id, direction_from(other(which))},
      sifter_{host.options.system.proof, host.options.block_bits},
      since_{host.clock()} {
  const bool alice = which == side::alice;
  said_.add(alice ? host.hello_alice : host.hello_bob);
  heard_.add(alice ? host.hello_bob : host.hello_alice);
}

void block::say(message_kind kind, std::span<const std::byte> content) {
  auto message = compose(kind, id_, content);
  said_.add(message);
  host_.send(std::move(message));
}

void block::say_tag(message_kind kind, std::span<const std::byte> content) {
  host_.send(compose(kind, id_, content));
}

void block::enter(stage_type next) {
  if (stage_ != stage_type::photons) leave();
  since_ = host_.clock();
  stage_ = next;
  progress_ = 0;
}

void block::leave() { note(stage_, host_.clock() - since_); }

time_point block::note_part(stage_type of, time_point begun) {
  const time_point now = host_.clock();
  parts_[static_cast<std::size_t>(of)] += now - begun;
  return now;
}

void block::note_parts(stage_type of) { note(of, parts_[static_cast<std::size_t>(of)]); }

void block::note(stage_type of, boot_clock::duration d) {
  host_.report.duration[static_cast<std::size_t>(of)][slot_of(d)] += 1;
}

double block::qber_z() const {
  const auto& c = sifter_.counts();
  const std::uint64_t n = total(c.n_z);
  return n == 0 ? 0 : static_cast<double>(total(c.m_z)) / static_cast<double>(n);
}

bool block::is_over_limit(std::uint64_t errors, std::uint64_t of) const {
  if (of == 0) return false;
  // exact at both sides: a quotient of whole numbers is rounded the same everywhere
  const double qber = static_cast<double>(errors) / static_cast<double>(of);
  host_.report.qber = qber;
  return qber > host_.options.qber_limit;
}

std::uint64_t block::leak() const {
  const bool both = host_.options.leak == leak_account::both_directions;
  return tally_.alice_bits + (both ? tally_.bob_bits : 0) + verification_tag_bits;
}

std::size_t block::refill() const {
  return host_.pool.left() < enough_pads ? 2 * block_pads::size : block_pads::size;
}

result<void> block::finish(std::span<const std::uint64_t> toeplitz, std::size_t length) {
  const time_point begun = host_.clock();
  bits all = amplify(sifter_.key(), toeplitz, length);
  note_part(stage_type::amplification, begun);
  note_parts(stage_type::amplification);

  const std::size_t pads = refill();
  static_assert(block_pads::size % sizeof(std::uint64_t) == 0);
  const auto stored = host_.pool.append(std::as_bytes(all.words()).first(pads));
  if (!stored) return stored;
  bits key{length - 8 * pads};
  const std::size_t skipped = pads / sizeof(std::uint64_t);
  std::copy_n(all.words().begin() + static_cast<std::ptrdiff_t>(skipped), key.words().size(),
              key.words().begin());
  leave();

  const auto n = static_cast<double>(host_.options.block_bits);
  key_provenance& made = secret_.provenance;
  made.first_block = made.last_block = id_;
  made.qber = static_cast<double>(errors_) / n;
  made.phase_error = phase_error_;
  made.eps_sec = host_.options.system.eps_sec;
  made.eps_cor = host_.options.system.eps_cor;
  made.eps_auth = authentication_error(said_.octets()) + authentication_error(heard_.octets()) +
                  0x1p-64;  // that somebody guesses the pad which is shown
  made.sifted = host_.options.block_bits;
  made.efficiency =
      errors_ == 0 ? 0 : static_cast<double>(tally_.alice_bits) / (n * binary_entropy(made.qber));
  made.leak_alice = tally_.alice_bits + verification_tag_bits;
  made.leak_bob = tally_.bob_bits;
  made.model = host_.options.system.proof == decoy_proof::lim14 ? "lim14" : "w24";
  made.reconciliation = "cascade";
  made.amplification = "toeplitz";
  made.authentication = "its";
  secret_.key = std::move(key);

  host_.report.secret += secret_.key.size();
  host_.report.auth_returned += 8 * pads;
  host_.report.efficiency = made.efficiency;
  return {};
}

}  // namespace qkd004::software
