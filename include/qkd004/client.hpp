// client and key_stream: what an application holds; the blocking calls of GS QKD 004 over any exchange.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "qkd004/client_steps.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/key_chunk.hpp"
#include "qkd004/key_ring.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"
#include "qkd004/waiting.hpp"

namespace qkd004 {

/// What OPEN_CONNECT returned, and the key that comes of it. Closes the stream when it goes, unless detach() was
/// called.
/// Order of calls: `(next_key | get_key | try_next_key)* close`.
/// OPEN_CONNECT of the same KSID resumes the stream, and CLOSE does not say of which time: detach() an older object
/// before it goes, or it closes the stream for the newer one.
/// Errors of every call that asks the key manager: a status that is not an answer (status.hpp), or the transport's
/// own error; std::errc::operation_canceled when it was cancelled. After an error the same index is asked for again:
/// nothing is skipped that still exists.
/// Threads: any number may ask for keys, and cancel; one moves, closes or destroys. Lifetime: not moved and not
/// destroyed before every call has returned: cancel() them, or close(), and join who made them.
class key_stream {
 public:
  key_stream(key_stream&&) noexcept = default;
  key_stream& operator=(key_stream&& other) noexcept {
    if (this != &other) {
      leave();
      end_ = std::move(other.end_);
      room_ = std::move(other.room_);
    }
    return *this;
  }
  ~key_stream() { leave(); }

  /// success: the peer application is there; peer_not_connected: not yet; qos_not_met: there is no stream, and
  /// quality() is a counter-proposal.
  [[nodiscard]] status outcome() const noexcept { return end_->opened.outcome; }
  [[nodiscard]] const qos& quality() const noexcept { return end_->opened.quality; }
  [[nodiscard]] const key_stream_id& id() const noexcept { return end_->opened.stream; }

  /// Takes the next key of this side, waiting for it up to QoS Timeout. A key that expired before is skipped.
  /// Clause: GS QKD 004 V2.1.1, 6.1 (GET_KEY without index); D11, D12.
  [[nodiscard]] result<key_chunk> next_key() { return chunk(std::nullopt, key_patience::timeout); }

  /// The next key if it is there, else insufficient_key at once.
  [[nodiscard]] result<key_chunk> try_next_key() { return chunk(std::nullopt, key_patience::none); }

  /// The key at `index`, waiting for it up to QoS Timeout.
  /// Returns index_not_available if it was acknowledged, expired or consumed.
  [[nodiscard]] result<key_chunk> get_key(std::uint64_t index) { return chunk(index, key_patience::timeout); }

  /// As next_key(), into memory of the caller's: no allocation, and no system call while keys are there and the key
  /// manager is in this process. Returns the index.
  /// Requires: room for Key_chunk_size octets (else invalid_argument, and no key is consumed).
  [[nodiscard]] result<std::uint64_t> next_key_into(std::span<std::byte> out) {
    if (const auto index = ready_key_into(out)) [[likely]]
      return *index;
    return wait_for_next(out);
  }

  /// The way of nearly every key in one process, by itself so that it stays short: as next_key_into(), but only what
  /// takes no lock, no call and no waiting. None says nothing: next_key_into() tells.
  [[nodiscard]] std::optional<std::uint64_t> ready_key_into(std::span<std::byte> out) noexcept {
    if (key_ring* const ring =
            end_->fast.load(std::memory_order_acquire);  // pairs with the release in find_ring()
        ring != nullptr && ring->epoch() == end_->opened.epoch) [[likely]] {
      const auto taken = ring->take_next(out, end_->clock.now());
      if (taken.outcome == status::success) [[likely]]
        return taken.index;
    }
    return std::nullopt;
  }

  /// The key at `index`, or the next one, into memory of the caller's, and all of `described` but the key; waits for it up
  /// to QoS Timeout. Returns the index.
  /// Requires: room for Key_chunk_size octets (else invalid_argument, and no key is consumed).
  [[nodiscard]] result<std::uint64_t> key_into(std::span<std::byte> out, key_chunk& described,
                                               std::optional<std::uint64_t> index = std::nullopt) {
    return take(index, out, key_patience::timeout, described);
  }

  /// As key_into() if the key is there, else insufficient_key at once.
  [[nodiscard]] result<std::uint64_t> try_key_into(std::span<std::byte> out, key_chunk& described,
                                                   std::optional<std::uint64_t> index = std::nullopt) {
    return take(index, out, key_patience::none, described);
  }

  /// The ring that keys of this process are taken from without a call, a lock or a system call, as long as its epoch()
  /// is epoch(); null over a wire. Keys are taken there as well as here, by any number of threads.
  /// Lifetime: this object's.
  [[nodiscard]] key_ring* ring() { return outcome() == status::qos_not_met ? nullptr : end_->find_ring(); }
  /// Counts the OPEN_CONNECTs of this side; an older one is fenced off (R3).
  [[nodiscard]] std::uint64_t epoch() const noexcept { return end_->opened.epoch; }

  using run = key_run;

  /// The next keys, as many as follow one another and fit; waits for the first only. Over plain 004, which cannot
  /// say that, it asks for up to 32 at a time, with strict_once for one, and waits for each of them up to QoS Timeout.
  /// Requires: room for Key_chunk_size octets (else invalid_argument, and no key is consumed).
  [[nodiscard]] result<run> next_keys_into(std::span<std::byte> out);

  /// Over a wire: has up to `keys` keys sent ahead of next_key() and its kin, which then find them here. They stay
  /// readable for this side until they were returned: nothing is lost with the connection or this object. 0 stops it.
  /// Not so with strict_once: there, what was sent ahead and not taken is burned when the connection breaks or this
  /// stops, up to `keys` keys (R8).
  /// In this process, and where the key manager cannot do it, nothing changes.
  /// Returns resource_limit when the arena has no room for that many.
  /// Threads: while nobody asks for keys.
  [[nodiscard]] result<void> prefetch(std::uint32_t keys) { return end_->prefetch(keys); }

  /// From now on next_key(), try_next_key() and get_key() ask for vendor metadata as well: of how the key came to be, as
  /// far as the key manager knows it. In this process that costs the short way through the ring. Keys that were sent
  /// ahead are without, and so are all of a key manager that cannot be asked for several keys.
  /// Threads: any. Clause: D14.
  void want_vendor_metadata() noexcept {
    end_->wants_vendor_metadata.store(true, std::memory_order_relaxed);  // nothing else depends on it
  }

  /// Waits until the peer application has opened the stream; 0 ms: up to QoS Timeout.
  /// Returns timeout; get_key_peer_not_connected if it has come and gone; std::errc::operation_not_supported from a
  /// key manager that cannot be asked.
  [[nodiscard]] result<void> wait_for_peer(std::chrono::milliseconds timeout = {}) {
    if (outcome() == status::qos_not_met) return status::qos_not_met;
    auto step = peer_step(*end_, timeout);
    step.run(*room_, end_.get());
    if (step.error()) return step.error();
    if (step.answer().outcome != status::success) return step.answer().outcome;
    return {};
  }

  /// Tells the key manager that every key returned so far is with the application: it destroys its copies (R5). Later
  /// calls do so by themselves; a key manager in this process, or one that speaks plain 004, needs none of it, nor does
  /// what was sent ahead.
  /// Threads: as for keys.
  [[nodiscard]] result<void> acknowledge() {
    if (outcome() == status::qos_not_met) return status::qos_not_met;
    if (!end_->owes_acknowledgement()) return {};
    const acknowledge_request had = end_->acknowledgement();
    one_step<acknowledge_response> step{*end_->via, had, end_->timeout() + client_steps::grace};
    step.run(*room_, end_.get());
    if (step.error()) return step.error();
    if (step.answer().outcome != status::success) return step.answer().outcome;
    end_->told(had.below);
    return {};
  }

  /// Ends the waiting of every call of this stream that waits at this moment: it returns
  /// std::errc::operation_canceled, or what has come for it in that moment. No key is consumed or lost by that: what the
  /// key manager answers afterwards can be asked for again (R4), and with strict_once is kept here for the next call
  /// that asks for that index. Only what is on its way over a connection that then breaks, or when this object goes, is
  /// burned (R8), as it is without cancel().
  /// Later calls are as if there had been none; over a wire they may wait for an answer that nobody wants any more.
  /// Threads: any.
  void cancel() noexcept { room_->cancel(end_.get(), std::make_error_code(std::errc::operation_canceled)); }

  /// Gives the stream up. What this side has not read is destroyed; the other side reads on what it has. Calls that wait
  /// meanwhile end with unknown_key_stream.
  /// Clause: GS QKD 004 V2.1.1, 6.1 (CLOSE); D16.
  [[nodiscard]] result<void> close() {
    if (!end_ || end_->left) return {};
    end_->left = true;
    room_->cancel(end_.get(), status::unknown_key_stream);
    std::error_code error;
    try {
      close_steps steps{*end_, end_->timeout()};
      steps.run(*room_, end_.get());
      end_->left = steps.is_answered();  // else it may be asked for again
      error = steps.error();
    } catch (...) {
      end_->left = false;
      throw;
    }
    if (error) return error;
    return {};
  }

  /// Whether there is nothing to close: closed, detached, or qos_not_met. After a close() that failed it tells whether
  /// the key manager has answered; if not, it may be asked again.
  [[nodiscard]] bool has_left() const noexcept { return !end_ || end_->left; }

  /// Lets the stream live on when this object goes: for a program that comes back with the key_stream_id.
  void detach() noexcept {
    end_->left = true;
    try {
      if (!end_->owes_acknowledgement()) return;
      one_step<acknowledge_response> step{*end_->via, end_->acknowledgement(), 2 * client_steps::grace};
      step.run(*room_, end_.get());
    } catch (...) {  // the keys go at their TTL
    }
  }

 private:
  friend class client;

  key_stream(std::shared_ptr<exchange> via, secret_arena arena, open_connect_response opened, bool strict)
      : end_{std::make_unique<stream_end>(std::move(via), std::move(arena), std::move(opened), strict)} {}

  void leave() noexcept {
    if (!end_ || end_->left) return;
    try {
      end_->left = true;
      close_steps steps{*end_, std::chrono::milliseconds{0}};
      steps.run(*room_, end_.get());
    } catch (...) {  // the key manager destroys the keys at their TTL
    }
  }

  [[nodiscard]] result<key_chunk> chunk(std::optional<std::uint64_t> index, key_patience p) {
    result<key_chunk> r{key_chunk{}};  // filled where it stands: it is not moved again
    key_chunk& c = *r;
    auto memory = end_->arena.allocate(end_->chunk_size());
    if (!memory) {
      r = memory.error();
      return r;
    }
    if (const auto taken = take(index, memory->span(), p, c)) {
      c.index = *taken;
      c.key = std::move(*memory);
    } else {
      r = taken.error();
    }
    return r;
  }

  /// Out of the way of what is fast.
  [[gnu::noinline]] result<std::uint64_t> wait_for_next(std::span<std::byte> out) {
    if (key_ring* const ring = end_->find_ring(); ring != nullptr && out.size() >= end_->chunk_size()) {
      key_metadata unused;
      return take_from(*ring, std::nullopt, out, key_patience::timeout, unused);
    }
    key_chunk unused;
    return take(std::nullopt, out, key_patience::timeout, unused);
  }

  /// All of `described` but the key.
  [[nodiscard]] result<std::uint64_t> take(std::optional<std::uint64_t> index, std::span<std::byte> out,
                                           key_patience p, key_chunk& described) {
    if (outcome() == status::qos_not_met) return status::qos_not_met;
    if (out.size() < end_->chunk_size()) return status::invalid_argument;
    key_ring* const ring = end_->find_ring();
    if (ring != nullptr && !end_->describes()) return take_from(*ring, index, out, p, described.metadata);
    key_steps steps{*end_, {index, out.first(end_->chunk_size()), {&described.metadata, 1}, p}};
    steps.run(*room_, end_.get());
    if (steps.error()) return steps.error();
    described.vendor_metadata = std::move(steps.vendor_metadata());
    return steps.got().first;
  }

  // in this process
  [[nodiscard]] result<std::uint64_t> take_from(key_ring& ring, std::optional<std::uint64_t> index,
                                                std::span<std::byte> out, key_patience p,
                                                key_metadata& metadata);
  // over a wire
  [[nodiscard]] result<run> ask_for(const key_wish& wish) {
    key_steps steps{*end_, wish};
    steps.run(*room_, end_.get());
    if (steps.error()) return steps.error();
    return steps.got();
  }

  std::unique_ptr<stream_end> end_;
  std::shared_ptr<waiting_room> room_;
};

/// An application's way to one key manager.
/// Threads: any number.
class client {
 public:
  /// `arena` is where the keys that next_key() and get_key() return will live.
  client(std::shared_ptr<exchange> via, secret_arena arena)
      : via_{std::move(via)}, arena_{std::move(arena)} {}

  /// Opens a key stream. Returns a key_stream for the statuses 0, 1 and 7 (key_stream::outcome() says which), else
  /// an error: ksid_in_use, no_qkd_connection, timeout, invalid_argument, not_authorized, resource_limit,
  /// shutting_down, protocol_error (keys of no octets), or the transport's.
  /// After an error the key manager may have the stream all the same, until its TTL: with its KSID it can be opened again.
  /// Clause: GS QKD 004 V2.1.1, 6.1 (OPEN_CONNECT); D5, D8, D9.
  [[nodiscard]] result<key_stream> open_connect(const open_connect_request& request) {
    auto step = open_step(*via_, request);
    step.run(*room_, this_client());
    if (step.error()) return step.error();
    auto& r = step.answer();
    if (const auto taken = take_opened(r); !taken) return taken.error();
    key_stream opened{via_, arena_, std::move(r), request.strict_once};
    opened.room_ = room_;
    return opened;
  }

  /// How the caller's streams at this site stand, or one of them, as a JSON object. For the people who operate it:
  /// members may be added.
  /// Returns unknown_key_stream, and std::errc::operation_not_supported where this cannot be asked.
  [[nodiscard]] result<std::string> report(const key_stream_id& stream = {}) {
    one_step<report_response> step{*via_, report_request{stream},
                                   std::chrono::milliseconds{qos_defaults::timeout_ms}};
    step.run(*room_, this_client());
    if (step.error()) return step.error();
    auto& r = step.answer();
    if (r.outcome != status::success) return r.outcome;
    return std::move(r.json);
  }

  /// As key_stream::cancel(), for all calls of this client and of its copies that wait, and those of their streams.
  /// Threads: any.
  void cancel() noexcept { room_->cancel(nullptr, std::make_error_code(std::errc::operation_canceled)); }

  /// The transport underneath.
  [[nodiscard]] exchange& transport() noexcept { return *via_; }

 private:
  [[nodiscard]] const void* this_client() const noexcept { return room_.get(); }

  std::shared_ptr<exchange> via_;
  secret_arena arena_;
  std::shared_ptr<waiting_room> room_ = std::make_shared<waiting_room>();
};

inline result<std::uint64_t> key_stream::take_from(key_ring& ring, std::optional<std::uint64_t> index,
                                                   std::span<std::byte> out, key_patience p,
                                                   key_metadata& metadata) {
  const auto attempt = [&](time_point now) {
    return index ? ring.take(*index, out, now) : ring.take_next(out, now);
  };
  time_point now = end_->clock.now();
  // R3: another OPEN_CONNECT has resumed the stream, and this one is fenced off
  if (ring.epoch() != end_->opened.epoch) return status::not_authorized;
  auto t = attempt(now);
  if (t.outcome == status::insufficient_key) {
    now = boot_clock::now();
    const time_point deadline = now + end_->timeout();
    waiting_room::waiter w{*room_, end_.get(), *end_->via};
    while (t.outcome == status::insufficient_key) {
      const time_point due = end_->via->drive(now);
      t = attempt(now);
      if (t.outcome != status::insufficient_key || p == key_patience::none) break;
      const std::uint32_t ticket = ring.prepare_wait();
      t = attempt(now);
      if (t.outcome != status::insufficient_key) break;
      if (now >= deadline) return status::timeout;
      // whoever waits drives both sites: the other side's reads free slots without a call
      const time_point soon = now + std::chrono::milliseconds{5};
      const bool goes_on =
          w.park(ring, ticket, std::min({deadline, std::max(due, now + std::chrono::milliseconds{1}), soon}));
      now = boot_clock::now();
      if (ring.epoch() != end_->opened.epoch) return status::not_authorized;
      if (goes_on) continue;
      t = attempt(now);
      if (t.outcome == status::insufficient_key) return w.cancelled();
    }
  }
  if (t.outcome != status::success) return t.outcome;
  if (t.index > last_index) return status::stream_exhausted;
  metadata.age_ms = age_of(t.since, now);
  return t.index;
}

inline result<key_stream::run> key_stream::next_keys_into(std::span<std::byte> out) {
  const std::size_t size = end_->chunk_size();
  if (outcome() == status::qos_not_met) return status::qos_not_met;
  if (out.size() < size) return status::invalid_argument;
  if (key_ring* ring = end_->find_ring()) {
    if (ring->epoch() != end_->opened.epoch) return status::not_authorized;
    const auto r = ring->take_run(out, end_->clock.now());
    if (r.outcome == status::success) return run{r.first, r.count};
    const auto one = wait_for_next(out.first(size));
    if (!one) return one.error();
    return run{*one, 1};
  }
  const key_wish wish{std::nullopt, out, {}, key_patience::timeout};
  // strict once, what came behind a gap could not be asked for again
  if (end_->spoken.get_keys || end_->spoken.subscribe || end_->strict_once) return ask_for(wish);
  batch_steps batch{*end_, out};
  batch.run(*room_, end_.get());
  if (!batch.error()) return batch.got();
  if (!batch.is_worth_another()) return batch.error();
  return ask_for({std::nullopt, out.first(size), {}, key_patience::timeout});
}

}  // namespace qkd004
