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

using request = std::variant<open_connect_request, get_key_request, close_request>;

/// What came back, the key copied.
struct answer {
  std::variant<open_connect_response, get_key_response, close_response> what;
  std::vector<std::byte> key;
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

  [[nodiscard]] std::uint64_t keys_seen() const noexcept { return keys_seen_; }

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
    std::deque<success> recent;                 ///< the last keys that came
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
    std::uint32_t longest_timeout = 0;  ///< ms
    bool always_strict = true;          ///< every OPEN_CONNECT asked for strict once
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
  void check(const in_flight& f, const get_key_response& r, const std::vector<std::byte>& key,
             time_point now);
  void check_key(stream& s, shelf& sh, const in_flight& f, const std::vector<std::byte>& key, time_point now);
  void check_gone(const stream& s, const shelf& sh, const in_flight& f, time_point now);
  void check_floor(const stream& s, shelf& sh, const question& q, const key_stream_id& id,
                   std::uint64_t floor, time_point now);
  void check_other_side(const stream& s, const question& q, std::uint64_t d, time_point now);
  void check_fresh(const stream& s, const question& q, const std::vector<std::byte>& key);
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
  std::uint64_t keys_seen_ = 0;
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
  in_flight_.emplace(q.ticket, in_flight{q, now});
  if (const auto* open = std::get_if<open_connect_request>(&q.what);
      open != nullptr && !open->stream.is_null()) {
    learn(open->stream, *open, now);
    streams_[open->stream].shelves[q.at].uses[q.line].opens_pending += 1;
  }
  if (const auto* get = std::get_if<get_key_request>(&q.what)) {
    shelf& sh = streams_[get->stream].shelves[q.at];
    read& r = sh.reads[get->index];
    if (!r.maybe_had()) sh.maybe_had += 1;
    r.pending += 1;
  }
}

inline void oracle::lost(std::uint64_t ticket) {
  const auto it = in_flight_.find(ticket);
  if (it == in_flight_.end()) return;
  if (const auto* get = std::get_if<get_key_request>(&it->second.q.what)) {
    read& r = streams_[get->stream].shelves[it->second.q.at].reads[get->index];
    r.pending -= 1;
    r.unknown = true;
  }
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
  const auto* open = std::get_if<open_connect_request>(&f.q.what);
  const bool waits =
      (get != nullptr && !get->no_wait) || (open != nullptr && !open->no_wait && !open->stream.is_null());
  const auto known = streams_.find(stream_of(f.q.what));
  const std::uint32_t timeout = known == streams_.end() ? 0 : known->second.longest_timeout;
  if (now - f.asked > options_.transit + (waits ? duration{std::chrono::milliseconds{timeout}} : 0ms)) {
    complain("calls are answered in time", "ticket " + std::to_string(ticket) + " at " + name(at) + " took " +
                                               std::to_string((now - f.asked) / 1ms) + " ms");
  }
  if (open != nullptr) check(f, std::get<open_connect_response>(a.what), now);
  if (get != nullptr) check(f, std::get<get_key_response>(a.what), a.key, now);
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
}

// ------------------------------------------------------------------------------------------------- GET_KEY

inline void oracle::check(const in_flight& f, const get_key_response& r, const std::vector<std::byte>& key,
                          time_point now) {
  const auto& call = std::get<get_key_request>(f.q.what);
  stream& s = streams_[call.stream];
  shelf& sh = s.shelves[f.q.at];
  read& mine = sh.reads[call.index];
  mine.pending -= 1;
  if (r.outcome == status::success) {
    if (key.empty() || r.index != call.index) {
      complain("an answer fits its question", name(call.stream, call.index) + " was asked for, and " +
                                                  std::to_string(key.size()) + " octets of " +
                                                  std::to_string(r.index) + " came");
    }
    return check_key(s, sh, f, key, now);
  }
  if (!key.empty()) {
    complain("a failure carries no key", name(call.stream, call.index) + " at " + name(f.q.at));
  }
  if (r.outcome == status::index_not_available) {
    check_gone(s, sh, f, now);
    if (!mine.gone) mine.gone = now;
  }
  check_floor(s, sh, f.q, call.stream, r.index, now);
  if (!mine.maybe_had()) sh.maybe_had -= 1;
}

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

inline void oracle::check_key(stream& s, shelf& sh, const in_flight& f, const std::vector<std::byte>& key,
                              time_point now) {
  const auto& call = std::get<get_key_request>(f.q.what);
  const std::string what = name(call.stream, call.index) + " at " + name(f.q.at);
  keys_seen_ += 1;

  if (!sh.first_key) sh.first_key = now;
  if (sh.owner.empty()) sh.owner = f.q.principal;
  if (sh.owner != f.q.principal) {
    complain("one principal a side",
             what + " went to " + f.q.principal + ", the stream is " + sh.owner + "'s");
  }

  // R3: whoever used the stream before the last OPEN_CONNECT is fenced off
  const use& u = sh.uses[f.q.line];
  if (sh.latest && sh.latest->line != f.q.line && sh.latest->answered <= f.asked && u.first_used &&
      *u.first_used < sh.latest->asked && u.opens_pending == 0 && u.last_open < sh.latest->asked) {
    complain("an older connection is fenced off", what + " went to line " + std::to_string(f.q.line) +
                                                      ", line " + std::to_string(sh.latest->line) +
                                                      " has resumed the stream");
  }
  if (use& mine = sh.uses[f.q.line]; !mine.first_used) mine.first_used = now;

  const std::uint64_t d = digest(key);
  read& r = sh.reads[call.index];
  if (r.had && r.digest != d) complain("an index has one key", what + " has other bytes than before");
  if (r.had && s.always_strict) complain("strict once", what + " was handed out twice");
  if (r.gone && *r.gone <= f.asked) complain("what is gone stays gone", what + " was not available before");

  // R4: acknowledged is gone. Serving i acknowledges i - W.
  sh.chunk = key.size();
  const std::uint64_t window = acknowledgement_window(s, sh.chunk);
  for (const auto& other : sh.recent) {
    if (!r.had || s.ever_strict || other.index < call.index + window) continue;
    if (other.asked < r.first_had || other.answered > f.asked) continue;
    complain("acknowledged is gone", what + " came again after " + std::to_string(other.index));
  }
  sh.recent.push_back({call.index, f.asked, now});
  if (sh.recent.size() > 64) sh.recent.pop_front();

  const auto bound = bound_at(sh, call.index);
  if (!bound) complain("what is served is bound", what + " is not");
  if (bound && f.asked >= *bound + std::chrono::seconds{s.longest_ttl}) {
    complain("nothing lives longer than TTL",
             what + " was bound " + std::to_string((f.asked - *bound) / 1ms) + " ms before");
  }

  if (!r.had) {
    r.had = true;
    r.digest = d;
    r.first_had = now;
    if (calm_ && f.asked >= *calm_) sh.new_after_calm = true;
    check_other_side(s, f.q, d, now);
    check_fresh(s, f.q, key);
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
inline void oracle::check_other_side(const stream& s, const question& q, std::uint64_t d, time_point now) {
  const auto& call = std::get<get_key_request>(q.what);
  // the site with the lower node id serves what the other has confirmed; that one serves what it was told of
  bool bound = q.at.site != s.sites.first;
  for (const auto& [at, other] : s.shelves) {
    if (at.site == q.at.site) continue;
    bound = bound || bound_at(other, call.index);
    const auto r = other.reads.find(call.index);
    if (r == other.reads.end() || !r->second.had || r->second.digest == d) continue;
    if (same_life(s, q.at, at, std::max(now, r->second.first_had))) {
      complain("both ends have the same key",
               name(call.stream, call.index) + " differs between " + name(q.at) + " and " + name(at));
    }
  }
  if (!bound) {
    complain("no key at one end alone", name(call.stream, call.index) + " was served at " + name(q.at) +
                                            ", the other site never had it");
  }
}

/// No octets of key twice, in whatever stream, and to one principal a side. Looked for are some runs of eight octets,
/// chosen by what is in them, so that an overlap is found however it lies.
inline void oracle::check_fresh(const stream& s, const question& q, const std::vector<std::byte>& key) {
  const auto& call = std::get<get_key_request>(q.what);
  const std::size_t side = q.at.site == s.sites.first ? 0 : 1;
  const int rare = key.size() < 1'024 ? 60 : 57;  // one in 16, one in 128
  std::uint32_t zeros = 0;
  for (std::uint32_t at = 0; at + 8 <= key.size(); ++at) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, key.data() + at, sizeof eight);
    zeros += eight == 0 ? 1U : 0U;
    if (at != 0 && (eight * 0x9e3779b97f4a7c15U) >> rare != 0) continue;
    place& p = octets_.try_emplace(eight, place{call.stream, call.index, at}).first->second;
    if (p.id != call.stream || p.index != call.index || p.offset != at) {
      return complain("no key twice", name(call.stream, call.index) + " at " + name(q.at) +
                                          " has octets of " + name(p.id, p.index));
    }
    if (!p.principals[side].empty() && (p.at[side] != q.at || p.principals[side] != q.principal)) {
      return complain("no key twice", name(call.stream, call.index) + " went to " + q.principal + " at " +
                                          name(q.at) + ", and to " + p.principals[side] + " at " +
                                          name(p.at[side]));
    }
    p.at[side] = q.at;
    p.principals[side] = q.principal;
  }
  if (zeros != 0) complain("no key twice", name(call.stream, call.index) + " is wiped memory");
}

/// index_not_available: it was acknowledged, or its TTL is over, else it should be there. Clause: R4, R5.
inline void oracle::check_gone(const stream& s, const shelf& sh, const in_flight& f, time_point now) {
  const auto& call = std::get<get_key_request>(f.q.what);
  const auto bound = bound_at(sh, call.index);
  if (bound && now >= *bound + std::chrono::seconds{s.shortest_ttl}) return;
  const read& r = sh.reads.at(call.index);
  const bool may_be_taken = s.ever_strict && r.maybe_had();
  // asking for what is not bound yet acknowledges, too, but no further ahead than the window
  const std::uint64_t window = acknowledgement_window(s, sh.chunk);
  const auto higher = sh.reads.lower_bound(call.index + window);
  const bool may_be_acknowledged =
      r.maybe_had() && higher != sh.reads.end() && higher->first < sh.last.bound + window;
  if (may_be_taken || may_be_acknowledged || r.gone) return;
  complain("what is not acknowledged is there",
           name(call.stream, call.index) + " at " + name(f.q.at) + " is gone");
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
