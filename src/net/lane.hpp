// lane: one connection of a client that speaks in frames: requests out, replies in, matched by their order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

#include "net/calls_in_flight.hpp"
#include "net/client_socket.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/secret.hpp"
#include "wire/extension.hpp"
#include "wire/forge.hpp"

namespace qkd004::net {

class lane final : public client_socket {
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

  lane(owner& o, secret_arena arena, std::size_t max_reply, target to);

  /// HELLO goes first.
  void greet();
  /// Appends one request; a request that cannot be said completes at once with its error.
  void ask(call& c, const dialect& d);
  /// Appends what has no call that waits for it.
  void subscribe(const subscribe_request& request);
  void acknowledge(const acknowledge_request& request);

  /// The answer is the call's heir's, if it has one; else nobody waits for it any more. Returns whether the call was in
  /// flight here.
  [[nodiscard]] bool forget(const call& c) noexcept { return in_flight_.forget(c); }
  /// Calls whose deadline has passed are done, with status::timeout. Returns when to ask again.
  time_point expire(time_point now);

  [[nodiscard]] bool is_greeted() const noexcept { return greeted_; }  ///< HELLO was answered
  /// Is over, and its HELLO was what the server did not like.
  [[nodiscard]] bool is_refused_greeting() const noexcept { return refused_greeting_; }
  [[nodiscard]] bool is_idle() const noexcept { return in_flight_.empty(); }

 private:
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

  void parse() override;
  [[nodiscard]] bool on_end_of_input() override;
  void on_ended() override;
  [[nodiscard]] bool may_come_unasked() const noexcept override { return true; }

  void on_reply(const wire::frame_header& header, std::span<const std::byte> payload);
  [[nodiscard]] bool on_delivery(std::span<const std::byte> payload);
  [[nodiscard]] std::error_code read_hello(const wire::frame_header& header,
                                           std::span<const std::byte> payload);
  [[nodiscard]] std::error_code read_keys(call* c, std::span<const std::byte> payload);
  [[nodiscard]] std::error_code read_reply(question what, call* c, const wire::frame_header& header,
                                           std::span<const std::byte> payload);
  void done(call& c, std::error_code error);

  owner& owner_;
  const limits bounds_;
  bool greeted_ = false;
  bool refused_greeting_ = false;
  calls_in_flight<question> in_flight_;
};

}  // namespace qkd004::net
