// SPDX-License-Identifier: Apache-2.0
#include "net/http/exchange.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "net/calls_in_flight.hpp"
#include "net/http/client_connection.hpp"
#include "net/polled_exchange.hpp"
#include "wire/rest.hpp"

namespace qkd004::net::http {

namespace {

namespace rest = wire::rest;

/// An answer to that request which says nothing but this.
struct refused {
  status outcome;
  any_response operator()(const open_connect_request&) const { return of<open_connect_response>(); }
  any_response operator()(const get_key_request&) const { return of<get_key_response>(); }
  any_response operator()(const close_request&) const { return of<close_response>(); }
  any_response operator()(const get_keys_request&) const { return of<get_keys_response>(); }
  any_response operator()(const wait_peer_request&) const { return of<wait_peer_response>(); }
  any_response operator()(const acknowledge_request&) const { return of<acknowledge_response>(); }
  any_response operator()(const report_request&) const { return of<report_response>(); }

  template <class Response>
  Response of() const {
    Response r;
    r.outcome = outcome;
    return r;
  }
};

/// What a status of HTTP means to who called, if it is neither an answer nor a refusal of this caller.
std::error_code error_of(unsigned http_status) noexcept {
  switch (http_status) {
    case 401:
    case 403: return std::make_error_code(std::errc::permission_denied);
    case 404:
    case 405:
    case 501: return std::make_error_code(std::errc::operation_not_supported);
    case 413:
    case 429:
    case 431:
    case 503: return status::resource_limit;
    default: return status::protocol_error;
  }
}

class http_exchange final : public polled_exchange, private client_connection::owner {
 public:
  http_exchange(address to, std::shared_ptr<const tls_context> tls, secret_arena arena,
                const connect_options& options)
      : polled_exchange{std::move(to), std::move(tls), std::move(arena), options} {}
  ~http_exchange() override {
    const std::lock_guard lock{mutex_};
    if (link_) link_->end(std::make_error_code(std::errc::operation_canceled));
  }

  [[nodiscard]] result<void> open(std::string* why);
  [[nodiscard]] extensions supports() const override {
    const std::lock_guard lock{mutex_};
    return served_;
  }

 private:
  enum class question : std::uint8_t { capabilities, call };

  // polled_exchange
  void ask(std::span<call* const> calls) override;
  void connections(std::vector<socket_ptr>& to) override {
    if (link_ && !link_->is_over()) to.push_back(link_);
  }
  void forget(call& c, std::error_code) override { static_cast<void>(in_flight_.forget(c)); }
  time_point expire(time_point now) override;

  // client_connection::owner
  void on_answer(const incoming& a) override;
  void on_over() override;

  void connect();
  [[nodiscard]] client_connection& usable();
  void ask(call& c, client_connection& l);
  [[nodiscard]] bool serves(const any_request& r) const noexcept;

  rest::reader reader_;
  extensions served_;
  bool knows_ = false;      ///< what the server can do
  std::error_code cannot_;  ///< why not
  std::shared_ptr<client_connection> link_;
  calls_in_flight<question> in_flight_;  ///< on link_
};

result<void> http_exchange::open(std::string* why) {
  unique_lock lock{mutex_};
  if (const auto ready = prepare(why); !ready) return ready.error();
  const time_point deadline = boot_clock::now() + options_.connect_timeout;
  connect();
  const auto l = link_;
  if (!options_.plain && !l->is_over()) {
    in_flight_.push(nullptr, question::capabilities);
    if (const auto said = l->ask({"GET", rest::capabilities_path, {}, {}}); !said) l->end(said.error());
    l->flush();
  }
  const auto settled = [&] {
    return l->is_over() || cannot_ || knows_ || (options_.plain && l->is_connected());
  };
  if (!open_until(lock, deadline, settled)) {
    return fail(why, "interrupted", std::make_error_code(std::errc::operation_canceled));
  }
  if (!cannot_ && (knows_ || (options_.plain && l->is_connected()))) return {};
  const auto error = cannot_        ? cannot_
                     : l->is_over() ? l->error()
                                    : std::make_error_code(std::errc::timed_out);
  const bool silent = l->is_connected() && !cannot_;
  l->end(error);
  return cannot_connect(why,
                        cannot_              ? "it does not serve " + std::string{rest::capabilities_path}
                        : silent             ? "no answer in time"
                        : l->words().empty() ? error.message()
                                             : l->words(),
                        error);
}

void http_exchange::connect() {
  client_connection::owner& me = *this;
  link_ = std::make_shared<client_connection>(me, arena_, options_.max_reply * 2, next_target());
  link_->begin();
}

/// The connection for the next requests: the one there is, or a new one.
client_connection& http_exchange::usable() {
  const bool rested = has_rested();
  if (link_ && !link_->is_over() && rested && in_flight_.empty() && link_->is_connected() &&
      link_->is_stale()) {
    // a server that has gone meanwhile is noticed here rather than by the loss of a request
    link_->end(std::make_error_code(std::errc::connection_reset));
  }
  if (!link_ || link_->is_over()) {
    connection_failed();
    connect();
  }
  return *link_;
}

/// One connection for all of them: a server that is gone is looked for once.
void http_exchange::ask(std::span<call* const> calls) {
  client_connection& l = usable();
  for (call* const c : calls) ask(*c, l);
  l.flush();
}

bool http_exchange::serves(const any_request& r) const noexcept {
  if (std::holds_alternative<get_keys_request>(r)) return served_.get_keys;
  if (std::holds_alternative<wait_peer_request>(r)) return served_.wait_peer;
  if (std::holds_alternative<acknowledge_request>(r)) return served_.acknowledge;
  if (std::holds_alternative<report_request>(r)) return served_.report;
  return true;
}

void http_exchange::ask(call& c, client_connection& l) {
  if (l.is_over()) return done(c, l.error());
  if (!serves(c.request)) return done(c, std::make_error_code(std::errc::operation_not_supported));
  if (in_flight_.is_full()) return done(c, status::resource_limit);
  const auto said = rest::say(c.request);
  if (!said) return done(c, said.error());
  const std::string_view method = said->is_get ? "GET" : "POST";
  const std::string_view type = said->is_get ? "" : "application/json";
  if (const auto appended = l.ask({method, said->path, type, std::as_bytes(std::span{said->body})});
      !appended) {
    return done(c, appended.error());
  }
  in_flight_.push(&c, question::call);
}

void http_exchange::on_answer(const incoming& a) {
  const auto e = in_flight_.pop();
  if (e.what == question::capabilities) {
    const auto found = a.status == 200 ? reader_.read_capabilities(a.body) : std::nullopt;
    knows_ = found.has_value();
    if (knows_) served_ = found->served;
    if (!knows_) cannot_ = a.status == 200 ? make_error_code(status::protocol_error) : error_of(a.status);
    return;
  }
  if (e.asked == nullptr) return;
  if (a.status == 200) return done(*e.asked, reader_.answer(a.body, *e.asked));
  const auto code = a.status == 403 ? reader_.code_of_problem(a.body) : std::nullopt;
  if (!code) return done(*e.asked, error_of(a.status));
  e.asked->response = std::visit(refused{*code}, e.asked->request);
  done(*e.asked, {});
}

void http_exchange::on_over() {
  in_flight_.give_up([this](call& lost) { done(lost, link_->error()); });
}

time_point http_exchange::expire(time_point now) {
  const time_point connects = link_ ? link_->expire_connecting(now) : time_point::max();
  in_flight_.expire(now, [this](call& late) { done(late, status::timeout); });
  return std::min(connects, in_flight_.earliest());
}

}  // namespace

result<std::shared_ptr<exchange>> connect(const address& to, std::shared_ptr<const tls_context> tls,
                                          const secret_arena& arena, const connect_options& options,
                                          std::string* why) {
  if (options.per_call) {
    return fail(why, "a connection for every call is for servers that speak 004 in frames, not for HTTP",
                status::invalid_argument);
  }
  auto made = std::make_shared<http_exchange>(to, std::move(tls), arena, options);
  if (const auto opened = made->open(why); !opened) return opened.error();
  return std::shared_ptr<exchange>{std::move(made)};
}

}  // namespace qkd004::net::http
