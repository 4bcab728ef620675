// key_manager, part 4: from the key source to the rings, in both sites, and what is due with time. Included at the
// end of key_manager.hpp and nowhere else.
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <chrono>
#include <limits>

namespace qkd004 {

// ---------------------------------------------------------------------------------------------------- key

/// Takes blocks from the source until `want` octets, and some in store, are not bound yet.
inline void key_manager::refill(link& l, std::uint64_t want, time_point now) {
  want = std::max<std::uint64_t>(want, options_.limits.pool_bytes);
  while (!l.source_ended && l.pool.end() - l.bound < want) {
    // key that the peer does not confirm piles up, but not in memory that other links count on
    const bool surplus = l.pool.end() - l.pool.begin() >= 2 * options_.limits.pool_bytes;
    l.cramped = surplus && arena_.used() + kept_from(l) > arena_.limit();
    if (l.cramped) return l.rate.sated();
    auto block = l.source->poll(arena_, now);
    if (!block) {
      l.cramped = block.error() == make_error_code(status::resource_limit);
      if (l.cramped) return l.rate.sated();  // memory comes back as keys are read
      if (block.error() == make_error_code(status::protocol_error)) {
        return give_up_session(l, "the two ends of the key source are out of step, or somebody interferes");
      }
      l.source_ended = true;
      return out_.note("link " + l.options.name + ": the key source ended: " + block.error().message());
    }
    if (!block->has_value()) return l.rate.exhausted(now);
    l.fruitless = 0;
    l.rate.add((*block)->bytes.size());
    l.counted.received += (*block)->bytes.size();
    l.largest_block = std::max<std::uint64_t>(l.largest_block, (*block)->bytes.size());
    l.pool.append(std::move((*block)->bytes), std::move((*block)->provenance));
  }
  l.rate.sated();
}

inline void key_manager::enqueue(link& l, stream& s) {
  if (s.hungry || s.throttled) return;
  s.hungry = true;
  s.turn = std::max(s.turn, l.turn);  // a stream that slept does not catch up on those that did not
  l.schedule.insert({s.turn, s.serial});
  if (s.quality.min_bps != 0 && s.promises) l.promised_to.insert(s.serial);
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
  forget_descriptions(s);
  if (!s.settled) return;
  const std::uint32_t worth = std::max(s.window / 4, 1U);
  if (l.allocates) {
    if (s.hungry || (window_room(s) < worth && !is_awaited(s) && !s.peer_waits)) return;
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
  const double rate = ceiling_of(s.quality) / 8.0;  // octets a second
  const double chunk = s.quality.key_chunk_size;
  now = std::max(now, s.tokens_at);  // callers on threads read the clock before they get here
  const double passed = std::chrono::duration<double>(now - s.tokens_at).count();
  // one chunk, and what a late timer would otherwise lose; where a Min_bps is paced, also what comes to it while the
  // source is between two blocks
  const link& l = link_of(s);
  double late = 0.005;
  if (s.quality.jitter != 0 && s.quality.min_bps != 0 && l.rate.bps() != 0) {
    late = std::max(late, static_cast<double>(l.largest_block) * 8 / static_cast<double>(l.rate.bps()));
  }
  s.tokens = std::min(s.tokens + passed * rate, chunk + rate * late);
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
        !is_awaited(s) && !s.peer_waits && now - s.asked >= std::chrono::seconds{s.quality.ttl_s};
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
    if (l.at != stage::ready) return;  // the source has given the session up
    std::uint32_t count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(room, (l.pool.end() - l.bound) / chunk));
    if (count == 0) return;  // the first in turn waits for key, and nobody overtakes it
    // what comes before its turn is what was promised, and no more
    if (l.promised_to.contains(s.serial) && s.owed >= static_cast<double>(chunk)) {
      count = std::min(count, static_cast<std::uint32_t>(s.owed / static_cast<double>(chunk)));
    }
    count = bucket_room(s, count, now);
    if (count == 0) {
      drop();
      const double missing = (static_cast<double>(chunk) - s.tokens) / (ceiling_of(s.quality) / 8.0);
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

    l.turn = std::max(l.turn, l.schedule.begin()->first);  // not that of whoever came before its turn
    l.schedule.erase(first);
    const std::uint64_t weight = 1 + std::min(s.quality.priority, 255U);
    s.turn += b.length * 256 / weight;
    l.schedule.insert({s.turn, s.serial});
    send(l, b);
  }
}

/// Copies bound key into the stream's ring.
inline void key_manager::publish(stream& s, link& l, const peer::bind& b, time_point now) {
  if (arena_.forked()) return;  // what the child has here is zeros
  forget_descriptions(s);
  if (auto how = l.pool.provenance(b.position, b.length)) {
    if (!s.described.empty() && s.described.back().how == how && s.described.back().end == b.first) {
      s.described.back().end += b.count;
    } else {
      s.described.push_back({b.first, b.first + b.count, std::move(how)});
    }
  }
  l.pool.for_each_run(b.position, b.length, scratch_.span().first(s.quality.key_chunk_size),
                      [&](std::span<const std::byte> run) { s.ring->publish(run, now); });
  s.wanted = false;
  s.meter.add(b.length, now);
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
    if (l.at != stage::ready || l.pool.end() < end) return;
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
    if (l.recent.size() > max_outstanding) l.recent.pop_front();  // no allocator has more to send again
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
  for (auto it = asking_.begin(); it != asking_.end();) {
    const auto next = std::next(it);
    if (it->deadline <= now) {
      const asking_call a = std::move(*it);
      asking_.erase(it);
      refuse_open(a.who, a.request, status::timeout);  // D8: the QoS could not be settled in time
    }
    it = next;
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
    speak(*l);
  }
}

inline time_point key_manager::next_deadline(time_point now) const {
  if (down_) return time_point::max();
  time_point next = next_look_;
  if (!waiting_.empty()) next = std::min(next, waiting_.begin()->first);
  for (const asking_call& a : asking_) next = std::min(next, a.deadline);
  if (!streams_.empty()) next = std::min(next, next_sweep_);
  for (const auto& l : links_) {
    if (l->at != stage::ready) continue;
    if (!l->throttled.empty()) next = std::min(next, l->throttled.begin()->first);
    const bool wanted = l->pool.end() - l->bound < options_.limits.pool_bytes || !l->deferred.empty();
    if (!l->source_ended && wanted) {
      // a source that is always ready must not keep the caller busy, without memory least of all
      next = std::min(next,
                      std::max(l->source->ready_at(now), now + (l->cramped ? cramped_retry : source_retry)));
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
  for (const asking_call& a : std::exchange(asking_, {}))
    refuse_open(a.who, a.request, status::shutting_down);
  while (!by_serial_.empty()) remove(*by_serial_.begin()->second, ending::withdrawn, status::shutting_down);
  for (const auto& l : links_) {
    leave(*l);
    if (l->has_session) l->source->stop();
    l->pool.clear();
    l->outstanding.clear();
  }
  scratch_.reset();
}

}  // namespace qkd004
