// SPDX-License-Identifier: Apache-2.0
#include "software/authenticator.hpp"

#include <array>

#include "qkd004/secret.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

transcript::transcript(const block128& hash_key, std::uint64_t block, direction from_to) noexcept
    : hash_{hash_key} {
  std::array<std::byte, 16> head{};
  wire::octet_writer out{head};
  out.u64(block);
  out.u64(static_cast<std::uint64_t>(from_to));
  hash_.update(head);
}

void transcript::add(std::span<const std::byte> message) noexcept {
  // the length makes it plain where each message ends: no other messages give the same octets
  std::array<std::byte, 16> head{};
  wire::octet_writer out{head};
  out.u64(messages_++);
  out.u64(message.size());
  hash_.update(head);
  hash_.update(message);
}

block128 transcript::tag(block128& pad) noexcept {
  block128 sum = hash_.finish();
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] ^= pad[i];
  wipe(pad.data(), pad.size());
  return sum;
}

bool transcript::accepts(const block128& tag, block128& pad) noexcept {
  block128 expected = this->tag(pad);
  const bool right = equal_in_constant_time(expected, tag);
  wipe(expected.data(), expected.size());  // the only tag that a forger lacks
  return right;
}

}  // namespace qkd004::software
