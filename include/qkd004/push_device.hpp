// push_device: the QKD device of push mode in front of a key manager: OPEN_CONNECT, GET_KEY and CLOSE come in, keys go
// out as they are there. Does no I/O: who calls it carries what it says.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"
#include "qkd004/push_message.hpp"
#include "qkd004/push_sender.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// How a device sends, and how it numbers its keys.
struct push_device_options {
  push_sender_options sending;
  std::uint64_t first_index = 0;  ///< of every stream's keys; the same at both devices
  /// After so many keys the stream goes on in another one of the key manager's, whose indices end before those of push
  /// mode, which do not; the same at both devices.
  std::uint64_t keys_below = last_index + 1;
  std::size_t max_streams = 1'024;
};

/// One stream of push mode is one of the key manager's, read by a subscription and acknowledged as the posts are: what
/// was not acknowledged stays there. It is posted once a key manager has opened it at both devices.
/// A key manager that opens its stream again (it was restarted) takes it up where it stands.
/// Order of calls: any; after each of them and after each answer of the key_service `pump next_post* pump`.
/// Threads: one at a time, those of the key_service.
class push_device {
 public:
  /// What it answers, each call once. Must not call the device from inside.
  class events {
   public:
    virtual void opened(std::uint64_t ticket, const open_connect_response& r) = 0;
    virtual void armed(std::uint64_t ticket, status outcome) = 0;
    virtual void closed(std::uint64_t ticket, status outcome) = 0;
    /// What an operator wants to know; never an octet of key.
    virtual void note(std::string_view) {}

   protected:
    events() = default;
    events(const events&) = default;
    events& operator=(const events&) = default;
    ~events() = default;
  };

  /// Keys on their way stand in `arena`. Answers of the service to the connections that the device makes have to be
  /// passed to answer() and deliver().
  push_device(push_device_options o, key_service& service, secret_arena arena, events& out)
      : options_{std::move(o)}, service_{service}, arena_{std::move(arena)}, out_{out} {
    assert(options_.keys_below > 0 && options_.keys_below <= last_index + 1);
  }
  push_device(const push_device&) = delete;
  push_device& operator=(const push_device&) = delete;

  /// \name From key managers that this device pushes to
  ///@{

  /// A NULL id registers a stream, another one opens what the other device has registered.
  void open_connect(std::uint64_t ticket, std::string_view principal, const open_connect_request& r,
                    time_point now) {
    now_ = now;
    if (stream* const s = find(r.stream); s != nullptr) return open_again(ticket, principal, *s, r);
    // whose it is will be known soon: who asks again then is told
    if (is_opening(r.stream)) return refuse(ticket, r, status::no_qkd_connection);
    if (streams_.size() + opening_ >= options_.max_streams)
      return refuse(ticket, r, status::no_qkd_connection);
    auto made = std::make_unique<stream>(options_.sending, options_.first_index);
    made->principal = principal;
    made->source = r.source;
    made->destination = r.destination;
    made->registers = r.stream.is_null();
    made->asked = r.stream;
    made->ticket = ticket;
    made->connection = service_.connect(made->principal);
    const connection_id connection = made->connection;
    by_connection_.emplace(connection, std::move(made));
    opening_ += 1;
    open_connect_request below = r;
    below.no_wait = true;
    below.strict_once = false;
    service_.open_connect({connection, 0}, below, now);
  }

  void get_key(std::uint64_t ticket, std::string_view principal, const push_get_key& r, time_point now) {
    now_ = now;
    stream* const s = find(r.stream);
    if (s == nullptr || s->principal != principal) {
      return out_.armed(ticket, status::get_key_peer_not_connected);
    }
    if (s->is_over()) {
      forget(*s);
      return out_.armed(ticket, status::get_key_peer_not_connected);
    }
    const std::uint64_t settled = s->sender.settled_below();
    const std::uint64_t index = r.index ? push_unwrap(*r.index, settled) : settled;
    if (index < settled || s->sender.is_settled(index)) return out_.armed(ticket, status::insufficient_key);
    s->sender.restart(index);
    s->is_armed = s->was_armed = true;
    s->idle_until = time_point::max();
    touch(*s);
    out_.armed(ticket, status::success);
  }

  void close(std::uint64_t ticket, std::string_view principal, const close_request& r, time_point now) {
    now_ = now;
    stream* const s = find(r.stream);
    if (s == nullptr || s->principal != principal) {
      return out_.closed(ticket, status::get_key_peer_not_connected);
    }
    close_below(*s);
    forget(*s);
    out_.closed(ticket, status::success);
  }
  ///@}

  /// \name From the key_service
  ///@{
  void answer(const caller& who, const open_connect_response& r) {
    stream* const s = of(who.connection);
    if (s == nullptr) return;
    if (s->id.is_null()) return on_opened(*s, r);
    // the next one below
    s->asked_below = false;
    if (!is_answer(r.outcome, operation::open_connect) || r.outcome == status::qos_not_met) {
      return end(*s, r.outcome);
    }
    s->below_open = true;
    s->epoch = r.epoch;
    s->peer_open = r.outcome == status::success;
    touch(*s);
  }
  void answer(const caller& who, const wait_peer_response& r) {
    stream* const s = of(who.connection);
    if (s == nullptr) return;
    s->waits_for_peer = false;
    // closed there: what was allocated before is readable
    s->peer_open = r.outcome == status::success || r.outcome == status::get_key_peer_not_connected;
    if (!s->peer_open && r.outcome != status::timeout && r.outcome != status::resource_limit) {
      end(*s, r.outcome);
    }
    touch(*s);
  }
  void deliver(connection_id to, const key_stream_id& below, const get_keys_response& r) {
    stream* const s = of(to);
    if (s == nullptr || s->id.is_null() || s->below != below) return;
    touch(*s);
    if (r.outcome != status::success) {
      s->credit = 0;
      s->is_subscribed = false;
      // the other device goes on to the next one below as soon as its own key manager has all keys of this one
      const bool has_all = s->sender.end() >= offset_of(*s) + options_.keys_below;
      if (r.outcome != status::insufficient_key && !has_all) end(*s, r.outcome);
      return;
    }
    s->credit -= std::min(s->credit, r.keys.size());
    for (std::size_t i = 0; i < r.keys.size(); ++i) take(*s, r.first + i, r.keys[i]);
  }
  void answer(const caller& who, const acknowledge_response& r) {
    if (stream* const s = of(who.connection); s != nullptr && r.outcome != status::success)
      end(*s, r.outcome);
  }
  void answer(const caller&, const close_response&) {}
  ///@}

  /// \name To the key managers
  ///@{

  /// One message of key on its way to a key manager.
  struct post {
    key_stream_id stream;
    std::string_view source;  ///< as the stream was opened
    std::string_view destination;
    bool registered_here = false;  ///< with a NULL id: the source is this device's key manager
    std::uint64_t attempt = 0;
    push_key_material what;
  };
  /// What is to be posted now, until there is nothing. Lifetime: until the next call that is not const.
  [[nodiscard]] std::optional<post> next_post(time_point now) {
    now_ = now;
    for (; !touched_.empty(); touched_.pop_front()) {
      stream* const s = find(touched_.front());
      if (s == nullptr) continue;
      if (auto p = next_of(*s, now)) return p;
      s->is_touched = false;
    }
    return std::nullopt;
  }
  /// What came of a post. `chance` is from [0, 1).
  void answered(const key_stream_id& id, std::uint64_t attempt, unsigned code, time_point now, double chance,
                std::optional<std::chrono::seconds> retry_after = {}) {
    now_ = now;
    stream* const s = find(id);
    if (s == nullptr || attempt == 0) return;
    const bool stood = s->sender.stopped().has_value();
    s->sender.answered(attempt, code, now, chance, retry_after);
    if (!stood && s->sender.stopped()) {
      idle(*s, std::chrono::seconds{s->quality.ttl_s});
      out_.note("ALARM: the key manager answers a key of stream " + id.to_string() + " with " +
                std::to_string(code) + ": nothing more is posted until it asks again");
    }
    touch(*s);
  }
  /// There was no answer.
  void failed(const key_stream_id& id, std::uint64_t attempt, time_point now, double chance) {
    now_ = now;
    stream* const s = find(id);
    if (s == nullptr || attempt == 0) return;
    s->sender.failed(attempt, now, chance);
    touch(*s);
  }
  ///@}

  /// Says to the key_service what has come of everything else, and does what is due.
  void pump(time_point now) {
    now_ = now;
    if (next_look_ <= now) {
      next_look_ = time_point::max();
      std::vector<stream*> over;
      for (const auto& [id, s] : streams_) {
        if ((s->is_over() && s->over_at <= now) || s->idle_until <= now) {
          over.push_back(s);
        } else if (const time_point due = deadline_of(*s); due <= now) {
          touch(*s);
        } else {
          next_look_ = std::min(next_look_, due);
        }
      }
      for (stream* const s : over) {
        if (!s->ended) out_.note("key stream " + s->id.to_string() + " is closed: nobody asks for its keys");
        close_below(*s);
        forget(*s);
      }
      for (const connection_id c : std::exchange(leaving_, {})) service_.disconnect(c, now);
    }
    // what the service answers at once may touch a stream again
    for (std::size_t i = 0; i < untold_.size(); ++i) {
      if (stream* const s = find(untold_[i]); s != nullptr) {
        s->is_untold = false;
        serve(*s, now);
      }
    }
    untold_.clear();
  }
  /// When pump() and next_post() have something to do, if nothing else happens.
  [[nodiscard]] time_point next_deadline() const noexcept { return next_look_; }

  /// How a stream stands.
  struct stream_state {
    key_stream_id stream;
    bool armed = false;
    std::optional<unsigned> stopped;  ///< by that answer
    std::uint64_t settled_below = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t expired = 0;  ///< their life ended here, or before they were taken from below
    std::size_t in_flight = 0;
  };
  [[nodiscard]] std::vector<stream_state> report() const {
    std::vector<stream_state> all;
    for (const auto& [id, s] : streams_) {
      all.push_back({id, s->is_armed, s->sender.stopped(), s->sender.settled_below(),
                     s->sender.acknowledged(), s->sender.expired() + s->sender.left_out(),
                     s->sender.in_flight()});
    }
    return all;
  }

 private:
  struct stream {
    stream(push_sender_options o, std::uint64_t first) : sender{o, first} {}

    key_stream_id asked;  ///< of its OPEN_CONNECT
    key_stream_id id;     ///< of push mode; NULL: OPEN_CONNECT was not answered yet
    std::string principal;
    std::string source;
    std::string destination;
    bool registers = false;
    qos quality;
    std::uint64_t ticket = 0;
    connection_id connection = 0;
    push_sender sender;

    // of the key manager's stream underneath
    key_stream_id below;
    std::uint32_t generation = 0;  ///< how many came before it
    std::uint64_t epoch = 0;
    bool below_open = false;
    bool asked_below = false;  ///< its OPEN_CONNECT was not answered yet
    bool peer_open = false;
    bool waits_for_peer = false;
    bool is_subscribed = false;
    std::size_t credit = 0;  ///< keys that the subscription may still deliver
    std::uint64_t acknowledged = 0;
    bool refetch = false;  ///< there was no memory for a key: from the sender's end() on once more
    time_point refetch_at{};

    bool is_armed = false;
    bool was_armed = false;                     ///< once, before it was opened again
    time_point idle_until = time_point::max();  ///< nobody asks for keys: when it is closed
    bool is_touched = false;
    bool is_untold = false;
    std::optional<status> ended;  ///< nothing more comes from below, and why
    bool told = false;            ///< the key manager above was told so
    time_point over_at{};         ///< when it is forgotten, after that

    /// Nothing will ever be posted any more.
    [[nodiscard]] bool is_over() const noexcept { return ended && sender.empty(); }
  };

  static constexpr std::chrono::milliseconds memory_pause{20};
  static constexpr std::uint32_t peer_patience_ms = 30'000;
  static constexpr std::chrono::seconds over_kept{60};
  /// An OPEN_CONNECT whose answer was lost has left a stream that nobody arms.
  static constexpr std::chrono::seconds unarmed_kept{60};

  [[nodiscard]] stream* find(const key_stream_id& id) {
    const auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second;
  }
  [[nodiscard]] stream* of(connection_id connection) {
    const auto it = by_connection_.find(connection);
    return it == by_connection_.end() ? nullptr : it->second.get();
  }
  [[nodiscard]] bool is_opening(const key_stream_id& id) const {
    if (id.is_null() || opening_ == 0) return false;
    return std::any_of(by_connection_.begin(), by_connection_.end(),
                       [&id](const auto& s) { return s.second->id.is_null() && s.second->asked == id; });
  }
  /// Something has changed: it may have a post, and something to say below.
  void touch(stream& s) {
    if (s.id.is_null()) return;
    if (!std::exchange(s.is_touched, true)) touched_.push_back(s.id);
    tell(s);
  }
  void tell(stream& s) {
    if (!std::exchange(s.is_untold, true)) untold_.push_back(s.id);
  }
  void forget(stream& s) {
    const connection_id connection = s.connection;
    streams_.erase(s.id);
    by_connection_.erase(connection);
    service_.disconnect(connection, now_);
  }
  void close_below(stream& s) {
    acknowledge(s);
    if (!s.ended) service_.close({s.connection, 0}, {s.below}, now_);
  }
  void end(stream& s, status why) {
    if (s.ended) return;
    s.ended = why;
    s.over_at = now_ + over_kept;
    next_look_ = std::min(next_look_, s.over_at);
    out_.note("key stream " + s.id.to_string() + " has ended below: " + std::string{to_string(why)});
    touch(s);
  }

  void idle(stream& s, std::chrono::seconds kept) {
    s.idle_until = now_ + kept;
    next_look_ = std::min(next_look_, s.idle_until);
  }

  void refuse(std::uint64_t ticket, const open_connect_request& r, status why) {
    open_connect_response no;
    no.outcome = why;
    no.stream = r.stream;
    no.quality = r.quality;
    out_.opened(ticket, no);
  }
  void on_opened(stream& s, const open_connect_response& r) {
    opening_ -= 1;
    const std::uint64_t ticket = s.ticket;
    open_connect_response out = r;
    out.epoch = 0;
    if (r.outcome == status::success || r.outcome == status::peer_not_connected) {
      s.id = s.below = r.stream;
      s.quality = r.quality;
      // keys shall not die of a pause at one device while they live at the other
      push_sender_options sending = options_.sending;
      sending.longest_pause = std::min<std::chrono::milliseconds>(
          sending.longest_pause, std::chrono::milliseconds{std::chrono::seconds{s.quality.ttl_s}} / 4);
      s.sender = push_sender{sending, options_.first_index};
      s.epoch = r.epoch;
      s.below_open = true;
      s.peer_open = r.outcome == status::success;
      const bool is_new = streams_.emplace(s.id, &s).second;
      assert(is_new);  // see is_opening()
      static_cast<void>(is_new);
      idle(s, unarmed_kept);
      touch(s);
    } else {
      out.outcome = to_standard(r.outcome, operation::open_connect);
      // from inside the service: its connection goes with the next pump()
      leaving_.push_back(s.connection);
      next_look_ = time_point{};
      by_connection_.erase(s.connection);
    }
    out_.opened(ticket, out);
  }
  void open_again(std::uint64_t ticket, std::string_view principal, stream& s,
                  const open_connect_request& r) {
    if (s.principal != principal || s.source != r.source || s.destination != r.destination || s.ended) {
      return refuse(ticket, r, status::ksid_in_use);
    }
    s.is_armed = false;
    s.sender.hold();
    // a key manager that was restarted wants the keys that it had not acknowledged, for as long as they live
    idle(s, s.was_armed ? std::max(unarmed_kept, std::chrono::seconds{s.quality.ttl_s}) : unarmed_kept);
    touch(s);
    open_connect_response again;
    again.outcome = s.peer_open ? status::success : status::peer_not_connected;
    again.stream = s.id;
    again.quality = s.quality;
    out_.opened(ticket, again);
  }

  /// Index in push mode of the first key of the stream underneath.
  [[nodiscard]] std::uint64_t offset_of(const stream& s) const noexcept {
    return options_.first_index + s.generation * options_.keys_below;
  }
  /// The id of a stream's further ones underneath, the same at both devices.
  [[nodiscard]] static key_stream_id id_below(const key_stream_id& id, std::uint32_t generation) noexcept {
    std::array<std::byte, key_stream_id::size> octets{};
    std::memcpy(octets.data(), id.octets().data(), octets.size());
    for (std::size_t i = 0; i < 4; ++i) octets[15 - i] ^= static_cast<std::byte>(generation >> (8 * i));
    return key_stream_id{octets};
  }

  void take(stream& s, std::uint64_t index, const served_key& k) {
    const std::uint64_t end = s.sender.end();
    const std::uint64_t mine = offset_of(s) + index;
    if (index >= options_.keys_below || mine < end || s.refetch) return;
    auto copy = arena_.allocate(k.key.size());
    if (!copy) {
      if (!std::exchange(lacked_memory_, true)) {
        out_.note("ALARM: there is no memory for all keys on their way: some wait (said once)");
      }
      s.refetch = true;
      s.refetch_at = now_ + memory_pause;
      next_look_ = std::min(next_look_, s.refetch_at);
      return;
    }
    std::memcpy(copy->data(), k.key.data(), k.key.size());
    const auto age = std::chrono::milliseconds{k.metadata.age_ms};
    s.sender.give(mine, std::move(*copy), now_ + std::chrono::seconds{s.quality.ttl_s} - age);
  }

  void acknowledge(stream& s) {
    const std::uint64_t offset = offset_of(s);
    const std::uint64_t settled =
        std::min(std::max(s.sender.settled_below(), offset) - offset, options_.keys_below);
    if (settled <= s.acknowledged || !s.below_open || s.ended) return;
    s.acknowledged = settled;
    service_.acknowledge({s.connection, 0}, {s.below, s.epoch, settled}, now_);
  }

  /// Says below what has come of it: what was acknowledged, and how many more keys there is room for.
  void serve(stream& s, time_point now) {
    if (!s.below_open || s.ended || s.asked_below) return;
    acknowledge(s);
    if (s.acknowledged == options_.keys_below) return go_on(s, now);
    if (!s.is_armed) return;
    if (!s.peer_open) {
      if (!std::exchange(s.waits_for_peer, true)) {
        service_.wait_peer({s.connection, 0}, {s.below, peer_patience_ms}, now);
      }
      return;
    }
    if (s.refetch) {
      if (now < s.refetch_at) return;
      s.refetch = false;
      if (s.is_subscribed) service_.subscribe({s.connection, 0}, {s.below, s.epoch, 0, 0}, now);
      s.is_subscribed = false;
      s.credit = 0;
    }
    const std::size_t room = s.sender.room();
    const std::uint64_t next = s.sender.end() - std::min(s.sender.end(), offset_of(s));
    if (room <= s.credit || next >= options_.keys_below) return;
    const auto more = static_cast<std::uint32_t>(room - s.credit);
    s.credit = room;
    s.is_subscribed = true;
    service_.subscribe({s.connection, 0}, {s.below, s.epoch, next, more}, now);
  }

  /// All keys of the stream underneath are with the key manager above: its successor.
  void go_on(stream& s, time_point now) {
    service_.close({s.connection, 0}, {s.below}, now);
    s.generation += 1;
    s.below = id_below(s.id, s.generation);
    s.acknowledged = 0;
    s.credit = 0;
    s.below_open = s.peer_open = s.is_subscribed = s.refetch = false;
    s.asked_below = true;
    open_connect_request next{s.source, s.destination, s.quality, s.below};
    next.no_wait = true;
    service_.open_connect({s.connection, 0}, next, now);
  }

  std::optional<post> next_of(stream& s, time_point now) {
    post p;
    p.stream = s.id;
    p.source = s.source;
    p.destination = s.destination;
    p.registered_here = s.registers;
    p.what.has_metadata = true;
    p.what.stream = s.id;
    if (const auto next = s.sender.next(now)) {
      p.attempt = next->attempt;
      p.what.index = push_wire_index(next->index);
      p.what.key = next->key;
      return p;
    }
    tell(s);  // lives that are over have made room
    if (const time_point due = deadline_of(s); due > now) next_look_ = std::min(next_look_, due);
    if (!s.is_over() || !s.is_armed || std::exchange(s.told, true)) return std::nullopt;
    p.what.outcome = to_standard(*s.ended, operation::get_key);
    p.what.index = push_wire_index(s.sender.end());
    return p;
  }
  [[nodiscard]] time_point deadline_of(const stream& s) const noexcept {
    time_point due = s.sender.next_deadline();
    if (s.refetch && s.is_armed && !s.ended) due = std::min(due, s.refetch_at);
    if (s.is_over()) due = std::min(due, s.over_at);
    return std::min(due, s.idle_until);
  }

  const push_device_options options_;
  key_service& service_;
  const secret_arena arena_;
  events& out_;
  std::unordered_map<connection_id, std::unique_ptr<stream>> by_connection_;
  std::unordered_map<key_stream_id, stream*> streams_;
  std::deque<key_stream_id> touched_;  ///< may have something to post
  std::vector<key_stream_id> untold_;  ///< may have something to say below
  std::vector<connection_id> leaving_;
  std::size_t opening_ = 0;
  bool lacked_memory_ = false;
  time_point now_{};
  time_point next_look_ = time_point::max();
};

}  // namespace qkd004
