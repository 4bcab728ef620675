// SPDX-License-Identifier: Apache-2.0
#include "qkd004/push/device.hpp"

#include <fmt/format.h>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <atomic>
#include <charconv>
#include <mutex>
#include <random>
#include <unordered_map>
#include <utility>

#include "net/address.hpp"
#include "net/http/client.hpp"
#include "net/log_limit.hpp"
#include "net/log_line.hpp"
#include "net/tls_session.hpp"
#include "push/paths.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/net/http.hpp"
#include "qkd004/net/site_caller.hpp"
#include "qkd004/random.hpp"
#include "qkd004/routing.hpp"
#include "wire/push_body.hpp"

namespace qkd004::push {

namespace http = net::http;

namespace {

std::optional<std::chrono::seconds> seconds_of(std::string_view text) noexcept {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return std::chrono::seconds{value};
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  system_random(std::as_writable_bytes(std::span{&seed, 1}));
  return seed;
}

/// The code of an answer that fails.
unsigned failure_code(status s) noexcept {
  const unsigned code = push_http_status(s);
  return code == 200 ? 500 : code;
}

}  // namespace

/// All that concerns the core happens in turns of the site.
struct device::state final : std::enable_shared_from_this<state>, net::site_caller, push_device::events {
  state(asio::io_context& c, net::site& s, device_options o)
      : context{c},
        site{s},
        options{std::move(o)},
        arena{options.memory},
        core{options.core, s.service(), arena, *this},
        reader{arena},
        timer{c},
        chance{random_seed()} {}

  // --- Calls of key managers ---

  struct pending {
    http::answer to;
    bool wants_body;
    open_connect_request asked;
  };

  [[nodiscard]] bool wants_body(const http::request& r) const {
    return options.strict_bodies || r.value_of("Accept").find(json_type) != std::string_view::npos;
  }
  std::uint64_t expect(const http::request& r, http::answer to, open_connect_request asked = {}) {
    waiting.emplace(++tickets, pending{std::move(to), wants_body(r), std::move(asked)});
    return tickets;
  }
  std::optional<pending> take(std::uint64_t ticket) {
    auto node = waiting.extract(ticket);
    if (node.empty()) return std::nullopt;
    return std::move(node.mapped());
  }

  void add_resources(std::string* why) {
    const auto me = weak_from_this();
    const auto add = [&](const char* method, const char* path, auto serve) {
      http::resource r;
      r.method = method;
      r.path = path;
      r.max_body = 16 * 1024;
      r.serve = [me, serve](const http::request& asked, http::answer to) {
        const auto self = me.lock();
        if (!self || self->stopped) return to.send(http::problem(503, "this device stops"));
        ((*self).*serve)(asked, std::move(to));
        self->schedule();
      };
      added = added && static_cast<bool>(site.add(std::move(r)));
    };
    add("POST", open_connect_path, &state::on_open_connect);
    add("GET", get_key_path, &state::on_get_key);
    add("POST", get_key_path, &state::on_get_key);
    add("PUT", close_path, &state::on_close);
    if (!added && why != nullptr) *why = "the site does not serve the paths of push mode";
  }

  void on_open_connect(const http::request& r, http::answer to) {
    const auto asked = reader.open_connect(r.body);
    if (!asked) return refuse(std::move(to), 400, status::ksid_in_use);
    const std::uint64_t ticket = expect(r, std::move(to), *asked);
    core.open_connect(ticket, r.principal, *asked, boot_clock::now());
  }
  void on_get_key(const http::request& r, http::answer to) {
    const auto asked = reader.get_key(r.body);
    if (!asked) return refuse(std::move(to), 400, status::get_key_peer_not_connected);
    core.get_key(expect(r, std::move(to)), r.principal, *asked, boot_clock::now());
  }
  void on_close(const http::request& r, http::answer to) {
    const auto asked = reader.close(r.body);
    if (!asked) return refuse(std::move(to), 400, status::ksid_in_use);
    core.close(expect(r, std::move(to)), r.principal, *asked, boot_clock::now());
  }
  static void refuse(http::answer to, unsigned code, status why) {
    to.send({code, json_type, wire::push::status_text(why)});
  }

  // push_device::events
  void opened(std::uint64_t ticket, const open_connect_response& r) override {
    auto p = take(ticket);
    if (!p) return;
    if (r.outcome == status::success || r.outcome == status::peer_not_connected) {
      return p->to.send({201, json_type, wire::push::opened_text(r, p->asked)});
    }
    if (r.outcome != status::qos_not_met) return refuse(std::move(p->to), failure_code(r.outcome), r.outcome);
    p->to.send({500, json_type, wire::push::counter_text(r)});
  }
  void armed(std::uint64_t ticket, status outcome) override {
    // an index that is gone is the caller's mistake: 400, as the sample has it
    const unsigned failed = outcome == status::insufficient_key ? 400 : failure_code(outcome);
    finish(ticket, outcome, 205, failed);
  }
  void closed(std::uint64_t ticket, status outcome) override {
    finish(ticket, outcome, 204, failure_code(outcome));
  }
  void finish(std::uint64_t ticket, status outcome, unsigned without_body, unsigned failed) {
    auto p = take(ticket);
    if (!p) return;
    if (outcome != status::success) return refuse(std::move(p->to), failed, outcome);
    if (p->wants_body) return p->to.send({200, json_type, wire::push::status_text(outcome)});
    p->to.send(http::response{without_body});
  }
  void note(std::string_view text) override {
    const bool alarm = text.starts_with("ALARM");
    log(alarm ? net::log_level::error : net::log_level::info,
        net::log_line{alarm ? "push: ALARM" : "push: key streams"}.with("note", text));
  }

  // net::site_caller: the service answers, and wants no call from inside
  using net::site_caller::answer;
  void answer(const caller& c, const open_connect_response& r) override { core.answer(c, r), schedule(); }
  void answer(const caller& c, const close_response& r) override { core.answer(c, r); }
  void answer(const caller& c, const wait_peer_response& r) override { core.answer(c, r), schedule(); }
  void answer(const caller& c, const acknowledge_response& r) override { core.answer(c, r), schedule(); }
  void deliver(connection_id to, const key_stream_id& stream, const get_keys_response& r) override {
    core.deliver(to, stream, r);
    schedule();
  }

  // --- Keys to key managers ---

  /// What came of posts since the last work().
  struct result_of_post {
    key_stream_id stream;
    std::uint64_t attempt;
    std::error_code error;
    unsigned code;
    std::optional<std::chrono::seconds> retry_after;
  };

  /// work() follows, once for all that happens until then.
  void schedule() {
    if (scheduled.exchange(true, std::memory_order_acq_rel)) return;  // acq_rel: pairs with the one in work()
    asio::post(context, [me = weak_from_this()] {
      if (const auto self = me.lock()) self->site.join([self] { self->work(); });
    });
  }

  void work() {
    scheduled.exchange(false, std::memory_order_acq_rel);
    if (stopped) return;
    std::vector<result_of_post> results;
    {
      const std::lock_guard lock{results_mutex};
      results.swap(done);
    }
    const time_point now = boot_clock::now();
    for (const auto& r : results) {
      if (!r.error) {
        core.answered(r.stream, r.attempt, r.code, now, fraction(chance), r.retry_after);
        continue;
      }
      if (r.error == make_error_code(status::resource_limit)) lacks_memory();
      core.failed(r.stream, r.attempt, now, fraction(chance));
    }
    core.pump(now);
    while (const auto p = core.next_post(now)) send(*p, now);
    core.pump(now);
    drop_clients(now);
    arm(core.next_deadline(), now);
  }

  void send(const push_device::post& p, time_point now) {
    http::client* const to = client_of(p);
    if (to == nullptr) return core.failed(p.stream, p.attempt, now, fraction(chance));
    auto body = arena.allocate(wire::push::size_of(p.what));
    if (!body) {
      lacks_memory();
      return core.failed(p.stream, p.attempt, now, fraction(chance));
    }
    wire::push::write(body->span(), p.what);
    http::client_request r;
    r.path = key_material_path;
    r.secret = std::move(*body);
    to->send(std::move(r), [me = weak_from_this(), stream = p.stream,
                            attempt = p.attempt](const http::client_response& answer) {
      const auto self = me.lock();
      if (!self) return;
      {
        const std::lock_guard lock{self->results_mutex};
        self->done.push_back({stream, attempt, answer.error, answer.status, seconds_of(answer.retry_after)});
      }
      self->schedule();
    });
  }

  /// Said once: an operator gives more, or fewer streams.
  void lacks_memory() {
    if (std::exchange(lacked_memory, true)) return;
    log(net::log_level::warning, net::log_line{"push: too little memory for all posts"}
                                     .with("octets", arena.limit())
                                     .with("then", "some wait"));
  }

  /// Each stream has connections of its own: a key manager that keeps one waiting does not keep others.
  http::client* client_of(const push_device::post& p) {
    auto& entry = clients[p.stream];
    if (entry) return entry.get();
    const auto where = address_of(p);
    std::string why;
    auto made = http::client::make(context, arena, client_options_of(where), &why);
    if (!made) {
      log(net::log_level::error, net::log_line{"push: cannot post keys"}
                                     .with("source", p.source)
                                     .with("uri", where.uri)
                                     .with("why", why));
      return nullptr;
    }
    entry = std::move(*made);
    return entry.get();
  }
  [[nodiscard]] http::client_options client_options_of(const key_manager_address& where) const {
    http::client_options o;
    o.uri = where.uri;
    o.server = where.identity;
    o.allow_insecure = options.allow_insecure;
    o.shared_tls = tls;
    o.max_in_flight = options.core.sending.in_flight;
    o.timeout = options.request_timeout;
    o.max_reply = 16 * 1024;
    return o;
  }
  [[nodiscard]] key_manager_address address_of(const push_device::post& p) const {
    for (const std::string_view uri : {p.source, p.destination}) {
      if (const auto known = options.key_managers.find(uri); known != options.key_managers.end()) {
        return known->second;
      }
    }
    const auto authority = authority_of(p.registered_here ? p.source : p.destination);
    return {fmt::format("{}://{}", options.tls ? "https" : "http", authority), {}};
  }
  /// Of streams that are gone. A client stops when it ends.
  void drop_clients(time_point now) {
    if (clients.empty() || now < next_drop) return;
    next_drop = now + std::chrono::seconds{1};
    std::unordered_map<key_stream_id, std::unique_ptr<http::client>> kept;
    for (const auto& s : core.report()) {
      if (auto node = clients.extract(s.stream); !node.empty()) kept.insert(std::move(node));
    }
    clients = std::move(kept);
  }

  void arm(time_point deadline, time_point now) {
    if (deadline == time_point::max() || deadline >= armed_for) return;
    armed_for = deadline;
    timer.expires_after(std::max(deadline - now, boot_clock::duration::zero()));
    timer.async_wait([me = weak_from_this()](const std::error_code& error) {
      const auto self = me.lock();
      if (error || !self) return;
      self->site.join([self] {
        self->armed_for = time_point::max();
        self->work();
      });
    });
  }

  [[nodiscard]] double fraction(std::mt19937_64& of) {
    return std::uniform_real_distribution<double>{0, 1}(of);
  }
  void log(net::log_level level, const net::log_line& line) { lines.write(level, line, boot_clock::now()); }

  asio::io_context& context;
  net::site& site;
  const device_options options;
  std::shared_ptr<const net::tls_context> tls;  ///< from start() on, if the options have any
  net::log_limit lines{options.log, limits{}.max_log_lines};
  const secret_arena arena;
  push_device core;
  wire::push::reader reader;
  asio::steady_timer timer;
  time_point armed_for = time_point::max();
  std::mt19937_64 chance;  ///< only spreads the times of repetitions
  bool added = true;
  bool lacked_memory = false;
  bool stopped = false;
  std::atomic<bool> scheduled{false};
  std::mutex results_mutex;
  std::vector<result_of_post> done;
  std::unordered_map<std::uint64_t, pending> waiting;
  std::uint64_t tickets = 0;
  std::unordered_map<key_stream_id, std::unique_ptr<http::client>> clients;
  time_point next_drop{};
};

device::device(asio::io_context& context, net::site& site, device_options options)
    : state_{std::make_shared<state>(context, site, std::move(options))} {}

device::~device() { stop(); }

result<void> device::start(std::string* why) {
  const device_options& o = state_->options;
  if (o.tls) {
    auto read = net::tls_context::make(*o.tls, why);
    if (!read) return read.error();
    state_->tls = std::move(*read);
  }
  for (const auto& [uri, where] : o.key_managers) {
    // as the first post would, in time for somebody to read what is wrong
    std::string reason;
    const auto made =
        http::client::make(state_->context, state_->arena, state_->client_options_of(where), &reason);
    if (!made) return net::fail(why, "the key manager of " + uri + ": " + reason, made.error());
  }
  state_->add_resources(why);
  if (!state_->added) return status::invalid_argument;
  state_->site.set_caller(state_.get());
  return {};
}

void device::stop() {
  state_->site.join([s = state_] {
    if (std::exchange(s->stopped, true)) return;
    s->site.set_caller(nullptr);
    s->timer.cancel();
    s->clients.clear();
    s->waiting.clear();
    s->lines.write_rest(time_point::max());
  });
}

std::vector<push_device::stream_state> device::report() const { return state_->core.report(); }

}  // namespace qkd004::push
