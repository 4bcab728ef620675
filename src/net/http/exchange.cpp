// SPDX-License-Identifier: Apache-2.0
#include "net/http/exchange.hpp"

#include <asio/ip/address.hpp>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "net/http/client_connection.hpp"
#include "wire/rest.hpp"

namespace qkd004::net::http {

namespace {

namespace rest = wire::rest;

/// Requests in flight, answers that nobody waits for any more among them.
constexpr std::size_t most_in_flight = 4'096;

/// A deadline may be as far away as time_point::max().
constexpr boot_clock::duration longest_wait = std::chrono::hours{1};

boot_clock::duration until_then(time_point then, time_point now) {
  return then > now + longest_wait ? longest_wait : std::max(then - now, boot_clock::duration::zero());
}

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

/// Of the callers in wait(), one polls for all, as over TCP: see net::connect.
class http_exchange final : public exchange, private client_connection::owner {
 public:
  http_exchange(address to, std::shared_ptr<const tls_context> tls, secret_arena arena,
                const connect_options& options)
      : address_{std::move(to)},
        tls_{std::move(tls)},
        allowed_{options.allow_insecure ? reach::anywhere : reach::loopback},
        arena_{std::move(arena)},
        options_{options} {}
  ~http_exchange() override {
    {
      const std::lock_guard lock{mutex_};
      if (link_) link_->end(std::make_error_code(std::errc::operation_canceled));
    }
    for (const int descriptor : wake_) {
      if (descriptor >= 0) ::close(descriptor);
    }
  }

  [[nodiscard]] result<void> open(std::string* why);

  void start(std::span<call* const> calls) override;
  void wait(call& c) override;
  void wait_until(call& c, time_point until) override;
  void cancel(call& c) noexcept override;
  [[nodiscard]] extensions supports() const override {
    const std::lock_guard lock{mutex_};
    return served_;
  }

 private:
  using link_ptr = std::shared_ptr<client_connection>;

  /// A caller that sleeps in wait(), on its own stack.
  struct sleeper {
    call* for_what;
    std::condition_variable wake;
  };

  /// A request without an answer.
  struct expected {
    call* asked = nullptr;  ///< null: its answer is dropped
    bool is_capabilities = false;
  };

  void on_answer(const incoming& a) override;
  void on_over() override;

  void connect();
  [[nodiscard]] client_connection& usable();
  void ask(call& c, client_connection& l);
  [[nodiscard]] bool serves(const any_request& r) const noexcept;
  void done(call& c, std::error_code error);
  void expire(time_point now);
  void give_up(call& c, std::error_code why);
  bool poll_once(std::unique_lock<std::mutex>& lock, time_point until);
  void sleep(std::unique_lock<std::mutex>& lock, call& c, time_point until);
  void hand_over();
  void wake_driver() noexcept;

  const address address_;
  const std::shared_ptr<const tls_context> tls_;
  const reach allowed_;
  const secret_arena arena_;
  const connect_options options_;
  const tick_clock clock_;

  mutable std::mutex mutex_;
  rest::reader reader_;
  extensions served_;
  bool knows_ = false;      ///< what the server can do
  std::error_code cannot_;  ///< why not
  std::vector<endpoint> endpoints_;
  bool endpoints_failed_ = false;  ///< look the name up again
  link_ptr link_;
  time_point connect_by_{};
  std::deque<expected> queue_;  ///< of link_
  time_point last_start_{};

  bool driven_ = false;  ///< somebody polls, without the mutex
  std::vector<sleeper*> sleepers_;
  int wake_[2] = {-1, -1};  ///< a pipe: wakes the one who polls
};

result<void> http_exchange::open(std::string* why) {
  std::unique_lock lock{mutex_};
  if (::pipe(wake_) != 0) {
    return fail(why, "no descriptor left", std::error_code{errno, std::system_category()});
  }
  for (const int descriptor : wake_) {
    ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
    ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  }
  auto endpoints = endpoints_of(address_, allowed_, why);
  if (!endpoints) return endpoints.error();
  endpoints_ = std::move(*endpoints);

  connect();
  const time_point deadline = connect_by_;
  const link_ptr l = link_;
  if (!options_.plain) {
    queue_.push_back({nullptr, true});
    if (const auto said = l->ask({"GET", rest::capabilities_path, {}, {}}); !said) return said.error();
  }
  const auto settled = [&] {
    return l->is_over() || cannot_ || knows_ || (options_.plain && l->is_connected());
  };
  l->flush();
  while (!settled() && boot_clock::now() < deadline) static_cast<void>(poll_once(lock, deadline));
  if (settled() && !cannot_ && (knows_ || !l->is_over())) return {};
  const auto error = cannot_        ? cannot_
                     : l->is_over() ? l->error()
                                    : std::make_error_code(std::errc::timed_out);
  const bool silent = l->is_connected() && !cannot_;
  l->end(error);
  return fail(why,
              "cannot connect to " + address_.host + " port " + std::to_string(address_.port) + ": " +
                  (cannot_              ? "it does not serve " + std::string{rest::capabilities_path}
                   : silent             ? "no answer in time"
                   : l->words().empty() ? error.message()
                                        : l->words()),
              error);
}

void http_exchange::connect() {
  std::error_code is_name;
  static_cast<void>(asio::ip::make_address(address_.host, is_name));
  if (is_name && std::exchange(endpoints_failed_, false)) {
    if (auto found = endpoints_of(address_, allowed_); found) endpoints_ = std::move(*found);
  }
  client_connection::target to{address_.kind, endpoints_, tls_, {options_.server, {}}, {}};
  if (options_.server.empty()) to.expected.host = address_.host;
  const bool v6 = address_.host.find(':') != std::string::npos;
  to.host = (v6 ? "[" + address_.host + "]" : address_.host) + ":" + std::to_string(address_.port);
  connect_by_ = boot_clock::now() + options_.connect_timeout;
  client_connection::owner& me = *this;
  link_ = std::make_shared<client_connection>(me, arena_, options_.max_reply * 2, std::move(to));
}

/// The connection for the next requests: the one there is, or a new one.
client_connection& http_exchange::usable() {
  const time_point now = clock_.now();
  const bool rested = now - std::exchange(last_start_, now) > std::chrono::seconds{1};
  if (link_ && !link_->is_over() && rested && queue_.empty() && link_->is_connected() && link_->is_stale()) {
    // a server that has gone meanwhile is noticed here rather than by the loss of a request
    link_->end(std::make_error_code(std::errc::connection_reset));
  }
  if (!link_ || link_->is_over()) {
    endpoints_failed_ = true;
    connect();
  }
  return *link_;
}

void http_exchange::start(std::span<call* const> calls) {
  const std::lock_guard lock{mutex_};
  if (arena_.forked()) {  // the connection is the parent's
    for (call* const c : calls) done(*c, std::make_error_code(std::errc::operation_not_permitted));
    return;
  }
  for (call* const c : calls) ask(*c, usable());
  if (link_) link_->flush();
  if (driven_ && link_ && link_->wants().events != POLLIN) wake_driver();
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
  if (queue_.size() >= most_in_flight) return done(c, status::resource_limit);
  const auto said = rest::say(c.request);
  if (!said) return done(c, said.error());
  const std::string_view method = said->is_get ? "GET" : "POST";
  const std::string_view type = said->is_get ? "" : "application/json";
  if (const auto appended = l.ask({method, said->path, type, std::as_bytes(std::span{said->body})});
      !appended) {
    return done(c, appended.error());
  }
  queue_.push_back({&c, false});
}

void http_exchange::on_answer(const incoming& a) {
  const expected e = queue_.front();
  queue_.pop_front();
  if (e.is_capabilities) {
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
  const std::error_code why = link_->error();
  for (const expected& e : std::exchange(queue_, {})) {
    if (e.asked != nullptr) done(*e.asked, why);
  }
}

/// In the mutex; the call is its owner's again after this.
void http_exchange::done(call& c, std::error_code error) {
  c.error = error;
  const auto it =
      std::find_if(sleepers_.begin(), sleepers_.end(), [&c](const sleeper* s) { return s->for_what == &c; });
  c.complete();
  if (it != sleepers_.end()) (*it)->wake.notify_one();
}

void http_exchange::wait(call& c) { wait_until(c, time_point::max()); }

void http_exchange::wait_until(call& c, time_point until) {
  std::unique_lock lock{mutex_};
  while (!c.done()) {
    const time_point now = boot_clock::now();
    if (now >= until) break;
    if (now >= c.deadline) {
      give_up(c, status::timeout);
    } else if (driven_) {
      sleep(lock, c, std::min(c.deadline, until));
    } else if (!poll_once(lock, std::min(c.deadline, until)) && until != time_point::max()) {
      break;
    }
  }
  hand_over();
}

void http_exchange::cancel(call& c) noexcept {
  const std::lock_guard lock{mutex_};
  if (c.done()) return;
  give_up(c, std::make_error_code(std::errc::operation_canceled));
  wake_driver();  // the call may be its own
}

/// Its answer is dropped when it comes.
void http_exchange::give_up(call& c, std::error_code why) {
  for (expected& e : queue_) {
    if (e.asked == &c) e.asked = nullptr;
  }
  done(c, why);
}

void http_exchange::expire(time_point now) {
  if (link_ && !link_->is_over() && !link_->is_connected() && now >= connect_by_) {
    return link_->end(std::make_error_code(std::errc::timed_out));
  }
  for (expected& e : queue_) {
    if (e.asked != nullptr && e.asked->deadline <= now)
      done(*std::exchange(e.asked, nullptr), status::timeout);
  }
}

/// Polls once, for everybody. In the mutex, and without it while it sleeps. Returns false if a signal ended that.
bool http_exchange::poll_once(std::unique_lock<std::mutex>& lock, time_point until) {
  const link_ptr l = link_ && !link_->is_over() ? link_ : nullptr;
  for (const expected& e : queue_) {
    if (e.asked != nullptr) until = std::min(until, e.asked->deadline);
  }
  if (l && !l->is_connected()) until = std::min(until, connect_by_);
  std::array<pollfd, 2> polled{pollfd{wake_[0], POLLIN, 0}, l ? l->wants() : pollfd{-1, 0, 0}};
  int milliseconds = -1;
  if (until != time_point::max()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until_then(until, boot_clock::now()));
    milliseconds = static_cast<int>(left.count());
  }
  driven_ = true;
  lock.unlock();
  const int ready = ::poll(polled.data(), polled.size(), milliseconds);
  const bool interrupted = ready < 0 && errno == EINTR;
  lock.lock();
  driven_ = false;
  if (ready > 0 && polled[0].revents != 0) {
    char ignored[64];
    while (::read(wake_[0], ignored, sizeof ignored) > 0) {}
  }
  if (ready > 0 && l && polled[1].revents != 0 && !l->is_over()) l->on_ready(polled[1].revents);
  if (ready == 0) expire(boot_clock::now());
  return !interrupted;
}

void http_exchange::sleep(std::unique_lock<std::mutex>& lock, call& c, time_point until) {
  sleeper me{&c, {}};
  sleepers_.push_back(&me);
  me.wake.wait_for(lock, until_then(until, boot_clock::now()));
  std::erase(sleepers_, &me);
}

/// Whoever leaves with nobody polling wakes one who still waits.
void http_exchange::hand_over() {
  if (!driven_ && !sleepers_.empty()) sleepers_.front()->wake.notify_one();
}

void http_exchange::wake_driver() noexcept {
  if (!driven_) return;
  const char octet = 0;
  static_cast<void>(::write(wake_[1], &octet, 1));
}

}  // namespace

result<std::shared_ptr<exchange>> connect(const address& to, std::shared_ptr<const tls_context> tls,
                                          const secret_arena& arena, const connect_options& options,
                                          std::string* why) {
  auto made = std::make_shared<http_exchange>(to, std::move(tls), arena, options);
  if (const auto opened = made->open(why); !opened) return opened.error();
  return std::shared_ptr<exchange>{std::move(made)};
}

}  // namespace qkd004::net::http
