// application: a program at one site that opens streams, reads them in every way that is allowed, and some that are
// not, and loses its connections.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "world.hpp"

namespace simulation {

/// What applications tell one another, past the key managers: the streams that there are.
struct offer {
  key_stream_id stream;
  std::string source;
  std::string destination;
  unsigned one = 0;    ///< site of the source
  unsigned other = 0;  ///< of the destination
  bool strict_once = false;
};

struct notice_board {
  std::vector<offer> offers;

  void add(const offer& o) {
    const auto same = [&](const offer& known) { return known.stream == o.stream; };
    if (std::none_of(offers.begin(), offers.end(), same)) offers.push_back(o);
  }
};

class application {
 public:
  struct options {
    std::string name;       ///< of the program: `qkd://name@A`
    std::string principal;  ///< whom its site takes it for
    unsigned site = 0;
    bool foreign = false;  ///< tries the streams of others
  };

  application(world& w, notice_board& board, options o) : world_{w}, board_{board}, options_{std::move(o)} {}
  application(const application&) = delete;
  application& operator=(const application&) = delete;

  /// One thing at random: calls are to be added here. \see README.md
  void act();
  /// When faults have stopped: resumes what it has open, and reads on.
  void act_calmly();
  [[nodiscard]] unsigned site() const noexcept { return options_.site; }
  /// What it has open and reads, in calm.
  [[nodiscard]] std::vector<key_stream_id> reading() const;

 private:
  /// How it reads a stream. What is read in runs or subscribed is acknowledged by word.
  enum class manner : std::uint8_t { one_by_one, in_runs, subscribed };

  /// A stream as the application knows it.
  struct held {
    offer what;
    instance at;           ///< where it was opened
    bool open = false;     ///< it was said to be
    bool resumed = false;  ///< in calm
    bool resuming = false;
    unsigned home = 0;                        ///< number of the line on which it was last opened
    std::uint64_t next = 0;                   ///< lowest index that it has yet to ask for
    std::uint64_t highest = 0;                ///< that it had
    std::set<std::uint64_t> had;              ///< from `next` on
    std::map<std::uint64_t, unsigned> asked;  ///< on its way, and how often
    manner reads = manner::one_by_one;
    std::uint64_t epoch = 0;
    unsigned runs = 0;           ///< calls for several keys that are on their way
    unsigned subscribed_on = 0;  ///< number of the line; 0: none
    bool suspending = false;
    std::uint64_t credit = 0;    ///< that was not used up, as far as is known
    std::uint64_t expected = 0;  ///< what the subscription brings next
  };

  [[nodiscard]] chance& luck() { return world_.luck(); }
  [[nodiscard]] std::shared_ptr<line> any_line();
  [[nodiscard]] std::shared_ptr<line> home_of(const held& h);
  [[nodiscard]] held* any_open();
  void dial();
  void hears(const std::shared_ptr<line>& on, const question& q, const answer& a);
  void is_brought(const line& on, const key_stream_id& id, const answer& a);
  void forgets(const question& q);
  static void has(held& h, std::uint64_t index);
  static void move_on(held& h);

  void open_new(line& on);
  void open_known(line& on);
  void resume(line& on, held& h);
  void read_on(line& on, held& h);
  void read_again(line& on, held& h);
  void close(line& on, held& h);
  void intrude(line& on);
  void get(line& on, held& h, std::uint64_t index, bool no_wait);
  void get_several(line& on, held& h, std::uint64_t first, std::uint16_t count, std::uint64_t has_below,
                   bool no_wait);
  void read_run(line& on, held& h);
  void acknowledge(line& on, const held& h);
  void subscribe(line& on, held& h, std::uint32_t credit);
  void keep_subscribed(line& on, held& h);
  void wait_for_peer(line& on, const held& h);
  [[nodiscard]] qos some_quality();

  world& world_;
  notice_board& board_;
  const options options_;
  std::vector<std::shared_ptr<line>> lines_;
  std::map<key_stream_id, held> streams_;
};

// ------------------------------------------------------------------------------------------------- connections

inline void application::dial() {
  auto made = world_.dial(options_.site, options_.principal);
  if (!made) return;
  made->listen(
      [this, weak = std::weak_ptr{made}](const question& q, const answer& a) { hears(weak.lock(), q, a); },
      [this, weak = std::weak_ptr{made}](const key_stream_id& id, const answer& a) {
        if (const auto on = weak.lock()) is_brought(*on, id, a);
      },
      [this](const question& q) { forgets(q); },
      [this, number = made->number()] {
        std::erase_if(lines_, [&](const auto& l) { return l->number() == number; });
        for (auto& [id, h] : streams_) {
          if (h.subscribed_on == number) h.subscribed_on = 0;
        }
      });
  lines_.push_back(std::move(made));
}

inline std::shared_ptr<line> application::any_line() {
  if (lines_.empty()) dial();
  return lines_.empty() ? nullptr : luck().one_of(lines_);
}

inline std::shared_ptr<line> application::home_of(const held& h) {
  const auto it =
      std::find_if(lines_.begin(), lines_.end(), [&](const auto& l) { return l->number() == h.home; });
  return it == lines_.end() ? nullptr : *it;
}

inline application::held* application::any_open() {
  std::vector<held*> open;
  for (auto& [id, h] : streams_) {
    if (h.open) open.push_back(&h);
  }
  return open.empty() ? nullptr : luck().one_of(open);
}

// ------------------------------------------------------------------------------------------------- answers

inline void application::forgets(const question& q) {
  const auto it = streams_.find(stream_of(q.what));
  if (it == streams_.end()) return;
  held& h = it->second;
  h.resuming = false;
  if (const auto* get = std::get_if<get_key_request>(&q.what)) {
    if (const auto a = h.asked.find(get->index); a != h.asked.end() && --a->second == 0) h.asked.erase(a);
  }
  if (std::holds_alternative<get_keys_request>(q.what)) h.runs -= 1;
}

inline void application::has(held& h, std::uint64_t index) {
  if (index >= h.next) h.had.insert(index);
  h.highest = std::max(h.highest, index);
}

inline void application::move_on(held& h) {
  while (!h.had.empty() && *h.had.begin() <= h.next) {
    if (*h.had.begin() == h.next) ++h.next;
    h.had.erase(h.had.begin());
  }
}

inline void application::is_brought(const line& on, const key_stream_id& id, const answer& a) {
  held& h = streams_[id];
  if (h.at != on.at()) return;
  const auto& r = std::get<get_keys_response>(a.what);
  const bool expects = h.subscribed_on == on.number();
  if (!expects && r.outcome != status::success) return;
  if (r.outcome != status::success) {
    h.subscribed_on = 0;
    if (r.outcome == status::not_authorized && h.home == on.number()) h.resumed = false;
    if (r.outcome == status::unknown_key_stream || r.outcome == status::stream_exhausted ||
        r.outcome == status::shutting_down)
      h.open = false;
    return;
  }
  const std::uint64_t end = r.first + a.keys.size();
  if (expects && h.expected <= h.next && end > h.next) h.next = end;  // what it left out is gone
  for (std::uint64_t i = r.first; i < end; ++i) has(h, i);
  move_on(h);
  if (!expects) return;  // it has asked on another connection, which may not get there
  h.expected = end;
  h.credit -= std::min<std::uint64_t>(h.credit, a.keys.size());
}

inline void application::hears(const std::shared_ptr<line>& on, const question& q, const answer& a) {
  forgets(q);
  if (const auto* r = std::get_if<open_connect_response>(&a.what)) {
    const auto& call = std::get<open_connect_request>(q.what);
    const bool good = r->outcome == status::success || r->outcome == status::peer_not_connected;
    if (!good) {
      if (const auto it = streams_.find(call.stream);
          it != streams_.end() && r->outcome != status::qos_not_met) {
        it->second.open = false;
      }
      return;
    }
    held& h = streams_[r->stream];
    if (h.what.source.empty()) {
      const auto site = [](const std::string& uri) { return static_cast<unsigned>(uri.back() - 'A'); };
      h.what = {r->stream,       call.source, call.destination, site(call.source), site(call.destination),
                call.strict_once};
      board_.add(h.what);
    }
    const bool anew = h.at != q.at || h.epoch == 0;
    if (h.at != q.at) {  // what another instance had of it, nobody has any more
      h.next = h.highest = 0;
      h.had.clear();
      h.subscribed_on = 0;
    }
    if (anew)
      h.reads = luck().one_of({manner::one_by_one, manner::one_by_one, manner::in_runs, manner::subscribed});
    h.at = q.at;
    h.open = true;
    h.home = on->number();
    h.resumed = true;
    h.epoch = r->epoch;
    // whoever acknowledges by word can have again what was lost with a connection
    if (anew || h.reads == manner::one_by_one) h.next = std::max(h.next, r->lowest_live_index);
    return;
  }
  const auto it = streams_.find(stream_of(q.what));
  if (it == streams_.end()) return;
  held& h = it->second;
  if (h.at != q.at) return;
  const auto fails = [&h](status outcome, std::uint64_t index, std::uint64_t lowest) {
    switch (outcome) {
      case status::index_not_available:
        h.next = std::max(h.next, lowest);
        h.had.insert(index);
        break;
      case status::not_authorized: h.resumed = false; break;
      case status::unknown_key_stream:
      case status::stream_exhausted:
      case status::shutting_down: h.open = false; break;
      default: break;
    }
  };
  if (const auto* r = std::get_if<get_key_response>(&a.what)) {
    const std::uint64_t index = std::get<get_key_request>(q.what).index;
    if (r->outcome == status::success) {
      has(h, index);
    } else {
      fails(r->outcome, index, r->index);
    }
    move_on(h);
  }
  if (const auto* r = std::get_if<get_keys_response>(&a.what)) {
    for (std::uint64_t i = r->first; i < r->first + a.keys.size(); ++i) has(h, i);
    const auto& call = std::get<get_keys_request>(q.what);
    // it was refused for an epoch that is known to be old
    const bool meant = r->outcome == status::not_authorized && call.epoch < h.epoch;
    if (r->outcome != status::success && !meant) fails(r->outcome, call.first, r->first);
    move_on(h);
  }
}

// ------------------------------------------------------------------------------------------------- calls

inline qos application::some_quality() {
  qos q;
  q.key_chunk_size = luck().one_of({0U, 16U, 32U, 33U, 100U, 333U, 1'024U, 1'500U});
  if (luck().one_in(16)) q.key_chunk_size = luck().one_of({5'000U, 20'000U});
  q.ttl_s = luck().one_of({0U, 1U, 2U, 5U, 30U});
  q.timeout_ms = luck().one_in(2) ? 0 : 50 + static_cast<std::uint32_t>(luck().below(3'000));
  const std::uint32_t chunk_bits =
      8 * (q.key_chunk_size == 0 ? qos_defaults::key_chunk_size : q.key_chunk_size);
  if (luck().one_in(3)) q.max_bps = chunk_bits * (1 + static_cast<std::uint32_t>(luck().below(300)));
  if (luck().one_in(12)) q.max_bps = chunk_bits / (1 + static_cast<std::uint32_t>(luck().below(4)));
  if (luck().one_in(6)) q.min_bps = static_cast<std::uint32_t>(luck().below(100'000));
  if (const std::uint64_t rate = world_.rate_bps(); rate != 0 && luck().one_in(4)) {
    // more than this site's half: the rest is the peer's to lend
    q.min_bps = static_cast<std::uint32_t>(rate * (20 + luck().below(60)) / 100);
    q.max_bps = luck().one_in(2) ? 0 : q.min_bps;
  }
  if (luck().one_in(4)) q.priority = static_cast<std::uint32_t>(luck().below(300));
  if (luck().one_in(3)) q.metadata_mimetype = metadata_json;
  if (luck().one_in(20)) q.metadata_mimetype = "text/plain";
  return q;
}

/// A stream of its own, or one of a few ids that several programs may open at once.
inline void application::open_new(line& on) {
  unsigned other = static_cast<unsigned>(luck().below(world_.sites() - 1));
  if (other >= options_.site) ++other;
  open_connect_request r{"qkd://" + options_.name + "@" + world::node(options_.site),
                         "qkd://peer@" + world::node(other), some_quality()};
  r.strict_once = luck().one_in(5);
  r.no_wait = luck().one_in(2);
  if (luck().one_in(3)) {
    // predefined: equal at both ends, so its URIs are too
    const unsigned low = std::min(options_.site, other);
    const unsigned high = std::max(options_.site, other);
    std::array<std::byte, key_stream_id::size> octets{};
    octets[13] = static_cast<std::byte>(low + 1);
    octets[14] = static_cast<std::byte>(high + 1);
    octets[15] = static_cast<std::byte>(1 + luck().below(8));
    r.stream = key_stream_id{octets};
    r.source = "qkd://one@" + world::node(low);
    r.destination = "qkd://other@" + world::node(high);
    if (luck().one_in(4)) std::swap(r.source, r.destination);
    if (luck().one_in(30)) r.destination = "qkd://nobody@" + world::node(other);
  }
  on.ask(std::move(r));
}

/// One of the notice board: joins it, or resumes it.
inline void application::open_known(line& on) {
  std::vector<offer> here;
  for (const auto& o : board_.offers) {
    if (o.one == options_.site || o.other == options_.site) here.push_back(o);
  }
  if (here.empty()) return;
  const offer& o = luck().one_of(here);
  open_connect_request r{o.source, o.destination, some_quality(), o.stream};
  r.strict_once = o.strict_once;
  r.no_wait = luck().one_in(2);
  on.ask(std::move(r));
}

inline void application::resume(line& on, held& h) {
  open_connect_request r{h.what.source, h.what.destination, {}, h.what.stream};
  r.strict_once = h.what.strict_once;
  r.no_wait = true;
  h.resuming = on.is_up();
  on.ask(std::move(r));
}

inline void application::get(line& on, held& h, std::uint64_t index, bool no_wait) {
  if (!on.is_up()) return;
  h.asked[index] += 1;
  get_key_request r;
  r.stream = h.what.stream;
  r.index = index;
  r.no_wait = no_wait;
  r.metadata_size = luck().one_of({0U, 0U, 64U, 8U});
  on.ask(r);
}

/// The next indices, some of them ahead of their turn.
inline void application::read_on(line& on, held& h) {
  const auto many = 1 + luck().below(16);
  const bool no_wait = !luck().one_in(3);
  std::uint64_t index = h.next;
  for (std::uint64_t i = 0; i < many; ++i, ++index) {
    if (luck().one_in(30)) index += luck().below(100);
    if (!h.had.contains(index)) get(on, h, index, no_wait);
  }
}

/// What it had, or may have had: a retransmission while it is not acknowledged.
inline void application::read_again(line& on, held& h) {
  const auto back = luck().below(8);
  get(on, h, h.highest - std::min(h.highest, back), luck().one_in(2));
}

/// As far as there is nothing between.
inline void application::acknowledge(line& on, const held& h) {
  acknowledge_request r{h.what.stream, h.epoch, h.next};
  if (luck().one_in(20)) r = {h.what.stream, h.epoch - 1, h.next + luck().below(20)};  // to be refused
  on.ask(r);
}

inline void application::get_several(line& on, held& h, std::uint64_t first, std::uint16_t count,
                                     std::uint64_t has_below, bool no_wait) {
  if (!on.is_up()) return;
  h.runs += 1;
  get_keys_request r;
  r.stream = h.what.stream;
  r.epoch = h.epoch;
  r.first = first;
  r.count = count;
  r.acknowledge_below = has_below;
  r.no_wait = no_wait;
  r.vendor_metadata = luck().one_in(4);
  on.ask(r);
}

/// The next run, or one ahead, or one again.
inline void application::read_run(line& on, held& h) {
  std::uint64_t first = h.next;
  if (luck().one_in(10)) first += luck().below(40);
  if (luck().one_in(5)) first = h.highest - std::min(h.highest, luck().below(20));
  const auto count = luck().one_of<std::uint16_t>({1, 2, 8, 50});
  const std::uint64_t has_below = luck().one_in(2) ? h.next : 0;
  if (luck().one_in(20)) {
    h.epoch -= 1;  // to be refused
    get_several(on, h, first, count, has_below, true);
    h.epoch += 1;
    return;
  }
  get_several(on, h, first, count, has_below, !luck().one_in(3));
}

inline void application::subscribe(line& on, held& h, std::uint32_t credit) {
  if (!on.is_up()) return;
  if (h.subscribed_on != on.number()) {
    h.subscribed_on = on.number();
    h.suspending = false;
    h.expected = h.next;
    h.credit = 0;
  }
  h.credit += credit;
  on.ask(subscribe_request{h.what.stream, h.epoch, h.expected, credit});
}

/// Subscribes where it does not, gives credit, and now and then suspends, and begins anew once that is confirmed.
inline void application::keep_subscribed(line& on, held& h) {
  if (luck().one_in(3)) acknowledge(on, h);
  const bool flows = h.subscribed_on == on.number();
  if (flows && h.suspending) return;
  if (flows && luck().one_in(12)) {
    h.suspending = true;
    return on.ask(subscribe_request{h.what.stream, h.epoch, h.expected, 0});
  }
  if (!flows || h.credit < 8 || luck().one_in(10)) {
    subscribe(on, h, static_cast<std::uint32_t>(1 + luck().below(40)));
  }
}

inline void application::wait_for_peer(line& on, const held& h) {
  on.ask(wait_peer_request{h.what.stream, luck().one_of({0U, 50U, 700U})});
}

inline void application::close(line& on, held& h) {
  h.open = false;
  if (h.reads != manner::one_by_one && !luck().one_in(4)) acknowledge(on, h);
  on.ask(close_request{h.what.stream});
}

/// Somebody else's stream.
inline void application::intrude(line& on) {
  if (board_.offers.empty()) return;
  const offer& o = luck().one_of(board_.offers);
  if (luck().one_in(10)) return on.ask(close_request{o.stream});
  get_key_request r;
  r.stream = o.stream;
  r.index = luck().below(1 + luck().below(200));
  r.no_wait = !luck().one_in(4);
  on.ask(r);
}

// ------------------------------------------------------------------------------------------------- behaviour

inline void application::act() {
  const auto on = any_line();
  if (!on) return;
  held* const h = any_open();
  const auto what = luck().below(100);
  if (options_.foreign) {
    if (what < 70) return intrude(*on);
    if (what == 70) return open_known(*on);
    if (what > 71) return;
  }
  if (what < 3) return open_new(*on);
  if (what < 8) return open_known(*on);
  if (what == 8 && lines_.size() < 4) return dial();
  if (what == 9) return luck().one_in(2) ? on->close() : on->cut();
  if (h == nullptr) return;
  const auto home = home_of(*h);
  if (what == 10) return luck().one_in(3) ? close(*on, *h) : void();
  if (what < 14) return resume(*on, *h);
  // most programs read on one connection; the same key may be asked for on several
  line& reads_on = home != nullptr && !luck().one_in(4) ? *home : *on;
  if (what == 14) return wait_for_peer(reads_on, *h);
  if (h->reads == manner::in_runs) return what < 18 ? acknowledge(reads_on, *h) : read_run(reads_on, *h);
  if (h->reads == manner::subscribed) return keep_subscribed(reads_on, *h);
  if (what < 22) return read_again(reads_on, *h);
  read_on(reads_on, *h);
}

inline void application::act_calmly() {
  const auto on = lines_.empty() ? any_line() : lines_.front();
  if (!on) return;
  for (auto& [id, h] : streams_) {
    if (!h.open || h.resuming) continue;
    if (!h.resumed || home_of(h) != on) {
      resume(*on, h);
      continue;
    }
    if (h.reads == manner::in_runs) {
      const auto count = static_cast<std::uint16_t>(1 + luck().below(32));
      if (h.runs == 0) get_several(*on, h, h.next, count, h.next, luck().one_in(3));
      continue;
    }
    if (h.reads == manner::subscribed) {
      if (h.subscribed_on == on->number() && h.suspending) continue;
      if (h.subscribed_on != on->number() || h.credit < 8) subscribe(*on, h, 16);
      on->ask(acknowledge_request{h.what.stream, h.epoch, h.next});
      continue;
    }
    std::uint64_t index = h.next;
    for (std::size_t i = h.asked.size(); i < 4; ++index) {
      if (h.had.contains(index) || h.asked.contains(index)) continue;
      get(*on, h, index, luck().one_in(3));
      ++i;
    }
  }
}

inline std::vector<key_stream_id> application::reading() const {
  std::vector<key_stream_id> ids;
  for (const auto& [id, h] : streams_) {
    if (h.open && h.resumed && !lines_.empty() && h.home == lines_.front()->number()) ids.push_back(id);
  }
  return ids;
}

}  // namespace simulation
