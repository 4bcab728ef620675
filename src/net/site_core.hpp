// site_core: what a site is made of: its key manager, its listeners, its connections, its peers, its clock.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/basic_socket_acceptor.hpp>
#include <asio/steady_timer.hpp>

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "net/application.hpp"
#include "net/connection.hpp"
#include "net/dialer.hpp"
#include "net/http/service.hpp"
#include "net/log_limit.hpp"
#include "net/log_line.hpp"
#include "net/traffic.hpp"
#include "net/turn.hpp"
#include "qkd004/key_manager.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/net/site_caller.hpp"

namespace qkd004::net {

/// Threads: start(), stop(), add() and addresses() any; the rest inside turns.
class site_core final : public turns, private key_manager::events {
 public:
  site_core(asio::io_context& context, site_options options);
  ~site_core();
  site_core(const site_core&) = delete;
  site_core& operator=(const site_core&) = delete;

  [[nodiscard]] result<void> start(std::string* why);
  void stop();
  [[nodiscard]] std::vector<std::string> addresses();

  [[nodiscard]] key_service& service() noexcept { return *service_; }
  /// Requires: no self_link.
  [[nodiscard]] key_manager& manager() noexcept { return *manager_; }
  [[nodiscard]] const site_options& options() const noexcept { return options_; }
  /// What others can cause, as often as they like: so much of each kind is written.
  void log(log_level level, const log_line& line) { log_.write(level, line, now()); }
  /// What the HTTP listeners serve.
  [[nodiscard]] http::service& http() noexcept { return http_; }
  [[nodiscard]] result<void> add(http::resource what);
  /// What goes out is counted here.
  [[nodiscard]] net::traffic& traffic() noexcept { return traffic_; }
  [[nodiscard]] site_report report();
  /// Whose the connections are that are no application's.
  void set_caller(site_caller* who) noexcept { caller_ = who; }

  /// \name From connections
  ///@{
  /// A new application, or 0 with limits::max_connections of them.
  [[nodiscard]] connection_id add_application(application& a, std::string principal);
  void remove_application(connection_id id);
  /// A peer introduces itself on a connection that it made.
  void welcome(connection& c, std::span<const std::byte> hello);
  void receive(link_id link, peer::message&& m);
  void remove_peer(const connection& c, link_id link, const std::string& why);
  /// A connection that was made for that link is open, or has come to nothing.
  void reached(connection& c, link_id link);
  void missed(link_id link, const std::string& why);
  ///@}

 private:
  struct listener {
    explicit listener(asio::io_context& context) : acceptor{context}, pause{context} {}
    asio::basic_socket_acceptor<stream_protocol> acceptor;
    scheme kind = scheme::plain;
    protocol spoken = protocol::frames;
    std::string path;  ///< the file of a Unix socket, which is removed in the end if it is still this one's
    dev_t device = 0;
    ino_t inode = 0;
    asio::steady_timer pause;
    bool held = false;     ///< too many connections: accepts nobody
    bool starved = false;  ///< the system would not give it the last connection
  };

  struct peer_state {
    peer_options options;
    std::shared_ptr<dialer> dials;  ///< none: the peer dials
    connection* current = nullptr;
    bool ready = false;
    std::string failed;        ///< why the key manager wants no more of this connection
    std::string last_failure;  ///< of dialing, so that it is logged once
    std::string down_because;  ///< for reports; empty: it is up, or nobody knows
  };

  // key_manager::events
  void answer(const caller& who, const open_connect_response& r) override { pass(who, r); }
  void answer(const caller& who, const get_key_response& r) override { pass(who, r); }
  void answer(const caller& who, const close_response& r) override { pass(who, r); }
  void answer(const caller& who, const get_keys_response& r) override { pass(who, r); }
  void answer(const caller& who, const wait_peer_response& r) override { pass(who, r); }
  void answer(const caller& who, const acknowledge_response& r) override { pass(who, r); }
  void deliver(connection_id to, const key_stream_id& stream, const get_keys_response& r) override;
  void send(link_id link, peer::message&& m) override;
  void link_failed(link_id link, const std::string& why) override;
  void note(std::string_view text) override;

  template <class Response>
  void pass(const caller& who, const Response& r) {
    if (who.connection < applications_.size() && applications_[who.connection] != nullptr) {
      applications_[who.connection]->answer(who.ticket, r);
    } else if (caller_ != nullptr) {
      if constexpr (std::is_same_v<Response, get_key_response> ||
                    std::is_same_v<Response, get_keys_response>) {
        traffic_.note(r, boot_clock::duration::zero());
      } else {
        traffic_.note(r);
      }
      caller_->answer(who, r);
    }
  }

  // turns
  void on_settled() override;
  void on_turn_end() override;
  void on_transport_gone() override;
  void on_drop(const transport& which, const std::string& why) override;

  [[nodiscard]] result<void> listen(const std::string& uri, std::string* why);
  [[nodiscard]] result<void> take_given(const std::string& uri, const address& a, std::string* why);
  [[nodiscard]] std::string wrong_with_given(int descriptor, const address& a) const;
  [[nodiscard]] result<void> all_given_taken(std::string* why) const;
  [[nodiscard]] std::error_code bind_file(listener& l, const endpoint& where, const std::string& path) const;
  void close(listener& l) const;
  [[nodiscard]] std::string uri_of(const listener& l) const;
  [[nodiscard]] result<void> add_peer(const peer_options& p, std::string* why);
  void accept(const std::shared_ptr<listener>& l);
  void accept_later(const std::shared_ptr<listener>& l);
  void adopt(connection& c, link_id link);
  void cannot_reach(link_id link, const std::string& why);
  [[nodiscard]] std::string distrust(const connection& c, const peer_options& p) const;
  void arm(time_point deadline);
  void listen_to_sources();
  void on_wake();

  [[nodiscard]] std::shared_ptr<site_core> self() {
    return std::static_pointer_cast<site_core>(shared_from_this());
  }
  [[nodiscard]] std::size_t most_transports() const noexcept;

  site_options options_;
  log_limit log_;
  std::unique_ptr<key_service> service_;
  std::shared_ptr<const tls_context> tls_;  ///< null: no TLS
  key_manager* manager_ = nullptr;          ///< the service; null with a self_link
  http::service http_;
  net::traffic traffic_;
  std::vector<std::shared_ptr<listener>> listeners_;
  std::vector<application*> applications_;  ///< by connection_id
  std::size_t application_count_ = 0;
  site_caller* caller_ = nullptr;
  std::vector<peer_state> peers_;  ///< by link_id
  asio::steady_timer alarm_;
  time_point armed_ = time_point::max();  ///< when the alarm goes off
  /// A source has called, and the turn that looks at them has not begun. Shared with the callbacks of the sources,
  /// which may outlive this site.
  std::shared_ptr<std::atomic<bool>> called_ = std::make_shared<std::atomic<bool>>(false);
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace qkd004::net
