// SPDX-License-Identifier: Apache-2.0
#include "qkd004/push/receiver.hpp"

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <utility>

#include "net/access.hpp"
#include "net/address.hpp"
#include "net/http/client.hpp"
#include "net/log_limit.hpp"
#include "net/log_line.hpp"
#include "push/paths.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/net/http.hpp"
#include "wire/push_body.hpp"

namespace qkd004::push {

namespace http = net::http;

struct receiver::state final : std::enable_shared_from_this<state> {
  struct held_back {
    http::answer to;
    time_point until;
  };
  struct link {
    const pushed_link* of;
    std::unique_ptr<http::client> device{};
    std::deque<held_back> held{};
    std::string failure{};  ///< of the last call; so that it is logged once
  };

  state(asio::io_context& c, net::site& s, receiver_options o)
      : context{c}, site{s}, options{std::move(o)}, arena{options.memory}, reader{arena}, timer{c} {
    for (auto& l : options.links) links.push_back({&l});
  }

  // --- Keys from devices ---

  void on_key_material(const http::request& r, http::answer to) {
    const auto m = reader.key_material(r.body);
    if (!m) {
      if (m.error() == make_error_code(status::resource_limit)) return later(std::move(to), "1");
      return say(std::move(to), 400, status::ksid_in_use);
    }
    take(r, *m, std::move(to));
    reader.forget_key();
  }

  void take(const http::request& r, const push_key_material& m, http::answer to) {
    link* const l = link_of(m);
    if (l == nullptr) {
      // a key manager that has just started learns of its streams soon
      const bool starts = std::any_of(links.begin(), links.end(),
                                      [](const link& k) { return k.of->source->stream().is_null(); });
      if (starts) return later(std::move(to), "1");
      return say(std::move(to), 400, status::get_key_peer_not_connected);
    }
    if (!l->of->identity.empty() && !is_from(r.principal, l->of->identity)) {
      log(net::log_level::warning, net::log_line{"push: a key from somebody else"}
                                       .link(l->of->name)
                                       .with("principal", r.principal)
                                       .with("expected", l->of->identity));
      return say(std::move(to), 403, status::ksid_in_use);
    }
    using verdict = push_source::verdict;
    switch (l->of->source->take(m, boot_clock::now())) {
      case verdict::stored:
      case verdict::repeated:
      case verdict::device_speaks: return say(std::move(to), 201, status::success);
      case verdict::different:
        log(net::log_level::error, net::log_line{"push: ALARM: another key for an index"}
                                       .link(l->of->name)
                                       .with("index", m.index)
                                       .with("stream", l->of->source->stream().to_string()));
        return say(std::move(to), 400, status::ksid_in_use);
      case verdict::unknown_stream: return say(std::move(to), 400, status::get_key_peer_not_connected);
      case verdict::no_room: break;
    }
    const std::lock_guard lock{mutex};
    l->held.push_back({std::move(to), boot_clock::now() + options.hold});
    schedule();
  }

  /// Without metadata: the only one that is open, if there is only one.
  link* link_of(const push_key_material& m) {
    link* found = nullptr;
    for (link& l : links) {
      const key_stream_id open = l.of->source->stream();
      if (open.is_null() || (m.has_metadata && open != m.stream)) continue;
      if (found != nullptr) return nullptr;
      found = &l;
    }
    return found;
  }
  /// A certificate's word only: users of this machine have identities, too.
  static bool is_from(std::string_view principal, std::string_view identity) noexcept {
    return principal.starts_with("tls:") && net::identity_of(principal) == identity;
  }

  static void say(http::answer to, unsigned code, status s) {
    to.send({code, json_type, wire::push::status_text(s)});
  }
  static void later(http::answer to, std::string seconds) {
    http::response r{503, json_type, wire::push::status_text(status::no_qkd_connection)};
    r.fields.push_back({"Retry-After", std::move(seconds)});
    to.send(std::move(r));
  }

  // --- Calls to devices ---

  void schedule() {
    if (scheduled.exchange(true, std::memory_order_acq_rel)) return;  // acq_rel: pairs with the one in work()
    asio::post(context, [me = weak_from_this()] {
      if (const auto self = me.lock()) self->work();
    });
  }

  void work() {
    scheduled.exchange(false, std::memory_order_acq_rel);
    const std::lock_guard lock{mutex};
    const time_point now = boot_clock::now();
    time_point next = time_point::max();
    for (link& l : links) {
      if (const auto call = l.of->source->next_call(now)) ask(l, *call);
      next = std::min(next, l.of->source->next_deadline());
      while (!l.held.empty()) {
        const bool has_room = l.of->source->has_room() && !l.of->source->stream().is_null();
        if (!stopped && !has_room && l.held.front().until > now) {
          next = std::min(next, l.held.front().until);
          break;
        }
        later(std::move(l.held.front().to), has_room ? "0" : "1");
        l.held.pop_front();
      }
    }
    timer.cancel();
    if (next == time_point::max()) return;
    timer.expires_after(std::max(next - now, boot_clock::duration::zero()));
    timer.async_wait([me = weak_from_this()](const std::error_code& error) {
      if (const auto self = me.lock(); self && !error) self->work();
    });
  }

  void ask(link& l, const push_call& c) {
    http::client_request r;
    switch (c.what) {
      case push_call::kind::open_connect:
        r.path = open_connect_path;
        r.text = wire::push::open_connect_text(c.open);
        break;
      case push_call::kind::get_key:
        r.method = l.of->post_get_key ? "POST" : "GET";
        r.path = get_key_path;
        r.text = wire::push::get_key_text(c.get);
        break;
      case push_call::kind::close:
        r.method = "PUT";
        r.path = close_path;
        r.text = wire::push::close_text(c.close);
        break;
    }
    l.device->send(std::move(r), [me = weak_from_this(), &l](const http::client_response& answer) {
      if (const auto self = me.lock()) self->on_answer(l, answer);
    });
  }

  void on_answer(link& l, const http::client_response& answer) {
    push_reply r;
    {
      const std::lock_guard lock{mutex};
      const std::string why = answer.error ? answer.error.message() : std::string{};
      if (std::exchange(l.failure, why) != why && !stopped) {
        net::log_line line{why.empty() ? "push: the device answers" : "push: the device does not answer"};
        line.link(l.of->name).with("device", l.of->device);
        if (!why.empty()) line.with("why", why);
        log(why.empty() ? net::log_level::notice : net::log_level::warning, line);
      }
      if (!answer.error) {
        // an answer that cannot be read is none of success
        const auto said = answers.answer(answer.body.span());
        r = {true, said ? answer.status : 500, said ? said->outcome : status::protocol_error,
             said ? said->stream : key_stream_id{}, said ? said->quality : qos{}};
        if (!said && answer.status >= 300) r.code = answer.status;
      }
    }
    l.of->source->replied(r, boot_clock::now());
    schedule();
  }

  void log(net::log_level level, const net::log_line& line) { lines.write(level, line, boot_clock::now()); }

  asio::io_context& context;
  net::site& site;
  const receiver_options options;
  net::log_limit lines{options.log, limits{}.max_log_lines};
  const secret_arena arena;
  wire::push::reader reader;  ///< of keys: in turns of the site
  std::mutex mutex;
  wire::push::reader answers{arena};
  std::deque<link> links;
  asio::steady_timer timer;
  std::atomic<bool> scheduled{false};
  bool stopped = false;
};

receiver::receiver(asio::io_context& context, net::site& site, receiver_options options)
    : state_{std::make_shared<state>(context, site, std::move(options))} {}

receiver::~receiver() {
  for (auto& l : state_->links) l.of->source->on_call({});
}

result<void> receiver::start(std::string* why) {
  state& s = *state_;
  for (auto& l : s.links) {
    http::client_options o;
    o.uri = l.of->device;
    o.server = l.of->identity;
    o.allow_insecure = s.options.allow_insecure;
    o.tls = s.options.tls;
    o.max_in_flight = 1;
    o.timeout = s.options.call_timeout;
    o.connect_timeout = s.options.call_timeout;
    o.max_reply = 64 * 1024;
    auto made = http::client::make(s.context, s.arena, std::move(o), why);
    if (!made) return made.error();
    l.device = std::move(*made);
  }
  http::resource r;
  r.method = "POST";
  r.path = key_material_path;
  r.max_body = 128 * 1024;  // the largest key as base64, and what stands around it
  r.serve = [me = state_->weak_from_this()](const http::request& asked, http::answer to) {
    const auto self = me.lock();
    if (!self) return state::later(std::move(to), "1");
    self->on_key_material(asked, std::move(to));
  };
  if (!s.site.add(std::move(r))) {
    return net::fail(why, "the site does not serve the path of push mode", status::invalid_argument);
  }
  for (auto& l : s.links) {
    l.of->source->on_call([me = state_->weak_from_this()] {
      if (const auto self = me.lock()) self->schedule();
    });
  }
  s.schedule();
  return {};
}

void receiver::stop() {
  {
    const std::lock_guard lock{state_->mutex};
    if (std::exchange(state_->stopped, true)) return;
  }
  for (auto& l : state_->links) l.of->source->finish();
  state_->lines.write_rest(time_point::max());
  state_->schedule();
}

}  // namespace qkd004::push
