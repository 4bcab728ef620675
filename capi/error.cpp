// SPDX-License-Identifier: Apache-2.0
#include "error.hpp"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <cstdio>

#include "handle.hpp"
#include "qkd004.h"

namespace qkd004::capi {
namespace {

/// Static, or in the record.
const char* words_of(int result, thread_record* record) noexcept {
  if (result >= 0) return to_string(static_cast<status>(result)).data();  // all are literals
  if (result == -EBADF) return "the handle is not one, or was ended";
  if (result == -EPERM)
    return "the handle is that of the process that forked this one, or the system forbids it";
  if (result == -ENOBUFS) return "the buffer is too small";
  if (record == nullptr) return "error of the system";
  return ::strerror_r(-result, record->status, sizeof record->status);  // GNU's: says where the text is
}

/// Cuts off what may be a part of a character at the end.
void end_with_a_character(char* text, std::size_t size) noexcept {
  const auto octet = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  while (size > 0 && (octet(size - 1) & 0xc0) == 0x80) --size;
  if (size > 0 && octet(size - 1) >= 0xc0) --size;
  text[size] = '\0';
}

}  // namespace

int number_of(std::error_code e) noexcept {
  if (!e) return 0;
  if (e.category() == status_category()) return e.value();
  if (e.category() == std::generic_category() || e.category() == std::system_category()) return -e.value();
  const std::error_condition same = e.default_error_condition();
  return same.category() == std::generic_category() && same.value() != 0 ? -same.value() : -EIO;
}

std::error_code error_of(int result) noexcept {
  if (result > 0) return {result, status_category()};
  return {-result, std::generic_category()};
}

int fail(const char* call, int result, std::string_view detail, const char* words) noexcept {
  thread_record* const record = record_of_this_thread();
  if (record == nullptr) return result;
  constexpr std::size_t room = sizeof record->error;
  const int length = std::snprintf(
      record->error, room, "%s: %s%s%.*s", call, words != nullptr ? words : words_of(result, record),
      detail.empty() ? "" : ": ", static_cast<int>(std::min(detail.size(), room)), detail.data());
  if (length >= static_cast<int>(room)) end_with_a_character(record->error, room - 1);
  return result;
}

}  // namespace qkd004::capi

using namespace qkd004::capi;

const char* qkd004_status_text(int result) { return words_of(result, record_of_this_thread()); }

const char* qkd004_last_error(void) {
  const thread_record* const record = this_thread;
  return record == nullptr ? "" : record->error;
}
