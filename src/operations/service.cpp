// SPDX-License-Identifier: Apache-2.0
#include "operations/service.hpp"

#include <asio/steady_timer.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <system_error>

#include "operations/exposition.hpp"
#include "operations/link_trace.hpp"
#include "operations/measured.hpp"
#include "operations/page.hpp"

namespace qkd004::operations {

namespace http = net::http;

namespace {

/// How long ago the other end of an interval is, of which quantiles are told.
constexpr std::chrono::seconds quantile_window{60};

/// Streams of an event: some 40 KiB.
constexpr std::size_t most_shown = 100;

http::response uncached(unsigned status, std::string type, std::string text) {
  http::response r{status, std::move(type), std::move(text)};
  r.fields.push_back({"Cache-Control", "no-store"});
  r.fields.push_back({"X-Content-Type-Options", "nosniff"});
  r.fields.push_back({"Cross-Origin-Resource-Policy", "same-origin"});
  return r;
}

std::string event(std::string_view json) { return "data: " + std::string{json} + "\n\n"; }

}  // namespace

/// All of it happens in turns of the site.
struct service::state final : std::enable_shared_from_this<state> {
  state(asio::io_context& context, net::site& s, options o)
      : site{s}, settings{std::move(o)}, timer{context}, policy{content_security_policy(dashboard_html())} {}

  /// A page that is open somewhere.
  struct dashboard {
    http::event_stream events;
    sight sees;
    connection_id as;  ///< whose streams it shows
    bool has_history;  ///< was sent
  };

  /// What quantiles are counted from.
  struct past {
    time_point at;
    net::duration_histogram get_key;
    net::duration_histogram key_age;
  };

  void add_resources(bool& added) {
    const auto add = [&](const char* path, auto serve) {
      http::resource r;
      r.method = "GET";
      r.path = path;
      r.max_body = 0;
      r.serve = [me = weak_from_this(), serve](const http::request& asked, http::answer to) {
        const auto self = me.lock();
        if (!self || self->stopped) return to.send(http::problem(503, "this site stops"));
        ((*self).*serve)(asked, std::move(to));
      };
      added = added && static_cast<bool>(site.add(std::move(r)));
    };
    add("/healthz", &state::on_healthz);
    add("/readyz", &state::on_readyz);
    add("/metrics", &state::on_metrics);
    add("/events", &state::on_events);
    add("/", &state::on_page);
  }

  // --- What is asked ---

  void on_healthz(const http::request&, http::answer to) { to.send(uncached(200, "text/plain", "ok\n")); }

  /// Whoever can connect may know whether it is ready; why not, who may see the rest.
  void on_readyz(const http::request& r, http::answer to) {
    const readiness now = readiness_of(site.report());
    const unsigned code = now.ready ? 200 : 503;
    if (settings.viewers.of(r) != sight::nothing) {
      return to.send(uncached(code, "application/json", to_json(now) + "\n"));
    }
    to.send(uncached(code, "application/json", now.ready ? "{\"ready\":true}\n" : "{\"ready\":false}\n"));
  }

  void on_metrics(const http::request& r, http::answer to) {
    if (refused(r, to)) return;
    to.send(uncached(200, exposition::content_type, metrics_text(measure())));
  }

  void on_page(const http::request& r, http::answer to) {
    if (settings.viewers.of(r) == sight::nothing) return refuse(to);
    http::response page = uncached(200, "text/html; charset=utf-8", std::string{dashboard_html()});
    page.fields.push_back({"Content-Security-Policy", policy});
    page.fields.push_back({"Referrer-Policy", "no-referrer"});
    page.fields.push_back({"X-Frame-Options", "DENY"});
    to.send(std::move(page));
  }

  void on_events(const http::request& r, http::answer to) {
    if (refused(r, to)) return;
    forget_closed();
    if (dashboards.size() >= settings.max_dashboards) {
      http::response full = http::problem(503, "too many dashboards are open");
      full.fields.push_back({"Retry-After", "10"});
      return to.send(std::move(full));
    }
    dashboard d;
    d.sees = settings.viewers.of(r);
    d.as = site.service().connect(std::string{r.principal});
    d.has_history = false;
    d.events = to.stream(uncached(200, "text/event-stream", "retry: 2000\n\n"));
    dashboards.push_back(std::move(d));
    send(dashboards.back(), measure());
  }

  [[nodiscard]] bool refused(const http::request& r, http::answer& to) const {
    if (settings.viewers.of(r) != sight::nothing && !is_cross_site(r)) return false;
    refuse(to);
    return true;
  }
  static void refuse(http::answer& to) {
    to.send(http::problem(403, "not for this caller; see [operations] in the site's configuration"));
  }

  // --- What is told ---

  [[nodiscard]] measured measure() {
    measured m;
    m.site = site.report();
    m.readiness = readiness_of(m.site);
    m.started = started;
    std::vector<std::pair<std::string, software_link_report>> distilled;
    if (settings.distilled) distilled = settings.distilled();
    for (const auto& p : m.site.peers) {
      measured_link l{&p, &traces[p.link.name], {}};
      const auto known = std::find_if(distilled.begin(), distilled.end(),
                                      [&](const auto& d) { return d.first == p.link.name; });
      if (known != distilled.end()) l.distilled = known->second;
      m.links.push_back(std::move(l));
    }
    if (!pasts.empty()) {
      const past& then = pasts.front();
      m.get_key_p50 = quantile(then.get_key, m.site.get_key, 0.5);
      m.get_key_p99 = quantile(then.get_key, m.site.get_key, 0.99);
      m.age_p50 = quantile(then.key_age, m.site.key_age, 0.5);
      m.age_p99 = quantile(then.key_age, m.site.key_age, 0.99);
    }
    return m;
  }

  /// A second is over.
  void look() {
    const time_point now = boot_clock::now();
    const net::site_report seen = site.report();
    for (const auto& p : seen.peers) traces[p.link.name].add(p.link, now);
    while (!pasts.empty() && now - pasts.front().at > quantile_window) pasts.pop_front();
    pasts.push_back({now, seen.get_key, seen.key_age});
    forget_closed();
    if (dashboards.empty()) return;
    const measured m = measure();
    for (dashboard& d : dashboards) send(d, m);
  }

  void send(dashboard& d, const measured& m) {
    const time_point now = boot_clock::now();
    const bool all = d.sees == sight::all_streams;
    stream_reports streams =
        all ? site.service().report_all(now) : site.service().report(d.as, {}, now);
    if (streams.streams.size() > most_shown) streams.streams.resize(most_shown);
    // one that has much to read yet is left out of this second; what it has missed it can do without
    const bool sent = d.events.send(event(event_json(m, {streams, all, !d.has_history})));
    d.has_history = d.has_history || sent;
  }

  void forget_closed() {
    std::erase_if(dashboards, [this](const dashboard& d) {
      if (d.events.is_open()) return false;
      site.service().disconnect(d.as, boot_clock::now());
      return true;
    });
  }

  void wait() {
    timer.expires_after(settings.period);
    timer.async_wait([self = shared_from_this()](const std::error_code& error) {
      if (error) return;
      self->site.join([self] {
        if (self->stopped) return;
        self->look();
        self->wait();
      });
    });
  }

  net::site& site;
  const options settings;
  asio::steady_timer timer;
  const std::string policy;
  const std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
  std::map<std::string, link_trace, std::less<>> traces;  ///< by the name of the link
  std::deque<past> pasts;
  std::vector<dashboard> dashboards;
  bool stopped = false;
};

service::service(asio::io_context& context, net::site& site, options o)
    : state_{std::make_shared<state>(context, site, std::move(o))} {}

service::~service() { stop(); }

result<void> service::start(std::string* why) {
  if (state_->settings.viewers.who == audience::nobody) return {};
  bool added = true;
  state_->add_resources(added);
  if (!added) {
    if (why != nullptr) *why = "the site does not serve the paths of operations";
    return status::invalid_argument;
  }
  state_->site.join([s = state_] {
    s->look();
    s->wait();
  });
  return {};
}

void service::stop() {
  state_->site.join([s = state_] {
    if (std::exchange(s->stopped, true)) return;
    s->timer.cancel();
    for (const auto& d : s->dashboards) s->site.service().disconnect(d.as, boot_clock::now());
    s->dashboards.clear();  // their streams end
  });
}

}  // namespace qkd004::operations
