// SPDX-License-Identifier: Apache-2.0
#include "wire/base64.hpp"

#include <doctest/doctest.h>

#include <openssl/evp.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace base64 = qkd004::wire::base64;

std::string encoded(const std::vector<std::byte>& octets) {
  std::string text(base64::encoded_size(octets.size()), '?');
  base64::encode(octets, text);
  return text;
}

std::string openssl_of(const std::vector<std::byte>& octets) {
  std::string text(base64::encoded_size(octets.size()) + 1, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(octets.data()), static_cast<int>(octets.size()));
  text.pop_back();
  return text;
}

bool decodes(std::string_view text) {
  const auto size = base64::decoded_size(text);
  if (!size) return false;
  std::vector<std::byte> octets(*size);
  return base64::decode(text, octets);
}

}  // namespace

TEST_CASE("base64: every length and every octet is written as OpenSSL writes it, and read back") {
  for (std::size_t size = 0; size <= 300; ++size) {
    CAPTURE(size);
    std::vector<std::byte> octets(size);
    for (std::size_t i = 0; i < size; ++i) octets[i] = static_cast<std::byte>(i * 7 + size);
    const std::string text = encoded(octets);
    CHECK(text == openssl_of(octets));
    std::vector<std::byte> back(*base64::decoded_size(text));
    REQUIRE(back.size() == size);
    CHECK(base64::decode(text, back));
    CHECK(back == octets);
  }
}

TEST_CASE("base64: only the 64 digits are digits") {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (unsigned c = 0; c < 256; ++c) {
    for (std::size_t place = 0; place < 4; ++place) {
      CAPTURE(c);
      CAPTURE(place);
      std::string text = "AAAAAAAA";
      text[place] = static_cast<char>(c);
      CHECK(decodes(text) == (digits.find(static_cast<char>(c)) != std::string_view::npos));
    }
  }
}

TEST_CASE(
    "base64: padding that lacks, is too much or elsewhere, white space and bits of no octet are refused") {
  for (const std::string_view good : {"", "AA==", "AQ==", "/w==", "AAA=", "AAE=", "//8=", "AAAA"}) {
    CAPTURE(good);
    CHECK(decodes(good));
  }
  for (const std::string_view bad :
       {"A",        "AA",       "AAA",  "AAAAA", "AA=",      "A===",   "====",  "=",        "==",
        "AA==AA==", "AAA=AAAA", "A=AA", "=AAA",  "AAA=\n",   "AAAA\n", " AAAA", "AA AA===", "AB==",
        "AP==",     "A/==",     "AAB=", "AAD=",  "AAAA====", "AA=A",   "AA-_",  "AA\0="}) {
    CAPTURE(bad);
    CHECK_FALSE(decodes(bad));
  }
}
