// SPDX-License-Identifier: Apache-2.0
#include "text.hpp"

#include <simdjson.h>

#include <cstring>

#include "error.hpp"
#include "qkd004.h"

namespace qkd004::capi {
namespace {

std::string checked(std::string_view s) {
  if (!simdjson::validate_utf8(s)) throw refusal{QKD004_INVALID_ARGUMENT, "a string is not UTF-8"};
  return std::string{s};
}

}  // namespace

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
