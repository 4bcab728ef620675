// client_socket: one connection of a client, whatever is said there: connects, sends what was appended, keeps what comes
// until it is understood. It never blocks; whoever owns it polls its descriptor.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "net/address.hpp"
#include "net/channel.hpp"
#include "net/tls_session.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/secret.hpp"
#include "wire/out_buffer.hpp"

namespace qkd004::net {

/// Order of calls: `begin (flush wants on_ready)* [end]`.
/// Threads: one at a time; only poll() on the descriptor may go on meanwhile.
class client_socket {
 public:
  /// Whom to connect to.
  struct target {
    scheme kind = scheme::plain;
    protocol spoken = protocol::frames;
    std::vector<endpoint> endpoints;         ///< tried one after another
    std::shared_ptr<const tls_context> tls;  ///< for scheme::tls
    tls_expectation expected;
    std::string authority;                    ///< as authority_of(); empty for a Unix socket
    time_point deadline = time_point::max();  ///< connected by then, or never
  };

  client_socket(const client_socket&) = delete;
  client_socket& operator=(const client_socket&) = delete;
  virtual ~client_socket();

  /// Connects. Once, by whoever owns it, when he holds it: he may hear of its end before this returns.
  void begin();
  /// Sends what was appended, as far as it goes.
  void flush();
  /// Breaks it.
  void end(std::error_code why);
  /// Ends it if it should be connected by now and is not. Returns when to ask again.
  time_point expire_connecting(time_point now);

  [[nodiscard]] pollfd wants() const noexcept;
  /// The same for who keeps it: tells sockets apart that have had the same number.
  struct interest {
    int descriptor;
    short events;
    std::size_t socket;

    friend bool operator==(const interest&, const interest&) = default;
  };
  [[nodiscard]] interest watched_for() const noexcept {
    const pollfd now = wants();
    return {now.fd, now.events, next_endpoint_};
  }
  void on_ready(short events);

  [[nodiscard]] bool is_over() const noexcept { return step_ == step::over; }
  [[nodiscard]] bool is_connected() const noexcept { return step_ == step::connected; }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }  ///< once it is over
  /// What the channel has to say about that, in words; may be empty.
  [[nodiscard]] const std::string& words() const noexcept { return words_; }
  /// Whether the server has closed an idle connection.
  [[nodiscard]] bool is_stale() const noexcept;

 protected:
  client_socket(secret_arena arena, target to);

  /// Something came: consume() what is understood, and expect() the rest of what is not whole.
  virtual void parse() = 0;
  /// Nothing more comes. Returns whether that is no fault, and was dealt with.
  [[nodiscard]] virtual bool on_end_of_input() { return false; }
  /// Once: it is over.
  virtual void on_ended() = 0;
  /// Whether a server may say something when nothing was asked.
  [[nodiscard]] virtual bool may_come_unasked() const noexcept { return false; }

  /// What came and is not consumed. Lifetime: until consume() or expect(), or parse() or on_end_of_input() returns.
  [[nodiscard]] std::span<const std::byte> input() const noexcept {
    return in_.span().subspan(in_begin_, in_end_ - in_begin_);
  }
  /// Wipes the front of it.
  void consume(std::size_t octets) noexcept;
  /// Makes room for so much input from the first octet that is not consumed on; ends if there is none.
  void expect(std::size_t octets);
  /// Whether nothing more fits behind the input.
  [[nodiscard]] bool is_full() const noexcept { return in_end_ == in_.size(); }

  [[nodiscard]] wire::out_buffer& out() noexcept { return out_; }
  [[nodiscard]] const target& whom() const noexcept { return target_; }

 private:
  enum class step : std::uint8_t { connecting, securing, connected, over };
  class using_input;

  void connect_next(std::error_code last);
  void on_connected();
  void secure();
  void fail();
  void on_readable();
  [[nodiscard]] bool read_once();
  [[nodiscard]] bool make_room(std::size_t wanted);
  void release_input() noexcept;

  const secret_arena arena_;
  const target target_;
  std::size_t next_endpoint_ = 0;
  channel channel_;
  step step_ = step::connecting;
  bool wants_output_ = false;   ///< TLS has something to say before it goes on
  bool is_input_used_ = false;  ///< somebody further up the stack looks at it
  std::error_code error_;
  std::string words_;

  wire::out_buffer out_;
  secret_bytes in_;  ///< answers carry key
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
};

/// What leads to that address, at one of these endpoints. `server`: the SAN URI that its certificate has to have; empty:
/// it has to name the address's host.
[[nodiscard]] client_socket::target target_of(const address& to, std::vector<endpoint> endpoints,
                                              std::shared_ptr<const tls_context> tls,
                                              const std::string& server);

}  // namespace qkd004::net
