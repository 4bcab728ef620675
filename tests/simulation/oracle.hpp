// oracle: judges a world by what its applications asked and were answered, and by the balances of their streams. It
// knows the delivery rule and nothing of how a key manager keeps it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/key_ring.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/message.hpp"
#include "time_line.hpp"

namespace simulation {

/// A subscribe_request has no answer: what it brings is *delivered*. The others are answered by what stands at the
/// same place in `answer`.
using request = std::variant<open_connect_request, get_key_request, close_request, get_keys_request,
                             acknowledge_request, wait_peer_request, subscribe_request>;

/// What came back, the keys copied.
struct answer {
  std::variant<open_connect_response, get_key_response, close_response, get_keys_response,
               acknowledge_response, wait_peer_response>
      what;
  std::vector<std::vector<std::byte>> keys;
};

/// A running key manager: the site's number, and how often it had been started before.
struct instance {
  unsigned site = 0;
  unsigned start = 0;
  friend auto operator<=>(const instance&, const instance&) = default;
};

/// A request as the application knows it.
struct question {
  std::uint64_t ticket = 0;
  std::string principal;
  instance at;
  unsigned line = 0;  ///< the application's connection
  request what;
};

/// What went against a promise: a word for the promise, and the case.
struct finding {
  std::string promise;
  std::string text;
};

/// The stream that a request is about.
[[nodiscard]] inline const key_stream_id& stream_of(const request& r) {
  return std::visit([](const auto& one) -> const key_stream_id& { return one.stream; }, r);
}

class oracle {
 public:
  struct options {
    std::vector<qkd004::limits> limits;  ///< of each site
    duration transit = 10ms;             ///< the longest way there and back, and a late timer
    std::uint64_t most_promised = 0;     ///< bit/s, of Min_bps on a link, both ends together; 0: any
  };

  explicit oracle(options o) : options_{std::move(o)}, started_(options_.limits.size()), died_(started_) {}

  /// The first thing that went wrong; what comes after it may only follow from it.
  [[nodiscard]] const std::optional<finding>& found() const noexcept { return found_; }
  void complain(std::string promise, std::string text) {
    if (!found_) found_ = finding{std::move(promise), std::move(text)};
  }

  /// \name What applications did and saw
  ///@{
  void asked(const question& q, time_point now);
  void answered(const instance& at, unsigned line, std::uint64_t ticket, const answer& a, time_point now);
  /// Its connection is gone: it may have been done, and may not.
  void lost(std::uint64_t ticket);
  /// Of a subscription, when the site handed it over at `sent`.
  void heard(const instance& at, unsigned line, const std::string& principal, const key_stream_id& id,
             const answer& a, time_point sent, time_point now);
  ///@}

  /// \name What a site does about a subscription, in its order, which none of its applications sees
  ///@{
  /// It is about to be handed the request, and then that it has been.
  void subscribing(const instance& at, unsigned line, const subscribe_request& r);
  void subscribed(const instance& at, const key_stream_id& id);
  void delivered(const instance& at, unsigned line, const key_stream_id& id, const get_keys_response& r,
                 time_point now);
  ///@}

  /// \name What is known of a stream before it is asked for, and of sites
  ///@{
  /// The two sites of a stream. A KSID stays with its pair of sites in a world.
  void ends(const key_stream_id& id, unsigned one, unsigned other) {
    streams_[id].sites = {std::min(one, other), std::max(one, other)};
  }
  void started(const instance& i, time_point now) {
    started_[i.site].resize(i.start + 1, now);
    died_[i.site].resize(i.start + 1, time_point::max());
  }
  void died(const instance& i, time_point now) { died_[i.site][i.start] = now; }
  void balance(const instance& at, const key_stream_id& id, const key_ring::balance& b, time_point now);
  /// A key manager met a new instance of its peer: so many chunks were in streams with the old one, and so many it
  /// counted as lost.
  void lost_chunks(const instance& at, std::uint64_t held, std::uint64_t counted) {
    if (held != counted) {
      complain("lost is counted", name(at) + " held " + std::to_string(held) +
                                      " chunks for the old instance, " + std::to_string(counted) +
                                      " are counted as lost");
    }
  }
  ///@}

  /// \name When faults have stopped
  ///@{
  /// From here on whoever reads must get key.
  void calm(time_point now) { calm_ = now; }
  /// Both applications go on reading; what there is to complain of if nothing changes any more. Empty: all is well.
  [[nodiscard]] std::string starved(const key_stream_id& id, const instance& one,
                                    const instance& other) const;
  /// The world ends; nobody may be waiting.
  void end();
  ///@}

  /// Keys that came, by the way they came.
  struct tally {
    std::uint64_t one_by_one = 0;
    std::uint64_t in_runs = 0;
    std::uint64_t subscribed = 0;
    std::uint64_t promises = 0;  ///< times that the promises on a link were summed up

    void add(const tally& t) {
      one_by_one += t.one_by_one;
      in_runs += t.in_runs;
      subscribed += t.subscribed;
      promises += t.promises;
    }
    friend bool operator==(const tally&, const tally&) = default;
  };
  [[nodiscard]] const tally& seen() const noexcept { return seen_; }

 private:
  /// One index of a stream at one instance.
  struct read {
    unsigned pending = 0;  ///< asked and not answered
    bool unknown = false;  ///< asked, and the answer was lost
    bool had = false;
    std::optional<time_point> gone;  ///< since when it is known not to be available
    std::uint64_t digest = 0;        ///< of the key
    time_point first_had{};
    [[nodiscard]] bool maybe_had() const noexcept { return had || unknown || pending > 0; }
  };

  struct success {
    std::uint64_t index;
    time_point asked;
    time_point answered;
  };

  /// A key that was asked for, or came by itself.
  struct one_read {
    const key_stream_id& stream;
    std::uint64_t index;
    const instance& at;
    unsigned line;
    const std::string& principal;
    time_point asked;
    bool plain;                          ///< by GET_KEY: acknowledges by the window
    std::optional<std::uint64_t> epoch;  ///< that the caller relies on
  };

  struct subscription {
    unsigned line = 0;
    std::uint64_t next = 0;
    std::uint64_t credit = 0;
  };

  struct opened {
    unsigned line = 0;
    std::uint64_t epoch = 0;
    time_point asked{};
    time_point answered{};
  };

  /// What a line did with a stream.
  struct use {
    std::optional<time_point> first_used;  ///< when a first key came: so not of a stream that was withdrawn
    unsigned opens_pending = 0;
    time_point last_open{};  ///< when the last of its OPEN_CONNECTs was answered
  };

  /// A stream at one instance.
  struct shelf {
    std::map<std::uint64_t, read> reads;
    std::uint64_t maybe_had = 0;                ///< of reads
    std::uint64_t floor = 0;                    ///< none below is live and unread, the site said
    std::deque<success> recent;                 ///< the last keys that came by GET_KEY
    std::set<std::uint64_t> plain;              ///< indices that GET_KEY asked for
    std::multiset<std::uint64_t> may_be_below;  ///< acknowledged below, if what said so got through
    std::deque<success> acknowledged;           ///< below `index`, for sure
    std::optional<subscription> flows;          ///< the site's
    std::optional<subscription> arriving;       ///< what it becomes unless the request is refused
    bool suspends = false;                      ///< the one that arrives has credit 0
    std::string owner;                          ///< who was given a key
    std::optional<time_point> first_key;        ///< when
    std::size_t chunk = 0;                      ///< octets of its keys
    std::map<std::uint64_t, time_point> bound;  ///< so many, since then
    key_ring::balance last{};
    std::optional<opened> latest;
    std::map<unsigned, use> uses;
    bool new_after_calm = false;
  };

  struct stream {
    std::pair<unsigned, unsigned> sites;
    std::optional<time_point> first_asked;
    std::uint32_t shortest_ttl = UINT32_MAX;  ///< s, of all that was asked for
    std::uint32_t longest_ttl = 0;
    std::uint32_t longest_timeout = 0;          ///< ms
    std::uint32_t least_promised = UINT32_MAX;  ///< bit/s, of all that was granted
    bool settled = false;                       ///< both sites have it
    bool closing = false;                       ///< somebody asked for CLOSE
    bool always_strict = true;                  ///< every OPEN_CONNECT asked for strict once
    bool ever_strict = false;
    std::map<instance, shelf> shelves;
  };

  /// Where some octets of key were seen.
  struct place {
    key_stream_id id;
    std::uint64_t index;
    std::uint32_t offset;
    std::array<instance, 2> at{};             ///< for each side of the stream
    std::array<std::string, 2> principals{};  ///< empty: not seen there
  };

  struct in_flight {
    question q;
    time_point asked;
  };

  static std::string name(const instance& i) {
    return std::string(1, static_cast<char>('A' + i.site)) + std::to_string(i.start);
  }
  static std::string name(const key_stream_id& id, std::uint64_t index) {
    return id.to_string().substr(24) + "[" + std::to_string(index) + "]";
  }
  [[nodiscard]] static std::uint64_t digest(const std::vector<std::byte>& key) {
    std::uint64_t d = key.size();
    for (const auto o : key) d = mixed(d ^ std::to_integer<unsigned>(o)) + d;
    return d;
  }

  void learn(const key_stream_id& id, const open_connect_request& r, time_point now);
  void check(const in_flight& f, const open_connect_response& r, time_point now);
  void check(const in_flight& f, const get_key_response& r, const std::vector<std::vector<std::byte>>& keys,
             time_point now);
  void check(const in_flight& f, const get_keys_response& r, const std::vector<std::vector<std::byte>>& keys,
             time_point now);
  void check(const in_flight& f, const wait_peer_response& r, time_point now);
  void check_key(stream& s, shelf& sh, const one_read& o, const std::vector<std::byte>& key, time_point now);
  void check_gone(const stream& s, const shelf& sh, const one_read& o, time_point now);
  void check_promises(const stream& of, time_point now);
  /// So many indices from `first` on were asked for, or are on their way.
  static void expect(shelf& sh, std::uint64_t first, std::uint64_t many) {
    for (std::uint64_t i = first; i < first + many; ++i) {
      read& r = sh.reads[i];
      if (!r.maybe_had()) sh.maybe_had += 1;
      r.pending += 1;
    }
  }
  /// They are not any more; `had`: so many of them came.
  static void settle(shelf& sh, std::uint64_t first, std::uint64_t many, std::uint64_t had) {
    for (std::uint64_t i = first; i < first + many; ++i) {
      read& r = sh.reads[i];
      r.pending -= 1;
      if (i >= first + had && !r.maybe_had()) sh.maybe_had -= 1;
    }
  }
  void check_floor(const stream& s, shelf& sh, const question& q, const key_stream_id& id,
                   std::uint64_t floor, time_point now);
  void check_other_side(const stream& s, const one_read& o, std::uint64_t d, time_point now);
  void check_fresh(const stream& s, const one_read& o, const std::vector<std::byte>& key);
  [[nodiscard]] std::uint64_t acknowledgement_window(const stream& s, std::size_t chunk) const;
  [[nodiscard]] bool same_life(const stream& s, const instance& a, const instance& b, time_point now) const;
  [[nodiscard]] static std::optional<time_point> bound_at(const shelf& sh, std::uint64_t index) {
    const auto it = sh.bound.upper_bound(index);
    return it == sh.bound.end() ? std::nullopt : std::optional{it->second};
  }

  const options options_;
  std::vector<std::vector<time_point>> started_;  ///< by site and start
  std::vector<std::vector<time_point>> died_;
  std::map<std::uint64_t, in_flight> in_flight_;
  std::map<key_stream_id, stream> streams_;
  std::unordered_map<std::uint64_t, place> octets_;  ///< eight octets of key, and where they were seen
  tally seen_;
  std::optional<time_point> calm_;
  std::optional<finding> found_;
};

// ------------------------------------------------------------------------------------------------- histories

inline void oracle::learn(const key_stream_id& id, const open_connect_request& r, time_point now) {
  stream& s = streams_[id];
  if (!s.first_asked) s.first_asked = now;
  const std::uint32_t ttl = r.quality.ttl_s == 0 ? qos_defaults::ttl_s : r.quality.ttl_s;
  const std::uint32_t timeout = r.quality.timeout_ms == 0 ? qos_defaults::timeout_ms : r.quality.timeout_ms;
  s.shortest_ttl = std::min(s.shortest_ttl, ttl);
  s.longest_ttl = std::max(s.longest_ttl, ttl);
  s.longest_timeout = std::max(s.longest_timeout, timeout);
  s.always_strict = s.always_strict && r.strict_once;
  s.ever_strict = s.ever_strict || r.strict_once;
}

inline void oracle::asked(const question& q, time_point now) {
  if (std::holds_alternative<subscribe_request>(q.what)) return;  // \see subscribing()
  in_flight_.emplace(q.ticket, in_flight{q, now});
  if (const auto* open = std::get_if<open_connect_request>(&q.what);
      open != nullptr && !open->stream.is_null()) {
    learn(open->stream, *open, now);
    streams_[open->stream].shelves[q.at].uses[q.line].opens_pending += 1;
  }
  if (const auto* get = std::get_if<get_key_request>(&q.what)) {
    shelf& sh = streams_[get->stream].shelves[q.at];
    sh.plain.insert(get->index);
    expect(sh, get->index, 1);
  }
  if (const auto* several = std::get_if<get_keys_request>(&q.what)) {
    shelf& sh = streams_[several->stream].shelves[q.at];
    sh.may_be_below.insert(several->acknowledge_below);
    expect(sh, several->first, several->count);
  }
  if (const auto* have = std::get_if<acknowledge_request>(&q.what)) {
    streams_[have->stream].shelves[q.at].may_be_below.insert(have->below);
  }
  if (const auto* close = std::get_if<close_request>(&q.what)) streams_[close->stream].closing = true;
}

inline void oracle::lost(std::uint64_t ticket) {
  const auto it = in_flight_.find(ticket);
  if (it == in_flight_.end()) return;
  const question& q = it->second.q;
  const auto forget = [&](std::uint64_t first, std::uint64_t many) {
    shelf& sh = streams_[stream_of(q.what)].shelves[q.at];
    for (std::uint64_t i = first; i < first + many; ++i) {
      sh.reads[i].pending -= 1;
      sh.reads[i].unknown = true;
    }
  };
  if (const auto* get = std::get_if<get_key_request>(&q.what)) forget(get->index, 1);
  if (const auto* several = std::get_if<get_keys_request>(&q.what)) forget(several->first, several->count);
  in_flight_.erase(it);
}

inline void oracle::answered(const instance& at, unsigned line, std::uint64_t ticket, const answer& a,
                             time_point now) {
  const auto it = in_flight_.find(ticket);
  if (it == in_flight_.end() || it->second.q.line != line || it->second.q.at != at ||
      it->second.q.what.index() != a.what.index()) {
    return complain("each call is answered once", "an answer at " + name(at) + " to ticket " +
                                                      std::to_string(ticket) + ", which is not open there");
  }
  const in_flight f = std::move(it->second);
  in_flight_.erase(it);

  const auto* get = std::get_if<get_key_request>(&f.q.what);
  const auto* several = std::get_if<get_keys_request>(&f.q.what);
  const auto* open = std::get_if<open_connect_request>(&f.q.what);
  const auto* have = std::get_if<acknowledge_request>(&f.q.what);
  const auto* peer = std::get_if<wait_peer_request>(&f.q.what);
  // who asks for Min_bps may have to wait for what the peer lends
  const bool waits =
      (get != nullptr && !get->no_wait) || (several != nullptr && !several->no_wait) || peer != nullptr ||
      (open != nullptr && ((!open->no_wait && !open->stream.is_null()) || open->quality.min_bps != 0));
  const auto known = streams_.find(stream_of(f.q.what));
  std::uint32_t timeout = known == streams_.end() ? 0 : known->second.longest_timeout;
  if (open != nullptr) {
    timeout = std::max(timeout,
                       open->quality.timeout_ms == 0 ? qos_defaults::timeout_ms : open->quality.timeout_ms);
  }
  if (peer != nullptr && peer->timeout_ms != 0) timeout = peer->timeout_ms;
  if (now - f.asked > options_.transit + (waits ? duration{std::chrono::milliseconds{timeout}} : 0ms)) {
    complain("calls are answered in time", "ticket " + std::to_string(ticket) + " at " + name(at) + " took " +
                                               std::to_string((now - f.asked) / 1ms) + " ms");
  }
  if (open != nullptr) check(f, std::get<open_connect_response>(a.what), now);
  if (get != nullptr) check(f, std::get<get_key_response>(a.what), a.keys, now);
  if (several != nullptr) check(f, std::get<get_keys_response>(a.what), a.keys, now);
  if (peer != nullptr) check(f, std::get<wait_peer_response>(a.what), now);
  if (have == nullptr && several == nullptr) return;

  // R5: what was said of an acknowledgement. R3: one of an older epoch or of somebody else does nothing.
  const std::uint64_t below = have != nullptr ? have->below : several->acknowledge_below;
  const status outcome = have != nullptr ? std::get<acknowledge_response>(a.what).outcome
                                         : std::get<get_keys_response>(a.what).outcome;
  shelf& sh = streams_[stream_of(f.q.what)].shelves[at];
  if (outcome == status::not_authorized || outcome == status::unknown_key_stream) {
    // a call that waited was admitted when it came
    if (have != nullptr || several->no_wait) sh.may_be_below.erase(sh.may_be_below.find(below));
  } else if (outcome == status::success) {
    sh.acknowledged.push_back({below, f.asked, now});
    if (sh.acknowledged.size() > 64) sh.acknowledged.pop_front();
  }
}

// ------------------------------------------------------------------------------------------------- OPEN_CONNECT

inline void oracle::check(const in_flight& f, const open_connect_response& r, time_point now) {
  const auto& call = std::get<open_connect_request>(f.q.what);
  if (!call.stream.is_null()) {
    use& u = streams_[call.stream].shelves[f.q.at].uses[f.q.line];
    u.opens_pending -= 1;
    u.last_open = now;
  }
  if (r.outcome != status::success && r.outcome != status::peer_not_connected) return;
  if (call.stream.is_null()) learn(r.stream, call, f.asked);
  shelf& sh = streams_[r.stream].shelves[f.q.at];
  use& u = sh.uses[f.q.line];
  u.last_open = now;
  // R3: each OPEN_CONNECT counts one up. A stream that the peer never took may begin anew, but had no key then.
  if (sh.latest && sh.latest->answered <= f.asked && r.epoch <= sh.latest->epoch && sh.first_key &&
      *sh.first_key <= f.asked) {
    complain("an epoch counts up", name(r.stream, 0) + " was resumed at " + name(f.q.at) + " with epoch " +
                                       std::to_string(r.epoch));
  }
  if (!sh.latest || r.epoch >= sh.latest->epoch || sh.latest->answered <= f.asked) {
    sh.latest = opened{f.q.line, r.epoch, f.asked, now};
  }
  check_floor(streams_[r.stream], sh, f.q, r.stream, r.lowest_live_index, now);

  stream& s = streams_[r.stream];
  s.least_promised = std::min(s.least_promised, r.quality.min_bps);
  s.settled = s.settled || r.outcome == status::success;
  if (s.settled) check_promises(s, now);
}

/// What both sites of a link have promised together of its rate. Counted are streams that must still be there: both
/// sites had them, live on, and nobody has closed. Clause: D6.
inline void oracle::check_promises(const stream& of, time_point now) {
  if (options_.most_promised == 0 || of.least_promised == 0) return;
  std::uint64_t sum = 0;
  for (const auto& [id, s] : streams_) {
    if (s.sites != of.sites || !s.settled || s.closing || !s.first_asked) continue;
    if (started_[s.sites.first].back() > *s.first_asked || started_[s.sites.second].back() > *s.first_asked ||
        died_[s.sites.first].back() <= now || died_[s.sites.second].back() <= now)
      continue;
    sum += s.least_promised == UINT32_MAX ? 0 : s.least_promised;
  }
  seen_.promises += 1;
  if (sum > options_.most_promised) {
    complain("no more is promised than there is",
             std::to_string(sum) + " bit/s of " + std::to_string(options_.most_promised));
  }
}

/// Success: an application of the other site has asked for the stream.
inline void oracle::check(const in_flight& f, const wait_peer_response& r, time_point now) {
  const auto& call = std::get<wait_peer_request>(f.q.what);
  if (r.outcome == status::timeout && now - f.asked < std::chrono::milliseconds{call.timeout_ms}) {
    complain("nobody times out early", "ticket " + std::to_string(f.q.ticket) + " at " + name(f.q.at));
  }
  if (r.outcome != status::success) return;
  const auto& shelves = streams_[call.stream].shelves;
  const bool there = std::any_of(shelves.begin(), shelves.end(), [&](const auto& at) {
    const auto& uses = at.second.uses;
    return at.first.site != f.q.at.site && std::any_of(uses.begin(), uses.end(), [](const auto& u) {
             return u.second.opens_pending > 0 || u.second.last_open != time_point{};
           });
  });
  if (!there) {
    complain("a peer that is waited for is there",
             name(call.stream, 0) + ": nobody opened it at the other site of " + name(f.q.at));
  }
}

// ------------------------------------------------------------------------------------------------- GET_KEY

inline void oracle::check(const in_flight& f, const get_key_response& r,
                          const std::vector<std::vector<std::byte>>& keys, time_point now) {
  const auto& call = std::get<get_key_request>(f.q.what);
  stream& s = streams_[call.stream];
  shelf& sh = s.shelves[f.q.at];
  const one_read o{call.stream, call.index, f.q.at, f.q.line, f.q.principal, f.asked, true, {}};
  settle(sh, call.index, 1, r.outcome == status::success ? 1 : 0);
  if (r.outcome == status::success) {
    if (keys.size() != 1 || keys[0].empty() || r.index != call.index) {
      return complain("an answer fits its question", name(call.stream, call.index) + " was asked for, and " +
                                                         std::to_string(keys.size()) + " keys from " +
                                                         std::to_string(r.index) + " came");
    }
    seen_.one_by_one += 1;
    return check_key(s, sh, o, keys[0], now);
  }
  if (!keys.empty()) {
    complain("a failure carries no key", name(call.stream, call.index) + " at " + name(f.q.at));
  }
  if (r.outcome == status::index_not_available) {
    check_gone(s, sh, o, now);
    if (read& mine = sh.reads[call.index]; !mine.gone) mine.gone = now;
  }
  check_floor(s, sh, f.q, call.stream, r.index, now);
}

// ------------------------------------------------------------------------------------------------- several keys

inline void oracle::check(const in_flight& f, const get_keys_response& r,
                          const std::vector<std::vector<std::byte>>& keys, time_point now) {
  const auto& call = std::get<get_keys_request>(f.q.what);
  stream& s = streams_[call.stream];
  shelf& sh = s.shelves[f.q.at];
  one_read o{call.stream, call.first, f.q.at, f.q.line, f.q.principal, f.asked, false, call.epoch};
  const bool fits = r.first == call.first && !keys.empty() && keys.size() <= call.count;
  if (r.outcome == status::success && !fits) {
    return complain("an answer fits its question", name(call.stream, call.first) + " and on was asked for, " +
                                                       std::to_string(keys.size()) + " keys from " +
                                                       std::to_string(r.first) + " came");
  }
  settle(sh, call.first, call.count, keys.size());
  if (r.outcome != status::success && !keys.empty()) {
    return complain("a failure carries no key", name(call.stream, call.first) + " at " + name(f.q.at));
  }
  for (const auto& key : keys) {
    if (key.empty() || key.size() != r.chunk_size) {
      return complain("an answer fits its question", name(call.stream, o.index) + " has another size");
    }
    seen_.in_runs += 1;
    check_key(s, sh, o, key, now);
    ++o.index;
  }
  if (r.outcome == status::index_not_available) {
    check_gone(s, sh, o, now);
    if (read& mine = sh.reads[call.first]; !mine.gone) mine.gone = now;
  }
  if (r.outcome != status::success) check_floor(s, sh, f.q, call.stream, r.first, now);
}

inline void oracle::subscribing(const instance& at, unsigned line, const subscribe_request& r) {
  shelf& sh = streams_[r.stream].shelves[at];
  sh.arriving = subscription{line, r.first, r.credit};
  sh.suspends = r.credit == 0;
  if (sh.flows && sh.flows->line == line && r.credit != 0) {
    sh.arriving->next = sh.flows->next;
    sh.arriving->credit += sh.flows->credit;
  }
}

inline void oracle::subscribed(const instance& at, const key_stream_id& id) {
  shelf& sh = streams_[id].shelves[at];
  if (!sh.arriving) return;  // refused, or suspended
  if (sh.suspends) {
    complain("a subscription is as it was asked for",
             name(id, sh.arriving->next) + " at " + name(at) + ": a suspension was not confirmed");
  }
  sh.flows = std::exchange(sh.arriving, std::nullopt);
}

inline void oracle::delivered(const instance& at, unsigned line, const key_stream_id& id,
                              const get_keys_response& r, time_point now) {
  stream& s = streams_[id];
  shelf& sh = s.shelves[at];
  const std::string what = name(id, r.first) + " for line " + std::to_string(line) + " at " + name(at);
  const bool is_new = sh.arriving && sh.arriving->line == line;
  if (r.outcome != status::success) {
    if (r.outcome == status::insufficient_key && !(is_new && sh.suspends)) {
      complain("a subscription is as it was asked for", what + " was suspended");
    }
    if (is_new) sh.arriving.reset();
    if (sh.flows && sh.flows->line == line) sh.flows.reset();
    return;
  }
  subscription* const flow = is_new                               ? &*sh.arriving
                             : sh.flows && sh.flows->line == line ? &*sh.flows
                                                                  : nullptr;
  if (flow == nullptr || r.keys.empty() || r.first < flow->next) {
    return complain("a subscription is as it was asked for", what + " came, and is not what comes next");
  }
  if (r.keys.size() > flow->credit) {
    return complain("credit is not exceeded", what + " had credit for " + std::to_string(flow->credit) +
                                                  ", and " + std::to_string(r.keys.size()) + " keys came");
  }
  static const std::string nobody;
  for (; flow->next < r.first; ++flow->next) {
    static_cast<void>(sh.reads[flow->next]);
    check_gone(s, sh, {id, flow->next, at, line, nobody, now, false, {}}, now);
    if (read& skipped = sh.reads[flow->next]; !skipped.gone) skipped.gone = now;
  }
  flow->next += r.keys.size();
  flow->credit -= r.keys.size();
  expect(sh, r.first, r.keys.size());
}

inline void oracle::heard(const instance& at, unsigned line, const std::string& principal,
                          const key_stream_id& id, const answer& a, time_point sent, time_point now) {
  const auto& r = std::get<get_keys_response>(a.what);
  if (r.outcome != status::success) return;
  stream& s = streams_[id];
  shelf& sh = s.shelves[at];
  settle(sh, r.first, a.keys.size(), a.keys.size());
  one_read o{id, r.first, at, line, principal, sent, false, {}};
  for (const auto& key : a.keys) {
    seen_.subscribed += 1;
    check_key(s, sh, o, key, now);
    ++o.index;
  }
}

// ------------------------------------------------------------------------------------------------- keys

/// Half the window of the stream: what a plain client acknowledges late. Clause: R5.
inline std::uint64_t oracle::acknowledgement_window(const stream& s, std::size_t chunk) const {
  if (chunk == 0) return 1;
  const auto window = [&](const qkd004::limits& l) {
    key_ring::options shape{static_cast<std::uint32_t>(chunk), std::bit_floor(std::max(l.ring_chunks, 2U)),
                            1s};
    while (shape.capacity > 2 && key_ring::bytes_needed(shape) > l.ring_bytes) shape.capacity /= 2;
    return shape.capacity;
  };
  return std::min(window(options_.limits[s.sites.first]), window(options_.limits[s.sites.second])) / 2;
}

inline void oracle::check_key(stream& s, shelf& sh, const one_read& o, const std::vector<std::byte>& key,
                              time_point now) {
  const std::string what = name(o.stream, o.index) + " at " + name(o.at);
  s.settled = true;

  if (!sh.first_key) sh.first_key = now;
  if (sh.owner.empty()) sh.owner = o.principal;
  if (sh.owner != o.principal) {
    complain("one principal a side", what + " went to " + o.principal + ", the stream is " + sh.owner + "'s");
  }

  // R3: whoever used the stream before the last OPEN_CONNECT is fenced off
  const use& u = sh.uses[o.line];
  if (sh.latest && sh.latest->line != o.line && sh.latest->answered <= o.asked && u.first_used &&
      *u.first_used < sh.latest->asked && u.opens_pending == 0 && u.last_open < sh.latest->asked) {
    complain("an older connection is fenced off", what + " went to line " + std::to_string(o.line) +
                                                      ", line " + std::to_string(sh.latest->line) +
                                                      " has resumed the stream");
  }
  if (o.epoch && sh.latest && *o.epoch < sh.latest->epoch && sh.latest->answered <= o.asked && sh.first_key &&
      *sh.first_key <= sh.latest->asked) {
    complain("an older epoch gets nothing", what + " was asked for with epoch " + std::to_string(*o.epoch) +
                                                ", the last is " + std::to_string(sh.latest->epoch));
  }
  if (use& mine = sh.uses[o.line]; !mine.first_used) mine.first_used = now;

  const std::uint64_t d = digest(key);
  read& r = sh.reads[o.index];
  if (r.had && r.digest != d) complain("an index has one key", what + " has other bytes than before");
  if (r.had && s.always_strict) complain("strict once", what + " was handed out twice");
  if (r.gone && *r.gone <= o.asked) complain("what is gone stays gone", what + " was not available before");

  // R4: acknowledged is gone. Serving i acknowledges i - W.
  sh.chunk = key.size();
  const std::uint64_t window = acknowledgement_window(s, sh.chunk);
  for (const auto& other : sh.recent) {
    if (!r.had || s.ever_strict || other.index < o.index + window) continue;
    if (other.asked < r.first_had || other.answered > o.asked) continue;
    complain("acknowledged is gone", what + " came again after " + std::to_string(other.index));
  }
  if (o.plain) {
    sh.recent.push_back({o.index, o.asked, now});
    if (sh.recent.size() > 64) sh.recent.pop_front();
  }
  for (const auto& below : sh.acknowledged) {
    if (!r.had || o.index >= below.index || r.first_had > below.asked || below.answered > o.asked) continue;
    complain("acknowledged is gone",
             what + " came again after an acknowledgement of all below " + std::to_string(below.index));
  }

  const auto bound = bound_at(sh, o.index);
  if (!bound) complain("what is served is bound", what + " is not");
  if (bound && o.asked >= *bound + std::chrono::seconds{s.longest_ttl}) {
    complain("nothing lives longer than TTL",
             what + " was bound " + std::to_string((o.asked - *bound) / 1ms) + " ms before");
  }

  if (!r.had) {
    r.had = true;
    r.digest = d;
    r.first_had = now;
    if (calm_ && o.asked >= *calm_) sh.new_after_calm = true;
    check_other_side(s, o, d, now);
    check_fresh(s, o, key);
  }
}

/// Whether two instances of a stream's two sites can only be the two ends of one and the same stream of that KSID:
/// one of them knew no other stream of it, as it lived from the first request for it until now. Clause: R2.
inline bool oracle::same_life(const stream& s, const instance& a, const instance& b, time_point now) const {
  const auto through = [&](const instance& i) {
    return started_[i.site][i.start] <= s.first_asked.value_or(time_point{}) && now <= died_[i.site][i.start];
  };
  return through(a) || through(b);
}

/// Equal bytes at both ends, and never at one end alone. Clause: D10.
inline void oracle::check_other_side(const stream& s, const one_read& o, std::uint64_t d, time_point now) {
  // the site with the lower node id serves what the other has confirmed; that one serves what it was told of
  bool bound = o.at.site != s.sites.first;
  for (const auto& [at, other] : s.shelves) {
    if (at.site == o.at.site) continue;
    bound = bound || bound_at(other, o.index);
    const auto r = other.reads.find(o.index);
    if (r == other.reads.end() || !r->second.had || r->second.digest == d) continue;
    if (same_life(s, o.at, at, std::max(now, r->second.first_had))) {
      complain("both ends have the same key",
               name(o.stream, o.index) + " differs between " + name(o.at) + " and " + name(at));
    }
  }
  if (!bound) {
    complain("no key at one end alone",
             name(o.stream, o.index) + " was served at " + name(o.at) + ", the other site never had it");
  }
}

/// No octets of key twice, in whatever stream, and to one principal a side. Looked for are some runs of eight octets,
/// chosen by what is in them, so that an overlap is found however it lies.
inline void oracle::check_fresh(const stream& s, const one_read& o, const std::vector<std::byte>& key) {
  const std::size_t side = o.at.site == s.sites.first ? 0 : 1;
  const int rare = key.size() < 1'024 ? 60 : 57;  // one in 16, one in 128
  std::uint32_t zeros = 0;
  for (std::uint32_t at = 0; at + 8 <= key.size(); ++at) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, key.data() + at, sizeof eight);
    zeros += eight == 0 ? 1U : 0U;
    if (at != 0 && (eight * 0x9e3779b97f4a7c15U) >> rare != 0) continue;
    place& p = octets_.try_emplace(eight, place{o.stream, o.index, at}).first->second;
    if (p.id != o.stream || p.index != o.index || p.offset != at) {
      return complain("no key twice", name(o.stream, o.index) + " at " + name(o.at) + " has octets of " +
                                          name(p.id, p.index));
    }
    if (!p.principals[side].empty() && (p.at[side] != o.at || p.principals[side] != o.principal)) {
      return complain("no key twice", name(o.stream, o.index) + " went to " + o.principal + " at " +
                                          name(o.at) + ", and to " + p.principals[side] + " at " +
                                          name(p.at[side]));
    }
    p.at[side] = o.at;
    p.principals[side] = o.principal;
  }
  if (zeros != 0) complain("no key twice", name(o.stream, o.index) + " is wiped memory");
}

/// index_not_available: it was acknowledged, or its TTL is over, else it should be there. Clause: R4, R5.
inline void oracle::check_gone(const stream& s, const shelf& sh, const one_read& o, time_point now) {
  const auto bound = bound_at(sh, o.index);
  if (bound && now >= *bound + std::chrono::seconds{s.shortest_ttl}) return;
  const read& r = sh.reads.at(o.index);
  const bool may_be_taken = s.ever_strict && r.maybe_had();
  // asking for what is not bound yet acknowledges, too, but no further ahead than the window
  const std::uint64_t window = acknowledgement_window(s, sh.chunk);
  const auto higher = sh.plain.lower_bound(o.index + window);
  const bool is_below = !sh.may_be_below.empty() && o.index < *sh.may_be_below.rbegin();
  const bool may_be_acknowledged =
      r.maybe_had() && (is_below || (higher != sh.plain.end() && *higher < sh.last.bound + window));
  if (may_be_taken || may_be_acknowledged || r.gone) return;
  complain("what is not acknowledged is there", name(o.stream, o.index) + " at " + name(o.at) + " is gone");
}

/// The lowest live index that a site reports: whatever is below was asked for, or its TTL is over.
inline void oracle::check_floor(const stream& s, shelf& sh, const question& q, const key_stream_id& id,
                                std::uint64_t floor, time_point now) {
  for (; sh.floor < floor; ++sh.floor) {
    const auto r = sh.reads.find(sh.floor);
    if (r != sh.reads.end() && (r->second.maybe_had() || r->second.gone)) continue;
    const auto bound = bound_at(sh, sh.floor);
    if (bound && now >= *bound + std::chrono::seconds{s.shortest_ttl}) continue;
    complain("what is not acknowledged is there",
             name(id, sh.floor) + " at " + name(q.at) + " was skipped, nobody had it");
  }
}

// ------------------------------------------------------------------------------------------------- balances

inline void oracle::balance(const instance& at, const key_stream_id& id, const key_ring::balance& b,
                            time_point now) {
  stream& s = streams_[id];
  shelf& sh = s.shelves[at];
  const auto wrong = [&](const char* what) {
    complain("the balance is right",
             name(id, b.bound) + " at " + name(at) + ": " + what + " (bound " + std::to_string(b.bound) +
                 ", acknowledged " + std::to_string(b.acknowledged) + ", expired " +
                 std::to_string(b.expired) + ", discarded " + std::to_string(b.discarded) + ", live " +
                 std::to_string(b.live) + ")");
  };
  if (b.bound != b.acknowledged + b.expired + b.discarded + b.live) wrong("it does not add up");
  if (b.discarded != 0) wrong("discarded, though nobody closed");
  if (b.acknowledged > sh.maybe_had) wrong("more is acknowledged than was asked for");
  if (b.bound < sh.last.bound || b.expired < sh.last.expired || b.acknowledged < sh.last.acknowledged) {
    return wrong("it went back");
  }
  if (b.bound > sh.last.bound) sh.bound.emplace(b.bound, now);
  if (s.first_asked && b.expired > sh.last.expired &&
      now < sh.bound.begin()->second + std::chrono::seconds{s.shortest_ttl}) {
    wrong("expired before its TTL");
  }
  // the sweep comes four times a second
  if (s.first_asked && b.live > 0 &&
      now > sh.bound.rbegin()->second + std::chrono::seconds{s.longest_ttl} + 300ms) {
    wrong("live after its TTL");
  }
  sh.last = b;
}

// ------------------------------------------------------------------------------------------------- liveness

inline std::string oracle::starved(const key_stream_id& id, const instance& one,
                                   const instance& other) const {
  const stream& s = streams_.at(id);
  const shelf& here = s.shelves.at(one);
  const shelf& there = s.shelves.at(other);
  if (!here.new_after_calm) return name(one) + " got no key of " + name(id, 0);
  // what the other side had before must be there on this side, too
  for (const auto& [index, r] : there.reads) {
    if (!r.had || r.first_had >= *calm_ || index < here.floor) continue;
    const auto mine = here.reads.find(index);
    if (mine == here.reads.end() || (!mine->second.had && !mine->second.gone && !mine->second.unknown)) {
      return name(one) + " did not get " + name(id, index) + ", which " + name(other) + " has";
    }
  }
  return {};
}

inline void oracle::end() {
  for (const auto& [ticket, f] : in_flight_) {
    complain("each call is answered once",
             "ticket " + std::to_string(ticket) + " at " + name(f.q.at) + " never was");
  }
}

}  // namespace simulation
