// SPDX-License-Identifier: Apache-2.0
#include "net/http/client.hpp"

#include <asio/error.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "net/address.hpp"
#include "net/http/client_connection.hpp"

namespace qkd004::net::http {

using asio::ip::tcp;

/// Everything happens in the mutex but the handlers, which are posted.
class client::state : public std::enable_shared_from_this<state> {
 public:
  state(asio::io_context& context, secret_arena arena, client_options options, address to,
        std::shared_ptr<const tls_context> tls)
      : context_{context},
        arena_{std::move(arena)},
        options_{std::move(options)},
        address_{std::move(to)},
        tls_{std::move(tls)},
        resolver_{context},
        timer_{context} {}

  void send(client_request what, handler done) {
    const std::lock_guard lock{mutex_};
    job j{std::move(what), std::move(done), boot_clock::now() + options_.timeout};
    if (stopped_) return complete(j, std::make_error_code(std::errc::operation_canceled));
    if (waiting_.size() >= options_.max_waiting) return complete(j, make_error_code(status::resource_limit));
    waiting_.push_back(std::move(j));
    if (endpoints_.empty()) look_up();
    proceed();
    watch_time();
  }

  void stop() {
    const std::lock_guard lock{mutex_};
    stopped_ = true;
    fail_waiting(std::make_error_code(std::errc::operation_canceled));
    for (const auto& l : links_) end(*l, std::make_error_code(std::errc::operation_canceled));
    tidy();
    resolver_.cancel();
    timer_.cancel();
  }

  std::size_t outstanding() const {
    const std::lock_guard lock{mutex_};
    std::size_t count = waiting_.size();
    for (const auto& l : links_) count += l->asked ? 1U : 0U;
    return count;
  }

 private:
  struct job {
    client_request what;
    handler done;
    time_point deadline;
  };

  /// One connection, with at most one request on the way.
  struct link final : client_connection::owner {
    link(state& s, std::size_t endpoint) : of{s}, watched{s.context_}, which{endpoint} {
      connection = std::make_unique<client_connection>(
          *this, s.arena_, s.options_.max_reply,
          target_of(s.address_, {s.endpoints_[endpoint]}, s.tls_, s.options_.server));
      connection->begin();
      if (connection->is_over()) return;
      std::error_code ignored;
      watched.assign(connection->wants().fd, ignored);
    }
    ~link() { release(); }
    link(const link&) = delete;
    link& operator=(const link&) = delete;

    void release() {
      if (watched.is_open()) watched.release();  // cancels; the descriptor is the connection's
    }
    void on_answer(const incoming& a) override {
      client_response r;
      r.status = a.status;
      r.content_type = a.content_type;
      r.retry_after = a.retry_after;
      if (auto body = of.arena_.allocate(a.body.size()); body) {
        if (!a.body.empty()) std::memcpy(body->data(), a.body.data(), a.body.size());
        r.body = std::move(*body);
      } else {
        r.error = body.error();
      }
      if (!asked) return;
      job j = std::move(*asked);
      asked.reset();
      of.complete(j, std::move(r));
    }
    void on_over() override {}  // see state::settle()

    state& of;
    asio::posix::stream_descriptor watched;
    std::size_t which;  ///< of the endpoints
    std::unique_ptr<client_connection> connection;
    std::optional<job> asked;
    time_point connect_by{};
    bool was_connected = false;
    short awaited = 0;  ///< what is waited for; 0: nothing
  };

  void complete(job& j, std::error_code why) {
    client_response r;
    r.error = why;
    complete(j, std::move(r));
  }

  void complete(job& j, client_response r) {
    // std::function wants what can be copied
    auto carried = std::make_shared<client_response>(std::move(r));
    asio::post(context_, [done = std::move(j.done), carried] { done(std::move(*carried)); });
  }

  void fail_waiting(std::error_code why) {
    for (job& j : std::exchange(waiting_, {})) complete(j, why);
  }

  void look_up() {
    if (is_number(address_)) {
      endpoints_.emplace_back(tcp::endpoint{asio::ip::make_address(address_.host), address_.port});
      return;
    }
    if (std::exchange(looking_up_, true)) return;
    resolver_.async_resolve(
        address_.host, std::to_string(address_.port), asio::ip::resolver_base::numeric_service,
        [self = shared_from_this()](const std::error_code& e, const tcp::resolver::results_type& found) {
          const std::lock_guard lock{self->mutex_};
          self->looking_up_ = false;
          if (e) return self->fail_waiting(e);
          for (const auto& entry : found) {
            if (!self->options_.allow_insecure && self->address_.kind != scheme::tls &&
                !entry.endpoint().address().is_loopback()) {
              self->endpoints_.clear();
              return self->fail_waiting(make_error_code(status::invalid_argument));
            }
            self->endpoints_.emplace_back(entry.endpoint());
          }
          self->proceed();
          self->watch_time();
        });
  }

  /// Gives requests that wait to connections that do not.
  void proceed() {
    tidy();
    while (!waiting_.empty() && !stopped_ && !endpoints_.empty()) {
      const auto idle = std::find_if(links_.begin(), links_.end(), [](const auto& l) { return !l->asked; });
      if (idle != links_.end() && (*idle)->connection->is_stale()) {
        end(**idle, std::make_error_code(std::errc::connection_reset));
        tidy();
        continue;
      }
      if (idle == links_.end() && links_.size() >= most_links()) return;
      job j = std::move(waiting_.front());
      waiting_.pop_front();
      if (idle != links_.end()) {
        give(*idle, std::move(j));
      } else {
        connect(0, std::move(j));
      }
    }
  }

  /// A connection for this request, to an endpoint from that one on.
  void connect(std::size_t endpoint, job j) {
    std::error_code last = std::make_error_code(std::errc::host_unreachable);
    for (; endpoint < endpoints_.size(); ++endpoint) {
      auto l = std::make_shared<link>(*this, endpoint);
      if (!l->connection->is_over()) {
        l->connect_by = boot_clock::now() + options_.connect_timeout;
        links_.push_back(l);
        return give(l, std::move(j));
      }
      last = l->connection->error();
    }
    nobody_there(std::move(j), last);
  }

  /// So many connections at once. A server that has refused one more is not asked for it while it serves others.
  [[nodiscard]] std::size_t most_links() const {
    if (refused_at_ && boot_clock::now() - *refused_at_ < std::chrono::seconds{1}) {
      return std::max<std::size_t>(connected_links(), 1);
    }
    return options_.max_in_flight;
  }
  [[nodiscard]] std::size_t connected_links() const {
    return static_cast<std::size_t>(std::count_if(links_.begin(), links_.end(), [](const auto& l) {
      return l->was_connected && !l->connection->is_over();
    }));
  }

  /// With other connections the request waits for one of these. With none the next request looks the name up anew.
  void nobody_there(job j, std::error_code why) {
    if (connected_links() > 0) {
      refused_at_ = boot_clock::now();
      const auto later =
          std::upper_bound(waiting_.begin(), waiting_.end(), j.deadline,
                           [](time_point mine, const job& other) { return mine < other.deadline; });
      waiting_.insert(later, std::move(j));  // in the order of send() again
      return;
    }
    endpoints_.clear();
    complete(j, why);
    fail_waiting(why);
  }

  void give(const std::shared_ptr<link>& l, job j) {
    l->asked = std::move(j);
    const client_request& what = l->asked->what;
    const auto body = what.secret.empty() ? std::as_bytes(std::span{what.text}) : what.secret.span();
    if (const auto said = l->connection->ask({what.method, what.path, what.content_type, body}); !said) {
      return take_back(*l, said.error());
    }
    l->connection->flush();
    settle(l);
  }

  void take_back(link& l, std::error_code why) {
    job j = std::move(*l.asked);
    l.asked.reset();
    complete(j, why);
  }

  void end(link& l, std::error_code why) {
    l.connection->end(why);
    l.release();
    if (l.asked) take_back(l, why);
  }

  /// After the connection has done something.
  void settle(const std::shared_ptr<link>& l) {
    l->was_connected = l->was_connected || l->connection->is_connected();
    if (!l->connection->is_over()) return await(l);
    const std::error_code why = l->connection->error();
    l->release();
    if (!l->asked) return;
    if (l->was_connected || stopped_) return take_back(*l, why);
    job j = std::move(*l->asked);
    l->asked.reset();
    if (l->which + 1 < endpoints_.size()) return connect(l->which + 1, std::move(j));
    nobody_there(std::move(j), why);
  }

  /// Waits for what the connection wants; for nothing while nothing is asked, so that the io_context may rest.
  void await(const std::shared_ptr<link>& l) {
    if (!l->asked) return;
    const short wanted = l->connection->wants().events;
    for (const short event : {short{POLLIN}, short{POLLOUT}}) {
      if ((wanted & event) == 0 || (l->awaited & event) != 0) continue;
      l->awaited = static_cast<short>(l->awaited | event);
      l->watched.async_wait(event == POLLOUT ? asio::posix::stream_descriptor::wait_write
                                             : asio::posix::stream_descriptor::wait_read,
                            [self = shared_from_this(), l, event](const std::error_code& error) {
                              const std::lock_guard lock{self->mutex_};
                              l->awaited = static_cast<short>(l->awaited & ~event);
                              if (!error) self->on_ready(l, event);
                            });
    }
  }

  void on_ready(const std::shared_ptr<link>& l, short events) {
    if (l->connection->is_over()) return;
    l->connection->on_ready(events);
    settle(l);
    proceed();
  }

  void tidy() {
    std::erase_if(links_, [](const std::shared_ptr<link>& l) {
      if (!l->connection->is_over() || l->asked) return false;
      l->release();
      return true;
    });
  }

  /// Coarse on purpose: one timer for all requests, which runs only while there is one.
  void watch_time() {
    if (stopped_ || watching_ || (waiting_.empty() && !is_busy())) return;
    watching_ = true;
    timer_.expires_after(std::clamp(std::min(options_.timeout, options_.connect_timeout) / 8,
                                    std::chrono::milliseconds{2}, std::chrono::milliseconds{250}));
    timer_.async_wait([self = shared_from_this()](const std::error_code& error) {
      const std::lock_guard lock{self->mutex_};
      self->watching_ = false;
      if (error) return;
      self->on_time(boot_clock::now());
      self->watch_time();
    });
  }

  [[nodiscard]] bool is_busy() const {
    return std::any_of(links_.begin(), links_.end(), [](const auto& l) { return l->asked.has_value(); });
  }

  void on_time(time_point now) {
    const auto late = std::make_error_code(std::errc::timed_out);
    for (const auto& l : links_) {
      // an answer that comes later would be taken for that to the next request: so the connection goes
      if (l->asked && (l->asked->deadline <= now || (!l->was_connected && l->connect_by <= now)))
        end(*l, late);
    }
    while (!waiting_.empty() && waiting_.front().deadline <= now) {
      complete(waiting_.front(), late);
      waiting_.pop_front();
    }
    proceed();
  }

  asio::io_context& context_;
  const secret_arena arena_;
  const client_options options_;
  const address address_;
  const std::shared_ptr<const tls_context> tls_;

  mutable std::mutex mutex_;
  tcp::resolver resolver_;
  asio::steady_timer timer_;
  std::vector<endpoint> endpoints_;
  std::deque<job> waiting_;
  std::vector<std::shared_ptr<link>> links_;
  std::optional<time_point> refused_at_;  ///< when there were others that were not
  bool looking_up_ = false;
  bool watching_ = false;
  bool stopped_ = false;
};

client::~client() { stop(); }

result<std::unique_ptr<client>> client::make(asio::io_context& context, const secret_arena& arena,
                                             client_options options, std::string* why) {
  auto to = parse_address(options.uri, why);
  if (!to) return to.error();
  if (to->spoken != protocol::http) {
    return fail(why, "'" + options.uri + "' is not http:// or https://", status::invalid_argument);
  }
  if (is_number(*to)) {
    if (const auto checked = resolve(*to, options.allow_insecure ? reach::anywhere : reach::loopback, why);
        !checked) {
      return checked.error();
    }
  }
  std::shared_ptr<const tls_context> tls = options.shared_tls;
  if (to->kind == scheme::tls && !tls) {
    if (!options.tls) {
      return fail(why, options.uri + " needs a certificate, and none is given", status::invalid_argument);
    }
    auto read = tls_context::make(*options.tls, why);
    if (!read) return read.error();
    tls = std::move(*read);
  }
  auto made = std::make_shared<state>(context, arena, std::move(options), std::move(*to), std::move(tls));
  return std::unique_ptr<client>{new client{std::move(made)}};
}

void client::send(client_request what, handler done) { state_->send(std::move(what), std::move(done)); }

void client::stop() { state_->stop(); }

std::size_t client::outstanding() const { return state_->outstanding(); }

}  // namespace qkd004::net::http
