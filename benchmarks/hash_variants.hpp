// hash_variants: the hash of authentication and verification, and OpenSSL's GMAC, which hashes by the same polynomial, as
// variants that are measured alike.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "measured.hpp"
#include "software/poly_hash.hpp"
#include "software/poly_hash_kernels.hpp"

namespace qkd004::bench {

inline void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

/// GMAC over one buffer, again and again: GHASH and one block of AES.
class gmac {
 public:
  gmac() {
    require(mac_ != nullptr, "no GMAC");
    char cipher[] = "AES-128-GCM";
    unsigned char key[16] = {1};
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
                                     OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof key),
                                     OSSL_PARAM_construct_end()};
    require(EVP_MAC_CTX_set_params(mac_.get(), parameters) == 1, "no AES-128-GCM");
  }

  void hash(const std::vector<std::byte>& message) {
    unsigned char nonce[12] = {1};
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, nonce, sizeof nonce),
        OSSL_PARAM_construct_end()};
    unsigned char tag[16];
    std::size_t size = 0;
    const bool good = EVP_MAC_init(mac_.get(), nullptr, 0, parameters) == 1 &&
                      EVP_MAC_update(mac_.get(), reinterpret_cast<const unsigned char*>(message.data()),
                                     message.size()) == 1 &&
                      EVP_MAC_final(mac_.get(), tag, &size, sizeof tag) == 1;
    require(good, "GMAC failed");
    benchmark::DoNotOptimize(tag);
  }

 private:
  std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> method_{EVP_MAC_fetch(nullptr, "GMAC", nullptr),
                                                            &EVP_MAC_free};
  std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> mac_{EVP_MAC_CTX_new(method_.get()),
                                                                 &EVP_MAC_CTX_free};
};

/// With the powers of the key computed anew for each message.
struct ours {
  const software::poly_hash_kernel& kernel;

  void hash(const std::vector<std::byte>& message) const {
    software::poly_hash hash{software::block128{std::byte{1}}, kernel};
    hash.update(message);
    auto value = hash.finish();
    benchmark::DoNotOptimize(value);
  }
};

struct speed {
  double cpu, wall;  ///< GB/s
};

template <class Variant>
speed speed_of(Variant& variant, const std::vector<std::byte>& message, std::size_t messages) {
  const double cpu = cpu_seconds();
  const double wall = wall_seconds();
  for (std::size_t i = 0; i < messages; ++i) variant.hash(message);
  const auto gigaoctets = 1e-9 * static_cast<double>(messages * message.size());
  return {gigaoctets / (cpu_seconds() - cpu), gigaoctets / (wall_seconds() - wall)};
}

}  // namespace qkd004::bench
