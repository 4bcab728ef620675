// SPDX-License-Identifier: Apache-2.0
#include "text.hpp"

#include <cstring>

#include "error.hpp"
#include "qkd004.h"

namespace qkd004::capi {
namespace {

/// Octets of the character that begins at `from`; 0: there is none. RFC 3629, section 4.
std::size_t character(std::string_view from) noexcept {
  const auto octet = [from](std::size_t i) -> unsigned { return static_cast<unsigned char>(from[i]); };
  const unsigned lead = octet(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const std::size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (from.size() < size) return 0;
  const unsigned least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (octet(1) < least || octet(1) > most) return 0;
  for (std::size_t i = 2; i != size; ++i) {
    if ((octet(i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

std::string checked(std::string_view s) {
  if (!is_utf8(s)) throw refusal{QKD004_INVALID_ARGUMENT, "a string is not UTF-8"};
  return std::string{s};
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t size = character(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

std::string text(const char* s) {
  if (s == nullptr) throw refusal{QKD004_INVALID_ARGUMENT, "a string is NULL"};
  return checked(s);
}

std::string text_or(const char* s, std::string_view otherwise) {
  return s == nullptr ? std::string{otherwise} : checked(s);
}

std::string text_in(const char* array, std::size_t size) {
  const void* const end = std::memchr(array, '\0', size);
  if (end == nullptr) throw refusal{QKD004_INVALID_ARGUMENT, "a string has no end"};
  return checked(array);
}

}  // namespace qkd004::capi
