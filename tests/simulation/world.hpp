// world: sites on machines that crash, joined by links that break, and the lines of applications to them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fibre.hpp"
#include "oracle.hpp"
#include "qkd004/key_manager.hpp"
#include "time_line.hpp"
#include "wire.hpp"

namespace simulation {

struct world_options {
  std::vector<key_manager::options> sites;  ///< `node` is given by the world: A, B, ...
  fibre_options fibre;
  wire::options peer_wire;
  wire::options line;
  bool links_up_first = false;  ///< before the first application does anything
};

class world;

/// An application's connection to its site.
class line : public std::enable_shared_from_this<line> {
 public:
  using on_answer = std::function<void(const question&, const answer&)>;
  using on_lost = std::function<void(const question&)>;
  using on_delivery = std::function<void(const key_stream_id&, const answer&)>;

  line(world& w, unsigned number, instance at, std::string principal, std::shared_ptr<wire> over)
      : world_{w}, number_{number}, at_{at}, principal_{std::move(principal)}, wire_{std::move(over)} {}

  /// The answers to what was asked on this line, and what subscriptions bring; those that are lost; and then that the
  /// line is gone.
  void listen(on_answer answered, on_delivery delivered, on_lost lost, std::function<void()> down);
  void ask(request r);
  /// The application lets go of it.
  void close();
  /// It breaks.
  void cut() { wire_->cut(); }

  [[nodiscard]] bool is_up() const noexcept { return wire_->is_up(0); }
  [[nodiscard]] const instance& at() const noexcept { return at_; }
  [[nodiscard]] unsigned number() const noexcept { return number_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return open_.size(); }

 private:
  friend class world;
  void receive(std::uint64_t ticket, const answer& a);
  void receive(const key_stream_id& id, const answer& a, time_point sent);
  void go_down();

  world& world_;
  const unsigned number_;
  const instance at_;
  const std::string principal_;
  const std::shared_ptr<wire> wire_;  ///< end 0 is the application's
  std::map<std::uint64_t, question> open_;
  on_answer answered_;
  on_delivery delivered_;
  on_lost lost_;
  std::function<void()> down_;
};

class world {
 public:
  world(time_line& time, chance& luck, oracle& judge, world_options o);
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  [[nodiscard]] time_line& time() noexcept { return time_; }
  [[nodiscard]] chance& luck() noexcept { return luck_; }
  [[nodiscard]] oracle& judge() noexcept { return judge_; }
  [[nodiscard]] std::uint64_t rate_bps() const noexcept { return options_.fibre.rate_bps; }
  [[nodiscard]] unsigned sites() const noexcept { return static_cast<unsigned>(hosts_.size()); }
  [[nodiscard]] static std::string node(unsigned site) {
    return std::string(1, static_cast<char>('A' + site));
  }

  /// A line to a site; nullptr while the site is down.
  [[nodiscard]] std::shared_ptr<line> dial(unsigned site, const std::string& principal);
  [[nodiscard]] bool is_running(unsigned site) const noexcept { return hosts_[site].manager != nullptr; }
  [[nodiscard]] instance running(unsigned site) const noexcept { return {site, hosts_[site].starts - 1}; }

  /// \name Faults, and their end
  ///@{
  [[nodiscard]] unsigned links() const noexcept { return static_cast<unsigned>(links_.size()); }
  void cut(unsigned link);
  void stall(unsigned link, duration d);
  /// Broken, and no connection is made for as long.
  void part(unsigned link, duration d);
  void crash(unsigned site);
  /// Stops as a daemon does that is told to.
  void stop(unsigned site);
  void start(unsigned site);
  /// All sites run, and all links come up.
  void mend();
  ///@}

  /// Why a site gave up the connection to its peer, the first time: in this world none has a reason to.
  [[nodiscard]] const std::string& accusation() const noexcept { return accusation_; }

 private:
  friend class line;

  /// The site's end of a line.
  struct door {
    std::shared_ptr<wire> over;
    std::weak_ptr<line> far;
    unsigned number = 0;  ///< of that line
    std::set<std::uint64_t> open;
  };

  struct host final : key_manager::events {
    world* all = nullptr;
    unsigned site = 0;
    unsigned starts = 0;
    std::optional<secret_arena> arena;
    std::unique_ptr<key_manager> manager;  ///< none: down
    std::vector<unsigned> links;           ///< of the world, by link_id
    std::vector<bool> failed;              ///< by link_id: gave its connection up in this call
    std::map<connection_id, door> doors;
    std::vector<std::weak_ptr<wire>> wires;
    std::set<key_stream_id> streams;
    time_point wakes = time_point::max();

    void answer(const caller& c, const open_connect_response& r) override {
      if (r.outcome == status::success || r.outcome == status::peer_not_connected) streams.insert(r.stream);
      reply(c, {r, {}});
    }
    void answer(const caller& c, const get_key_response& r) override {
      simulation::answer a{r, {}};
      std::get<get_key_response>(a.what).key = {};
      if (!r.key.empty()) a.keys.emplace_back(r.key.begin(), r.key.end());
      reply(c, std::move(a));
    }
    void answer(const caller& c, const close_response& r) override { reply(c, {r, {}}); }
    void answer(const caller& c, const get_keys_response& r) override { reply(c, copied(r)); }
    void answer(const caller& c, const wait_peer_response& r) override { reply(c, {r, {}}); }
    void answer(const caller& c, const acknowledge_response& r) override { reply(c, {r, {}}); }
    void deliver(connection_id to, const key_stream_id& id, const get_keys_response& r) override;
    void send(link_id id, peer::message&& m) override { all->send(*this, id, std::move(m)); }
    void link_failed(link_id id, const std::string& why) override {
      if (all->accusation_.empty()) all->accusation_ = world::node(site) + " of its peer: " + why;
      all->time_.say("%s gives a link up: %s", world::node(site).c_str(), why.c_str());
      failed[id] = true;
    }
    void note(std::string_view text) override {
      all->time_.say("%s notes: %s", world::node(site).c_str(), std::string{text}.c_str());
    }
    void reply(const caller& c, simulation::answer a);
    [[nodiscard]] static simulation::answer copied(const get_keys_response& r) {
      simulation::answer a{r, {}};
      auto& kept = std::get<get_keys_response>(a.what);
      kept.keys = {};
      kept.vendor_metadata = {};
      for (const auto& k : r.keys) a.keys.emplace_back(k.key.begin(), k.key.end());
      return a;
    }
  };

  struct link {
    std::array<unsigned, 2> sites{};
    std::array<link_id, 2> ids{};
    std::array<std::unique_ptr<fibre>, 2> fibres;
    std::array<std::shared_ptr<wire>, 2> current;  ///< what each site takes for the connection
    std::array<time_point, 2> taken{};             ///< when each site takes the newest
    time_point parted_until{};
    bool dialing = false;
  };

  [[nodiscard]] unsigned side_of(const link& l, unsigned site) const noexcept {
    return l.sites[0] == site ? 0 : 1;
  }
  void send(host& h, link_id id, peer::message&& m);
  void arrive(host& h, link& l, const std::shared_ptr<wire>& over, peer::message&& m);
  void dial_later(unsigned link_number);
  void connect(link& l);
  void lower(host& h, link& l);
  void run(host& h, const std::function<void(key_manager&)>& call, const key_stream_id* about = nullptr);
  void observe(host& h, const key_stream_id* about);
  void wake(host& h);
  void leave(host& h);

  time_line& time_;
  chance& luck_;
  oracle& judge_;
  const world_options options_;
  std::vector<host> hosts_;
  std::vector<link> links_;
  unsigned lines_ = 0;
  std::uint64_t tickets_ = 0;
  std::string accusation_;
};

// ------------------------------------------------------------------------------------------------- the trace

[[nodiscard]] inline std::string text(const request& r) {
  const std::string id = stream_of(r).to_string().substr(24);
  if (const auto* open = std::get_if<open_connect_request>(&r)) {
    const qos& q = open->quality;
    return "open " + id + " " + open->source + " " + open->destination + " chunk " +
           std::to_string(q.key_chunk_size) + " max " + std::to_string(q.max_bps) + " min " +
           std::to_string(q.min_bps) + " timeout " + std::to_string(q.timeout_ms) + " ttl " +
           std::to_string(q.ttl_s) + (open->no_wait ? " no wait" : "") + (open->strict_once ? " strict" : "");
  }
  if (const auto* get = std::get_if<get_key_request>(&r)) {
    return "get " + id + "[" + std::to_string(get->index) + "]" + (get->no_wait ? " no wait" : "");
  }
  if (const auto* several = std::get_if<get_keys_request>(&r)) {
    return "get keys " + id + "[" + std::to_string(several->first) + "] and on, " +
           std::to_string(several->count) + " of epoch " + std::to_string(several->epoch) + ", has below " +
           std::to_string(several->acknowledge_below) + (several->no_wait ? " no wait" : "");
  }
  if (const auto* have = std::get_if<acknowledge_request>(&r)) {
    return "acknowledge " + id + " below " + std::to_string(have->below) + " of epoch " +
           std::to_string(have->epoch);
  }
  if (const auto* peer = std::get_if<wait_peer_request>(&r)) {
    return "wait for the peer of " + id + " " + std::to_string(peer->timeout_ms) + " ms";
  }
  if (const auto* sub = std::get_if<subscribe_request>(&r)) {
    return "subscribe " + id + "[" + std::to_string(sub->first) + "] and on, credit " +
           std::to_string(sub->credit) + " of epoch " + std::to_string(sub->epoch);
  }
  return "close " + id;
}

[[nodiscard]] inline std::string text(const answer& a) {
  std::string t = std::visit([](const auto& one) { return std::string{to_string(one.outcome)}; }, a.what);
  if (const auto* open = std::get_if<open_connect_response>(&a.what)) {
    t += ", " + open->stream.to_string().substr(24) + " epoch " + std::to_string(open->epoch) + " from " +
         std::to_string(open->lowest_live_index);
  }
  if (const auto* get = std::get_if<get_key_response>(&a.what)) {
    t += ", [" + std::to_string(get->index) + "]";
  }
  if (const auto* several = std::get_if<get_keys_response>(&a.what)) {
    t += ", [" + std::to_string(several->first) + "], " + std::to_string(a.keys.size()) + " keys";
  }
  std::uint64_t d = 0;
  for (const auto& key : a.keys) {
    for (const auto o : key) d = mixed(d ^ std::to_integer<unsigned>(o));
  }
  if (!a.keys.empty()) t += ", " + std::to_string(a.keys[0].size()) + " octets, digest " + std::to_string(d);
  return t;
}

// ------------------------------------------------------------------------------------------------- lines

inline void line::listen(on_answer answered, on_delivery delivered, on_lost lost,
                         std::function<void()> down) {
  answered_ = std::move(answered);
  delivered_ = std::move(delivered);
  lost_ = std::move(lost);
  down_ = std::move(down);
}

inline void line::ask(request r) {
  if (!is_up()) return;
  question q{++world_.tickets_, principal_, at_, number_, std::move(r)};
  world_.judge_.asked(q, world_.time_.now());
  const auto ticket = q.ticket;
  auto arrive = [w = &world_, self = shared_from_this(), ticket, what = q.what] {
    world::host& h = w->hosts_[self->at_.site];
    if (h.starts - 1 != self->at_.start) return;
    for (auto& [id, d] : h.doors) {
      if (d.over != self->wire_) continue;
      const auto* sub = std::get_if<subscribe_request>(&what);
      if (sub == nullptr) d.open.insert(ticket);
      const caller who{id, ticket};
      const auto now = w->time_.now();
      const key_stream_id about = stream_of(what);
      if (sub != nullptr) w->judge_.subscribing(self->at_, self->number_, *sub);
      return w->run(
          h,
          [&](key_manager& m) {
            std::visit(
                [&](const auto& one) {
                  using kind = std::decay_t<decltype(one)>;
                  if constexpr (std::is_same_v<kind, open_connect_request>) m.open_connect(who, one, now);
                  if constexpr (std::is_same_v<kind, get_key_request>) m.get_key(who, one, now);
                  if constexpr (std::is_same_v<kind, close_request>) m.close(who, one, now);
                  if constexpr (std::is_same_v<kind, get_keys_request>) m.get_keys(who, one, now);
                  if constexpr (std::is_same_v<kind, acknowledge_request>) m.acknowledge(who, one, now);
                  if constexpr (std::is_same_v<kind, wait_peer_request>) m.wait_peer(who, one, now);
                  if constexpr (std::is_same_v<kind, subscribe_request>) m.subscribe(who, one, now);
                },
                what);
            if (sub != nullptr) w->judge_.subscribed(self->at_, about);
          },
          &about);
    }
  };
  world_.time_.say("line %u asks %llu: %s", number_, static_cast<unsigned long long>(ticket),
                   text(q.what).c_str());
  if (!std::holds_alternative<subscribe_request>(q.what)) open_.emplace(ticket, std::move(q));
  wire_->send(0, std::move(arrive));
}

inline void line::receive(std::uint64_t ticket, const answer& a) {
  world_.time_.say("line %u hears %llu: %s", number_, static_cast<unsigned long long>(ticket),
                   text(a).c_str());
  world_.judge_.answered(at_, number_, ticket, a, world_.time_.now());
  const auto it = open_.find(ticket);
  if (it == open_.end()) return;
  const question q = std::move(it->second);
  open_.erase(it);
  if (answered_) answered_(q, a);
}

inline void line::receive(const key_stream_id& id, const answer& a, time_point sent) {
  world_.time_.say("line %u is brought of %s: %s", number_, id.to_string().substr(24).c_str(),
                   text(a).c_str());
  world_.judge_.heard(at_, number_, principal_, id, a, sent, world_.time_.now());
  if (delivered_) delivered_(id, a);
}

inline void line::go_down() {
  const auto lost = std::exchange(open_, {});
  for (const auto& [ticket, q] : lost) {
    world_.judge_.lost(ticket);
    if (lost_) lost_(q);
  }
  if (down_) down_();
}

inline void line::close() {
  wire_->close(0);
  go_down();
}

inline std::shared_ptr<line> world::dial(unsigned site, const std::string& principal) {
  host& h = hosts_[site];
  if (!h.manager) return nullptr;
  auto over = std::make_shared<wire>(time_, luck_, options_.line);
  auto made = std::make_shared<line>(*this, ++lines_, running(site), principal, over);
  h.wires.push_back(over);
  time_.say("line %u: %s dials %s", lines_, principal.c_str(), node(site).c_str());
  over->on_down(0, [w = std::weak_ptr{made}] {
    if (const auto l = w.lock()) l->go_down();
  });
  // the site takes it when the first octets arrive
  over->send(0, [this, &h, start = h.starts, over, far = std::weak_ptr{made}, number = lines_, principal] {
    if (h.starts != start || !h.manager) return;
    const connection_id id = h.manager->connect(principal);
    h.doors[id] = {over, far, number, {}};
    over->on_down(1, [this, &h, start, id] {
      if (h.starts != start || !h.manager) return;
      h.doors.erase(id);
      run(h, [&](key_manager& m) { m.disconnect(id, time_.now()); });
    });
  });
  return made;
}

inline void world::host::reply(const caller& c, simulation::answer a) {
  const auto it = doors.find(c.connection);
  if (it == doors.end() || it->second.open.erase(c.ticket) == 0) {
    all->judge_.complain("each call is answered once", world::node(site) + " answers ticket " +
                                                           std::to_string(c.ticket) +
                                                           ", which is not open on that connection");
    return;
  }
  it->second.over->send(1, [far = it->second.far, ticket = c.ticket, a = std::move(a)] {
    if (const auto l = far.lock()) l->receive(ticket, a);
  });
}

inline void world::host::deliver(connection_id to, const key_stream_id& id, const get_keys_response& r) {
  const auto it = doors.find(to);
  if (it == doors.end()) {
    return all->judge_.complain("a subscription is as it was asked for",
                                world::node(site) + " delivers on a connection that is gone");
  }
  const time_point now = all->time_.now();
  all->judge_.delivered(all->running(site), it->second.number, id, r, now);
  it->second.over->send(1, [far = it->second.far, id, a = copied(r), now] {
    if (const auto l = far.lock()) l->receive(id, a, now);
  });
}

// ------------------------------------------------------------------------------------------------- sites

inline world::world(time_line& time, chance& luck, oracle& judge, world_options o)
    : time_{time}, luck_{luck}, judge_{judge}, options_{std::move(o)}, hosts_(options_.sites.size()) {
  for (unsigned a = 0; a < sites(); ++a) {
    for (unsigned b = a + 1; b < sites(); ++b) {
      link l;
      l.sites = {a, b};
      fibre_options f = options_.fibre;
      f.secret = luck_.next();
      for (const unsigned e : {0U, 1U}) {
        l.fibres[e] = std::make_unique<fibre>(f, e);
        l.ids[e] = static_cast<link_id>(hosts_[l.sites[e]].links.size());
        hosts_[l.sites[e]].links.push_back(static_cast<unsigned>(links_.size()));
      }
      links_.push_back(std::move(l));
    }
  }
  for (unsigned s = 0; s < sites(); ++s) {
    hosts_[s].all = this;
    hosts_[s].site = s;
    start(s);
  }
  if (options_.links_up_first) {
    for (auto& l : links_) connect(l);
  }
}

inline void world::start(unsigned site) {
  host& h = hosts_[site];
  if (h.manager) return;
  time_.say("%s starts", node(site).c_str());
  h.starts += 1;
  h.failed.assign(h.links.size(), false);
  h.streams.clear();
  h.wakes = time_point::max();
  key_manager::options o = options_.sites[site];
  o.node = node(site);
  h.arena.emplace(secret_options{std::size_t{64} << 20, true});
  h.manager = std::make_unique<key_manager>(
      std::move(o), *h.arena, [c = chance{luck_.next()}](std::span<std::byte> out) mutable { c.fill(out); },
      h);
  judge_.started(running(site), time_.now());
  for (const unsigned number : h.links) {
    link& l = links_[number];
    const unsigned e = side_of(l, site);
    const std::string name = node(l.sites[0]) + node(l.sites[1]);
    const auto added = h.manager->add_link({name, node(l.sites[1 - e]), {}}, *l.fibres[e]);
    if (!added || *added != l.ids[e]) judge_.complain("the world is set up", "no link " + name);
    dial_later(number);
  }
}

/// What a site that is gone leaves behind.
inline void world::leave(host& h) {
  judge_.died(running(h.site), time_.now());
  h.manager.reset();
  h.doors.clear();
  for (const unsigned number : h.links) {
    link& l = links_[number];
    l.current[side_of(l, h.site)].reset();
    dial_later(number);
  }
  h.wires.clear();
}

inline void world::crash(unsigned site) {
  host& h = hosts_[site];
  if (!h.manager) return;
  time_.say("%s crashes", node(site).c_str());
  for (const auto& weak : h.wires) {
    if (const auto over = weak.lock()) over->vanish(1);
  }
  for (const unsigned number : h.links) {
    const unsigned e = side_of(links_[number], site);
    if (const auto over = links_[number].current[e]) over->vanish(e);
  }
  leave(h);
}

inline void world::stop(unsigned site) {
  host& h = hosts_[site];
  if (!h.manager) return;
  time_.say("%s stops", node(site).c_str());
  h.manager->shutdown(time_.now());
  for (const auto& [id, d] : h.doors) {
    for (const auto ticket : d.open) {
      judge_.complain("each call is answered once",
                      node(site) + " shut down and left ticket " + std::to_string(ticket));
    }
  }
  for (const auto& weak : h.wires) {
    if (const auto over = weak.lock()) over->close(1);
  }
  for (const unsigned number : h.links) {
    const unsigned e = side_of(links_[number], site);
    if (const auto over = links_[number].current[e]) over->close(e);
  }
  leave(h);
}

/// Each call into a key manager goes through here.
inline void world::run(host& h, const std::function<void(key_manager&)>& call, const key_stream_id* about) {
  if (!h.manager) return;
  call(*h.manager);
  observe(h, about);
  for (std::size_t id = 0; id < h.failed.size(); ++id) {
    if (!h.failed[id]) continue;
    h.failed[id] = false;
    link& l = links_[h.links[id]];
    const unsigned e = side_of(l, h.site);
    if (const auto over = std::exchange(l.current[e], nullptr)) over->close(e);
    h.manager->link_down(static_cast<link_id>(id), time_.now());
    dial_later(h.links[id]);
  }
  wake(h);
}

inline void world::observe(host& h, const key_stream_id* about) {
  const auto look = [&](const key_stream_id& id) {
    if (const auto b = h.manager->stream_balance(id)) judge_.balance(running(h.site), id, *b, time_.now());
  };
  if (about != nullptr) return look(*about);
  for (const auto& id : h.streams) look(id);
}

/// Plans the next advance(); timers come late now and then.
inline void world::wake(host& h) {
  const time_point due = h.manager->next_deadline(time_.now());
  if (due == time_point::max()) return;
  const time_point when =
      std::max(due, time_.now() + 1us) + (luck_.one_in(4) ? luck_.between(0us, 1ms) : 0us);
  if (when >= h.wakes) return;
  h.wakes = when;
  time_.at(when, [this, &h, start = h.starts, when] {
    if (h.starts != start || h.wakes != when) return;
    h.wakes = time_point::max();
    run(h, [this](key_manager& m) { m.advance(time_.now()); });
  });
}

// ------------------------------------------------------------------------------------------------- links

inline void world::send(host& h, link_id id, peer::message&& m) {
  link& l = links_[h.links[id]];
  const unsigned e = side_of(l, h.site);
  const auto over = l.current[e];
  if (!over) return;
  host& to = hosts_[l.sites[1 - e]];
  // std::function wants what can be copied
  over->send(e, [this, &to, &l, over, m = std::make_shared<peer::message>(std::move(m))] {
    arrive(to, l, over, std::move(*m));
  });
}

inline void world::arrive(host& h, link& l, const std::shared_ptr<wire>& over, peer::message&& m) {
  const unsigned e = side_of(l, h.site);
  if (!h.manager || l.current[e] != over) return;
  time_.say("%s<-%s message %zu", node(h.site).c_str(), node(l.sites[1 - e]).c_str(), m.index());
  const auto meet = [&](const key_stream_id& id) {
    h.streams.insert(id);
    judge_.ends(id, l.sites[0], l.sites[1]);
  };
  if (const auto* announced = std::get_if<peer::announce>(&m)) meet(announced->stream);
  if (const auto* accepted = std::get_if<peer::accept>(&m)) meet(accepted->stream);
  const bool greets = std::holds_alternative<peer::hello>(m);
  const auto receive = [&](key_manager& k) { k.receive(l.ids[e], std::move(m), time_.now()); };
  if (!greets) return run(h, receive);

  // a new instance of the peer ends all streams with the old one
  std::map<key_stream_id, std::uint64_t> held;
  for (const auto& id : h.streams) {
    if (const auto b = h.manager->stream_balance(id)) held.emplace(id, b->live);
  }
  const std::uint64_t before = h.manager->totals().lost_chunks;
  run(h, receive);
  std::uint64_t gone = 0;
  for (const auto& [id, live] : held) gone += h.manager->stream_balance(id) ? 0 : live;
  judge_.lost_chunks(running(h.site), gone, h.manager->totals().lost_chunks - before);
}

inline void world::lower(host& h, link& l) {
  l.current[side_of(l, h.site)].reset();
  run(h, [&](key_manager& m) { m.link_down(l.ids[side_of(l, h.site)], time_.now()); });
}

inline void world::dial_later(unsigned number) {
  link& l = links_[number];
  if (l.dialing) return;
  l.dialing = true;
  const time_point when = std::max(time_.now(), l.parted_until) + luck_.between(1ms, 200ms);
  time_.at(when, [this, number] {
    link& again = links_[number];
    again.dialing = false;
    const bool whole =
        again.current[0] && again.current[0] == again.current[1] && again.current[0]->is_whole();
    if (whole || !is_running(again.sites[0]) || !is_running(again.sites[1])) return;
    if (time_.now() < again.parted_until) return dial_later(number);
    connect(again);
  });
}

/// Each site takes the new connection in its own time; one that still had the old one lets go of it then.
inline void world::connect(link& l) {
  const auto over = std::make_shared<wire>(time_, luck_, options_.peer_wire);
  const auto number = static_cast<unsigned>(&l - links_.data());
  time_.say("link %s%s: a new connection", node(l.sites[0]).c_str(), node(l.sites[1]).c_str());
  for (const unsigned e : {0U, 1U}) {
    host& h = hosts_[l.sites[e]];
    // of two connections the same is the newer one at both sites
    const time_point when =
        std::max(l.taken[e], time_.now() + luck_.between(0ms, options_.peer_wire.slowest));
    l.taken[e] = when;
    over->not_before(1 - e, when);
    time_.at(when, [this, &h, &l, e, over, number, start = h.starts] {
      if (h.starts != start || !h.manager) return over->vanish(e);
      if (!over->is_up(e)) return dial_later(number);
      if (const auto old = std::exchange(l.current[e], nullptr)) {
        old->close(e);
        run(h, [&](key_manager& m) { m.link_down(l.ids[e], time_.now()); });
      }
      l.current[e] = over;
      over->on_down(e, [this, &h, &l, mine = over.get(), number, start, e] {
        if (h.starts != start || !h.manager || l.current[e].get() != mine) return;
        time_.say("%s loses link %s%s", node(h.site).c_str(), node(l.sites[0]).c_str(),
                  node(l.sites[1]).c_str());
        lower(h, l);
        dial_later(number);
      });
      run(h, [&](key_manager& m) { m.link_up(l.ids[e], time_.now()); });
    });
  }
}

inline void world::cut(unsigned number) {
  link& l = links_[number];
  time_.say("link %s%s breaks", node(l.sites[0]).c_str(), node(l.sites[1]).c_str());
  for (const unsigned e : {0U, 1U}) {
    if (l.current[e]) l.current[e]->cut();
  }
}

inline void world::stall(unsigned number, duration d) {
  link& l = links_[number];
  time_.say("link %s%s stalls", node(l.sites[0]).c_str(), node(l.sites[1]).c_str());
  for (const unsigned e : {0U, 1U}) {
    if (l.current[e]) l.current[e]->stall(d);
  }
}

inline void world::part(unsigned number, duration d) {
  links_[number].parted_until = time_.now() + d;
  cut(number);
}

inline void world::mend() {
  for (unsigned s = 0; s < sites(); ++s) start(s);
  for (unsigned n = 0; n < links(); ++n) {
    links_[n].parted_until = time_point{};
    dial_later(n);
  }
}

}  // namespace simulation
