// server_connection: one HTTP/1.1 connection of a site: requests in, answers out in their order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/application.hpp"
#include "net/http/resources.hpp"
#include "net/http/syntax.hpp"
#include "net/in_order.hpp"
#include "net/transport.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/net/http.hpp"

namespace qkd004::net {
class site_core;
}

namespace qkd004::net::http {

/// An answer that is there before its turn is kept, as the octets that it will be.
/// Threads: those of `answering` any; the rest inside the turns of its site.
class server_connection final : public transport, public application, public detail::answering {
 public:
  server_connection(std::shared_ptr<site_core> core, channel c);

  /// \name From the key manager
  ///@{
  void answer(std::uint64_t ticket, const open_connect_response& r) override;
  void answer(std::uint64_t ticket, const get_key_response& r) override;
  void answer(std::uint64_t ticket, const close_response& r) override;
  void answer(std::uint64_t ticket, const get_keys_response& r) override;
  void answer(std::uint64_t ticket, const wait_peer_response& r) override;
  void answer(std::uint64_t ticket, const acknowledge_response& r) override;
  void deliver(const key_stream_id&, const get_keys_response&) override {}  // nothing subscribes here
  ///@}

  /// \name From resources
  ///@{
  void send(std::uint64_t ticket, response&& r) override;
  void begin(std::uint64_t ticket, response&& head) override;
  bool push(std::uint64_t ticket, std::string_view text) override;
  void end(std::uint64_t ticket) override;
  bool is_wanted(std::uint64_t ticket) override;
  ///@}

 private:
  /// A request that was read and whose answer is not complete.
  struct outstanding {
    bool is_head = false;  ///< HEAD: the answer has no body
    bool is_1_0 = false;
    bool is_last = false;             ///< the connection ends behind its answer
    bool is_stream = false;           ///< its answer has begun and goes on
    bool is_done = false;             ///< its answer is in `reply`, whole
    std::uint32_t metadata_size = 0;  ///< of GET_KEY
    time_point at;                    ///< of the turn that read it
    std::unique_ptr<wire::out_buffer> reply;
  };

  // transport
  void on_open() override;
  void on_refused(const std::string& why) override;
  [[nodiscard]] std::size_t on_input(std::span<const std::byte> input) override;
  void on_late() override;
  [[nodiscard]] time_point rests_until() const override;
  [[nodiscard]] bool has_room() const override;
  void on_end(const std::string& why) override;

  [[nodiscard]] std::size_t await(std::chrono::milliseconds patience);
  [[nodiscard]] std::size_t refuse(unsigned status, std::string_view why);
  [[nodiscard]] bool is_host_of_ours(const request_head& head) const;
  void serve(const request_head& head, std::span<const std::byte> body, const resources::found& found);
  void ask(const request_head& head, std::span<const std::byte> body, const resource& what);

  // the binding of 004
  void ask_004(const request_head& head, std::span<const std::byte> body, call_004 what);
  [[nodiscard]] bool become_application(std::uint64_t ticket);
  void ask_get_key(std::uint64_t ticket, std::span<const std::byte> body);
  void report(std::uint64_t ticket, std::string_view query);
  template <class Request, class Response>
  void pass(std::uint64_t ticket, const result<Request>& request,
            void (key_service::*call)(caller, const Request&, time_point));
  [[nodiscard]] response malformed() const;
  void write_status(std::uint64_t ticket, status s);
  void write_json(std::uint64_t ticket, std::string text);
  template <class... Said>
  void write_sized(std::uint64_t ticket, std::size_t size, const Said&... what);

  std::uint64_t expect(const request_head& head);
  [[nodiscard]] outstanding* find(std::uint64_t ticket) noexcept;
  /// Since the turn that read that request.
  [[nodiscard]] boot_clock::duration waited(std::uint64_t ticket) noexcept;
  [[nodiscard]] bool is_first(std::uint64_t ticket) const noexcept { return ticket == next_reply_; }
  /// Where the octets of that answer go now. Null: no memory, and the connection has failed.
  [[nodiscard]] wire::out_buffer* place_of(std::uint64_t ticket, std::size_t at_most);
  [[nodiscard]] bool append(std::uint64_t ticket, std::string_view text);
  void write(std::uint64_t ticket, const response& r);
  void finish_reply(std::uint64_t ticket);
  void send_ready();
  void pop();
  [[nodiscard]] std::string head_of(const response& r, const outstanding& o, bool is_stream) const;
  [[nodiscard]] std::size_t in_flight() const noexcept { return queue_.size(); }

  site_core& core_;
  connection_id id_ = 0;        ///< of an application: once it has called the key manager
  bool closing_ = false;        ///< nothing more is read: one of the answers that are outstanding is the last
  bool has_head_ = false;       ///< of the request that has begun
  bool said_continue_ = false;  ///< to it
  std::unique_ptr<chunked_body> chunks_;
  std::size_t chunks_taken_ = 0;  ///< octets behind the head that chunks_ has had
  std::uint64_t next_reply_ = 0;  ///< ticket of the oldest request that is outstanding
  in_order<outstanding> queue_;
  std::atomic<bool> is_over_{false};
  std::atomic<std::size_t> stream_unsent_{0};  ///< octets of a stream that wait for their reader
  std::atomic<std::size_t> stream_queued_{0};  ///< octets of events that wait for a turn
};

}  // namespace qkd004::net::http
