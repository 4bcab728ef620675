// http: resources that a site serves on its http:// and https:// listeners beside the key streams: what was asked, and
// how it is answered, at once, later, or as a stream of events.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/secret.hpp"

namespace qkd004::net::http {

/// A line of a head.
struct field_view {
  std::string_view name;
  std::string_view value;
};

/// The same, of an answer.
struct field {
  std::string name;
  std::string value;
};

/// A request that is all there. Lifetime: what it shows is gone when the resource returns.
struct request {
  std::string_view method;  ///< a HEAD comes as the GET that it asks about
  std::string_view path;    ///< as it was sent, `%` and all
  std::string_view query;   ///< behind the `?`
  std::span<const field_view> fields;
  std::span<const std::byte> body;  ///< its memory is wiped when the resource has returned
  std::string_view principal;       ///< who asks; see site
  std::string_view remote;          ///< where from, as a URI

  /// The value of the first field of that name, in whatever case; empty if there is none.
  [[nodiscard]] std::string_view value_of(std::string_view name) const noexcept;
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }
};

/// Length, date and connection are said by the server.
struct response {
  response() = default;
  explicit response(unsigned code) : status{code} {}
  response(unsigned code, std::string type, std::string body)
      : status{code}, content_type{std::move(type)}, text{std::move(body)} {}

  unsigned status = 200;
  std::string content_type;
  std::string text;           ///< the body; never key
  secret_bytes secret;        ///< the body in place of `text`, if it is not empty
  std::vector<field> fields;  ///< more lines; one with an octet that no head may have is left out
};

/// Problem details, `application/problem+json`. `detail` may be empty. Clause: RFC 9457.
[[nodiscard]] response problem(unsigned status, std::string_view detail);

namespace detail {

/// The connection that an answer goes to.
class answering {
 public:
  virtual void send(std::uint64_t ticket, response&& r) = 0;
  virtual void begin(std::uint64_t ticket, response&& head) = 0;
  /// False: the other end is gone, or has much to read yet.
  virtual bool push(std::uint64_t ticket, std::string_view text) = 0;
  virtual void end(std::uint64_t ticket) = 0;
  virtual bool is_wanted(std::uint64_t ticket) = 0;

 protected:
  answering() = default;
  answering(const answering&) = default;
  answering& operator=(const answering&) = default;
  ~answering() = default;
};

struct address {
  std::weak_ptr<answering> where;
  std::uint64_t ticket = 0;
};

}  // namespace detail

/// An answer that has no end yet, as of `text/event-stream`. Ends with its object.
/// Threads: any, one at a time.
class event_stream {
 public:
  event_stream() = default;
  explicit event_stream(detail::address to) : to_{std::move(to)} {}
  event_stream(event_stream&&) noexcept = default;
  event_stream& operator=(event_stream&& other) noexcept;
  ~event_stream();

  /// Appends to the body as it is, so with the `data: ` and the empty line of an event. False, and nothing was sent: the
  /// other end is gone, or has not read most of what was sent before.
  bool send(std::string_view text);
  /// Whether anybody reads it.
  [[nodiscard]] bool is_open() const;
  void end();

 private:
  detail::address to_;
};

/// The one answer to a request, now or later. Dropped without one it is a 500.
/// Threads: any, one at a time.
/// Lifetime: may outlive the connection and the site; then what is sent goes nowhere.
class answer {
 public:
  explicit answer(detail::address to) : to_{std::move(to)} {}
  answer(answer&&) noexcept = default;
  answer& operator=(answer&& other) noexcept;
  ~answer();

  void send(response r);
  /// Sends the head of `r`, and its body as the first piece. In HTTP/1.0 the end is the end of the connection.
  [[nodiscard]] event_stream stream(response r);
  /// Whether the other end is still there.
  [[nodiscard]] bool is_wanted() const;

 private:
  detail::address to_;
};

/// What is served at a path. HEAD is served by GET, OPTIONS by itself.
struct resource {
  std::string method;  ///< GET, POST, PUT, DELETE or PATCH
  std::string path;    ///< from the `/` on; with a `*` at its end all that begin so, the longest first
  /// Called on the io_context of the site, one call at a time; must not block, nor call the site but for its service().
  /// What it throws is a 500.
  std::function<void(const request&, answer)> serve;
  std::size_t max_body = 64 * 1024;  ///< a larger one is a 413
};

}  // namespace qkd004::net::http
