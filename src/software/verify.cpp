// SPDX-License-Identifier: Apache-2.0
#include "software/verify.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "qkd004/secret.hpp"
#include "wire/octets.hpp"

namespace qkd004::software {

static_assert(std::endian::native == std::endian::little,
              "both ends have to hash the words of a block alike");

namespace {

block128 half(const verification_key& key, std::size_t which) noexcept {
  block128 point;
  std::copy_n(key.begin() + static_cast<std::ptrdiff_t>(16 * which), 16, point.begin());
  return point;
}

std::uint64_t shortened(block128 hash, const verification_key& key) noexcept {
  poly_hash second{half(key, 1)};
  second.update(hash);
  wipe(hash.data(), hash.size());  // what is not told of it stays secret
  hash = second.finish();
  std::uint64_t tag = 0;
  std::memcpy(&tag, hash.data(), sizeof tag);
  wipe(hash.data(), hash.size());
  return wire::big_endian(tag);
}

}  // namespace

std::uint64_t verification_tag(const bits& block, const verification_key& key) noexcept {
  poly_hash first{half(key, 0)};
  first.update(std::as_bytes(block.words()));
  const std::uint64_t count = wire::big_endian(static_cast<std::uint64_t>(block.size()));
  first.update(std::as_bytes(std::span{&count, 1}));
  return shortened(first.finish(), key);
}

std::uint64_t verification_tag(std::span<const std::byte> octets, const verification_key& key) noexcept {
  poly_hash first{half(key, 0)};
  first.update(octets);
  return shortened(first.finish(), key);
}

}  // namespace qkd004::software
