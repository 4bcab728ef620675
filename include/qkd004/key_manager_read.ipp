// key_manager, part 2: GET_KEY, several keys at once, subscriptions, and calls that wait. Included at the end of
// key_manager.hpp and nowhere else.
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <chrono>

namespace qkd004 {

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
    return fail_get(who, nullptr, request, down_ ? status::shutting_down : may);
  }
  s->asked = now;
  if (request.index > last_index) return answer_get_key(who, *s, status::stream_exhausted);
  if (insists(*s)) return answer_get_key(who, *s, status::get_key_peer_not_connected);
  // D14: enough is what will still be enough later, whatever the age is by then
  if (!s->quality.metadata_mimetype.empty() && request.metadata_size != 0 &&
      request.metadata_size < metadata_json_size) {
    return answer_get_key(who, *s, status::metadata_size_insufficient);
  }
  // R5: a plain client acknowledges index - window by asking for index, also when it is not there yet: out of order
  // the last ones served would fill the ring otherwise
  const std::uint64_t behind = s->window / 2;
  if (!s->strict_once && request.index >= behind && request.index < s->ring->published() + behind &&
      s->ring->acknowledge_below(request.index - behind + 1) > 0) {
    released(*s, now);
  }
  get_or_wait(*s, who, request, now);
}

inline void key_manager::get_keys(caller who, const get_keys_request& request, time_point now) {
  stream* s = down_ ? nullptr : find(request.stream);
  if (const status may = admit(s, who); may != status::success) {
    return fail_get(who, nullptr, request, down_ ? status::shutting_down : may);
  }
  if (request.epoch != s->epoch) return fail_get(who, nullptr, request, status::not_authorized);
  s->asked = now;
  s->acknowledges = true;
  if (s->ring->acknowledge_below(request.acknowledge_below) > 0) released(*s, now);
  if (request.count == 0) return fail_get(who, s, request, status::invalid_argument);
  if (request.first > last_index) return fail_get(who, s, request, status::stream_exhausted);
  if (insists(*s)) return fail_get(who, s, request, status::get_key_peer_not_connected);
  get_or_wait(*s, who, request, now);
}

template <class Request>
void key_manager::get_or_wait(stream& s, caller who, const Request& request, time_point now) {
  if (try_get(s, who, request, now)) return;
  if (request.no_wait) {
    fail_get(who, &s, request, status::insufficient_key);
    return ask_for_more(s, now);
  }
  // R5: no more of a stream wait than its acknowledgement window has
  if (waiting_.size() >= options_.limits.max_waiting || s.waiting.size() >= s.window / 2) {
    return fail_get(who, &s, request, status::resource_limit);
  }
  wait(s, {who, s.id, request}, now + std::chrono::milliseconds{s.quality.timeout_ms});
  ask_for_more(s, now);
}

inline key_manager::one_key key_manager::serve_one(stream& s, std::uint64_t index, time_point now) {
  one_key one{};
  time_point since;
  if (s.strict_once) {
    const auto out = scratch_.span().first(s.quality.key_chunk_size);
    const auto taken = s.ring->take(index, out, now);
    one.outcome = taken.outcome;
    one.key.key = out;
    since = taken.since;
    if (taken.outcome == status::success) {
      s.handed_out.insert(index);
      if (s.handed_out.size() > s.ring->shape().capacity) s.handed_out.erase(s.handed_out.begin());
    } else if (s.handed_out.erase(index) > 0) {
      totals_.burned_chunks += 1;  // R8: whoever asks again did not get it
    }
  } else {
    const auto served = s.ring->serve(index, now);
    one.outcome = served.outcome;
    one.key.key = served.key;
    since = served.since;
  }
  if (one.outcome != status::success) return one;
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - since).count();
  one.key.metadata.age_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(age, 0, 0xffff'ffff));
  one.key.metadata.hops = link_of(s).source->capabilities().hops;
  return one;
}

/// Returns whether the call was answered: false means that the key is not there yet.
inline bool key_manager::try_get(stream& s, caller who, const get_key_request& request, time_point now) {
  const one_key one = serve_one(s, request.index, now);
  if (one.outcome == status::insufficient_key) return false;
  if (one.outcome != status::success) {
    answer_get_key(who, s, one.outcome);
    released(s, now);  // what was asked for may have expired just now
    return true;
  }
  get_key_response r;
  r.index = request.index;
  r.key = one.key.key;
  r.has_metadata = request.metadata_size != 0 && !s.quality.metadata_mimetype.empty();
  r.metadata = one.key.metadata;
  count_delivered(s, 1);
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

/// As above, with the run of keys that begins there.
inline bool key_manager::try_get(stream& s, caller who, const get_keys_request& request, time_point now) {
  const std::uint64_t most = std::min<std::uint64_t>(
      request.count, most_in_answer(s, request.vendor_metadata ? max_vendor_metadata : 0));
  const status outcome = serve_run(s, request.first, most, now);
  if (outcome == status::insufficient_key) return false;
  if (outcome != status::success) {
    fail_get(who, &s, request, outcome);
    released(s, now);
    return true;
  }
  get_keys_response r = response_of(s, request.first);
  std::string vendor;
  if (request.vendor_metadata) vendor = vendor_metadata_of(s, request.first);
  r.vendor_metadata = vendor;
  out_.answer(who, r);
  after_run(s, request.first);
  released(s, now);
  return true;
}

/// Fills run_ with what is there from `first` on without a gap, at most `most` keys and what one answer holds. Returns
/// why there is not even one.
inline status key_manager::serve_run(stream& s, std::uint64_t first, std::uint64_t most, time_point now) {
  // strict once hands out one key at a time: a lost answer burns no more than that
  most = s.strict_once ? 1 : std::min<std::uint64_t>(most, most_in_answer(s, 0));
  run_.clear();
  for (std::uint64_t i = first; i - first < most && i <= last_index; ++i) {
    const one_key one = serve_one(s, i, now);
    if (one.outcome != status::success) return run_.empty() ? one.outcome : status::success;
    run_.push_back(one.key);
  }
  return run_.empty() ? status::stream_exhausted : status::success;
}

inline get_keys_response key_manager::response_of(const stream& s, std::uint64_t first) const {
  get_keys_response r;
  r.first = first;
  r.chunk_size = s.quality.key_chunk_size;
  r.keys = run_;
  return r;
}

/// The answer with run_ is given.
inline void key_manager::after_run(stream& s, std::uint64_t first) {
  count_delivered(s, run_.size());
  if (s.strict_once) wipe(scratch_.data(), s.quality.key_chunk_size);
  if (s.attached) s.ring->acknowledge_below(first + run_.size());
  run_.clear();
}

inline void key_manager::count_delivered(const stream& s, std::uint64_t keys) {
  totals_.delivered += keys;
  link& l = link_of(s);
  l.counted.delivered += keys;
  l.counted.delivered_octets += keys * s.quality.key_chunk_size;
}

/// Keys that one answer has room for: a frame's length, less what stands around the keys, and `vendor` octets.
inline std::uint32_t key_manager::most_in_answer(const stream& s, std::size_t vendor) const noexcept {
  const std::size_t around = 256 + vendor;
  constexpr std::size_t beside_each = 8;
  const std::size_t room = options_.limits.max_frame - std::min(options_.limits.max_frame, around);
  const std::size_t fits = room / (s.quality.key_chunk_size + beside_each);
  return static_cast<std::uint32_t>(std::clamp<std::size_t>(fits, 1, 0xffff));
}

/// Of run_, which begins at `first`. What is known of a key is what is known of its binding, which both sites have alike.
/// Clause: D14.
inline std::string key_manager::vendor_metadata_of(const stream& s, std::uint64_t first) const {
  const link& l = *links_[s.via];
  const std::uint64_t end = first + run_.size();
  std::optional<key_provenance> worst;
  std::uint64_t known_below = first;
  for (const described_run& r : s.described) {
    if (r.end <= first) continue;
    if (r.first > known_below || r.first >= end) break;
    worst = worst ? merge(*worst, *r.how) : *r.how;
    known_below = r.end;
  }
  const bool whole = worst && known_below >= end;
  return vendor_metadata_json(l.source->capabilities(), l.options.name, whole ? &*worst : nullptr);
}

/// Of what is not in the ring any more.
inline void key_manager::forget_descriptions(stream& s) {
  if (s.described.empty()) return;
  const std::uint64_t low = s.ring->lowest_used();
  const auto kept = std::find_if(s.described.begin(), s.described.end(),
                                 [low](const described_run& r) { return r.end > low; });
  s.described.erase(s.described.begin(), kept);
}

inline void key_manager::serve_waiting(stream& s, time_point now) {
  const auto waiting = s.waiting;
  for (const auto it : waiting) {
    const waiting_call& c = it->second;
    const auto* one = std::get_if<get_key_request>(&c.what);
    const auto* several = std::get_if<get_keys_request>(&c.what);
    if ((one != nullptr && try_get(s, c.who, *one, now)) ||
        (several != nullptr && try_get(s, c.who, *several, now))) {
      forget(it);
    }
  }
  deliver_subscribed(s, now);
}

// ---------------------------------------------------------------------------------------------------- subscriptions

inline void key_manager::subscribe(caller who, const subscribe_request& request, time_point now) {
  stream* s = down_ ? nullptr : find(request.stream);
  status may = down_ ? status::shutting_down : admit(s, who);
  if (may == status::success && request.epoch != s->epoch) may = status::not_authorized;
  if (may == status::success && insists(*s)) may = status::get_key_peer_not_connected;
  if (may != status::success) {
    // a failure is the last delivery, also of what was subscribed before
    if (s != nullptr && s->subscribed.connection == who.connection) s->subscribed = {};
    get_keys_response r;
    r.outcome = may;
    return out_.deliver(who.connection, request.stream, r);
  }
  s->asked = now;
  s->acknowledges = true;
  subscription& sub = s->subscribed;
  if (sub.connection != who.connection) {
    end_subscription(*s, status::not_authorized);
    sub = {who.connection, request.first, request.credit};
    if (request.credit == 0) return end_subscription(*s, status::insufficient_key);
  } else if (request.credit == 0) {
    return end_subscription(*s, status::insufficient_key);
  } else {
    sub.credit += std::min(request.credit, 0xffff'ffffU - sub.credit);
  }
  deliver_subscribed(*s, now);
}

/// Hands over what is there, as far as the credit goes, and sees to it that more comes.
inline void key_manager::deliver_subscribed(stream& s, time_point now) {
  subscription& sub = s.subscribed;
  if (sub.connection == 0 || sub.credit == 0) return;
  while (sub.credit > 0) {
    const status outcome = serve_run(s, sub.next, sub.credit, now);
    if (outcome == status::index_not_available) {  // expired or acknowledged: the next that may be there
      const std::uint64_t window = std::min<std::uint64_t>(s.ring->published(), s.ring->shape().capacity);
      sub.next = std::max(sub.next + 1, s.ring->published() - window);
      continue;
    }
    if (outcome == status::insufficient_key) break;
    if (outcome != status::success) return end_subscription(s, outcome);
    const std::uint64_t first = sub.next;
    sub.next += run_.size();
    sub.credit -= static_cast<std::uint32_t>(run_.size());
    s.asked = now;
    out_.deliver(sub.connection, s.id, response_of(s, first));
    after_run(s, first);
  }
  released(s, now);
  if (sub.credit > 0) ask_for_more(s, now);
}

inline void key_manager::end_subscription(stream& s, status why) {
  const connection_id who = std::exchange(s.subscribed, {}).connection;
  if (who == 0) return;
  get_keys_response r;
  r.outcome = why;
  r.first = s.ring ? s.ring->lowest_live() : 0;
  out_.deliver(who, s.id, r);
}

inline void key_manager::acknowledge(caller who, const acknowledge_request& request, time_point now) {
  stream* s = down_ ? nullptr : find(request.stream);
  acknowledge_response r;
  r.outcome = down_ ? status::shutting_down : admit(s, who);
  if (r.outcome == status::success && request.epoch != s->epoch) r.outcome = status::not_authorized;
  if (r.outcome == status::success) {
    s->acknowledges = true;
    if (s->ring->acknowledge_below(request.below) > 0) released(*s, now);
  }
  out_.answer(who, r);
}

// ---------------------------------------------------------------------------------------------------- the peer

inline void key_manager::wait_peer(caller who, const wait_peer_request& request, time_point now) {
  stream* s = down_ ? nullptr : find(request.stream);
  status outcome = down_ ? status::shutting_down : admit(s, who);
  if (outcome == status::success && !s->peer_open) {
    outcome = s->peer_closed ? status::get_key_peer_not_connected : status::timeout;
    if (!s->peer_closed && waiting_.size() < options_.limits.max_waiting &&
        s->waiting.size() < s->window / 2) {
      const std::uint32_t timeout = request.timeout_ms == 0 ? s->quality.timeout_ms : request.timeout_ms;
      return wait(*s, {who, s->id, request}, now + std::chrono::milliseconds{timeout});
    }
    if (!s->peer_closed) outcome = status::resource_limit;
  }
  out_.answer(who, wait_peer_response{outcome});
}

// ---------------------------------------------------------------------------------------------------- reports

inline stream_report key_manager::report_of(stream& s, time_point now) {
  stream_report r;
  r.stream = s.id;
  r.source = s.source;
  r.destination = s.destination;
  r.quality = s.quality;
  r.strict_once = s.strict_once;
  r.peer_open = s.peer_open;
  r.epoch = s.epoch;
  r.window = s.window;
  r.next_index = s.ring->lowest_live();
  const balance b = s.ring->tally();
  r.bound = b.bound;
  r.acknowledged = b.acknowledged;
  r.expired = b.expired;
  r.discarded = b.discarded;
  r.live = b.live;
  r.rate_bps = s.meter.bps(now);
  r.deviation_bps = s.meter.deviation(now);
  r.link_bps = link_of(s).rate.bps();
  if (const auto oldest = s.ring->oldest_live()) {
    r.oldest_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now - *oldest).count(), 0));
  }
  return r;
}

inline stream_reports key_manager::report(connection_id who, const key_stream_id& id, time_point now) {
  const auto& open = principal_of(who).open;
  stream_reports all;
  if (!id.is_null()) {
    stream* const s = find(id);
    if (s == nullptr || !open.contains(s->serial)) return all;
    all.open = 1;
    all.streams.push_back(report_of(*s, now));
    return all;
  }
  all.open = open.size();
  for (const auto& [serial, s] : open) {
    if (all.streams.size() == options_.limits.max_reported) break;
    all.streams.push_back(report_of(*s, now));
  }
  return all;
}

inline stream_reports key_manager::report_all(time_point now) {
  stream_reports all;
  all.open = by_serial_.size();
  for (const auto& [serial, s] : by_serial_) {
    if (all.streams.size() == options_.limits.max_reported) break;
    if (!s->ring) continue;
    all.streams.push_back(report_of(*s, now));
    if (s->open) all.streams.back().owner = principals_[s->owner].name;
  }
  return all;
}

/// Of a ring no more is looked at than its counters: to look at every slot of every stream would hold up whoever
/// waits for a key.
inline std::vector<link_report> key_manager::links(time_point) {
  std::vector<link_report> all;
  for (const auto& l : links_) {
    link_report r = l->counted;
    r.name = l->options.name;
    r.peer = l->options.peer;
    r.at = l->at;
    r.key_source = l->source->capabilities().kind;
    r.security = l->source->capabilities().security;
    r.source_ended = l->source_ended;
    r.pooled = l->pool.end() - l->bound;
    r.room = options_.limits.pool_bytes;
    r.promised_bps = l->promised_bps;
    r.bps = l->rate.bps();
    all.push_back(std::move(r));
  }
  for (const auto& [serial, s] : by_serial_) {
    link_report& r = all[s->via];
    r.streams += 1;
    r.waiting += s->waiting.size();
    if (!s->ring) continue;
    const std::uint64_t chunk = s->quality.key_chunk_size;
    r.bound += s->ring->published();
    r.expired += s->ring->expired();
    r.discarded += s->ring->discarded();
    r.in_streams += (s->ring->published() - s->ring->lowest_live()) * chunk;
    r.room += s->ring->shape().capacity * chunk;
  }
  return all;
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

inline void key_manager::cancel(caller who) {
  const auto is_it = [&who](const caller& c) {
    return c.connection == who.connection && c.ticket == who.ticket;
  };
  std::erase_if(asking_, [&](const asking_call& a) { return is_it(a.who); });
  const auto it =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& w) { return is_it(w.second.who); });
  if (it != waiting_.end()) forget(it);
}

inline void key_manager::answer_waiting(stream& s, status outcome) {
  const auto waiting = std::move(s.waiting);
  s.waiting.clear();
  for (const auto it : waiting) {
    const waiting_call c = it->second;
    connections_[c.who.connection].waiting -= 1;
    waiting_.erase(it);
    fail_waiting(c, s, outcome, outcome);
  }
}

/// Clause: D8 (the registration stays: status 1), D11 (status 6).
inline void key_manager::answer_timed_out(const waiting_call& c) {
  fail_waiting(c, *find(c.stream), status::timeout, status::peer_not_connected);
}

/// `of_open`: where an OPEN_CONNECT ends otherwise than other calls.
inline void key_manager::fail_waiting(const waiting_call& c, const stream& s, status outcome,
                                      status of_open) {
  if (const auto* one = std::get_if<get_key_request>(&c.what)) return fail_get(c.who, &s, *one, outcome);
  if (const auto* several = std::get_if<get_keys_request>(&c.what)) {
    return fail_get(c.who, &s, *several, outcome);
  }
  if (std::holds_alternative<wait_peer_request>(c.what)) {
    return out_.answer(c.who, wait_peer_response{outcome});
  }
  if (of_open == status::peer_not_connected) return answer_open(c.who, s, of_open);
  open_connect_request r;
  r.stream = s.id;
  r.quality = s.quality;
  refuse_open(c.who, r, of_open);
}

}  // namespace qkd004
