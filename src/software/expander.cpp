// SPDX-License-Identifier: Apache-2.0
#include "software/expander.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "qkd004/secret.hpp"

namespace qkd004::software {

static_assert(std::endian::native == std::endian::little, "next() has to be the same at both ends");

struct expander::cipher {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  cipher() = default;
  cipher(const cipher&) = delete;
  cipher& operator=(const cipher&) = delete;
  ~cipher() { EVP_CIPHER_CTX_free(context); }  // wipes the expanded key
};

expander::expander(const seed256& seed, std::uint64_t purpose) : cipher_{std::make_unique<cipher>()} {
  std::array<unsigned char, 16> counter{};
  for (unsigned i = 0; i < 8; ++i) counter[i] = static_cast<unsigned char>(purpose >> (56 - 8 * i));
  const auto* const key = reinterpret_cast<const unsigned char*>(seed.data());
  if (cipher_->context == nullptr ||
      EVP_EncryptInit_ex2(cipher_->context, EVP_aes_256_ctr(), key, counter.data(), nullptr) != 1) {
    throw std::bad_alloc{};
  }
}

expander::expander(expander&&) noexcept = default;
expander& expander::operator=(expander&&) noexcept = default;
expander::~expander() { wipe(buffer_.data(), sizeof(buffer_)); }

void expander::fill(std::span<std::byte> out) {
  constexpr std::size_t most = std::size_t{1} << 30;
  while (!out.empty()) {
    const auto now = out.first(std::min(out.size(), most));
    std::memset(now.data(), 0, now.size());
    auto* const octets = reinterpret_cast<unsigned char*>(now.data());
    int written = 0;
    if (EVP_EncryptUpdate(cipher_->context, octets, &written, octets, static_cast<int>(now.size())) != 1) {
      throw std::bad_alloc{};
    }
    out = out.subspan(now.size());
  }
}

void expander::refill() {
  fill(std::as_writable_bytes(std::span{buffer_}));
  at_ = 0;
}

}  // namespace qkd004::software
