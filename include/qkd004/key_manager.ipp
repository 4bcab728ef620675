// The definitions of key_manager, included at the end of key_manager.hpp and nowhere else.
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <limits>

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
  l->id = static_cast<link_id>(links_.size());
  links_.push_back(std::move(l));
  return links_.back()->id;
}

inline connection_id key_manager::connect(std::string principal) {
  const auto known = principals_.emplace(std::move(principal), static_cast<principal_id>(principals_.size()));
  connection_id id = 0;
  if (free_connections_.empty()) {
    id = static_cast<connection_id>(connections_.size());
    connections_.emplace_back();
  } else {
    id = free_connections_.back();
    free_connections_.pop_back();
  }
  connections_[id].principal = known.first->second;
  return id;
}

inline void key_manager::disconnect(connection_id id, time_point now) {
  connection& c = connections_[id];
  for (auto it = waiting_.begin(); c.waiting > 0 && it != waiting_.end();) {
    const auto next = std::next(it);
    if (it->second.who.connection == id) forget(it);
    it = next;
  }
  for (const auto& used : c.used) {
    if (stream* s = find(used)) {
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
  const auto& source = l.source->capabilities();
  qos_offer offer;
  // the smallest ring has two slots, each with a header (key_ring)
  const std::uint64_t fits = std::min(options_.limits.ring_bytes, arena_.limit()) / 2 - secret_arena::granule;
  offer.max_chunk = static_cast<std::uint32_t>(
      std::min<std::uint64_t>({options_.limits.max_chunk, fits, options_.limits.pool_bytes}));
  offer.link_bps = source.rate_bps;
  if (source.rate_bps != 0) {
    // D6: without asking the peer, each site may promise half of the link
    const std::uint64_t half = source.rate_bps / 2;
    offer.promisable_bps = half > l.promised_bps ? half - l.promised_bps : 0;
  }
  offer.jitter_floor = source.jitter_bps;
  return offer;
}

inline key_ring::options key_manager::ring_shape(const qos& q) const {
  key_ring::options shape{q.key_chunk_size, std::bit_floor(std::max(options_.limits.ring_chunks, 2U)),
                          std::chrono::seconds{q.ttl_s}};
  while (shape.capacity > 2 && key_ring::bytes_needed(shape) > options_.limits.ring_bytes)
    shape.capacity /= 2;
  return shape;
}

inline result<void> key_manager::make_ring(stream& s) {
  if (scratch_.size() < s.quality.key_chunk_size) {
    auto scratch = arena_.allocate(s.quality.key_chunk_size);
    if (!scratch) return scratch.error();
    scratch_ = std::move(*scratch);
  }
  // what links need for key on its way to a stream must not go to rings, or no stream gets any
  const auto shape = ring_shape(s.quality);
  std::uint64_t reserved = links_.size() * 2 * options_.limits.pool_bytes;
  for (const auto& l : links_) reserved -= std::min(reserved, l->pool.end() - l->pool.begin());
  if (arena_.used() + key_ring::bytes_needed(shape) + reserved > arena_.limit())
    return status::resource_limit;
  auto ring = key_ring::make(shape, arena_);
  if (!ring) return ring.error();
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
  if (down_) return refuse_open(who, request, status::shutting_down);
  const auto r = find_route(request.source, request.destination);
  if (!r) return refuse_open(who, request, to_status(r.error()));
  const auto& principal = connections_[who.connection].principal;
  if (options_.may_open) {
    const auto name = std::find_if(principals_.begin(), principals_.end(),
                                   [&](const auto& p) { return p.second == principal; });
    if (!options_.may_open(name->first, r->local, r->remote))
      return refuse_open(who, request, status::not_authorized);
  }
  if (request.quality.metadata_mimetype.size() > 255)
    return refuse_open(who, request, status::invalid_argument);

  if (retired_.contains(request.stream)) return refuse_open(who, request, status::ksid_in_use);
  stream* s = find(request.stream);
  if (s == nullptr) return register_first(*r, who, request, now);
  if (!same_ends(*s, request.source, request.destination))
    return refuse_open(who, request, status::ksid_in_use);
  if (s->open) return resume(*s, who, now);

  s->open = true;
  s->ends = time_point::max();
  s->owner = principal;
  s->epoch = 1;
  s->asked = now;
  s->ring->set_epoch(s->epoch);
  note_user(*s, who);
  if (link_of(*s).at == stage::ready && !s->peer_closed) announce(*s);
  answer_open(who, *s, s->peer_open || s->peer_closed ? status::success : status::peer_not_connected);
  ask_for_more(*s, now);
}

/// The KSID is open on this side already. Clause: D8, R3.
inline void key_manager::resume(stream& s, caller who, time_point now) {
  const principal_id principal = connections_[who.connection].principal;
  const bool others = std::any_of(s.users.begin(), s.users.end(),
                                  [&](const user& u) { return u.connection != who.connection; });
  if (principal != s.owner || (principal == anonymous && others)) {
    open_connect_request r;
    r.stream = s.id;
    r.quality = s.quality;
    return refuse_open(who, r, status::ksid_in_use);
  }
  s.epoch += 1;
  s.ring->set_epoch(s.epoch);
  note_user(s, who);
  answer_open(who, s, s.peer_open ? status::success : status::peer_not_connected);
  ask_for_more(s, now);
}

inline void key_manager::register_first(route r, caller who, const open_connect_request& request,
                                        time_point now) {
  link& l = *r.via;
  if (streams_.size() >= options_.limits.max_streams ||
      streams_.size() + retired_.size() >= options_.limits.max_retired) {
    return refuse_open(who, request, status::resource_limit);
  }
  negotiation n = negotiate(request.quality, offer_of(l));
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
  s.open = true;
  s.owner = connections_[who.connection].principal;
  s.epoch = 1;
  if (const auto made = make_ring(s); !made) {
    remove(s, ending::withdrawn, status::resource_limit);
    return refuse_open(who, request, status::resource_limit);
  }
  s.registered_here = true;
  l.promised_bps += s.quality.min_bps;
  note_user(s, who);
  if (l.at == stage::ready) announce(s);

  // D8: a NULL KSID is needed at once; whoever names one waits for the other end, unless it says otherwise
  if (request.stream.is_null() || request.no_wait) return answer_open(who, s, status::peer_not_connected);
  if (waiting_.size() >= options_.limits.max_waiting) return answer_open(who, s, status::peer_not_connected);
  wait(s, {who, id, std::nullopt}, now + std::chrono::milliseconds{s.quality.timeout_ms});
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
    if (it->second.get_key) continue;
    answer_open(it->second.who, s, status::success);
    forget(it);
  }
}

// ---------------------------------------------------------------------------------------------------- GET_KEY

/// Whether the caller may use the stream: success, unknown_key_stream (also for a stream of somebody else), or
/// not_authorized when a newer OPEN_CONNECT fenced its connection off. Clause: R3, R4, D7.
inline status key_manager::admit(stream* s, caller who) {
  if (s == nullptr || !s->open || connections_[who.connection].principal != s->owner) {
    return status::unknown_key_stream;
  }
  for (const user& u : s->users) {
    if (u.connection == who.connection) {
      return u.epoch == s->epoch ? status::success : status::not_authorized;
    }
  }
  note_user(*s, who);
  return status::success;
}

inline void key_manager::get_key(caller who, const get_key_request& request, time_point now) {
  stream* s = down_ ? nullptr : find(request.stream);
  if (const status may = admit(s, who); may != status::success) {
    get_key_response r;
    r.outcome = down_ ? status::shutting_down : may;
    return out_.answer(who, r);
  }
  s->asked = now;
  if (request.index > last_index) return answer_get_key(who, *s, status::stream_exhausted);
  if (options_.insist_on_peer && !s->peer_open && !s->peer_closed) {
    return answer_get_key(who, *s, status::get_key_peer_not_connected);
  }
  // D14: enough is what will still be enough later, whatever the age is by then
  if (!s->quality.metadata_mimetype.empty() && request.metadata_size != 0 &&
      request.metadata_size < metadata_json_size) {
    return answer_get_key(who, *s, status::metadata_size_insufficient);
  }
  // R5: a plain client acknowledges index - window by asking for index, also when it is not there yet: out of order
  // the last ones served would fill the ring otherwise
  const std::uint64_t behind = s->window / 2;
  const bool freed = !s->strict_once && request.index >= behind &&
                     request.index < s->ring->published() + behind &&
                     s->ring->acknowledge_below(request.index - behind + 1) > 0;
  if (try_get_key(*s, who, request, now)) return;
  if (freed) released(*s, now);

  if (request.no_wait) {
    answer_get_key(who, *s, status::insufficient_key);
    return ask_for_more(*s, now);
  }
  // R5: no more of a stream in flight than its acknowledgement window
  if (waiting_.size() >= options_.limits.max_waiting || s->waiting.size() >= s->window) {
    return answer_get_key(who, *s, status::resource_limit);
  }
  wait(*s, {who, request.stream, request}, now + std::chrono::milliseconds{s->quality.timeout_ms});
  ask_for_more(*s, now);
}

/// Returns whether the call was answered: false means that the key is not there yet.
inline bool key_manager::try_get_key(stream& s, caller who, const get_key_request& request, time_point now) {
  get_key_response r;
  time_point since;
  if (s.strict_once) {
    const auto out = scratch_.span().first(s.quality.key_chunk_size);
    const auto taken = s.ring->take(request.index, out, now);
    r.outcome = taken.outcome;
    r.key = out;
    since = taken.since;
    if (taken.outcome == status::index_not_available) totals_.burned_chunks += 1;
  } else {
    const auto served = s.ring->serve(request.index, now);
    r.outcome = served.outcome;
    r.key = served.key;
    since = served.since;
  }
  if (r.outcome == status::insufficient_key) return false;
  if (r.outcome != status::success) {
    answer_get_key(who, s, r.outcome);
    released(s, now);  // what was asked for may have expired just now
    return true;
  }

  r.index = request.index;
  r.has_metadata = request.metadata_size != 0 && !s.quality.metadata_mimetype.empty();
  if (r.has_metadata) {
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - since).count();
    r.metadata.age_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(age, 0, 0xffff'ffff));
    r.metadata.hops = link_of(s).source->capabilities().hops;
  }
  totals_.delivered += 1;
  out_.answer(who, r);
  if (s.strict_once) {
    wipe(scratch_.data(), s.quality.key_chunk_size);
  } else if (s.attached) {
    s.ring->acknowledge_below(request.index + 1);  // R5: in process, returning the key is the acknowledgement
  } else if (const std::uint64_t window = s.window / 2; request.index >= window) {
    s.ring->acknowledge_below(request.index - window + 1);  // R5: also for a call that waited
  }
  released(s, now);
  return true;
}

inline void key_manager::serve_waiting(stream& s, time_point now) {
  if (s.waiting.empty()) return;
  const auto waiting = s.waiting;
  for (const auto it : waiting) {
    const waiting_call& c = it->second;
    if (c.get_key && try_get_key(s, c.who, *c.get_key, now)) forget(it);
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
  if (s.ring) {
    const std::uint64_t discarded = s.ring->close(tell);
    if (how == ending::lost) totals_.lost_chunks += discarded;
  }
  if (s.registered_here) l.promised_bps -= s.quality.min_bps;
  if (s.promised_there) l.promised_there_bps -= s.quality.min_bps;
  l.schedule.erase({s.turn, s.serial});
  l.promised_to.erase(s.serial);
  std::erase_if(l.throttled, [&](const auto& t) { return t.second == s.id; });
  attached_.erase(s.id);
  unmarked_.erase(s.id);
  if (how != ending::withdrawn) retired_.emplace(s.id, s.owner);
  if (how == ending::closed && !s.peer_closed) {
    l.closing.insert(s.id);
    if (l.at == stage::ready) send(l, peer::close{s.id});
  }
  by_serial_.erase(s.serial);
  for (const user& u : s.users) std::erase(connections_[u.connection].used, s.id);
  const key_stream_id id = s.id;
  streams_.erase(id);
}

/// The peer's application has closed: what was allocated stays readable here. Clause: D16.
inline void key_manager::end_peer(stream& s, time_point now) {
  s.peer_closed = true;
  s.peer_open = false;
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
  for (const auto& b : l.deferred) {
    if (b.stream == s.id) return;
  }
  s.ring->finish(status::get_key_peer_not_connected);
  serve_waiting(s, now);
}

// ---------------------------------------------------------------------------------------------------- waiting

inline void key_manager::wait(stream& s, waiting_call c, time_point deadline) {
  connections_[c.who.connection].waiting += 1;
  s.waiting.push_back(waiting_.emplace(deadline, std::move(c)));
}

inline void key_manager::forget(waiting_map::iterator it) {
  connections_[it->second.who.connection].waiting -= 1;
  if (stream* s = find(it->second.stream)) std::erase(s->waiting, it);
  waiting_.erase(it);
}

inline void key_manager::answer_waiting(stream& s, status outcome) {
  const auto waiting = std::move(s.waiting);
  s.waiting.clear();
  for (const auto it : waiting) {
    const waiting_call c = it->second;
    connections_[c.who.connection].waiting -= 1;
    waiting_.erase(it);
    if (c.get_key) {
      answer_get_key(c.who, s, outcome);
    } else {
      open_connect_request r;
      r.stream = s.id;
      r.quality = s.quality;
      refuse_open(c.who, r, outcome);
    }
  }
}

/// Clause: D8 (the registration stays: status 1), D11 (status 6).
inline void key_manager::answer_timed_out(const waiting_call& c) {
  stream& s = *find(c.stream);
  if (c.get_key) {
    answer_get_key(c.who, s, status::timeout);
  } else {
    answer_open(c.who, s, status::peer_not_connected);
  }
}

// ---------------------------------------------------------------------------------------------------- links

inline void key_manager::link_up(link_id id, time_point now) {
  link& l = *links_[id];
  if (down_) return out_.link_failed(id, "shutting down");
  if (l.at != stage::down) link_down(id, now);
  l.at = stage::greeting;
  l.greeted_position = l.source->position();
  peer::hello m;
  m.node = options_.node;
  m.link = l.options.name;
  m.instance = instance_;
  if (l.has_session) m.remembers = l.peer_instance;
  m.source_kind = l.source->capabilities().kind;
  m.position = l.greeted_position;
  send(l, std::move(m));
}

inline void key_manager::link_down(link_id id, time_point) {
  link& l = *links_[id];
  if (l.at == stage::down) return;
  if (l.at == stage::ready) out_.note("link " + l.options.name + " to " + l.options.peer + " is down");
  l.at = stage::down;
  l.deferred.clear();  // the allocator sends them again
}

inline void key_manager::receive(link_id id, peer::message&& message, time_point now) {
  link& l = *links_[id];
  if (l.at == stage::down) return;
  const bool first = std::holds_alternative<peer::hello>(message);
  const bool second = std::holds_alternative<peer::start>(message);
  const bool last = std::holds_alternative<peer::fault>(message);
  if (!last && (first != (l.at == stage::greeting) || second != (l.at == stage::starting))) {
    return fail(l, "the peer sent a message out of turn");
  }
  std::visit([&](auto&& m) { on(l, std::forward<decltype(m)>(m), now); }, std::move(message));
}

inline void key_manager::on(link& l, peer::hello&& m, time_point now) {
  const auto refuse = [&](std::string why) {
    send(l, peer::fault{status::invalid_argument, why});
    fail(l, why);
  };
  if (m.version == 0) return refuse("no common version of the peer protocol");
  if (m.node != l.options.peer) return refuse("the peer calls itself " + m.node + ", not " + l.options.peer);
  if (m.link != l.options.name)
    return refuse("the peer calls the link " + m.link + ", not " + l.options.name);
  if (m.source_kind != l.source->capabilities().kind) {
    return refuse("the peer's key source is of kind " + m.source_kind + ", this one of kind " +
                  l.source->capabilities().kind);
  }
  if (m.instance == instance_) return refuse("the peer has the same instance id");

  const bool goes_on = l.has_session && l.peer_instance == m.instance && m.remembers == instance_;
  if (l.broken && l.peer_instance == m.instance) {
    return refuse("the protocol was broken; one of the two sites must be restarted");
  }
  if (!goes_on) {
    reset_session(l, m.instance);
    key_source_session session;
    session.link = l.options.name;
    session.lower = l.allocates ? instance_ : m.instance;
    session.higher = l.allocates ? m.instance : instance_;
    session.first_block = std::max(l.greeted_position, m.position);
    const auto check = l.source->start(session, now);
    if (!check) return refuse("the key source did not start: " + check.error().message());
    l.check = *check;
    l.has_session = true;
  }
  l.at = stage::starting;
  send(l, peer::start{l.check});
}

inline void key_manager::on(link& l, const peer::start& m, time_point now) {
  if (!equal_in_constant_time(m.check, l.check)) {
    l.has_session = false;
    const std::string why = "the key sources of the two ends are not in step (another secret, file or rate?)";
    send(l, peer::fault{status::invalid_argument, why});
    return fail(l, why);
  }
  become_ready(l, now);
}

/// Whatever was agreed with another instance of the peer is void: its streams end, its key is destroyed and counted.
inline void key_manager::reset_session(link& l, const instance_id& peer_instance) {
  std::vector<stream*> gone;
  for (const auto& [serial, s] : by_serial_) {
    if (s->via == l.id && s->settled) gone.push_back(s);
  }
  for (stream* s : gone) remove(*s, ending::lost, status::unknown_key_stream);
  totals_.lost_octets += l.pool.end() - l.pool.begin();
  if (!gone.empty()) {
    out_.note("link " + l.options.name + ": the peer restarted; " + std::to_string(gone.size()) +
              " key streams ended, their key is destroyed");
  }
  l.pool.clear();
  l.bound = 0;
  l.outstanding.clear();
  l.deferred.clear();
  l.recent.clear();
  l.closing.clear();
  l.source_ended = false;
  l.has_session = false;
  l.broken = false;
  l.peer_instance = peer_instance;
}

inline void key_manager::become_ready(link& l, time_point now) {
  l.at = stage::ready;
  totals_.sessions += 1;
  out_.note("link " + l.options.name + " to " + l.options.peer + " is up");
  for (const auto& [serial, s] : by_serial_) {
    if (s->via == l.id && !s->peer_closed) announce(*s);
  }
  for (const auto& b : l.outstanding) send(l, b.bind);
  for (const auto& id : l.closing) send(l, peer::close{id});  // after the bindings that came before the CLOSE
  for (const auto& [serial, s] : by_serial_) {
    if (s->via != l.id || !s->settled) continue;
    if (l.allocates) {
      enqueue(l, *s);
    } else {
      s->marked_low = s->ring->lowest_used();
      s->wanted = !s->waiting.empty();
      send(l, peer::mark{s->id, s->marked_low, s->wanted});
    }
  }
  refill(l, 0, now);
  allocate(l, now);
}

inline void key_manager::announce(const stream& s) {
  link& l = link_of(s);
  peer::announce m;
  m.stream = s.id;
  m.serial = s.serial;
  m.source = s.source;
  m.destination = s.destination;
  m.quality = s.quality;
  m.window = s.ring->shape().capacity;
  m.opened = s.open;
  m.strict_once = s.strict_once;
  send(l, std::move(m));
}

inline void key_manager::on(link& l, const peer::announce& m, time_point now) {
  const auto refuse = [&](status why) { send(l, peer::refuse{m.stream, m.serial, why}); };
  if (m.stream.is_null() || m.window < 2 || !is_granted(m.quality)) {
    return refuse(status::invalid_argument);
  }
  if (retired_.contains(m.stream)) return refuse(status::ksid_in_use);

  stream* s = find(m.stream);
  if (s != nullptr && (s->via != l.id || !same_ends(*s, m.source, m.destination))) {
    // D8: of two crossing registrations the allocator's holds
    if (s->via != l.id || l.allocates || s->settled) return refuse(status::ksid_in_use);
    remove(*s, ending::withdrawn, status::ksid_in_use);
    s = nullptr;
  }
  if (s == nullptr) {
    const auto r = find_route(m.source, m.destination);
    if (!r || r->via != &l) return refuse(status::no_qkd_connection);
    if (streams_.size() >= options_.limits.max_streams ||
        streams_.size() + retired_.size() >= options_.limits.max_retired) {
      return refuse(status::resource_limit);
    }
    if (m.quality.key_chunk_size > offer_of(l).max_chunk) return refuse(status::qos_not_met);
    const std::uint64_t rate = l.source->capabilities().rate_bps;
    if (rate != 0 && l.promised_there_bps + m.quality.min_bps > rate / 2) return refuse(status::qos_not_met);
    s = &add_stream(m.stream, l, now);
    s->source = m.source;
    s->destination = m.destination;
    s->quality = m.quality;
    s->strict_once = m.strict_once;
    if (!make_ring(*s)) {
      remove(*s, ending::withdrawn, status::resource_limit);
      return refuse(status::resource_limit);
    }
    s->promised_there = true;
    l.promised_there_bps += s->quality.min_bps;
  } else if (!s->settled && !l.allocates) {
    if (!adopt(*s, m.quality, m.strict_once)) {
      remove(*s, ending::withdrawn, status::resource_limit);
      return refuse(status::resource_limit);
    }
  } else if (!s->settled) {
    // crossing opens: the terms are ours, and the peer's window under them comes with its accept
    announce(*s);
    if (m.opened) peer_opened(*s);
    return;
  }
  send(l, peer::accept{s->id, s->quality, s->ring->shape().capacity, s->open, s->strict_once});
  settle(*s, m.window, now);
  if (m.opened) peer_opened(*s);
}

inline void key_manager::on(link& l, const peer::accept& m, time_point now) {
  stream* s = find(m.stream);
  if (s == nullptr || s->via != l.id) return;  // closed here in the meantime
  if (m.window < 2 || !is_granted(m.quality)) {
    return fail(l, "the peer accepted a stream on terms that cannot be");
  }
  if (!s->settled && !l.allocates && !adopt(*s, m.quality, m.strict_once)) {
    return remove(*s, ending::closed, status::resource_limit);
  }
  settle(*s, m.window, now);
  if (m.opened) peer_opened(*s);
}

inline void key_manager::on(link& l, const peer::refuse& m, time_point now) {
  stream* s = find(m.stream);
  if (s == nullptr || s->via != l.id || s->serial != m.serial) return;  // of a registration that is gone
  if (s->settled) return end_peer(*s, now);  // the peer closed it, and has forgotten that it did
  if (m.why == status::resource_limit) {
    s->announce_again = now + announce_retry;
    return;
  }
  out_.note("key stream " + s->id.to_string() + " was refused by " + l.options.peer + ": " +
            std::string{to_string(m.why)});
  remove(*s, ending::withdrawn, m.why == status::ksid_in_use ? m.why : status::no_qkd_connection);
}

/// The allocator registered the same KSID first: its terms hold. Nothing was published yet.
inline bool key_manager::adopt(stream& s, const qos& quality, bool strict_once) {
  if (s.registered_here) link_of(s).promised_bps -= s.quality.min_bps;
  s.registered_here = false;
  s.strict_once = strict_once;
  if (s.quality == quality) return true;
  if (quality.key_chunk_size > offer_of(link_of(s)).max_chunk) return false;
  s.quality = quality;
  auto old = std::move(s.ring);
  if (make_ring(s)) return true;
  s.ring = std::move(old);
  return false;
}

inline void key_manager::settle(stream& s, std::uint32_t peer_window, time_point now) {
  s.window = std::min(s.ring->shape().capacity, peer_window);
  s.announce_again = time_point::max();
  if (s.settled) return;
  s.settled = true;
  ask_for_more(s, now);
}

// ---------------------------------------------------------------------------------------------------- key

/// Takes blocks from the source until `want` octets, and some in store, are not bound yet.
inline void key_manager::refill(link& l, std::uint64_t want, time_point now) {
  want = std::max<std::uint64_t>(want, options_.limits.pool_bytes);
  while (!l.source_ended && l.pool.end() - l.bound < want) {
    auto block = l.source->poll(arena_, now);
    if (!block) {
      if (block.error() == make_error_code(status::resource_limit))
        return;  // memory comes back as keys are read
      l.source_ended = true;
      return out_.note("link " + l.options.name + ": the key source ended: " + block.error().message());
    }
    if (!block->has_value()) return;
    l.pool.append(std::move((*block)->bytes));
  }
}

inline void key_manager::enqueue(link& l, stream& s) {
  if (s.hungry || s.throttled) return;
  s.hungry = true;
  s.turn = std::max(s.turn, l.turn);  // a stream that slept does not catch up on those that did not
  l.schedule.insert({s.turn, s.serial});
  if (s.quality.min_bps != 0 && (s.registered_here || s.promised_there)) l.promised_to.insert(s.serial);
}

/// The hungry stream that comes next: one that was promised more than it had, else the one with least for its weight.
/// Clause: D6.
inline key_manager::stream& key_manager::next_in_turn(link& l, time_point now) {
  for (const auto serial : l.promised_to) {
    stream& s = *by_serial_.at(serial);
    const double rate = s.quality.min_bps / 8.0;  // octets a second
    const double chunk = s.quality.key_chunk_size;
    const double passed = std::chrono::duration<double>(std::max(now, s.owed_at) - s.owed_at).count();
    s.owed = std::min(s.owed + passed * rate, rate + chunk);  // what was not wanted for a second is not owed
    s.owed_at = std::max(now, s.owed_at);
    if (s.owed >= chunk) return s;
  }
  return *by_serial_.at(l.schedule.begin()->second);
}

/// A caller wants key that is not there: the allocator allocates, the other side tells the allocator.
inline void key_manager::ask_for_more(stream& s, time_point now) {
  link& l = link_of(s);
  s.asked = now;
  if (!s.settled || l.at != stage::ready) return;
  if (l.allocates) {
    enqueue(l, s);
    return allocate(l, now);
  }
  if ((s.wanted && s.ring->lowest_used() == s.marked_low) || s.ring->lowest_live() != s.ring->published())
    return;
  s.wanted = true;
  s.marked_low = s.ring->lowest_used();
  s.marked_at = now;
  send(l, peer::mark{s.id, s.marked_low, true});
}

/// Slots of this side may have become free: allocate once it is worth a binding, or tell the allocator.
inline void key_manager::released(stream& s, time_point now) {
  link& l = link_of(s);
  if (!s.settled) return;
  const std::uint32_t worth = std::max(s.window / 4, 1U);
  if (l.allocates) {
    if (s.hungry || (window_room(s) < worth && s.waiting.empty() && !s.peer_waits)) return;
    enqueue(l, s);
    return allocate(l, now);
  }
  const std::uint64_t low = s.ring->lowest_used();
  if (low == s.marked_low) return;
  const bool late = now - s.marked_at >= mark_delay;
  if (low - s.marked_low < worth && !late) {
    unmarked_.insert(s.id);
    next_look_ = std::min(next_look_, now + mark_delay);
    return;
  }
  unmarked_.erase(s.id);
  if (l.at != stage::ready) return;
  const bool wanted = s.asked >= s.marked_at;
  s.marked_low = low;
  s.marked_at = now;
  send(l, peer::mark{s.id, low, wanted});
}

/// How many more indices may be allocated: up to a window above the lowest that a side holds. Clause: D11.
inline std::uint32_t key_manager::window_room(const stream& s) const {
  const std::uint64_t low = std::min(s.ring->lowest_used(), s.peer_low);
  const std::uint64_t top = std::min(low + s.window, last_index + 1);
  return top > s.allocated ? static_cast<std::uint32_t>(top - s.allocated) : 0;
}

/// How many chunks Max_bps allows now, at most `most`. Clause: D6.
inline std::uint32_t key_manager::bucket_room(stream& s, std::uint32_t most, time_point now) {
  if (!is_throttled(s)) return most;
  const double rate = s.quality.max_bps / 8.0;  // octets a second
  const double chunk = s.quality.key_chunk_size;
  now = std::max(now, s.tokens_at);  // callers on threads read the clock before they get here
  const double passed = std::chrono::duration<double>(now - s.tokens_at).count();
  // one chunk, and what a late timer would otherwise lose
  s.tokens = std::min(s.tokens + passed * rate, chunk + rate * 0.005);
  s.tokens_at = now;
  return static_cast<std::uint32_t>(std::min<double>(most, s.tokens / chunk));
}

/// Binds key to hungry streams: the one that had least for its weight comes first. Clause: R1, D6, D15.
inline void key_manager::allocate(link& l, time_point now) {
  if (l.at != stage::ready || !l.allocates) return;
  while (!l.throttled.empty() && l.throttled.begin()->first <= now) {
    stream* s = find(l.throttled.begin()->second);
    l.throttled.erase(l.throttled.begin());
    if (s != nullptr) {
      s->throttled = false;
      enqueue(l, *s);
    }
  }
  while (!l.schedule.empty() && l.outstanding.size() < max_outstanding) {
    stream& s = next_in_turn(l, now);
    const std::pair first{s.turn, s.serial};
    const std::uint64_t chunk = s.quality.key_chunk_size;
    const std::uint32_t room = std::min(window_room(s), quantum_chunks);
    const bool idle =
        s.waiting.empty() && !s.peer_waits && now - s.asked >= std::chrono::seconds{s.quality.ttl_s};
    const auto drop = [&] {
      l.schedule.erase(first);
      l.promised_to.erase(s.serial);
      s.hungry = false;
    };
    if (room == 0 || idle || s.peer_closed || !s.settled) {
      drop();
      continue;
    }
    refill(l, chunk, now);
    std::uint32_t count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(room, (l.pool.end() - l.bound) / chunk));
    if (count == 0) return;  // the first in turn waits for key, and nobody overtakes it
    count = bucket_room(s, count, now);
    if (count == 0) {
      drop();
      const double missing = (static_cast<double>(chunk) - s.tokens) / (s.quality.max_bps / 8.0);
      const auto pause = std::chrono::nanoseconds{static_cast<std::int64_t>(missing * 1e9) + 1};
      s.throttled = true;
      l.throttled.emplace(now + std::max<boot_clock::duration>(pause, std::chrono::milliseconds{1}), s.id);
      continue;
    }
    if (is_throttled(s)) s.tokens -= static_cast<double>(count * chunk);
    s.owed = std::max(s.owed - static_cast<double>(count * chunk), 0.0);

    peer::bind b;
    b.stream = s.id;
    b.first = s.allocated;
    b.count = count;
    b.position = l.bound;
    b.length = count * chunk;
    b.settled_below = l.outstanding.empty() ? l.bound : l.outstanding.front().bind.position;
    l.outstanding.push_back({b, false});
    l.bound += b.length;
    s.allocated += count;
    s.peer_waits = false;

    l.schedule.erase(first);
    l.turn = std::max(l.turn, s.turn);
    const std::uint64_t weight = 1 + std::min(s.quality.priority, 255U);
    s.turn += b.length * 256 / weight;
    l.schedule.insert({s.turn, s.serial});
    send(l, b);
  }
}

/// Copies bound key into the stream's ring.
inline void key_manager::publish(stream& s, link& l, const peer::bind& b, time_point now) {
  if (arena_.forked()) return;  // what the child has here is zeros
  l.pool.for_each_run(b.position, b.length, scratch_.span().first(s.quality.key_chunk_size),
                      [&](std::span<const std::byte> run) { s.ring->publish(run, now); });
  s.wanted = false;
  serve_waiting(s, now);
}

inline void key_manager::on(link& l, const peer::bind& b, time_point now) {
  if (l.allocates) return break_off(l, "the peer allocates, and must not");
  while (!l.recent.empty() && l.recent.front().bind.position < b.settled_below) l.recent.pop_front();

  const std::uint64_t expected =
      l.deferred.empty() ? l.bound : l.deferred.back().position + l.deferred.back().length;
  if (b.position < expected) {
    const auto same = [&b](const peer::bind& known) {
      return known.stream == b.stream && known.first == b.first && known.count == b.count &&
             known.position == b.position && known.length == b.length;
    };
    for (const auto& r : l.recent) {
      if (same(r.bind)) return send(l, peer::confirm{b.position, r.stored});
    }
    return break_off(l, "the peer bound the same key twice, differently");
  }
  if (b.position > expected || b.count == 0 || b.length == 0 || b.length % b.count != 0 ||
      b.length > most_bound() || b.position > std::numeric_limits<std::uint64_t>::max() - b.length ||
      l.deferred.size() >= max_deferred) {
    return break_off(l, "the peer sent a binding that cannot be");
  }
  l.deferred.push_back(b);
  apply_deferred(l, now);
}

/// Stores and confirms bindings whose key has arrived, in order.
inline void key_manager::apply_deferred(link& l, time_point now) {
  while (!l.deferred.empty() && l.at == stage::ready) {
    const peer::bind b = l.deferred.front();
    const std::uint64_t end = b.position + b.length;
    refill(l, b.length, now);
    if (l.pool.end() < end) return;
    stream* s = find(b.stream);
    const bool stored = s != nullptr && s->via == l.id && s->settled;
    if (stored) {
      if (b.length != std::uint64_t{b.count} * s->quality.key_chunk_size || b.first != s->ring->published() ||
          s->ring->room(b.count) < b.count) {
        return break_off(l, "the peer bound indices that are not next");
      }
    } else {
      totals_.burned_octets += b.length;
    }
    l.deferred.pop_front();
    l.bound = end;
    if (stored) publish(*s, l, b, now);
    l.pool.discard_below(end);
    l.recent.push_back({b, stored});
    send(l, peer::confirm{b.position, stored});
    if ((s = find(b.stream)) != nullptr) finish_if_drained(*s, now);
  }
}

inline void key_manager::on(link& l, const peer::confirm& m, time_point now) {
  if (!l.allocates || l.outstanding.empty() || l.outstanding.front().bind.position != m.position) {
    return break_off(l, "the peer confirmed what was not bound");
  }
  const peer::bind b = l.outstanding.front().bind;
  l.outstanding.pop_front();
  stream* s = find(b.stream);
  if (m.stored && s != nullptr) {
    if (b.first != s->ring->published()) {
      return break_off(l, "the peer stored what comes after what it did not");
    }
    publish(*s, l, b, now);
  } else {
    totals_.burned_octets += b.length;
  }
  l.pool.discard_below(b.position + b.length);
  allocate(l, now);
  if ((s = find(b.stream)) != nullptr) finish_if_drained(*s, now);
}

inline void key_manager::on(link& l, const peer::mark& m, time_point now) {
  stream* s = find(m.stream);
  if (s == nullptr || s->via != l.id) return;  // closed here in the meantime
  if (!l.allocates || m.lowest_held > s->allocated) {
    return break_off(l, "the peer released what it was not given");
  }
  s->peer_low = std::max(s->peer_low, m.lowest_held);
  if (m.wanted) {
    s->asked = now;
    s->peer_waits = true;
  }
  enqueue(l, *s);
  allocate(l, now);
}

inline void key_manager::on(link& l, const peer::close& m, time_point now) {
  send(l, peer::closed{m.stream});
  stream* s = find(m.stream);
  if (s != nullptr && s->via == l.id) end_peer(*s, now);
}

inline void key_manager::on(link& l, const peer::closed& m, time_point) { l.closing.erase(m.stream); }

inline void key_manager::on(link& l, const peer::fault& m, time_point) {
  fail(l, "the peer gave up: " + m.text);
}

// ---------------------------------------------------------------------------------------------------- time

inline void key_manager::advance(time_point now) {
  if (down_) return;
  while (!waiting_.empty() && waiting_.begin()->first <= now) {
    const waiting_call c = waiting_.begin()->second;
    forget(waiting_.begin());
    answer_timed_out(c);
  }
  if (next_look_ <= now) {
    next_look_ = attached_.empty() ? time_point::max() : now + mark_delay;
    for (const auto& id : attached_) {
      stream& s = *find(id);
      if (s.ring->lowest_live() == s.ring->published()) ask_for_more(s, now);
      released(s, now);
    }
    const auto unmarked = unmarked_;
    for (const auto& id : unmarked) released(*find(id), now);
  }
  if (next_sweep_ <= now && !streams_.empty()) {
    next_sweep_ = now + sweep_interval;
    std::vector<stream*> ended;
    for (const auto& [serial, s] : by_serial_) {
      if (s->ring->expire(now) > 0) released(*s, now);
      if (s->announce_again <= now && link_of(*s).at == stage::ready) {
        s->announce_again = time_point::max();
        announce(*s);
      }
      if (s->ends <= now) ended.push_back(s);
    }
    for (stream* s : ended) remove(*s, ending::ended, status::unknown_key_stream);
  }
  for (const auto& l : links_) {
    if (l->at != stage::ready) continue;
    refill(*l, 0, now);
    apply_deferred(*l, now);
    allocate(*l, now);
  }
}

inline time_point key_manager::next_deadline(time_point now) const {
  if (down_) return time_point::max();
  time_point next = next_look_;
  if (!waiting_.empty()) next = std::min(next, waiting_.begin()->first);
  if (!streams_.empty()) next = std::min(next, next_sweep_);
  for (const auto& l : links_) {
    if (l->at != stage::ready) continue;
    if (!l->throttled.empty()) next = std::min(next, l->throttled.begin()->first);
    const bool wanted = l->pool.end() - l->bound < options_.limits.pool_bytes || !l->deferred.empty();
    if (!l->source_ended && wanted) {
      // a source that is always ready but out of memory must not keep the caller busy
      next = std::min(next, std::max(l->source->ready_at(now), now + std::chrono::milliseconds{1}));
    }
  }
  return next;
}

inline std::shared_ptr<key_ring> key_manager::ring(connection_id who, const key_stream_id& id) {
  stream* s = down_ ? nullptr : find(id);
  if (admit(s, {who, 0}) != status::success || !s->settled) return nullptr;
  s->attached = true;
  s->ring->acknowledge_below(s->ring->published());  // what was served by call is with the caller
  attached_.insert(id);
  next_look_ = time_point{};  // at the next advance()
  return s->ring;
}

inline void key_manager::shutdown(time_point) {
  if (down_) return;
  down_ = true;
  while (!by_serial_.empty()) remove(*by_serial_.begin()->second, ending::withdrawn, status::shutting_down);
  for (const auto& l : links_) {
    if (l->has_session) l->source->stop();
    l->pool.clear();
    l->outstanding.clear();
    l->deferred.clear();
    l->at = stage::down;
  }
  scratch_.reset();
}

}  // namespace qkd004
