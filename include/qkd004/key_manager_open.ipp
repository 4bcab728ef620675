// key_manager, part 1: connections, OPEN_CONNECT and CLOSE. Included at the end of key_manager.hpp and nowhere else.
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>

namespace qkd004 {

// ---------------------------------------------------------------------------------------------------- set-up

inline result<link_id> key_manager::add_link(link_options o, key_source& source) {
  if (o.peer.empty() || o.peer == options_.node) return status::invalid_argument;
  for (const auto& l : links_) {
    if (l->options.peer == o.peer) return status::invalid_argument;
  }
  auto l = std::make_unique<link>();
  l->allocates = options_.node < o.peer;
  l->options = std::move(o);
  l->source = &source;
  l->channel = source.channel();
  l->instance = instance_;
  l->rate = link_rate{source.capabilities().rate_bps};
  l->id = static_cast<link_id>(links_.size());
  links_.push_back(std::move(l));
  return links_.back()->id;
}

inline connection_id key_manager::connect(std::string principal) {
  const auto [known, is_new] =
      principal_ids_.emplace(std::move(principal), static_cast<principal_id>(principals_.size()));
  if (is_new) principals_.push_back({known->first, {}});
  connection_id id = 0;
  if (free_connections_.empty()) {
    id = static_cast<connection_id>(connections_.size());
    connections_.emplace_back();
  } else {
    id = free_connections_.back();
    free_connections_.pop_back();
  }
  connections_[id].principal = known->second;
  return id;
}

inline void key_manager::disconnect(connection_id id, time_point now) {
  connection& c = connections_[id];
  for (auto it = waiting_.begin(); c.waiting > 0 && it != waiting_.end();) {
    const auto next = std::next(it);
    if (it->second.who.connection == id) forget(it);
    it = next;
  }
  std::erase_if(asking_, [id](const asking_call& a) { return a.who.connection == id; });
  for (const auto& used : c.used) {
    if (stream* s = find(used)) {
      if (s->subscribed.connection == id) s->subscribed = {};
      std::erase_if(s->users, [id](const user& u) { return u.connection == id; });
    }
  }
  c = connection{};
  free_connections_.push_back(id);
  (void)now;
}

// ---------------------------------------------------------------------------------------------------- routes

inline key_manager::link* key_manager::leads_to(std::string_view uri) {
  const std::string_view node = node_of(uri);
  for (const auto& l : links_) {
    if (node == l->options.peer) return l.get();
  }
  for (const auto& l : links_) {
    if (matches_any(l->options.destinations, uri) || matches_any(l->options.destinations, node))
      return l.get();
  }
  return nullptr;
}

inline result<key_manager::route> key_manager::find_route(std::string_view source,
                                                          std::string_view destination) {
  const std::size_t longest = options_.limits.max_uri;
  if (!is_uri(source, longest) || !is_uri(destination, longest)) return status::invalid_argument;
  const bool from_here = is_local(source);
  if (from_here == is_local(destination)) return status::no_qkd_connection;
  link* l = leads_to(from_here ? destination : source);
  if (l == nullptr) return status::no_qkd_connection;
  return route{l, from_here ? source : destination, from_here ? destination : source};
}

// ---------------------------------------------------------------------------------------------------- OPEN_CONNECT

inline qos_offer key_manager::offer_of(const link& l) const {
  qos_offer offer;
  // the smallest ring has two slots, each with a header (key_ring)
  const std::uint64_t fits = std::min(options_.limits.ring_bytes, arena_.limit()) / 2 - secret_arena::granule;
  offer.max_chunk = static_cast<std::uint32_t>(
      std::min<std::uint64_t>({options_.limits.max_chunk, fits, options_.limits.pool_bytes}));
  offer.link_bps = l.source->capabilities().rate_bps;
  if (l.rate.bps() != 0) {
    const std::uint64_t share = share_of(l);
    offer.promisable_bps = share > l.promised_bps ? share - l.promised_bps : 0;
  }
  if (l.source_ended) offer.promisable_bps = 0;
  offer.jitter_floor = static_cast<std::uint32_t>(std::min<std::uint64_t>(
      std::max<std::uint64_t>(l.source->capabilities().jitter_bps, l.rate.deviation()), 0xffff'ffff));
  return offer;
}

/// Asks the peer for what is missing of its half, for all that wait for it. Clause: D6.
inline void key_manager::ask_peer(link& l) {
  std::uint64_t needed = l.promised_bps;
  for (asking_call& a : asking_) {
    if (a.via != l.id) continue;
    needed += a.request.quality.min_bps;
    a.serial = l.borrow_serial + 1;
  }
  const std::uint64_t half = half_of(l);
  const std::uint64_t own = less_lent(l, half);
  l.asked_bps = std::min(needed > own ? needed - own : 0, half);
  l.asking = true;
  ++l.borrow_serial;
  if (l.at == stage::ready) send(l, peer::borrow{l.borrow_serial, l.asked_bps});
}

/// The peer has said what it lends, or never will: those who waited for that answer, or an earlier one, get what there
/// is.
inline void key_manager::answer_asking(link& l, std::uint64_t serial, time_point now) {
  std::list<asking_call> settled;
  for (auto it = asking_.begin(); it != asking_.end();) {
    const auto next = std::next(it);
    if (it->via == l.id && it->serial <= serial) settled.splice(settled.end(), asking_, it);
    it = next;
  }
  for (const asking_call& a : settled) open_connect(a.who, a.request, now, a.deadline);
  give_back(l);
}

/// What was lent and is not promised to anybody goes back to the peer.
inline void key_manager::give_back(link& l) {
  if (l.asking || l.borrowed_bps == 0) return;
  const std::uint64_t own = less_lent(l, half_of(l));
  const std::uint64_t needed = l.promised_bps > own ? l.promised_bps - own : 0;
  if (needed >= l.borrowed_bps) return;
  l.borrowed_bps = l.asked_bps = needed;
  if (l.at == stage::ready) send(l, peer::borrow{++l.borrow_serial, needed});
}

inline void key_manager::promise(stream& s, bool here) {
  link& l = link_of(s);
  s.registered_here = here;
  s.promises = true;
  (here ? l.promised_bps : l.promised_there_bps) += s.quality.min_bps;
}

inline void key_manager::release_promise(stream& s) {
  if (!std::exchange(s.promises, false)) return;
  link& l = link_of(s);
  (s.registered_here ? l.promised_bps : l.promised_there_bps) -= s.quality.min_bps;
  l.promised_to.erase(s.serial);
  if (s.registered_here) give_back(l);
}

inline key_ring::options key_manager::ring_shape(const qos& q) const {
  key_ring::options shape{q.key_chunk_size, std::bit_floor(std::max(options_.limits.ring_chunks, 2U)),
                          std::chrono::seconds{q.ttl_s}};
  while (shape.capacity > 2 && key_ring::bytes_needed(shape) > options_.limits.ring_bytes)
    shape.capacity /= 2;
  return shape;
}

/// Octets of the arena that are not for this link's rings and surplus of key: what each link needs for key on its way
/// to a stream, or no stream gets any, and once it has a ring the others' share for rings, a quarter of the arena among
/// all, or one neighbour with many streams, or one that confirms nothing, leaves nobody else a stream.
inline std::uint64_t key_manager::kept_from(const link& mine) const {
  const std::uint64_t for_key = 2 * options_.limits.pool_bytes;
  const std::uint64_t for_rings = arena_.limit() / 4 / links_.size();
  std::uint64_t kept = 0;
  for (const auto& l : links_) {
    kept += for_key - std::min(for_key, l->pool.end() - l->pool.begin());
    if (l.get() != &mine && mine.ring_octets != 0) kept += for_rings - std::min(for_rings, l->ring_octets);
  }
  return kept;
}

inline result<void> key_manager::make_ring(stream& s) {
  if (scratch_.size() < s.quality.key_chunk_size) {
    auto scratch = arena_.allocate(s.quality.key_chunk_size);
    if (!scratch) return scratch.error();
    scratch_ = std::move(*scratch);
  }
  link& l = link_of(s);
  const auto shape = ring_shape(s.quality);
  const std::size_t size = key_ring::bytes_needed(shape);
  if (arena_.used() + size + kept_from(l) > arena_.limit()) return status::resource_limit;
  auto ring = key_ring::make(shape, arena_);
  if (!ring) return ring.error();
  l.ring_octets += size;
  s.ring = std::move(*ring);
  s.ring->set_epoch(s.epoch);
  s.window = s.ring->shape().capacity;
  return {};
}

inline key_manager::stream& key_manager::add_stream(const key_stream_id& id, link& l, time_point now) {
  auto owned = std::make_unique<stream>();
  stream& s = *owned;
  s.id = id;
  s.serial = next_serial_++;
  s.via = l.id;
  s.asked = now;
  s.tokens_at = now;
  s.owed_at = now;
  streams_.emplace(id, std::move(owned));
  by_serial_.emplace(s.serial, &s);
  if (streams_.size() == 1) next_sweep_ = now + sweep_interval;
  return s;
}

inline void key_manager::open_connect(caller who, const open_connect_request& request, time_point now) {
  open_connect(who, request, now, std::nullopt);
}

inline void key_manager::open_connect(caller who, const open_connect_request& request, time_point now,
                                      due_at due) {
  if (down_) return refuse_open(who, request, status::shutting_down);
  const auto r = find_route(request.source, request.destination);
  if (!r) return refuse_open(who, request, to_status(r.error()));
  if (options_.may_open && !options_.may_open(principal_of(who.connection).name, r->local, r->remote)) {
    return refuse_open(who, request, status::not_authorized);
  }
  if (request.quality.metadata_mimetype.size() > 255)
    return refuse_open(who, request, status::invalid_argument);

  if (retired_.contains(request.stream)) return refuse_open(who, request, status::ksid_in_use);
  stream* s = find(request.stream);
  if (s == nullptr) return register_first(*r, who, request, now, due);
  if (!same_ends(*s, request.source, request.destination))
    return refuse_open(who, request, status::ksid_in_use);
  // whoever relies on R8 is not given a stream that keeps what it handed out
  if (request.strict_once && !s->strict_once) return refuse_open(who, request, status::ksid_in_use);
  if (s->open) return resume(*s, who, request, now);

  give_to(*s, who);
  s->ends = time_point::max();
  s->asked = now;
  s->ring->set_epoch(s->epoch);
  note_user(*s, who);
  if (link_of(*s).at == stage::ready && !s->peer_closed) announce(*s);
  answer_open(who, *s, s->peer_open || s->peer_closed ? status::success : status::peer_not_connected);
  ask_for_more(*s, now);
}

/// The KSID is open on this side already. Clause: D8, R3.
inline void key_manager::resume(stream& s, caller who, const open_connect_request& request, time_point now) {
  const principal_id principal = connections_[who.connection].principal;
  const bool others = std::any_of(s.users.begin(), s.users.end(),
                                  [&](const user& u) { return u.connection != who.connection; });
  if (principal != s.owner || (principal == anonymous && others)) {
    return refuse_open(who, request, status::ksid_in_use);
  }
  s.epoch += 1;
  s.ring->set_epoch(s.epoch);
  end_subscription(s, status::not_authorized);
  // R3: what a connection of before waits for is not given to it any more
  const auto waiting = s.waiting;
  for (const auto it : waiting) {
    if (it->second.who.connection == who.connection) continue;
    const waiting_call c = it->second;
    forget(it);
    fail_waiting(c, s, status::not_authorized, status::not_authorized);
  }
  note_user(s, who);
  answer_open(who, s, s.peer_open ? status::success : status::peer_not_connected);
  ask_for_more(s, now);
}

inline void key_manager::register_first(const route& r, caller who, const open_connect_request& request,
                                        time_point now, due_at due) {
  link& l = *r.via;
  if (streams_.size() >= options_.limits.max_streams ||
      streams_.size() + retired_.size() >= options_.limits.max_retired) {
    return refuse_open(who, request, status::resource_limit);
  }
  const qos_offer offer = offer_of(l);
  negotiation n = negotiate(request.quality, offer);
  if (n.outcome != status::success && !due && l.version >= 2 && asking_.size() < max_asking) {
    // D6: is it only what can be promised that is wanting? The peer alone knows how much of its half is free; while
    // it cannot be asked, it is not waited for in vain.
    const std::uint64_t rate = l.rate.bps();
    const std::uint64_t wanted = request.quality.min_bps;
    qos_offer all = offer;
    all.promisable_bps = std::max(offer.promisable_bps, wanted);
    const bool may_be = l.at == stage::ready || l.promised_bps + wanted <= rate;
    if (rate != 0 && wanted > offer.promisable_bps && may_be && !l.source_ended &&
        negotiate(request.quality, all).outcome == status::success) {
      const std::uint32_t timeout =
          request.quality.timeout_ms == 0 ? qos_defaults::timeout_ms : request.quality.timeout_ms;
      asking_.push_back({who, request, l.id, now + std::chrono::milliseconds{timeout}});
      // one at a time, or whoever opens faster than the peer answers keeps all others waiting
      if (!l.asking) ask_peer(l);
      return;
    }
  }
  if (n.outcome != status::success) {
    open_connect_response counter;
    counter.outcome = n.outcome;
    counter.quality = std::move(n.granted);
    counter.stream = request.stream;
    return out_.answer(who, counter);
  }
  key_stream_id id = request.stream;
  while (id.is_null() || (request.stream.is_null() && (find(id) != nullptr || retired_.contains(id)))) {
    std::array<std::byte, key_stream_id::size> octets{};
    random_(octets);
    id = key_stream_id::from_random(octets);
  }

  stream& s = add_stream(id, l, now);
  s.source = request.source;
  s.destination = request.destination;
  s.quality = std::move(n.granted);
  s.strict_once = request.strict_once;
  give_to(s, who);
  if (const auto made = make_ring(s); !made) {
    remove(s, ending::withdrawn, status::resource_limit);
    return refuse_open(who, request, status::resource_limit);
  }
  promise(s, true);
  note_user(s, who);
  if (l.at == stage::ready) announce(s);

  // D8: a NULL KSID is needed at once; whoever names one waits for the other end, unless it says otherwise
  if (request.stream.is_null() || request.no_wait) return answer_open(who, s, status::peer_not_connected);
  if (waiting_.size() >= options_.limits.max_waiting) return answer_open(who, s, status::peer_not_connected);
  wait(s, {who, id, opening{}}, due.value_or(now + std::chrono::milliseconds{s.quality.timeout_ms}));
}

inline void key_manager::answer_open(caller who, const stream& s, status outcome) {
  open_connect_response r;
  r.outcome = outcome;
  r.quality = s.quality;
  r.stream = s.id;
  r.epoch = s.epoch;
  r.lowest_live_index = s.ring->lowest_live();
  out_.answer(who, r);
}

/// This side of the stream is the caller's from now on. Clause: R3.
inline void key_manager::give_to(stream& s, caller who) {
  s.open = true;
  s.owner = connections_[who.connection].principal;
  s.epoch = 1;
  principals_[s.owner].open.emplace(s.serial, &s);
}

/// The connection has used the stream in its present epoch.
inline void key_manager::note_user(stream& s, caller who) {
  for (user& u : s.users) {
    if (u.connection == who.connection) {
      u.epoch = s.epoch;
      return;
    }
  }
  s.users.push_back({who.connection, s.epoch});
  connections_[who.connection].used.push_back(s.id);
}

inline void key_manager::peer_opened(stream& s) {
  if (s.peer_open) return;
  s.peer_open = true;
  const auto waiting = s.waiting;
  for (const auto it : waiting) {
    if (it->second.wants_key()) continue;
    const waiting_call c = it->second;
    forget(it);
    if (std::holds_alternative<opening>(c.what)) {
      answer_open(c.who, s, status::success);
    } else {
      out_.answer(c.who, wait_peer_response{status::success});
    }
  }
}

// ---------------------------------------------------------------------------------------------------- CLOSE

inline void key_manager::close(caller who, const close_request& request, time_point now) {
  close_response r;
  stream* s = down_ ? nullptr : find(request.stream);
  r.outcome = down_ ? status::shutting_down : admit(s, who);
  if (r.outcome == status::success) {
    remove(*s, ending::closed, status::unknown_key_stream);
  } else if (r.outcome == status::unknown_key_stream) {
    const auto gone = retired_.find(request.stream);
    if (gone != retired_.end() && gone->second == connections_[who.connection].principal) {
      r.outcome = status::success;  // D16: idempotent for the owner
    }
  }
  out_.answer(who, r);
  (void)now;
}

/// Ends the stream on this side: whoever waits is told, what the ring holds is destroyed.
inline void key_manager::remove(stream& s, ending how, status tell) {
  link& l = link_of(s);
  answer_waiting(s, tell);
  end_subscription(s, tell);
  if (s.ring) {
    // R5: for a reader that cannot acknowledge, CLOSE does
    if (how == ending::closed && !s.acknowledges) s.ring->acknowledge_below(s.ring->published());
    const std::uint64_t discarded = s.ring->close(tell);
    l.ring_octets -= key_ring::bytes_needed(s.ring->shape());
    if (how == ending::lost) totals_.lost_chunks += discarded;
    const balance all = s.ring->tally();
    totals_.bound_chunks += all.bound;
    totals_.acknowledged_chunks += all.acknowledged;
    totals_.expired_chunks += all.expired;
    totals_.discarded_chunks += all.discarded;
    l.counted.bound += all.bound;
    l.counted.expired += all.expired;
    l.counted.discarded += all.discarded;
  }
  release_promise(s);
  l.schedule.erase({s.turn, s.serial});
  std::erase_if(l.throttled, [&](const auto& t) { return t.second == s.id; });
  attached_.erase(s.id);
  unmarked_.erase(s.id);
  if (how != ending::withdrawn) retired_.emplace(s.id, s.owner);
  if (how == ending::closed && !s.peer_closed) {
    l.closing.insert(s.id);
    if (l.at == stage::ready) send(l, peer::close{s.id});
  }
  by_serial_.erase(s.serial);
  principals_[s.owner].open.erase(s.serial);
  for (const user& u : s.users) std::erase(connections_[u.connection].used, s.id);
  const key_stream_id id = s.id;
  streams_.erase(id);
}

/// The peer's application has closed: what was allocated stays readable here. Clause: D16.
inline void key_manager::end_peer(stream& s, time_point now) {
  if (!s.peer_closed) {
    // after a reconnection the bindings that came before the CLOSE come again, and are all there are
    const link& l = link_of(s);
    s.last_bound = l.deferred.empty() ? l.bound : l.deferred.back().position + l.deferred.back().length;
  }
  s.peer_closed = true;
  s.peer_open = false;
  release_promise(s);  // nothing more is allocated
  const auto waiting = s.waiting;
  for (const auto it : waiting) {
    const waiting_call c = it->second;
    if (!std::holds_alternative<wait_peer_request>(c.what)) continue;
    forget(it);
    out_.answer(c.who, wait_peer_response{status::get_key_peer_not_connected});
  }
  if (!s.open) s.ends = now + std::chrono::seconds{s.quality.ttl_s};
  finish_if_drained(s, now);
}

/// Once the peer has closed and no binding is under way, nothing will be published any more.
inline void key_manager::finish_if_drained(stream& s, time_point now) {
  if (!s.peer_closed) return;
  const link& l = link_of(s);
  for (const auto& b : l.outstanding) {
    if (b.bind.stream == s.id) return;
  }
  if (!l.allocates && l.bound < s.last_bound) return;
  s.ring->finish(status::get_key_peer_not_connected);
  serve_waiting(s, now);
}

}  // namespace qkd004
