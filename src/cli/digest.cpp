// SPDX-License-Identifier: Apache-2.0
#include "cli/digest.hpp"

#include <openssl/evp.h>

#include <stdexcept>

namespace qkd004::cli {

namespace {

EVP_MD_CTX* context_of(void* p) noexcept { return static_cast<EVP_MD_CTX*>(p); }

void check(int done) {
  if (done != 1) throw std::runtime_error{"OpenSSL cannot compute SHA-256"};
}

}  // namespace

void sha256::free_context::operator()(void* context) const noexcept { EVP_MD_CTX_free(context_of(context)); }

sha256::sha256() : context_{EVP_MD_CTX_new()} {
  check(context_ ? EVP_DigestInit_ex(context_of(context_.get()), EVP_sha256(), nullptr) : 0);
}

void sha256::add(std::span<const std::byte> octets) {
  check(EVP_DigestUpdate(context_of(context_.get()), octets.data(), octets.size()));
}

sha256_digest sha256::finish() {
  sha256_digest digest{};
  check(EVP_DigestFinal_ex(context_of(context_.get()), reinterpret_cast<unsigned char*>(digest.data()),
                           nullptr));
  return digest;
}

sha256_digest sha256::of(std::span<const std::byte> octets) {
  sha256 one;
  one.add(octets);
  return one.finish();
}

std::string to_hex(std::span<const std::byte> octets) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(octets.size() * 2);
  for (const std::byte octet : octets) {
    hex += digits[std::to_integer<unsigned>(octet) >> 4];
    hex += digits[std::to_integer<unsigned>(octet) & 15];
  }
  return hex;
}

std::optional<sha256_digest> parse_digest(std::string_view hex) {
  sha256_digest digest{};
  if (hex.size() != digest.size() * 2) return std::nullopt;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) return std::nullopt;
    const auto value = static_cast<unsigned>(letter ? c - 'a' + 10 : c - '0');
    auto& octet = digest[i / 2];
    octet = static_cast<std::byte>(std::to_integer<unsigned>(octet) << 4 | value);
  }
  return digest;
}

std::string fingerprint(const sha256_digest& digest) { return to_hex(std::span{digest}.first<8>()); }

}  // namespace qkd004::cli
