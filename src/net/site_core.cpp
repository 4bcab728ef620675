// SPDX-License-Identifier: Apache-2.0
#include "net/site_core.hpp"

#include <asio/error.hpp>
#include <asio/post.hpp>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "net/access.hpp"
#include "net/address.hpp"
#include "net/http/server_connection.hpp"
#include "qkd004/random.hpp"
#include "qkd004/self_link.hpp"
#include "wire/peer.hpp"

namespace qkd004::net {

namespace {

/// Connections beyond limits::max_connections that are still accepted: to tell an application so, and to hear
/// whether it is not a peer.
constexpr std::size_t spare_connections = 64;

constexpr std::chrono::milliseconds accept_pause{100};

/// A machine that was suspended comes back with timers that did not run: look at the clock at least this often.
constexpr std::chrono::seconds longest_sleep{10};

/// Which of two sites dials; the same that allocates (R1), though nothing depends on that.
bool dials(const std::string& node, const std::string& peer) { return node < peer; }

bool is_tls_only(const peer_options& p) { return !p.identity.empty() || p.address.starts_with("qkd004s:"); }

std::string identity_of_peer(const peer_options& p) {
  return p.identity.empty() ? "qkd://" + p.link.peer : p.identity;
}

/// The table of the options, unless they bring a decision of their own.
site_options with_access(site_options o) {
  if (!o.manager.may_open) {
    o.manager.may_open = [table = access_table{o.access, ::geteuid()}](auto principal, auto local,
                                                                       auto remote) {
      return table.allows(principal, local, remote);
    };
  }
  return o;
}

/// Whether the file is a socket's that nobody listens on any more: its process died.
bool is_abandoned(const endpoint& where, const std::string& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  const channel probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), scheme::unix_socket};
  return ::connect(probe.descriptor(), where.data(), static_cast<socklen_t>(where.size())) != 0 &&
         errno == ECONNREFUSED;
}

}  // namespace

site_core::site_core(asio::io_context& context, site_options options)
    : turns{context, secret_arena{options.memory}, options.manager.limits, options.timeouts},
      options_{with_access(std::move(options))},
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
    if (options_.tls) {
      auto made = tls_context::make(*options_.tls, &sentence);
      if (!made) {
        outcome = made.error();
        return;
      }
      tls_ = std::move(*made);
    }
    for (const auto& p : options_.peers) {
      if (outcome = add_peer(p, &sentence); !outcome) return;
    }
    for (const auto& uri : options_.listen) {
      if (outcome = listen(uri, &sentence); !outcome) return;
    }
    listen_to_sources();
    for (const auto& l : listeners_) accept(l);
    for (const auto& p : peers_) {
      if (p.dials) p.dials->dial();
    }
    for (const auto& l : listeners_) log(log_level::info, "listening on " + uri_of(*l));
    if (std::any_of(listeners_.begin(), listeners_.end(),
                    [](const auto& l) { return l->kind == scheme::plain; })) {
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
      close(*l);
      l->pause.cancel();
    }
    for (const auto& p : peers_) {
      if (p.dials) p.dials->stop();
    }
    for (peer_state& p : peers_) p.dials.reset();
    service_->shutdown(now());
    for (const peer_state& p : peers_) {
      if (classical_channel* const c = p.options.source->channel(); c != nullptr) c->on_ready({});
    }
    alarm_.cancel();
  });
  // the answers of the shutdown went out when that turn ended
  run([&] { fail_all("this site stops"); });
}

std::vector<std::string> site_core::addresses() {
  const std::lock_guard lock{mutex_};
  std::vector<std::string> uris;
  for (const auto& l : listeners_) {
    if (l->acceptor.is_open()) uris.push_back(uri_of(*l));
  }
  return uris;
}

/// What peers and certificates say of themselves may have any octets: a line stays one line.
void site_core::log(log_level level, std::string line) const {
  if (!options_.log) return;
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  options_.log(level, line);
}

// --- Listeners ---

result<void> site_core::listen(const std::string& uri, std::string* why) {
  const auto address = parse_address(uri, why);
  if (!address) return address.error();
  if (address->kind == scheme::tls && !tls_) {
    return fail(why, uri + " needs a certificate, and none is given", status::invalid_argument);
  }
  const auto endpoints =
      endpoints_of(*address, options_.allow_insecure ? reach::anywhere : reach::loopback, why);
  if (!endpoints) return endpoints.error();

  auto l = std::make_shared<listener>(context());
  l->kind = address->kind;
  l->spoken = address->spoken;
  const endpoint& where = endpoints->front();
  std::error_code error;
  l->acceptor.open(where.protocol(), error);
  // a program that this one starts must not seem to listen when this one is gone
  if (!error) ::fcntl(l->acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  if (l->kind == scheme::unix_socket) {
    if (!error) error = bind_file(*l, where, address->path);
  } else {
    if (!error) l->acceptor.set_option(asio::socket_base::reuse_address{true}, error);
    if (!error) l->acceptor.bind(where, error);
  }
  if (!error) l->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    close(*l);
    // Asio's category for the system's numbers does not compare with std::errc
    return fail(why, "cannot listen on " + uri + ": " + error.message(),
                std::error_code{error.value(), std::system_category()});
  }
  listeners_.push_back(std::move(l));
  return {};
}

/// Makes the file of a Unix socket with the permissions that it is to have; there is no moment with others.
std::error_code site_core::bind_file(listener& l, const endpoint& where, const std::string& path) const {
  const mode_t mode = options_.unix_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
  static_cast<void>(::fchmod(l.acceptor.native_handle(), mode));  // bind() takes the file's from here
  std::error_code error;
  l.acceptor.bind(where, error);
  if (error == asio::error::address_in_use && is_abandoned(where, path)) {
    ::unlink(path.c_str());
    l.acceptor.bind(where, error);
  }
  if (error) return error;
  if (::chmod(path.c_str(), mode) != 0) error.assign(errno, std::system_category());  // what the umask took
  struct stat made {};
  if (::lstat(path.c_str(), &made) == 0) {
    l.path = path;
    l.device = made.st_dev;
    l.inode = made.st_ino;
  }
  return error;
}

void site_core::close(listener& l) const {
  std::error_code ignored;
  l.acceptor.close(ignored);
  struct stat found {};
  if (!l.path.empty() && !arena().forked() && ::lstat(l.path.c_str(), &found) == 0 &&
      found.st_dev == l.device && found.st_ino == l.inode) {
    ::unlink(l.path.c_str());
  }
  l.path.clear();
}

std::string site_core::uri_of(const listener& l) const {
  std::error_code error;
  const auto where = l.acceptor.local_endpoint(error);
  return error ? std::string{} : to_uri(where, l.kind, l.spoken);
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
  l->acceptor.async_accept([self = self(), l](const std::error_code& error, stream_protocol::socket socket) {
    self->run([&] {
      if (self->stopped_) return;
      if (!error) {
        if (std::exchange(l->starved, false)) self->log(log_level::info, "accepts connections again");
        // from here on it is read and written by hand, and watched in batches
        channel c{socket.release(), l->kind, l->spoken};
        if (l->kind == scheme::tls && !c.accept(*self->tls_)) return self->accept(l);
        if (l->spoken == protocol::http) {
          std::make_shared<http::server_connection>(self, std::move(c))->open();
        } else {
          std::make_shared<connection>(self, std::move(c))->open();
        }
      } else if (error != asio::error::connection_aborted && error != asio::error::operation_aborted) {
        // out of descriptors or memory: those who are connected go on; said once, as it may last
        if (!std::exchange(l->starved, true))
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

result<void> site_core::add(http::resource what) {
  const std::lock_guard lock{mutex_};
  return http_.resources().add(std::move(what));
}

connection_id site_core::add_application(application& a, std::string principal) {
  if (application_count_ >= bounds().max_connections) return 0;
  const connection_id id = service_->connect(std::move(principal));
  if (id >= applications_.size()) applications_.resize(id + 1, nullptr);
  applications_[id] = &a;
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
  if (is_tls_only(p) && !tls_) {
    return fail(why, name + " is believed over TLS only, and this site has no certificate",
                status::invalid_argument);
  }
  peer_state state;
  state.options = p;
  if (dials(options_.manager.node, p.link.peer)) {
    const auto address = parse_address(p.address, why);
    if (!address) return address.error();
    if (address->spoken == protocol::http) {
      return fail(why, name + ": key managers do not speak HTTP with one another", status::invalid_argument);
    }
    if (is_tls_only(p) && address->kind != scheme::tls) {
      return fail(why, name + " is believed over TLS only: its address has to be qkd004s://",
                  status::invalid_argument);
    }
    const reach allowed = options_.allow_insecure ? reach::anywhere : reach::loopback;
    if (is_number(*address)) {
      if (const auto checked = resolve(*address, allowed, why); !checked) return checked.error();
    }
    const auto link = static_cast<link_id>(peers_.size());
    dialer::options o;
    o.address = *address;
    o.allowed = allowed;
    o.timeout = options_.timeouts.dial;
    o.connected = [this, link](channel c) {
      if (c.kind() == scheme::tls && !c.dial(*tls_, {identity_of_peer(peers_[link].options), {}})) {
        return missed(link, "no memory for TLS");
      }
      std::make_shared<connection>(self(), std::move(c), link)->open();
    };
    o.failed = [this, link](const std::string& reason) { cannot_reach(link, reason); };
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
  if (const auto doubt = distrust(c, it->options); !doubt.empty()) {
    return c.refuse(status::not_authorized, "it says that it is peer " + theirs.node + ", but " + doubt);
  }
  const auto link = static_cast<link_id>(it - peers_.begin());
  adopt(c, link);
  receive(link, std::move(**message));
}

/// Why that connection cannot be the peer's, if it cannot.
std::string site_core::distrust(const connection& c, const peer_options& p) const {
  const channel& there = c.other_end();
  if (there.is_tls()) {
    const std::string uri = there.uri();
    if (uri == identity_of_peer(p)) return {};
    return (uri.empty() ? "its certificate has no SAN URI" : "its certificate is that of " + uri) +
           " and not of " + identity_of_peer(p);
  }
  if (is_tls_only(p)) return "not over TLS";
  if (there.kind() != scheme::unix_socket) return {};
  const auto user = there.uid();
  if (user && (*user == ::geteuid() || *user == 0)) return {};
  return "it runs as another user";
}

void site_core::reached(connection& c, link_id link) {
  if (stopped_) return;
  if (const auto doubt = distrust(c, peers_[link].options); !doubt.empty()) {
    c.finish(doubt);
    return missed(link, doubt);
  }
  adopt(c, link);
}

void site_core::missed(link_id link, const std::string& why) {
  if (stopped_) return;
  cannot_reach(link, why);
  peers_[link].dials->dial_later();
}

void site_core::cannot_reach(link_id link, const std::string& why) {
  peer_state& p = peers_[link];
  const auto level = std::exchange(p.last_failure, why) == why ? log_level::debug : log_level::warning;
  log(level, "cannot reach " + p.options.link.peer + " at " + p.options.address + ": " + why);
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
  if (p.dials && manager_->link_promising(link)) p.dials->reset();
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
  if (to < applications_.size() && applications_[to] != nullptr) {
    applications_[to]->deliver(stream, r);
  } else if (caller_ != nullptr) {
    caller_->deliver(to, stream, r);
  }
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

/// A source calls from any thread, as often as it likes: until the turn that looks at all of them has begun, further
/// calls cost an exchange.
void site_core::listen_to_sources() {
  for (const peer_state& p : peers_) {
    classical_channel* const c = p.options.source->channel();
    if (c == nullptr) continue;
    c->on_ready([site = weak_from_this(), called = called_, executor = context().get_executor()] {
      // acq_rel: pairs with the one in on_wake(), so that the turn sees what was there before a call that posts nothing
      if (called->exchange(true, std::memory_order_acq_rel)) return;
      asio::post(executor, [site] {
        if (const auto here = site.lock()) static_cast<site_core&>(*here).on_wake();
      });
    });
  }
}

void site_core::on_wake() {
  run([&] {
    static_cast<void>(called_->exchange(false, std::memory_order_acq_rel));
    if (!stopped_) service_->advance(now());
  });
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
