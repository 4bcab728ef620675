// syntax: HTTP/1.1 between octets and heads and bodies: Boost.Beast's parser behind a check of what a server may refuse.
// The only file that knows Beast.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/net/http.hpp"

namespace qkd004::net::http {

struct syntax_limits {
  static constexpr std::size_t head = 8 * 1024;  ///< octets, the empty line at its end among them
  static constexpr std::size_t target = 2 * 1024;
  static constexpr std::size_t fields = 64;
};

/// How far a reader came.
struct reading {
  enum class state : std::uint8_t { complete, incomplete, refused };
  state is = state::incomplete;
  std::size_t size = 0;  ///< complete: octets of what was read
  unsigned status = 0;   ///< refused: the HTTP status that says so
  const char* why = "";  ///< refused: in words, with nothing of the input

  [[nodiscard]] static reading complete(std::size_t size) noexcept { return {state::complete, size, 0, ""}; }
  [[nodiscard]] static reading refused(unsigned status, const char* why) noexcept {
    return {state::refused, 0, status, why};
  }
};

/// Lines of a head. Lifetime: those of the octets that were read.
class field_list {
 public:
  [[nodiscard]] bool add(std::string_view name, std::string_view value) noexcept {
    if (count_ == all_.size()) return false;
    all_[count_++] = {name, value};
    return true;
  }
  void clear() noexcept { count_ = 0; }
  [[nodiscard]] std::span<const field_view> all() const noexcept { return {all_.data(), count_}; }

 private:
  std::array<field_view, syntax_limits::fields> all_;
  std::size_t count_ = 0;
};

/// The value of the first field of that name; empty if there is none.
[[nodiscard]] std::string_view value_of(std::span<const field_view> fields, std::string_view name) noexcept;
/// Whether two names of fields are the same one.
[[nodiscard]] bool same_name(std::string_view a, std::string_view b) noexcept;

/// How a body ends.
enum class framing : std::uint8_t { length, chunked, until_end };

struct request_head {
  std::string_view method;
  std::string_view target;  ///< as it was sent
  std::string_view path;    ///< of the target, without a scheme and a host
  std::string_view query;
  field_list fields;
  framing body = framing::length;  ///< never until_end
  std::size_t length = 0;          ///< of a body with framing::length
  bool keep_alive = false;
  bool is_1_0 = false;
  bool expects_continue = false;
};

struct response_head {
  unsigned status = 0;
  field_list fields;
  framing body = framing::length;
  std::size_t length = 0;
  bool keep_alive = false;
};

/// Reads one head from the front. Refuses, besides what is no HTTP: obs-fold, a bare CR or LF, transfer codings but one
/// `chunked`, that with a length or in HTTP/1.0, more than one length or Host, no Host, `%` without two digits and
/// those of control characters, expectations but 100-continue, and what is beyond the limits.
/// Clause: RFC 9112, 2.2, 3, 5.2, 6.1, 6.3, 7.
[[nodiscard]] reading read_request(std::span<const std::byte> input, request_head& into);

/// The same of a server's answer to a request with this method (HEAD's has no body).
[[nodiscard]] reading read_response(std::span<const std::byte> input, std::string_view asked,
                                    response_head& into);

/// A body in chunks, as it arrives. Trailers are read and dropped. Clause: RFC 9112, 7.1.
/// The body is wiped with the object.
class chunked_body {
 public:
  explicit chunked_body(std::size_t limit);
  ~chunked_body();
  chunked_body(const chunked_body&) = delete;
  chunked_body& operator=(const chunked_body&) = delete;

  /// Takes from the front of `input`, which follows what was taken before; `size` tells how much, incomplete or
  /// complete. Refuses more body than the limit (413), or more octets around it than 8 KiB and the limit.
  [[nodiscard]] reading read(std::span<const std::byte> input);
  [[nodiscard]] std::span<const std::byte> body() const noexcept;

 private:
  class parser;
  std::unique_ptr<parser> parser_;
};

/// What the status means, as the first line says it.
[[nodiscard]] std::string_view reason_of(unsigned status) noexcept;

/// Whether it may name a field: a token. Clause: RFC 9110, 5.6.2.
[[nodiscard]] bool is_name(std::string_view text) noexcept;
/// Whether these octets may stand in a line of a head.
[[nodiscard]] bool may_stand_in_head(std::string_view text) noexcept;

/// The date of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`. Clause: RFC 9110, 5.6.7.
[[nodiscard]] std::string date_of(std::int64_t seconds_since_1970);

}  // namespace qkd004::net::http
