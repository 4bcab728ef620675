// connection: one connection of a site and who is at its other end: nobody yet, an application, or a peer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "net/application.hpp"
#include "net/in_order.hpp"
#include "net/transport.hpp"
#include "qkd004/key_manager.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/peer_message.hpp"
#include "wire/forge.hpp"
#include "wire/frame.hpp"

namespace qkd004::net {

class site_core;

/// Answers are sent in the order of the requests: one that is there early is kept, encoded, until its turn.
class connection final : public transport, public application {
 public:
  connection(std::shared_ptr<site_core> core, channel c);
  /// One that this site made, to the peer of that link; the core hears of it when it is open.
  connection(std::shared_ptr<site_core> core, channel c, link_id link);

  /// From now on the peer of that link is at the other end.
  void become_peer(link_id link);

  /// \name From the key manager: nothing here calls it
  ///@{
  void answer(std::uint64_t ticket, const open_connect_response& r) override;
  void answer(std::uint64_t ticket, const get_key_response& r) override;
  void answer(std::uint64_t ticket, const close_response& r) override;
  void answer(std::uint64_t ticket, const get_keys_response& r) override;
  void answer(std::uint64_t ticket, const wait_peer_response& r) override;
  void answer(std::uint64_t ticket, const acknowledge_response& r) override;
  void deliver(const key_stream_id& stream, const get_keys_response& r) override;
  void send(const peer::message& m);
  ///@}

  /// Who is there, as far as the channel knows.
  [[nodiscard]] const channel& other_end() const noexcept { return carrier(); }

  /// Says why in one error frame, and ends.
  void refuse(status code, const std::string& why);

 private:
  enum class role : std::uint8_t { unknown, application, peer };
  enum class question : std::uint8_t { hello, open_connect, open_connect2, get_key, close, extension };

  /// A request that was read and whose answer was not sent.
  struct outstanding {
    question asked;
    wire::forge::statuses statuses;           ///< what the other end understood when it asked; of forge
    std::uint32_t metadata_size = 0;          ///< of GET_KEY
    time_point at;                            ///< of the turn that read it
    std::unique_ptr<wire::out_buffer> reply;  ///< the answer, if it is there before its turn
  };

  void on_open() override;
  void on_refused(const std::string& why) override;
  [[nodiscard]] std::size_t on_input(std::span<const std::byte> input) override;
  [[nodiscard]] bool has_room() const override;
  void on_end(const std::string& why) override;

  void on_frame(const wire::frame_header& header, std::span<const std::byte> payload);
  void on_bad_frame(wire::frame_state state, const wire::frame_header& header);
  [[nodiscard]] bool speaks_qubip() const noexcept { return version_ == wire::qubip_version; }
  [[nodiscard]] bool become_application();
  void on_hello(std::span<const std::byte> payload);
  [[nodiscard]] bool on_extension(wire::service s, std::span<const std::byte> payload);
  void on_subscribe(std::span<const std::byte> payload);
  void on_report(std::span<const std::byte> payload);
  void on_peer_frame(const wire::frame_header& header, std::span<const std::byte> payload);

  template <class Request, class Response>
  void serve(const result<Request>& request, question asked, std::uint32_t metadata_size,
             void (key_service::*call)(caller, const Request&, time_point));
  std::uint64_t expect(question asked, std::uint32_t metadata_size);
  /// Since the turn that read that request.
  [[nodiscard]] boot_clock::duration waited(std::uint64_t ticket) const noexcept;
  template <class Encode>
  void reply(std::uint64_t ticket, std::size_t at_most, const Encode& encode);
  void send_ready();
  [[nodiscard]] std::size_t in_flight() const noexcept { return queue_.size(); }

  site_core& core_;
  role role_ = role::unknown;
  std::optional<wire::frame_version> version_;  ///< of the first frame: the dialect of the connection
  bool greeted_ = false;                        ///< HELLO came: all statuses, and OPEN_CONNECT2
  link_id link_ = 0;                            ///< of a peer
  std::optional<link_id> dialed_;               ///< the link it was made for, until it is open
  connection_id id_ = 0;                        ///< of an application
  std::uint64_t next_reply_ = 0;                ///< ticket of the oldest request that is outstanding
  in_order<outstanding> queue_;
};

}  // namespace qkd004::net
