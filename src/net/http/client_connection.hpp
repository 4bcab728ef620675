// client_connection: one connection of a client that speaks HTTP/1.1: requests out, answers in, in the order of the
// requests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <string_view>

#include "net/client_socket.hpp"
#include "net/http/syntax.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

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

class client_connection final : public client_socket {
 public:
  class owner {
   public:
    /// The answer to the oldest request that has none. May ask() for more and end(), not destroy the connection.
    virtual void on_answer(const incoming& a) = 0;
    /// What was asked and not answered never is.
    virtual void on_over() = 0;

   protected:
    owner() = default;
    owner(const owner&) = default;
    owner& operator=(const owner&) = default;
    ~owner() = default;
  };

  client_connection(owner& o, secret_arena arena, std::size_t max_reply, target to);

  /// Appends one request. Returns resource_limit: too much waits for the server to read it, or the arena is full.
  [[nodiscard]] result<void> ask(const outgoing& what);

 private:
  void parse() override;
  [[nodiscard]] bool on_end_of_input() override;
  void on_ended() override;

  [[nodiscard]] std::size_t parse_one();
  [[nodiscard]] std::size_t wait_for(std::size_t whole);
  [[nodiscard]] std::size_t wait_for_more(std::size_t most);
  [[nodiscard]] std::size_t refuse();
  void answer(const response_head& head, std::span<const std::byte> body);

  owner& owner_;
  const std::size_t max_reply_;
  bool last_ = false;  ///< the server closes behind this answer
  response_head head_;
  std::unique_ptr<chunked_body> chunks_;
  std::size_t chunks_taken_ = 0;
  std::deque<bool> asked_;  ///< whether it was a HEAD
};

}  // namespace qkd004::net::http
