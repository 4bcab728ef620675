// SPDX-License-Identifier: Apache-2.0
#include "net/site_core.hpp"

#include <asio/error.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <utility>

#include "net/address.hpp"
#include "qkd004/random.hpp"
#include "qkd004/self_link.hpp"
#include "wire/peer.hpp"

namespace qkd004::net {

namespace {

using asio::ip::tcp;

/// Connections beyond limits::max_connections that are still accepted: to tell an application so, and to hear
/// whether it is not a peer.
constexpr std::size_t spare_connections = 64;

constexpr std::chrono::milliseconds accept_pause{100};

/// A machine that was suspended comes back with timers that did not run: look at the clock at least this often.
constexpr std::chrono::seconds longest_sleep{10};

/// Which of two sites dials; the same that allocates (R1), though nothing depends on that.
bool dials(const std::string& node, const std::string& peer) { return node < peer; }

}  // namespace

site_core::site_core(asio::io_context& context, site_options options)
    : turns{context, secret_arena{options.memory}, options.manager.limits, options.timeouts},
      options_{std::move(options)},
      alarm_{context} {
  key_manager::events& me = *this;
  if (options_.self_link) {
    service_ = std::make_unique<self_link>(options_.manager, arena(), system_random, me);
  } else {
    auto made = std::make_unique<key_manager>(options_.manager, arena(), system_random, me);
    manager_ = made.get();
    service_ = std::move(made);
  }
}

result<void> site_core::start(std::string* why) {
  std::string sentence;
  result<void> outcome;
  run([&] {
    if (std::exchange(started_, true)) {
      outcome = fail(&sentence, "a site is started once", status::invalid_argument);
      return;
    }
    if (options_.manager.node.empty() || options_.manager.node.size() > wire::peer_bounds::name) {
      outcome = fail(&sentence, "a node id has 1 to 255 octets", status::invalid_argument);
      return;
    }
    if (options_.self_link && !options_.peers.empty()) {
      outcome = fail(&sentence, "a site that is its own peer has no other", status::invalid_argument);
      return;
    }
    for (const auto& p : options_.peers) {
      if (outcome = add_peer(p, &sentence); !outcome) return;
    }
    for (const auto& uri : options_.listen) {
      if (outcome = listen(uri, &sentence); !outcome) return;
    }
    for (const auto& l : listeners_) accept(l);
    for (const auto& p : peers_) {
      if (p.dials) p.dials->dial();
    }
    for (const auto& l : listeners_)
      log(log_level::info, "listening on " + to_uri(l->acceptor.local_endpoint()));
    if (!listeners_.empty()) {
      log(log_level::warning,
          "plain TCP: every application is the one principal 'anonymous', so what is promised about other "
          "principals "
          "and about fencing is void here");
    }
    if (options_.self_link) {
      log(log_level::warning, "this site is its own peer: key source memory, simulated-insecure");
    }
    for (const auto& p : peers_) {
      const auto& source = p.options.source->capabilities();
      log(source.security == security_class::hardware ? log_level::info : log_level::warning,
          "link " + p.options.link.name + " to " + p.options.link.peer + ": key source " + source.kind +
              ", " + std::string{to_string(source.security)});
    }
  });
  if (!outcome) {
    stop();
    return fail(why, std::move(sentence), outcome.error());
  }
  return outcome;
}

void site_core::stop() {
  run([&] {
    if (std::exchange(stopped_, true)) return;
    for (const auto& l : listeners_) {
      std::error_code ignored;
      l->acceptor.close(ignored);
      l->pause.cancel();
    }
    for (const auto& p : peers_) {
      if (p.dials) p.dials->stop();
    }
    for (peer_state& p : peers_) p.dials.reset();
    service_->shutdown(now());
    alarm_.cancel();
  });
  // the answers of the shutdown went out when that turn ended
  run([&] { fail_all("this site stops"); });
}

std::vector<std::string> site_core::addresses() {
  const std::lock_guard lock{mutex_};
  std::vector<std::string> uris;
  for (const auto& l : listeners_) {
    std::error_code error;
    const auto endpoint = l->acceptor.local_endpoint(error);
    if (!error) uris.push_back(to_uri(endpoint));
  }
  return uris;
}

void site_core::log(log_level level, const std::string& line) const {
  if (options_.log) options_.log(level, line);
}

// --- Listeners ---

result<void> site_core::listen(const std::string& uri, std::string* why) {
  const auto address = parse_address(uri, why);
  if (!address) return address.error();
  const auto endpoints = resolve(*address, options_.allow_insecure ? reach::anywhere : reach::loopback, why);
  if (!endpoints) return endpoints.error();

  auto l = std::make_shared<listener>(context());
  const tcp::endpoint endpoint = endpoints->front();
  std::error_code error;
  l->acceptor.open(endpoint.protocol(), error);
  if (!error) l->acceptor.set_option(tcp::acceptor::reuse_address{true}, error);
  if (!error) l->acceptor.bind(endpoint, error);
  if (!error) l->acceptor.listen(tcp::acceptor::max_listen_connections, error);
  if (error) return fail(why, "cannot listen on " + uri + ": " + error.message(), error);
  listeners_.push_back(std::move(l));
  return {};
}

std::size_t site_core::most_transports() const noexcept {
  return bounds().max_connections + peers_.size() + spare_connections;
}

void site_core::accept(const std::shared_ptr<listener>& l) {
  if (stopped_) return;
  if (transports() >= most_transports()) {
    l->held = true;
    return;
  }
  l->acceptor.async_accept([self = self(), l](const std::error_code& error, tcp::socket socket) {
    self->run([&] {
      if (self->stopped_) return;
      if (!error) {
        std::make_shared<connection>(self, std::move(socket))->open(self->now() + self->wait().silence);
      } else if (error != asio::error::connection_aborted && error != asio::error::operation_aborted) {
        // out of descriptors or memory: those who are connected go on
        self->log(log_level::warning, "cannot accept: " + error.message());
        return self->accept_later(l);
      }
      self->accept(l);
    });
  });
}

void site_core::accept_later(const std::shared_ptr<listener>& l) {
  l->pause.expires_after(accept_pause);
  l->pause.async_wait([self = self(), l](const std::error_code& error) {
    self->run([&] {
      if (!error) self->accept(l);
    });
  });
}

void site_core::on_transport_gone() {
  for (const auto& l : listeners_) {
    if (l->held && transports() < most_transports()) {
      l->held = false;
      accept(l);
    }
  }
}

void site_core::on_drop(const transport& which, const std::string& why) {
  log(log_level::warning,
      "dropped " + (which.remote().empty() ? "a connection" : which.remote()) + ": " + why);
}

// --- Applications ---

connection_id site_core::add_application(connection& c) {
  if (application_count_ >= bounds().max_connections) return 0;
  const connection_id id = service_->connect(std::string{anonymous_principal});
  if (id >= applications_.size()) applications_.resize(id + 1, nullptr);
  applications_[id] = &c;
  ++application_count_;
  return id;
}

void site_core::remove_application(connection_id id) {
  applications_[id] = nullptr;
  --application_count_;
  service_->disconnect(id, now());
}

// --- Peers ---

result<void> site_core::add_peer(const peer_options& p, std::string* why) {
  const std::string name = "peer '" + p.link.peer + "'";
  if (!p.source) return fail(why, name + " has no key source", status::invalid_argument);
  if (p.link.name.empty() || p.link.name.size() > wire::peer_bounds::name ||
      p.link.peer.size() > wire::peer_bounds::name) {
    return fail(why, name + ": a node id and a link's name have 1 to 255 octets", status::invalid_argument);
  }
  peer_state state;
  state.options = p;
  if (dials(options_.manager.node, p.link.peer)) {
    const auto address = parse_address(p.address, why);
    if (!address) return address.error();
    const reach allowed = options_.allow_insecure ? reach::anywhere : reach::loopback;
    std::error_code named;
    if (static_cast<void>(asio::ip::make_address(address->host, named)); !named) {
      if (const auto checked = resolve(*address, allowed, why); !checked) return checked.error();
    }
    const auto link = static_cast<link_id>(peers_.size());
    dialer::options o;
    o.address = *address;
    o.allowed = allowed;
    o.timeout = options_.timeouts.dial;
    o.connected = [this, link](tcp::socket socket) {
      auto c = std::make_shared<connection>(self(), std::move(socket));
      c->open(now() + wait().silence);
      adopt(*c, link);
    };
    o.failed = [this, link](const std::string& reason) {
      peer_state& peer = peers_[link];
      const auto level =
          std::exchange(peer.last_failure, reason) == reason ? log_level::debug : log_level::warning;
      log(level, "cannot reach " + peer.options.link.peer + " at " + peer.options.address + ": " + reason);
    };
    state.dials = std::make_shared<dialer>(shared_from_this(), std::move(o));
  }
  const auto added = manager_->add_link(p.link, *p.source);
  if (!added) return fail(why, name + " is this site itself, or there twice", added.error());
  peers_.push_back(std::move(state));
  return {};
}

void site_core::welcome(connection& c, std::span<const std::byte> hello) {
  auto message = wire::decode_peer(wire::service::peer_hello, hello);
  if (!message || !*message) return c.refuse(status::protocol_error, "malformed hello of a peer");
  const auto& theirs = std::get<peer::hello>(**message);
  const auto it = std::find_if(peers_.begin(), peers_.end(), [&](const peer_state& p) {
    return p.options.link.peer == theirs.node && p.options.link.name == theirs.link;
  });
  if (it == peers_.end()) return c.refuse(status::not_authorized, "no such peer and link is configured here");
  if (it->dials) return c.refuse(status::not_authorized, "this site dials that peer");
  const auto link = static_cast<link_id>(it - peers_.begin());
  adopt(c, link);
  receive(link, std::move(**message));
}

void site_core::adopt(connection& c, link_id link) {
  peer_state& p = peers_[link];
  if (connection* const old = std::exchange(p.current, nullptr); old != nullptr) {
    old->fail("replaced by a new connection");
    manager_->link_down(link, now());
    log(log_level::info, "peer " + p.options.link.peer + " comes anew from " + c.remote());
  }
  p.current = &c;
  p.ready = false;
  p.failed.clear();
  p.last_failure.clear();
  c.become_peer(link);
  manager_->link_up(link, now());
}

void site_core::receive(link_id link, peer::message&& m) {
  manager_->receive(link, std::move(m), now());
  peer_state& p = peers_[link];
  if (p.ready || !manager_->link_ready(link)) return;
  p.ready = true;
  if (p.dials) p.dials->reset();
  log(log_level::info, "peer " + p.options.link.peer + " is up, link " + p.options.link.name);
}

void site_core::remove_peer(const connection& c, link_id link, const std::string& why) {
  peer_state& p = peers_[link];
  if (p.current != &c) return;  // it was replaced
  p.current = nullptr;
  manager_->link_down(link, now());
  if (stopped_) return;
  log(log_level::warning, (p.ready ? "lost peer " : "no link with peer ") + p.options.link.peer + ": " +
                              (p.failed.empty() ? why : p.failed));
  p.ready = false;
  p.failed.clear();
  if (p.dials) p.dials->dial_later();
}

void site_core::deliver(connection_id to, const key_stream_id& stream, const get_keys_response& r) {
  if (to < applications_.size() && applications_[to] != nullptr) applications_[to]->deliver(stream, r);
}

void site_core::send(link_id link, peer::message&& m) {
  if (connection* const c = peers_[link].current; c != nullptr) c->send(m);
}

void site_core::link_failed(link_id link, const std::string& why) {
  peers_[link].failed = why.empty() ? "of no more use" : why;
}

void site_core::note(std::string_view text) { log(log_level::info, std::string{text}); }

// --- Turns ---

void site_core::on_settled() {
  for (peer_state& p : peers_) {
    // what the manager had to say about it was appended before it gave the connection up
    if (!p.failed.empty() && p.current != nullptr) p.current->finish(p.failed);
  }
}

void site_core::on_turn_end() {
  if (started_ && !stopped_) arm(service_->next_deadline(now()));
}

/// Sets the alarm forward only: one that goes off too early finds nothing due and is set again, which is cheaper than
/// setting it anew with every request.
void site_core::arm(time_point deadline) {
  deadline = std::min(deadline, now() + longest_sleep);
  if (deadline >= armed_) return;
  armed_ = deadline;
  alarm_.expires_after(std::max(deadline - now(), boot_clock::duration::zero()));
  alarm_.async_wait([self = self()](const std::error_code& error) {
    if (error) return;  // it was set anew
    self->run([&] {
      self->armed_ = time_point::max();
      if (!self->stopped_) self->service_->advance(self->now());
    });
  });
}

}  // namespace qkd004::net
