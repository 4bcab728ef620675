// client_connection: one HTTP/1.1 connection of a client: requests out, answers in, in the order of the requests. It
// never blocks; whoever owns it polls its descriptor.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "net/address.hpp"
#include "net/channel.hpp"
#include "net/http/syntax.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "wire/out_buffer.hpp"

namespace qkd004::net::http {

/// What a client asks. Lifetime: that of what it shows.
struct outgoing {
  std::string_view method = "POST";
  std::string_view path;
  std::string_view content_type;  ///< empty: there is no body
  std::span<const std::byte> body;
};

/// What a server answered. Lifetime: until the owner's on_answer() returns; then its octets are wiped.
struct incoming {
  unsigned status = 0;
  std::string_view content_type;
  std::string_view retry_after;
  std::span<const std::byte> body;
};

/// Threads: one at a time; only poll() on the descriptor may go on meanwhile.
class client_connection {
 public:
  class owner {
   public:
    /// The answer to the oldest request that has none. May ask() for more, not destroy the connection.
    virtual void on_answer(const incoming& a) = 0;
    /// What was asked and not answered never is.
    virtual void on_over() = 0;

   protected:
    owner() = default;
    owner(const owner&) = default;
    owner& operator=(const owner&) = default;
    ~owner() = default;
  };

  /// Whom to connect to.
  struct target {
    scheme kind = scheme::plain;
    std::vector<endpoint> endpoints;  ///< tried one after another
    std::shared_ptr<const tls_context> tls;
    tls_expectation expected;
    std::string host;  ///< for the field of that name: `127.0.0.1:8080`
  };

  client_connection(owner& o, secret_arena arena, std::size_t max_reply, target to);
  client_connection(const client_connection&) = delete;
  client_connection& operator=(const client_connection&) = delete;
  ~client_connection();

  /// Appends one request. Returns resource_limit: too much waits for the server to read it, or the arena is full.
  [[nodiscard]] result<void> ask(const outgoing& what);
  /// Sends what was appended, as far as it goes.
  void flush();
  /// Breaks it.
  void end(std::error_code why);

  [[nodiscard]] pollfd wants() const noexcept;
  void on_ready(short events);

  [[nodiscard]] bool is_over() const noexcept { return step_ == step::over; }
  [[nodiscard]] bool is_connected() const noexcept { return step_ == step::connected; }
  /// How many requests have no answer yet.
  [[nodiscard]] std::size_t in_flight() const noexcept { return asked_.size(); }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }  ///< once it is over
  /// What the channel has to say about that; may be empty.
  [[nodiscard]] const std::string& words() const noexcept { return words_; }
  /// The server has said that it will take no more requests here, or has closed an idle connection.
  [[nodiscard]] bool is_stale() const noexcept;

 private:
  enum class step : std::uint8_t { connecting, securing, connected, over };

  void connect_next(std::error_code last);
  void on_connected();
  void secure();
  void fail();
  void on_readable();
  [[nodiscard]] bool read_once();
  [[nodiscard]] bool on_end_of_input();
  void parse();
  [[nodiscard]] std::size_t parse_one(std::span<const std::byte> input);
  void answer(const response_head& head, std::span<const std::byte> body);
  [[nodiscard]] bool make_room(std::size_t wanted);

  owner& owner_;
  const secret_arena arena_;
  const std::size_t max_reply_;
  const target target_;
  std::size_t next_endpoint_ = 0;
  channel channel_;
  step step_ = step::connecting;
  bool wants_output_ = false;  ///< TLS has something to say before it goes on
  bool last_ = false;          ///< the server closes behind this answer
  std::error_code error_;
  std::string words_;

  wire::out_buffer out_;
  secret_bytes in_;  ///< answers carry key
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  response_head head_;
  std::unique_ptr<chunked_body> chunks_;
  std::size_t chunks_taken_ = 0;
  std::deque<bool> asked_;  ///< whether it was a HEAD
};

}  // namespace qkd004::net::http
