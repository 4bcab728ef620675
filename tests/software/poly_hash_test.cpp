// SPDX-License-Identifier: Apache-2.0
#include "software/poly_hash.hpp"

#include <doctest/doctest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "software/poly_hash_kernels.hpp"

using namespace qkd004::software;

namespace {

constexpr unsigned seed = 20120401;

std::vector<std::byte> some_octets(std::mt19937_64& random, std::size_t count) {
  std::vector<std::byte> octets(count);
  for (auto& octet : octets) octet = static_cast<std::byte>(random());
  return octets;
}

block128 some_block(std::mt19937_64& random) {
  block128 block;
  for (auto& octet : block) octet = static_cast<std::byte>(random());
  return block;
}

block128 from_hex(std::string_view text) {
  block128 block{};
  for (std::size_t i = 0; i < block.size(); ++i) {
    block[i] = static_cast<std::byte>(std::stoi(std::string{text.substr(2 * i, 2)}, nullptr, 16));
  }
  return block;
}

unsigned char* chars(std::byte* octets) { return reinterpret_cast<unsigned char*>(octets); }
const unsigned char* chars(const std::byte* octets) { return reinterpret_cast<const unsigned char*>(octets); }

block128 aes128(const block128& key, const block128& block) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> aes{EVP_CIPHER_CTX_new(),
                                                                            &EVP_CIPHER_CTX_free};
  block128 out{};
  int written = 0;
  REQUIRE(EVP_EncryptInit_ex2(aes.get(), EVP_aes_128_ecb(), chars(key.data()), nullptr, nullptr) == 1);
  REQUIRE(EVP_EncryptUpdate(aes.get(), chars(out.data()), &written, chars(block.data()), 16) == 1);
  return out;
}

/// GMAC of OpenSSL with a nonce of 96 bits of zeros: GHASH of the message with the key AES(0), plus AES(0...01).
block128 gmac(const block128& key, const std::vector<std::byte>& message) {
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> method{EVP_MAC_fetch(nullptr, "GMAC", nullptr),
                                                                 &EVP_MAC_free};
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> mac{EVP_MAC_CTX_new(method.get()),
                                                                      &EVP_MAC_CTX_free};
  char cipher[] = "AES-128-GCM";
  unsigned char nonce[12] = {};
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
                                   OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, nonce, sizeof nonce),
                                   OSSL_PARAM_construct_end()};
  block128 out{};
  std::size_t size = 0;
  REQUIRE(EVP_MAC_init(mac.get(), chars(key.data()), key.size(), parameters) == 1);
  REQUIRE(EVP_MAC_update(mac.get(), chars(message.data()), message.size()) == 1);
  REQUIRE(EVP_MAC_final(mac.get(), chars(out.data()), &size, out.size()) == 1);
  return out;
}

block128 hash_of(const poly_hash_kernel& kernel, const block128& key, const std::vector<std::byte>& message) {
  poly_hash hash{key, kernel};
  hash.update(message);
  return hash.finish();
}

std::vector<const poly_hash_kernel*> kernels_here() {
  std::vector<const poly_hash_kernel*> here;
  for (const auto& kernel : poly_hash_kernels()) {
    if (kernel.runs_here()) {
      here.push_back(&kernel);
    } else {
      MESSAGE("not tested, this processor does not have it: ", std::string{kernel.name});
    }
  }
  return here;
}

}  // namespace

TEST_CASE("poly_hash: multiplies as McGrew and Viega print it when a block is absorbed") {
  // "The Galois/Counter Mode of Operation", appendix B, test case 2
  const auto key = from_hex("66e94bd4ef8a2c3b884cfa59ca342b2e");
  const auto block = from_hex("0388dace60b6a392f328c2b971b2fe78");
  for (const auto* kernel : kernels_here()) {
    CAPTURE(std::string{kernel->name});
    poly_hash_powers powers;
    kernel->prepare(powers, key);
    block128 sum{};
    kernel->absorb(powers, sum, block);
    CHECK(sum == from_hex("5e2ec746917062882c85b0685353deb7"));
    kernel->absorb(powers, sum, from_hex("00000000000000000000000000000080"));
    CHECK(sum == from_hex("f38cbb1ad69223dcc3457ae5b6b0f885"));
  }
}

TEST_CASE("poly_hash: equals the GHASH of OpenSSL when the message has any length") {
  std::mt19937_64 random{seed};
  const auto here = kernels_here();
  for (std::size_t trial = 0; trial < 1400; ++trial) {
    // every length up to two rounds of the widest kernel, then some longer ones
    const std::size_t size = trial < 1100 ? trial : random() % 20'000;
    const auto key = some_block(random);
    const auto message = some_octets(random, size);
    const auto point = aes128(key, block128{});
    block128 counter{};
    counter[15] = std::byte{1};
    const auto mask = aes128(key, counter);
    auto expected = gmac(key, message);
    for (std::size_t i = 0; i < 16; ++i) expected[i] ^= mask[i];
    for (const auto* kernel : here) {
      if (hash_of(*kernel, point, message) == expected) continue;
      FAIL("seed ", seed, ", ", size, " octets, ", std::string{kernel->name});
    }
  }
}

TEST_CASE("poly_hash: has the same hash by every kernel when they absorb the same") {
  std::mt19937_64 random{seed};
  const auto here = kernels_here();
  for (std::size_t trial = 0; trial < 2000; ++trial) {
    auto key = some_block(random);
    auto before = some_block(random);
    auto blocks = some_octets(random, 16 * (1 + random() % 100));
    // carries and reductions at their extremes
    if (trial % 4 == 1) key.fill(std::byte{0xff});
    if (trial % 4 == 2) before.fill(std::byte{0xff});
    if (trial % 4 == 3) std::fill(blocks.begin(), blocks.end(), std::byte{0xff});
    block128 expected{};
    for (std::size_t i = here.size(); i-- > 0;) {
      poly_hash_powers powers;
      here[i]->prepare(powers, key);
      auto sum = before;
      here[i]->absorb(powers, sum, blocks);
      if (i + 1 == here.size()) expected = sum;
      if (sum != expected) FAIL("seed ", seed, ", trial ", trial, ", ", std::string{here[i]->name});
    }
  }
}

TEST_CASE("poly_hash: has the same hash when the message comes in pieces") {
  std::mt19937_64 random{seed};
  for (const auto* kernel : kernels_here()) {
    for (std::size_t trial = 0; trial < 500; ++trial) {
      const auto key = some_block(random);
      const auto message = some_octets(random, random() % 3000);
      poly_hash hash{key, *kernel};
      std::span<const std::byte> left{message};
      while (!left.empty()) {
        const std::size_t most = random() % 2 == 0 ? 20 : 1500;
        const auto piece = left.first(std::min<std::size_t>(random() % most, left.size()));
        hash.update(piece);
        left = left.subspan(piece.size());
      }
      CHECK(hash.size() == message.size());
      if (hash.finish() != hash_of(*kernel, key, message)) {
        FAIL("seed ", seed, ", trial ", trial, ", ", std::string{kernel->name});
      }
    }
  }
}

TEST_CASE("poly_hash: has another hash when zeros are appended, or a bit or the key differs") {
  std::mt19937_64 random{seed};
  for (std::size_t trial = 0; trial < 500; ++trial) {
    auto key = some_block(random);
    auto message = some_octets(random, 1 + random() % 100);
    poly_hash original{key};
    original.update(message);
    const auto hash = original.finish();
    if (trial % 3 == 0) {
      message.resize(message.size() + 1 + random() % 40);
    } else if (trial % 3 == 1) {
      message[random() % message.size()] ^= std::byte{1} << random() % 8;
    } else {
      key[random() % 16] ^= std::byte{1} << random() % 8;
    }
    poly_hash other{key};
    other.update(message);
    if (other.finish() == hash) FAIL("seed ", seed, ", trial ", trial);
  }
}
