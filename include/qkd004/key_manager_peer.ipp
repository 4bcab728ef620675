// key_manager, part 3: sessions with peers, and what they agree on about streams. Included at the end of
// key_manager.hpp and nowhere else.
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <chrono>
#include <limits>

namespace qkd004 {

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
  m.instance = l.instance;
  if (l.has_session) m.remembers = l.peer_instance;
  m.source_kind = l.source->capabilities().kind;
  m.position = l.greeted_position;
  send(l, std::move(m));
}

inline void key_manager::link_down(link_id id, time_point) {
  link& l = *links_[id];
  if (l.at == stage::down) return;
  if (l.at == stage::ready) out_.note("link " + l.options.name + " to " + l.options.peer + " is down");
  leave(l);
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
  if (l.channel != nullptr && m.version < peer::first_with_channel) {
    return refuse("the peer speaks version " + std::to_string(m.version) +
                  " of the peer protocol, and a key source of kind " + m.source_kind + " needs version " +
                  std::to_string(peer::first_with_channel));
  }
  if (m.instance == l.instance) return refuse("the peer has the same instance id");

  const bool goes_on = l.has_session && l.peer_instance == m.instance && m.remembers == l.instance;
  if (l.broken && l.peer_instance == m.instance) {
    return refuse("the protocol was broken; one of the two sites must be restarted");
  }
  const bool overtaken = !goes_on && l.has_session && l.confirmed && l.peer_instance == m.instance;
  if (overtaken || (m.instance == l.former_instance && m.instance != instance_id{})) {
    // It has had the session, or even another instance, since: this was sent before, on a connection that a later one
    // overtook. A source does not start twice for the same two instances; the next hello knows the session.
    return refuse("the hello is from before the session");
  }
  if (!goes_on) {
    reset_session(l, m.instance);
    key_source_session session;
    session.link = l.options.name;
    session.lower = l.allocates ? l.instance : m.instance;
    session.higher = l.allocates ? m.instance : l.instance;
    session.first_block = std::max(l.greeted_position, m.position);
    const auto check = l.source->start(session, now);
    if (!check) return refuse("the key source did not start: " + check.error().message());
    l.check = *check;
    l.has_session = true;
    l.fruitless += 1;
  }
  l.version = std::min(m.version, peer::protocol_version);
  l.at = stage::starting;
  send(l, peer::start{l.check});
}

inline void key_manager::on(link& l, const peer::start& m, time_point now) {
  if (!equal_in_constant_time(m.check, l.check)) {
    l.has_session = false;
    const std::string why =
        "the key sources of the two ends are not in step (another secret, authentication key, file, rate or "
        "option?)";
    send(l, peer::fault{status::invalid_argument, why});
    return fail(l, why);
  }
  become_ready(l, now);
}

/// The source does not go on with this session. Another begins with the next connection, as after a restart of this
/// site: with another instance id, by which the peer sees that it has to forget as well. What streams have until then
/// both sites have, and it stays readable until then.
inline void key_manager::give_up_session(link& l, const std::string& why) {
  out_.note("link " + l.options.name + ": " + why + "; the session is given up, another begins");
  random_(std::as_writable_bytes(std::span{l.instance}));
  l.has_session = false;
  send(l, peer::fault{status::protocol_error, why});
  fail(l, why);
}

/// Sends what the source has to say to its other end.
inline void key_manager::speak(link& l) {
  if (!l.channel_up) return;
  for (std::vector<std::byte> words; l.channel->next(words); words = {}) {
    send(l, peer::classical{std::move(words)});
  }
}

inline void key_manager::on(link& l, const peer::classical& m, time_point) {
  const auto refuse = [&](const std::string& why) {
    send(l, peer::fault{status::protocol_error, why});
    fail(l, why);
  };
  if (!l.channel_up) return refuse("the peer speaks to a key source that has no channel");
  if (const auto heard = l.channel->receive(m.octets); !heard) {
    return refuse("what the peer said to the key source cannot be: " + heard.error().message());
  }
  speak(l);  // its blocks are asked for when it says that it has any
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
    const bool restarted = l.peer_instance != peer_instance;
    out_.note("link " + l.options.name + (restarted ? ": the peer restarted; " : ": a new session; ") +
              std::to_string(gone.size()) + " key streams ended, their key is destroyed");
  }
  l.pool.clear();
  l.bound = 0;
  l.outstanding.clear();
  l.deferred.clear();
  l.recent.clear();
  l.closing.clear();
  l.source_ended = false;
  l.has_session = false;
  l.confirmed = false;
  l.broken = false;
  l.lent_bps = 0;
  l.borrowed_bps = 0;
  l.asked_bps = 0;
  if (l.peer_instance != peer_instance) l.former_instance = l.peer_instance;
  l.peer_instance = peer_instance;
}

inline void key_manager::become_ready(link& l, time_point now) {
  l.at = stage::ready;
  l.confirmed = true;
  if (l.channel != nullptr) {
    l.channel_up = true;
    l.channel->up();
  }
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
      s->wanted = is_awaited(*s);
      send(l, peer::mark{s->id, s->marked_low, s->wanted});
    }
  }
  if (l.version < 2) {
    l.asking = false;
    answer_asking(l, std::numeric_limits<std::uint64_t>::max(), now);  // there is nobody to ask
  } else if (l.asking || l.asked_bps != 0) {
    ask_peer(l);
  }
  refill(l, 0, now);
  allocate(l, now);
  speak(l);
}

/// The peer wants to promise of this site's half: what is not promised here. Clause: D6.
inline void key_manager::on(link& l, const peer::borrow& m, time_point) {
  const std::uint64_t share = share_of(l);
  const std::uint64_t free = share > l.promised_bps ? share - l.promised_bps : 0;
  l.lent_bps = std::min(m.total_bps, l.lent_bps + free);
  send(l, peer::lend{m.serial, l.lent_bps});
}

inline void key_manager::on(link& l, const peer::lend& m, time_point now) {
  if (m.serial != l.borrow_serial) return;  // asked anew in the meantime
  l.borrowed_bps = std::min(m.total_bps, l.asked_bps);
  l.asking = false;
  answer_asking(l, m.serial, now);
  const bool more =
      std::any_of(asking_.begin(), asking_.end(), [&l](const asking_call& a) { return a.via == l.id; });
  if (more) ask_peer(l);  // those who came while the peer was being asked
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
    // The peer has measured the link for itself: only what cannot be by far is refused, as a stream that was
    // promised there fails late.
    const std::uint64_t rate = l.rate.bps();
    const std::uint64_t promised = l.promised_bps + l.promised_there_bps + m.quality.min_bps;
    if (rate != 0 && promised > rate + rate / 4) return refuse(status::qos_not_met);
    s = &add_stream(m.stream, l, now);
    s->source = m.source;
    s->destination = m.destination;
    s->quality = m.quality;
    s->strict_once = m.strict_once;
    if (!make_ring(*s)) {
      remove(*s, ending::withdrawn, status::resource_limit);
      return refuse(status::resource_limit);
    }
    promise(*s, false);
  } else if (!s->settled && !l.allocates) {
    if (!adopt(*s, m.quality, m.strict_once, false)) {
      remove(*s, ending::withdrawn, status::ksid_in_use);
      return refuse(status::ksid_in_use);
    }
  } else if (!s->settled) {
    // Crossing opens: the terms are ours, and the peer's window under them comes with its accept. They are on their
    // way, and must not come twice: refused the first time, they would register the stream anew the second time, at
    // the peer alone.
    if (s->announce_again != time_point::max()) {
      s->announce_again = time_point::max();
      announce(*s);
    }
    return;  // whether the peer has opened comes with the accept as well
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
  if (!s->settled && !l.allocates && !adopt(*s, m.quality, m.strict_once, true)) {
    return remove(*s, ending::closed, status::ksid_in_use);
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
  // D5: a KSID that its opener has not been told is not consumed; one that it has is never another stream's
  const bool told = std::none_of(s->waiting.begin(), s->waiting.end(), [](const auto it) {
    return std::holds_alternative<opening>(it->second.what);
  });
  remove(*s, told ? ending::ended : ending::withdrawn,
         m.why == status::ksid_in_use ? m.why : status::no_qkd_connection);
}

/// The allocator's terms hold. Nothing was published yet. `here`: this side registered the stream, and promised.
inline bool key_manager::adopt(stream& s, const qos& quality, bool strict_once, bool here) {
  if (s.strict_once && !strict_once) return false;  // R8: not what its opener relies on
  s.strict_once = strict_once;
  const bool same = s.quality == quality;
  if (same && here) return true;
  if (quality.key_chunk_size > offer_of(link_of(s)).max_chunk) return false;
  release_promise(s);
  s.quality = quality;
  promise(s, here);
  if (same) return true;
  auto old = std::move(s.ring);
  if (make_ring(s)) {
    link_of(s).ring_octets -= key_ring::bytes_needed(old->shape());
    return true;
  }
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

}  // namespace qkd004
