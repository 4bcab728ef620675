// lane: one connection of a client: requests out, replies in, matched by their order. It never blocks; whoever owns it
// polls its descriptor.
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

#include "net/channel.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/net/connect.hpp"
#include "qkd004/secret.hpp"
#include "wire/extension.hpp"
#include "wire/forge.hpp"

namespace qkd004::net {

/// Threads: one at a time; only poll() on the descriptor may go on meanwhile.
class lane {
 public:
  /// Hears of calls that are complete but for call::complete().
  class owner {
   public:
    virtual void on_done(call& c) = 0;
    /// HELLO was answered.
    virtual void on_greeted(const extensions& served) = 0;
    /// Keys of a subscription.
    virtual void on_delivery(const wire::extension::delivery& d) = 0;
    virtual void on_over() = 0;

   protected:
    owner() = default;
    owner(const owner&) = default;
    owner& operator=(const owner&) = default;
    ~owner() = default;
  };

  /// What the server is known to understand.
  struct dialect {
    bool extended = false;  ///< HELLO, and what comes with it
    extensions served;
  };

  /// Whom to connect to.
  struct target {
    scheme kind = scheme::plain;
    std::vector<endpoint> endpoints;         ///< tried one after another
    std::shared_ptr<const tls_context> tls;  ///< for scheme::tls
    tls_expectation expected;
  };

  lane(owner& o, secret_arena arena, std::size_t max_reply, target to, time_point connect_deadline);
  lane(const lane&) = delete;
  lane& operator=(const lane&) = delete;
  ~lane();

  /// HELLO goes first.
  void greet();
  /// Appends one request; a request that cannot be said completes at once with its error.
  void ask(call& c, const dialect& d);
  /// Appends what has no call that waits for it.
  void subscribe(const subscribe_request& request);
  void acknowledge(const acknowledge_request& request);
  /// Sends what was appended, as far as it goes.
  void flush();

  /// The answer is the call's heir's, if it has one; else nobody waits for it any more. Returns whether the call was in
  /// flight here.
  [[nodiscard]] bool forget(const call& c) noexcept;
  /// Calls whose deadline has passed are done, with status::timeout.
  void expire(time_point now);
  /// Breaks the connection: what is in flight is done with that error.
  void end(std::error_code why);

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
  [[nodiscard]] bool is_greeted() const noexcept { return greeted_; }  ///< HELLO was answered
  /// Is over, and its HELLO was what the server did not like.
  [[nodiscard]] bool is_refused_greeting() const noexcept { return refused_greeting_; }
  [[nodiscard]] bool is_idle() const noexcept { return first_ == queue_.size(); }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }  ///< once it is over
  /// What the channel has to say about that, in words; may be empty.
  [[nodiscard]] const std::string& words() const noexcept { return words_; }
  /// No deadline of this lane is earlier.
  [[nodiscard]] time_point earliest() const noexcept { return earliest_; }
  /// Whether the server has closed an idle connection.
  [[nodiscard]] bool is_stale() const noexcept;

 private:
  enum class step : std::uint8_t { connecting, securing, connected, over };
  enum class question : std::uint8_t {
    hello,
    open_connect,
    open_connect2,
    get_key,
    close,
    get_keys,
    wait_peer,
    acknowledge,
    report
  };

  struct expected {
    call* asked;  ///< null: its answer is dropped
    question what;
  };
  void give_place(expected& e) noexcept;

  void connect_next(std::error_code last);
  void on_connected();
  void secure();
  void on_readable();
  [[nodiscard]] bool read_once();
  void fail();
  void parse();
  [[nodiscard]] bool make_room(std::size_t wanted);
  void on_reply(const wire::frame_header& header, std::span<const std::byte> payload);
  [[nodiscard]] bool on_delivery(std::span<const std::byte> payload);
  [[nodiscard]] std::error_code read_hello(const wire::frame_header& header,
                                           std::span<const std::byte> payload);
  [[nodiscard]] std::error_code read_keys(call* c, std::span<const std::byte> payload);
  [[nodiscard]] std::error_code read_reply(question what, call* c, const wire::frame_header& header,
                                           std::span<const std::byte> payload);
  void pop() noexcept;
  void done(call& c, std::error_code error);

  owner& owner_;
  const secret_arena arena_;
  const limits bounds_;
  const target target_;
  std::size_t next_endpoint_ = 0;
  channel channel_;
  bool wants_output_ = false;  ///< TLS has something to say before it goes on
  step step_ = step::connecting;
  bool greeted_ = false;
  bool refused_greeting_ = false;
  std::error_code error_;
  std::string words_;
  time_point connect_deadline_;
  time_point earliest_;

  wire::out_buffer out_;
  secret_bytes in_;  ///< replies carry key
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  std::vector<expected> queue_;
  std::size_t first_ = 0;  ///< in queue_; those before are answered
};

}  // namespace qkd004::net
