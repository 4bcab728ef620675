// self_link: a key manager that is its own peer, for tests and for programs that know one server only.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qkd004/key_manager.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/memory_source.hpp"

namespace qkd004 {

/// Two key managers behind one face: the first OPEN_CONNECT of a KSID is at side A, the second at side B, a third
/// by anybody else gets 5. Callers are told apart by principal, else by connection; one that connects anew for
/// every call reads alternately as A and B. Clause: D17.
class self_link final : public key_service {
 public:
  /// The key is random, and stays in this process. `o.node` and `o.local_uris` say which URIs are this site's: both
  /// source and destination must be. Answers go to `out`; there is nobody to send to.
  self_link(key_manager::options o, const secret_arena& arena, const key_manager::random_function& random,
            key_manager::events& out)
      : node_{o.node},
        local_uris_{o.local_uris},
        may_open_{o.may_open},
        max_uri_{o.limits.max_uri},
        out_{out} {
    auto ends = make_memory_sources({});
    sources_[a] = std::move(ends.first);
    sources_[b] = std::move(ends.second);
    o.may_open = {};
    o.limits.max_uri += prefix_size;
    for (const std::size_t side : {a, b}) {
      key_manager::options mine = o;
      mine.node = o.node + (side == a ? "/a" : "/b");
      mine.local_uris = {side == a ? "a:*" : "b:*"};
      sides_[side] = std::make_unique<half>(*this, side, std::move(mine), arena, random);
    }
    for (const std::size_t side : {a, b}) {
      key_manager::link_options l{"self", sides_[1 - side]->manager.node(), {side == a ? "b:*" : "a:*"}};
      sides_[side]->link = sides_[side]->manager.add_link(std::move(l), *sources_[side]).value();
    }
    for (const auto& s : sides_) s->manager.link_up(s->link, boot_clock::now());
    pump(boot_clock::now());
  }

  [[nodiscard]] connection_id connect(std::string principal) override {
    const connection_id id = sides_[a]->manager.connect(principal);
    [[maybe_unused]] const connection_id same = sides_[b]->manager.connect(principal);
    assert(id == same);
    principals_[id] = std::move(principal);
    return id;
  }

  void disconnect(connection_id id, time_point now) override {
    for (const auto& s : sides_) s->manager.disconnect(id, now);
    principals_.erase(id);
    opening_.erase(id);
    for (auto& [ksid, t] : taken_) t.side_of.erase(id);
    pump(now);
  }

  void open_connect(caller who, const open_connect_request& request, time_point now) override {
    const auto refuse = [&](status why) {
      open_connect_response r;
      r.outcome = why;
      r.quality = request.quality;
      r.stream = request.stream;
      out_.answer(who, r);
    };
    if (!is_uri(request.source, max_uri_) || !is_uri(request.destination, max_uri_)) {
      return refuse(status::invalid_argument);
    }
    if (!is_local(request.source) || !is_local(request.destination)) return refuse(status::no_qkd_connection);

    std::size_t side = a;
    open_connect_request mine = request;
    if (const auto known = taken_.find(request.stream); known != taken_.end()) {
      const auto theirs =
          !known->second.owner[b] ? std::optional<std::size_t>{b} : side_of(known->second, who);
      // D7: what the access table denies is that, whatever the KSID
      if (!theirs && may_open_) {
        const std::string& who_is = principals_[who.connection];
        if (!may_open_(who_is, request.source, request.destination) &&
            !may_open_(who_is, request.destination, request.source)) {
          return refuse(status::not_authorized);
        }
      }
      if (!theirs) return refuse(status::ksid_in_use);
      side = *theirs;
      if (request.source == known->second.destination) std::swap(mine.source, mine.destination);  // D9
    }
    const auto& local = side == a ? mine.source : mine.destination;
    const auto& remote = side == a ? mine.destination : mine.source;
    if (may_open_ && !may_open_(principals_[who.connection], local, remote)) {
      return refuse(status::not_authorized);
    }
    opening_.emplace(who.connection, opening{who.ticket, side, mine.source, mine.destination});
    mine.source.insert(0, "a:");
    mine.destination.insert(0, "b:");
    // B may come while A waits
    if (!request.stream.is_null() && !taken_.contains(request.stream)) note_open(who, request.stream);
    sides_[side]->manager.open_connect(who, mine, now);
    pump(now);
  }

  void get_key(caller who, const get_key_request& request, time_point now) override {
    sides_[reader(who, request.stream)]->manager.get_key(who, request, now);
    pump(now);
  }

  void close(caller who, const close_request& request, time_point now) override {
    std::size_t side = a;
    if (const auto known = taken_.find(request.stream); known != taken_.end()) {
      side = side_of(known->second, who).value_or(known->second.closed[a] ? b : a);
    }
    closing_ = {request.stream, side};
    closing_at_ = now;
    sides_[side]->manager.close(who, request, now);
    pump(now);
  }

  void get_keys(caller who, const get_keys_request& request, time_point now) override {
    sides_[reader(who, request.stream)]->manager.get_keys(who, request, now);
    pump(now);
  }
  void wait_peer(caller who, const wait_peer_request& request, time_point now) override {
    sides_[reader(who, request.stream)]->manager.wait_peer(who, request, now);
    pump(now);
  }
  void acknowledge(caller who, const acknowledge_request& request, time_point now) override {
    sides_[reader(who, request.stream)]->manager.acknowledge(who, request, now);
    pump(now);
  }
  void subscribe(caller who, const subscribe_request& request, time_point now) override {
    sides_[reader(who, request.stream)]->manager.subscribe(who, request, now);
    pump(now);
  }
  /// Of both sides, where the caller holds both; each counts, and tells of as many as one site would.
  [[nodiscard]] stream_reports report(connection_id who, const key_stream_id& stream,
                                      time_point now) override {
    stream_reports all;
    for (const auto& s : sides_) add(all, s->manager.report(who, stream, now));
    return all;
  }

  /// The link between the sides, with what both of them count.
  [[nodiscard]] std::vector<link_report> links(time_point now) override {
    std::vector<link_report> all = sides_[a]->manager.links(now);
    const link_report other = sides_[b]->manager.links(now).front();
    link_report& r = all.front();
    r.peer = node_;
    r.waiting += other.waiting;
    r.pooled += other.pooled;
    r.in_streams += other.in_streams;
    r.room += other.room;
    r.bound += other.bound;
    r.delivered += other.delivered;
    r.delivered_octets += other.delivered_octets;
    r.expired += other.expired;
    r.discarded += other.discarded;
    return all;
  }
  /// Of both sides, as in report().
  [[nodiscard]] stream_reports report_all(time_point now) override {
    stream_reports all;
    for (const auto& s : sides_) add(all, s->manager.report_all(now));
    return all;
  }

  void advance(time_point now) override {
    for (const auto& s : sides_) s->manager.advance(now);
    pump(now);
  }
  [[nodiscard]] time_point next_deadline(time_point now) const override {
    return std::min(sides_[a]->manager.next_deadline(now), sides_[b]->manager.next_deadline(now));
  }
  void shutdown(time_point now) override {
    for (const auto& s : sides_) s->manager.shutdown(now);
    crossing_.clear();
  }
  [[nodiscard]] counters totals() const override {
    counters sum = sides_[a]->manager.totals();
    const counters other = sides_[b]->manager.totals();
    sum.waiting += other.waiting;
    sum.delivered += other.delivered;
    sum.burned_chunks += other.burned_chunks;
    sum.burned_octets += other.burned_octets;
    sum.lost_chunks += other.lost_chunks;
    sum.lost_octets += other.lost_octets;
    sum.bound_chunks += other.bound_chunks;
    sum.acknowledged_chunks += other.acknowledged_chunks;
    sum.expired_chunks += other.expired_chunks;
    sum.discarded_chunks += other.discarded_chunks;
    return sum;
  }
  [[nodiscard]] const std::string& node() const noexcept override { return node_; }
  [[nodiscard]] const instance_id& instance() const noexcept override {
    return sides_[a]->manager.instance();
  }

 private:
  static constexpr std::size_t a = 0;
  static constexpr std::size_t b = 1;
  // To the key managers the URIs of the two sides begin with a: and b:, so that each finds one of them its own.
  static constexpr std::size_t prefix_size = 2;

  struct half final : key_manager::events {
    half(self_link& o, std::size_t i, key_manager::options settings, const secret_arena& arena,
         const key_manager::random_function& random)
        : owner{o}, index{i}, manager{std::move(settings), arena, random, *this} {}

    void answer(const caller& who, const open_connect_response& r) override { owner.opened(who, r); }
    void answer(const caller& who, const get_key_response& r) override { owner.out_.answer(who, r); }
    void answer(const caller& who, const close_response& r) override { owner.closed(who, r); }
    void answer(const caller& who, const get_keys_response& r) override { owner.out_.answer(who, r); }
    void answer(const caller& who, const wait_peer_response& r) override { owner.out_.answer(who, r); }
    void answer(const caller& who, const acknowledge_response& r) override { owner.out_.answer(who, r); }
    void deliver(connection_id who, const key_stream_id& id, const get_keys_response& r) override {
      owner.out_.deliver(who, id, r);
    }
    void send(link_id, peer::message&& m) override { owner.crossing_.emplace_back(1 - index, std::move(m)); }
    void link_failed(link_id, const std::string& why) override { owner.out_.note("self link: " + why); }

    self_link& owner;
    std::size_t index;
    key_manager manager;
    link_id link = 0;
  };

  /// An OPEN_CONNECT that was passed on and not answered.
  struct opening {
    std::uint64_t ticket;
    std::size_t side;
    std::string source;
    std::string destination;
  };

  /// A KSID that is open on a side.
  struct taken {
    std::string source;
    std::string destination;
    std::optional<std::string> owner[2];  ///< principal that opened the side
    bool closed[2] = {false, false};
    std::unordered_map<connection_id, std::size_t> side_of;
    std::size_t next = a;  ///< side of the next caller that nothing is known of
  };

  /// What one side tells, under the names that its applications know.
  static void add(stream_reports& all, stream_reports&& mine) {
    all.open += mine.open;
    for (stream_report& r : mine.streams) {
      r.source.erase(0, prefix_size);
      r.destination.erase(0, prefix_size);
      all.streams.push_back(std::move(r));
    }
  }

  [[nodiscard]] bool is_local(std::string_view uri) const {
    return node_of(uri) == node_ || matches_any(local_uris_, uri);
  }

  [[nodiscard]] std::optional<std::size_t> side_of(const taken& t, caller who) {
    if (const auto known = t.side_of.find(who.connection); known != t.side_of.end()) return known->second;
    const std::string& principal = principals_[who.connection];
    if (principal == anonymous_principal || t.owner[a] == t.owner[b]) return std::nullopt;
    for (const std::size_t side : {a, b}) {
      if (t.owner[side] == principal) return side;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::size_t reader(caller who, const key_stream_id& id) {
    const auto known = taken_.find(id);
    if (known == taken_.end()) return a;
    taken& t = known->second;
    if (const auto side = side_of(t, who)) return *side;
    const std::size_t side = t.next;
    if (t.owner[b]) t.next = 1 - t.next;
    if (principals_[who.connection] == anonymous_principal) t.side_of.emplace(who.connection, side);
    return side;
  }

  /// The caller holds a side of the stream.
  void note_open(const caller& who, const key_stream_id& id) {
    const auto [first, last] = opening_.equal_range(who.connection);
    for (auto it = first; it != last; ++it) {
      if (it->second.ticket != who.ticket) continue;
      const opening o = std::move(it->second);
      opening_.erase(it);
      taken& t = taken_[id];
      if (o.side == a && !t.owner[a]) {
        t.source = o.source;
        t.destination = o.destination;
      }
      t.owner[o.side] = principals_[who.connection];
      t.side_of[who.connection] = o.side;
      return;
    }
  }

  void opened(const caller& who, const open_connect_response& r) {
    if (r.outcome == status::success || r.outcome == status::peer_not_connected) {
      note_open(who, r.stream);
    } else if (const auto known = taken_.find(r.stream); known != taken_.end() && !known->second.owner[b] &&
                                                         !sides_[a]->manager.stream_balance(r.stream)) {
      taken_.erase(known);  // side A was noted before its time, and did not come about
    }
    std::erase_if(opening_,
                  [&](const auto& o) { return o.first == who.connection && o.second.ticket == who.ticket; });
    out_.answer(who, r);
  }

  void closed(const caller& who, const close_response& r) {
    // once both ends have closed, it is the key managers alone that know which of them the caller held (D16)
    if (r.outcome == status::unknown_key_stream && closing_.second == a && !taken_.contains(closing_.first)) {
      closing_.second = b;
      return sides_[b]->manager.close(who, {closing_.first}, closing_at_);
    }
    if (const auto known = taken_.find(closing_.first);
        known != taken_.end() && r.outcome == status::success) {
      taken& t = known->second;
      t.closed[closing_.second] = true;
      if (t.closed[a] && (t.closed[b] || !t.owner[b])) taken_.erase(known);
    }
    out_.answer(who, r);
  }

  void pump(time_point now) {
    while (!crossing_.empty()) {
      auto [to, message] = std::move(crossing_.front());
      crossing_.pop_front();
      sides_[to]->manager.receive(sides_[to]->link, std::move(message), now);
    }
  }

  std::string node_;
  std::vector<std::string> local_uris_;
  std::function<bool(std::string_view, std::string_view, std::string_view)> may_open_;
  std::size_t max_uri_;
  key_manager::events& out_;
  std::unique_ptr<key_source> sources_[2];
  std::deque<std::pair<std::size_t, peer::message>> crossing_;
  std::unordered_map<connection_id, std::string> principals_;
  std::unordered_multimap<connection_id, opening> opening_;
  std::unordered_map<key_stream_id, taken> taken_;
  std::pair<key_stream_id, std::size_t> closing_;
  time_point closing_at_{};
  std::unique_ptr<half> sides_[2];
};

}  // namespace qkd004
