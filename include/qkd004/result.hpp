// result<T>: a value or a std::error_code; the same type in every build, whatever the consumer's -std.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <system_error>
#include <utility>
#include <variant>

#include "qkd004/status.hpp"

namespace qkd004 {

/// A value, or why there is none.
///
///     result<key_chunk> key = stream.next_key();
///     if (!key) return key.error();
///     use(key->bytes());
///
/// Reading the value of a failed result throws std::system_error, as reading a value that is not there must not
/// go unnoticed.
template <class T>
class [[nodiscard]] result {
 public:
  using value_type = T;

  result(T value) : state_{std::in_place_index<0>, std::move(value)} {}
  result(std::error_code error) : state_{std::in_place_index<1>, error} { assert(error); }
  result(status error) : result{make_error_code(error)} {}

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  [[nodiscard]] std::error_code error() const noexcept {
    return has_value() ? std::error_code{} : *std::get_if<1>(&state_);
  }

  T& value() & { return checked(); }
  const T& value() const& { return const_cast<result*>(this)->checked(); }
  T&& value() && { return std::move(checked()); }
  T& operator*() & { return checked(); }
  const T& operator*() const& { return const_cast<result*>(this)->checked(); }
  T&& operator*() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &const_cast<result*>(this)->checked(); }

 private:
  T& checked() {
    if (auto* value = std::get_if<0>(&state_)) return *value;
    throw std::system_error{error()};
  }
  std::variant<T, std::error_code> state_;
};

/// Success, or why not.
template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;

  result() noexcept = default;
  result(std::error_code error) noexcept : error_{error} { assert(error); }
  result(status error) noexcept : result{make_error_code(error)} {}

  [[nodiscard]] bool has_value() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }
  void value() const {
    if (error_) throw std::system_error{error_};
  }

 private:
  std::error_code error_;
};

}  // namespace qkd004
