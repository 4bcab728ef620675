// SPDX-License-Identifier: Apache-2.0
#include "serve/server.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "net/log_line.hpp"
#include "serve/locked_memory.hpp"
#include "serve/tls_files.hpp"

namespace qkd004::serve {

namespace {

std::string totals_of(const key_service::counters& c) {
  return net::log_line{"ended"}
      .with("delivered_keys", c.delivered)
      .with("burned_keys", c.burned_chunks)
      .with("burned_octets", c.burned_octets)
      .with("lost_keys", c.lost_chunks)
      .with("lost_octets", c.lost_octets)
      .with("link_sessions", c.sessions)
      .text();
}

}  // namespace

/// Calls a function again and again on an io_context.
class server::every {
 public:
  every(asio::io_context& context, std::chrono::milliseconds period, std::function<void()> call)
      : timer_{context}, period_{period}, call_{std::move(call)} {
    wait();
  }
  void stop() {
    stopped_ = true;  // a call that is due already must not be followed by another
    timer_.cancel();
  }

 private:
  void wait() {
    timer_.expires_after(period_);
    timer_.async_wait([this](const std::error_code& error) {
      if (error || stopped_) return;
      call_();
      wait();
    });
  }

  asio::steady_timer timer_;
  const std::chrono::milliseconds period_;
  const std::function<void()> call_;
  bool stopped_ = false;
};

server::server(asio::io_context& context, site_config config, server_options o)
    : context_{context},
      config_{std::move(config)},
      options_{std::move(o)},
      sources_{config_.site.memory, options_.log, options_.notice} {}

server::~server() = default;

result<void> server::open_sources(std::string* why) {
  const auto fail = [why](std::string text, std::error_code error) {
    if (why != nullptr) *why = std::move(text);
    return error;
  };
  auto& peers = config_.site.peers;
  for (const auto& [link, source] : options_.sources) {
    const bool known =
        std::any_of(peers.begin(), peers.end(), [&](const auto& p) { return p.link.name == link; });
    if (!known) {
      return fail("a key source is given for link '" + link + "', which the site does not have",
                  make_error_code(status::invalid_argument));
    }
  }
  if (config_.site.tls) {
    if (const auto files = check_tls_files(*config_.site.tls, why); !files) return files.error();
  }
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const auto given = options_.sources.find(peers[i].link.name);
    if (given != options_.sources.end() && given->second) {
      peers[i].source = std::move(given->second);
      continue;
    }
    std::string reason;
    auto opened = sources_.open(config_.key_sources[i], peers[i].link.name, &reason);
    if (!opened)
      return fail(fmt::format("key source of peer {}: {}", peers[i].link.peer, reason), opened.error());
    peers[i].source = std::move(*opened);
  }
  options_.sources.clear();
  return {};
}

result<void> server::start(std::string* why) {
  config_.site.log = options_.log;
  push::receiver_options receives;
  receives.allow_insecure = config_.site.allow_insecure;
  receives.tls = config_.site.tls;
  receives.memory.allow_unlocked = config_.site.memory.allow_unlocked;
  const auto& listen = config_.site.listen;
  const bool speaks_http = std::any_of(listen.begin(), listen.end(),
                                       [](const std::string& uri) { return uri.starts_with("http"); });
  peers_ = config_.site.peers.size();
  is_own_peer_ = config_.site.self_link;
  warn_of_locked_memory();
  site_.emplace(context_, std::move(config_.site));
  // before the site listens: nobody is told that a path is not there
  if (config_.push) {
    config_.push->log = options_.log;
    device_.emplace(context_, *site_, std::move(*config_.push));
    if (const auto started = device_->start(why); !started) return started.error();
  }
  if (!sources_.pushed().empty()) {
    receives.links = sources_.pushed();
    receives.log = options_.log;
    receiver_.emplace(context_, *site_, std::move(receives));
    if (const auto started = receiver_->start(why); !started) return started.error();
  }
  if (speaks_http) {
    operations::options o;
    o.viewers = std::move(config_.viewers);
    if (sources_.has_software()) o.distilled = [this] { return distilled(); };
    operations_.emplace(context_, *site_, std::move(o));
    if (const auto started = operations_->start(why); !started) return started.error();
  }
  if (const auto started = site_->start(why); !started) return started.error();
  if (!sources_.has_software()) return {};
  timers_.push_back(std::make_unique<every>(context_, options_.watch, [this] { sources_.look(); }));
  if (options_.report.count() > 0 && options_.on_report) {
    timers_.push_back(std::make_unique<every>(context_, options_.report, [this] {
      for (const auto& sample : sources_.samples()) options_.on_report(sample);
    }));
  }
  return {};
}

void server::stop() {
  for (const auto& timer : timers_) timer->stop();
  if (operations_) operations_->stop();
  if (receiver_) receiver_->stop();
  if (device_) device_->stop();
  if (site_) site_->stop();
}

void server::conclude() {
  sources_.look();
  if (options_.report.count() > 0 && options_.on_report) {
    for (const auto& sample : sources_.samples()) options_.on_report(sample);
  }
  if (site_ && options_.log) options_.log(net::log_level::info, totals_of(site_->service().totals()));
}

std::vector<std::string> server::addresses() const {
  return site_ ? site_->addresses() : std::vector<std::string>{};
}

void server::readiness(std::function<void(const operations::readiness&)> tell) {
  site_->join([this, tell = std::move(tell)] { tell(operations::readiness_of(site_->report())); });
}

std::vector<std::pair<std::string, software_link_report>> server::distilled() const {
  std::vector<std::pair<std::string, software_link_report>> all;
  for (auto& sample : sources_.samples()) all.emplace_back(std::move(sample.link), std::move(sample.counts));
  return all;
}

void server::standing(std::function<void(std::string)> tell) {
  site_->join([this, tell = std::move(tell)] {
    const auto totals = site_->service().totals();
    std::size_t up = 0;
    for (std::size_t i = 0; i < peers_ && !is_own_peer_; ++i) {
      up += site_->manager().link_ready(static_cast<link_id>(i)) ? 1U : 0U;
    }
    const std::string peers = is_own_peer_ ? "its own peer" : fmt::format("{} of {} peers up", up, peers_);
    tell(fmt::format("{}, {} streams, {} keys delivered", peers, totals.streams, totals.delivered));
  });
}

void server::warn_of_locked_memory() const {
  const std::size_t needed = locked_memory_of(config_);
  const auto refused = refusal_to_lock(needed);
  if (!refused || !options_.log) return;
  options_.log(
      net::log_level::warning,
      net::log_line{"locked memory for key may run out"}
          .with("needed", needed)
          .with("limit", refused->limit ? std::to_string(*refused->limit) : "none")
          .with("then", config_.site.memory.allow_unlocked
                            ? "key may reach swap space (memory.allow_unlocked)"
                            : "calls fail with a resource limit; raise RLIMIT_MEMLOCK (LimitMEMLOCK= "
                              "of a unit, ulimit -l), or lower memory.bytes")
          .text());
}

struct server_thread::state {
  state(site_config config, server_options o) : of{context, std::move(config), std::move(o)} {}

  asio::io_context context{1};
  server of;
  const pid_t owner = ::getpid();
  std::mutex stopping;
  std::thread thread;
};

result<std::unique_ptr<server_thread>> server_thread::start(site_config config, server_options o,
                                                            std::string* why) {
  auto made = std::make_unique<state>(std::move(config), std::move(o));
  if (const auto opened = made->of.open_sources(why); !opened) return opened.error();
  if (const auto started = made->of.start(why); !started) {
    made->of.stop();
    made->context.run();
    return started.error();
  }
  // signals are the program's business, and its other threads'
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    made->thread = std::thread{[s = made.get()] { s->context.run(); }};
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    made->of.stop();
    made->context.run();
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return std::unique_ptr<server_thread>{new server_thread{std::move(made)}};
}

server_thread::server_thread(std::unique_ptr<state> s) : state_{std::move(s)} {}

server_thread::~server_thread() {
  stop();
  if (state_->owner == ::getpid()) return;
  // the thread, the sockets and the key are the parent's: nothing of them may be ended here
  if (state_->thread.joinable()) state_->thread.detach();
  static_cast<void>(state_.release());
}

void server_thread::stop() {
  if (state_->owner != ::getpid()) return;
  const std::lock_guard lock{state_->stopping};
  if (!state_->thread.joinable()) return;
  asio::post(state_->context, [s = state_.get()] { s->of.stop(); });
  state_->thread.join();
  state_->of.conclude();
}

std::vector<std::string> server_thread::addresses() const { return state_->of.addresses(); }

}  // namespace qkd004::serve
