// SPDX-License-Identifier: Apache-2.0
#include "net/site_core.hpp"

#include <asio/error.hpp>
#include <asio/post.hpp>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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
      log_{options_.log, options_.manager.limits.max_log_lines},
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

site_core::~site_core() {
  for (const given_socket& s : options_.sockets) {
    if (started_ && s.descriptor >= 0) ::close(s.descriptor);
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
    if (outcome = all_given_taken(&sentence); !outcome) return;
    listen_to_sources();
    for (const auto& l : listeners_) accept(l);
    for (const auto& p : peers_) {
      if (p.dials) p.dials->dial();
    }
    for (const auto& l : listeners_)
      log_.always(log_level::info, log_line{"listening"}.with("uri", uri_of(*l)));
    if (std::any_of(listeners_.begin(), listeners_.end(),
                    [](const auto& l) { return l->kind == scheme::plain; })) {
      log_.always(log_level::warning,
                  log_line{"plain TCP: every application is the one principal 'anonymous', so what is "
                           "promised about other principals and about fencing is void here"});
    }
    if (options_.self_link) {
      log_.always(log_level::warning, log_line{"this site is its own peer"}
                                          .with("key_source", "memory")
                                          .with("security_class", "simulated-insecure"));
    }
    for (const auto& p : peers_) {
      const auto& source = p.options.source->capabilities();
      log_.always(source.security == security_class::hardware ? log_level::info : log_level::warning,
                  log_line{"key source"}
                      .link(p.options.link.name)
                      .with("peer", p.options.link.peer)
                      .with("kind", source.kind)
                      .with("security_class", to_string(source.security)));
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
  log_.write_rest(time_point::max());
}

std::vector<std::string> site_core::addresses() {
  const std::lock_guard lock{mutex_};
  std::vector<std::string> uris;
  for (const auto& l : listeners_) {
    if (l->acceptor.is_open()) uris.push_back(uri_of(*l));
  }
  return uris;
}

// --- Listeners ---

result<void> site_core::listen(const std::string& uri, std::string* why) {
  const auto address = parse_listener(uri, why);
  if (!address) return address.error();
  if (address->kind == scheme::tls && !tls_) {
    return fail(why, uri + " needs a certificate, and none is given", status::invalid_argument);
  }
  if (!address->given.empty()) return take_given(uri, *address, why);
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

/// Every socket of that name becomes a listener: with several ListenStream= a socket unit has several.
result<void> site_core::take_given(const std::string& uri, const address& a, std::string* why) {
  bool found = false;
  for (given_socket& s : options_.sockets) {
    if (s.name != a.given || s.descriptor < 0) continue;
    found = true;
    if (const auto wrong = wrong_with_given(s.descriptor, a); !wrong.empty()) {
      return fail(why, "cannot listen on " + uri + ": the socket that is given " + wrong,
                  status::invalid_argument);
    }
    auto l = std::make_shared<listener>(context());
    l->kind = a.kind;
    l->spoken = a.spoken;
    int family = AF_UNSPEC;
    socklen_t size = sizeof family;
    static_cast<void>(::getsockopt(s.descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size));
    std::error_code error;
    l->acceptor.assign(stream_protocol{family, 0}, s.descriptor, error);
    if (error) {
      return fail(why, "cannot listen on " + uri + ": " + error.message(),
                  std::error_code{error.value(), std::system_category()});
    }
    ::fcntl(s.descriptor, F_SETFD, FD_CLOEXEC);
    s.descriptor = -1;  // the acceptor's
    listeners_.push_back(std::move(l));
  }
  if (found) return {};
  std::string names;
  for (const given_socket& s : options_.sockets) names += (names.empty() ? "" : ", ") + s.name;
  return fail(why,
              "cannot listen on " + uri + ": no socket of that name is given" +
                  (names.empty() ? ", nor any other (is it started by its socket unit?)"
                                 : "; there are " + names + " (FileDescriptorName= in the socket unit)"),
              status::invalid_argument);
}

/// Why such a listener cannot use that socket, if it cannot.
std::string site_core::wrong_with_given(int descriptor, const address& a) const {
  const auto option = [descriptor](int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(descriptor, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  const int family = option(SO_DOMAIN);
  if (family < 0) return "is no socket";
  if (option(SO_TYPE) != SOCK_STREAM) return "is no stream socket (ListenStream= makes one)";
  if (option(SO_ACCEPTCONN) != 1) return "does not listen (with Accept=yes it is a connection: Accept=no)";
  if (a.kind == scheme::unix_socket) {
    if (family != AF_UNIX) return "is no Unix socket";
    sockaddr_un where{};
    socklen_t size = sizeof where;
    const bool named = ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&where), &size) == 0 &&
                       where.sun_path[0] == '/';
    return named ? std::string{} : "has no file, so no permissions";
  }
  if (family != AF_INET && family != AF_INET6) return "is no TCP socket";
  asio::ip::tcp::endpoint where;
  socklen_t size = static_cast<socklen_t>(where.capacity());
  if (::getsockname(descriptor, where.data(), &size) != 0) return "has no address";
  if (a.kind == scheme::tls || options_.allow_insecure || where.address().is_loopback()) return {};
  return "is off loopback (" + to_uri(where, a.kind, a.spoken) +
         "), and plain TCP there needs allow_insecure";
}

/// A socket that nobody takes would let callers connect and never answer them.
result<void> site_core::all_given_taken(std::string* why) const {
  for (const given_socket& s : options_.sockets) {
    if (s.descriptor < 0) continue;
    return fail(why,
                "a socket '" + s.name + "' is given, and no listener takes it: \"qkd004+systemd:" + s.name +
                    "\" would, or qkd004s+, unix+, http+ or https+",
                status::invalid_argument);
  }
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
        if (std::exchange(l->starved, false)) {
          self->log(log_level::notice, log_line{"accepts connections again"}.with("uri", self->uri_of(*l)));
        }
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
        if (!std::exchange(l->starved, true)) {
          self->log(log_level::warning,
                    log_line{"cannot accept"}.with("uri", self->uri_of(*l)).with("why", error.message()));
        }
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
  log(log_level::warning, log_line{"dropped"}.with("remote", which.remote()).with("why", why));
}

site_report site_core::report() {
  site_report r;
  r.node = service_->node();
  r.stopping = stopped_;
  r.applications = application_count_;
  r.totals = service_->totals();
  for (link_report& l : service_->links(now())) r.peers.push_back({std::move(l), {}});
  // a self_link has a link, and no peer here
  for (std::size_t i = 0; i < peers_.size() && i < r.peers.size(); ++i) {
    const peer_state& p = peers_[i];
    r.peers[i].failure = p.down_because;
  }
  traffic_.tell(r);
  return r;
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
  p.down_because = why;
  const auto level = std::exchange(p.last_failure, why) == why ? log_level::debug : log_level::warning;
  log(level, log_line{"cannot reach a peer"}
                 .link(p.options.link.name)
                 .with("peer", p.options.link.peer)
                 .with("address", p.options.address)
                 .with("why", why));
}

void site_core::adopt(connection& c, link_id link) {
  peer_state& p = peers_[link];
  if (connection* const old = std::exchange(p.current, nullptr); old != nullptr) {
    old->fail("replaced by a new connection");
    manager_->link_down(link, now());
    log(log_level::notice, log_line{"a peer comes anew"}
                               .link(p.options.link.name)
                               .with("peer", p.options.link.peer)
                               .with("remote", c.remote()));
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
  p.down_because.clear();
  if (p.dials && manager_->link_promising(link)) p.dials->reset();
  log(log_level::notice,
      log_line{"a peer is up"}.link(p.options.link.name).with("peer", p.options.link.peer));
}

void site_core::remove_peer(const connection& c, link_id link, const std::string& why) {
  peer_state& p = peers_[link];
  if (p.current != &c) return;  // it was replaced
  p.current = nullptr;
  manager_->link_down(link, now());
  if (stopped_) return;
  p.down_because = p.failed.empty() ? why : p.failed;
  log(log_level::warning, log_line{p.ready ? "lost a peer" : "no link with a peer"}
                              .link(p.options.link.name)
                              .with("peer", p.options.link.peer)
                              .with("why", p.down_because));
  p.ready = false;
  p.failed.clear();
  if (p.dials) p.dials->dial_later();
}

void site_core::deliver(connection_id to, const key_stream_id& stream, const get_keys_response& r) {
  if (to < applications_.size() && applications_[to] != nullptr) {
    applications_[to]->deliver(stream, r);
  } else if (caller_ != nullptr) {
    traffic_.note_delivery(r);
    caller_->deliver(to, stream, r);
  }
}

void site_core::send(link_id link, peer::message&& m) {
  if (connection* const c = peers_[link].current; c != nullptr) c->send(m);
}

void site_core::link_failed(link_id link, const std::string& why) {
  peers_[link].failed = why.empty() ? "of no more use" : why;
}

/// Of the links and of key streams, which applications open: one kind for each of the two.
void site_core::note(std::string_view text) {
  const bool of_link = text.starts_with("link ");
  log(log_level::info, log_line{of_link ? "links" : "key streams"}.with("note", text));
}

// --- Turns ---

void site_core::on_settled() {
  for (peer_state& p : peers_) {
    // what the manager had to say about it was appended before it gave the connection up
    if (!p.failed.empty() && p.current != nullptr) p.current->finish(p.failed);
  }
}

void site_core::on_turn_end() {
  traffic_.end_turn(now());
  log_.write_rest(now());
  if (started_ && !stopped_) arm(std::min(service_->next_deadline(now()), log_.next()));
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
