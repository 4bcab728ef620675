// client: asks a server over HTTP or HTTPS, several requests at once, from the handlers of an io_context.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "qkd004/net/tls.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::net {
class tls_context;
}

namespace qkd004::net::http {

struct client_options {
  std::string uri;                                ///< `http://host:port` or `https://host:port`
  bool allow_insecure = false;                    ///< plain HTTP off loopback
  std::optional<tls_options> tls;                 ///< for `https:`, which needs it
  std::shared_ptr<const tls_context> shared_tls;  ///< in place of `tls`: of several clients
  std::string
      server;  ///< SAN URI that the server's certificate must have; empty: it must name the URI's host
  std::size_t max_in_flight = 8;   ///< requests on the way, each on a connection of its own that is kept
  std::size_t max_waiting = 1024;  ///< requests that wait for that
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds timeout{10'000};  ///< from send() to the answer
  std::size_t max_reply = 64 * 1024;          ///< octets of the largest body taken from the server
};

struct client_request {
  std::string method = "POST";
  std::string path;
  std::string content_type = "application/json";  ///< empty: there is no body
  std::string text;                               ///< the body; never key
  secret_bytes secret;                            ///< the body in place of `text`, if it is not empty
};

struct client_response {
  std::error_code error;  ///< there was no answer, and what follows says nothing
  unsigned status = 0;
  std::string content_type;
  std::string retry_after;  ///< the field of that name; empty: none
  secret_bytes body;

  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(body.span().data()), body.size()};
  }
};

/// Requests are begun in the order of send(); answers come in any order. Nothing is sent twice: a request on a
/// connection that breaks completes with the error, and whether it arrived is not known. Errors are those of
/// net::connect, and std::errc::timed_out, operation_canceled (stopped), resource_limit (too many wait, or the arena is
/// full).
/// Threads: any.
/// Lifetime: keeps itself while requests are on the way; the io_context outlives it. Idle connections do not keep the
/// io_context at work.
class client {
 public:
  using handler = std::function<void(client_response)>;

  /// Reads the files of `tls`; connects with the first request. `why`, if given, receives a sentence on failure.
  [[nodiscard]] static result<std::unique_ptr<client>> make(asio::io_context& context,
                                                            const secret_arena& arena, client_options options,
                                                            std::string* why = nullptr);
  /// Stops.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// `done` is called once, on the io_context and never from inside of send().
  void send(client_request what, handler done);
  /// What has no answer yet completes with operation_canceled.
  void stop();
  /// Requests that wait or are on the way.
  [[nodiscard]] std::size_t outstanding() const;

 private:
  class state;
  explicit client(std::shared_ptr<state> s) : state_{std::move(s)} {}
  std::shared_ptr<state> state_;
};

}  // namespace qkd004::net::http
