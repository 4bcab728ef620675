// client and key_stream: what an application holds; the blocking calls of GS QKD 004 over any exchange.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/index_ledger.hpp"
#include "qkd004/key_chunk.hpp"
#include "qkd004/key_ring.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"

namespace qkd004 {

/// What OPEN_CONNECT returned, and the key that comes of it. Closes the stream when it goes, unless detach() was
/// called.
/// Order of calls: `(next_key | get_key | try_next_key)* close`.
/// OPEN_CONNECT of the same KSID resumes the stream, and CLOSE does not say of which time: detach() an older object
/// before it goes, or it closes the stream for the newer one.
/// Errors of every call that asks the key manager: a status that is not an answer (status.hpp), or the transport's
/// own error. After an error the same index is asked for again: nothing is skipped that still exists.
/// Threads: any number may ask for keys; one moves, closes or destroys.
class key_stream {
 public:
  key_stream(key_stream&&) noexcept = default;
  key_stream& operator=(key_stream&& other) noexcept {
    if (this != &other) {
      leave();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~key_stream() { leave(); }

  /// success: the peer application is there; peer_not_connected: not yet; qos_not_met: there is no stream, and
  /// quality() is a counter-proposal.
  [[nodiscard]] status outcome() const noexcept { return state_->opened.outcome; }
  [[nodiscard]] const qos& quality() const noexcept { return state_->opened.quality; }
  [[nodiscard]] const key_stream_id& id() const noexcept { return state_->opened.stream; }

  /// Takes the next key of this side, waiting for it up to QoS Timeout. A key that expired before is skipped.
  /// Clause: GS QKD 004 V2.1.1, 6.1 (GET_KEY without index); D11, D12.
  [[nodiscard]] result<key_chunk> next_key() { return chunk(std::nullopt, patience::timeout); }

  /// The next key if it is there, else insufficient_key at once.
  [[nodiscard]] result<key_chunk> try_next_key() { return chunk(std::nullopt, patience::none); }

  /// The key at `index`, waiting for it up to QoS Timeout.
  /// Returns index_not_available if it was acknowledged, expired or consumed.
  [[nodiscard]] result<key_chunk> get_key(std::uint64_t index) { return chunk(index, patience::timeout); }

  /// As next_key(), into memory of the caller's: no allocation, and no system call while keys are there and the key
  /// manager is in this process. Returns the index.
  /// Requires: room for Key_chunk_size octets (else invalid_argument, and no key is consumed).
  [[nodiscard]] result<std::uint64_t> next_key_into(std::span<std::byte> out) {
    if (const auto index = ready_key_into(out)) [[likely]]
      return *index;
    key_metadata unused;
    return take(std::nullopt, out, patience::timeout, unused);
  }

  /// The way of nearly every key in one process, by itself so that it stays short: as next_key_into(), but only what
  /// takes no lock, no call and no waiting. None says nothing: next_key_into() tells.
  [[nodiscard]] std::optional<std::uint64_t> ready_key_into(std::span<std::byte> out) noexcept {
    if (key_ring* const ring =
            state_->fast.load(std::memory_order_acquire);  // pairs with the release in find_ring()
        ring != nullptr && ring->epoch() == state_->opened.epoch) [[likely]] {
      const auto taken = ring->take_next(out, state_->clock.now());
      if (taken.outcome == status::success) [[likely]]
        return taken.index;
    }
    return std::nullopt;
  }

  /// A run of keys, one after another in the caller's memory.
  struct run {
    std::uint64_t first = 0;  ///< index of the first; the others follow without a gap
    std::size_t count = 0;    ///< at least 1
  };

  /// The next keys, as many as follow one another and fit; waits for the first only. Over plain 004, which cannot
  /// say that, it asks for up to 32 at a time, and waits for each of them up to QoS Timeout.
  /// Requires: room for Key_chunk_size octets (else invalid_argument, and no key is consumed).
  [[nodiscard]] result<run> next_keys_into(std::span<std::byte> out);

  /// Over a wire: has up to `keys` keys sent ahead of next_key() and its kin, which then find them here. They stay
  /// readable for this side until they were returned: nothing is lost with the connection or this object. 0 stops it.
  /// Not so with strict_once: there, what was sent ahead and not taken is burned when the connection breaks or this
  /// stops, up to `keys` keys (R8).
  /// In this process, and where the key manager cannot do it, nothing changes.
  /// Returns resource_limit when the arena has no room for that many.
  /// Threads: while nobody asks for keys.
  [[nodiscard]] result<void> prefetch(std::uint32_t keys);

  /// Waits until the peer application has opened the stream; 0 ms: up to QoS Timeout.
  /// Returns timeout; get_key_peer_not_connected if it has come and gone; std::errc::operation_not_supported from a
  /// key manager that cannot be asked.
  [[nodiscard]] result<void> wait_for_peer(std::chrono::milliseconds timeout = {});

  /// Tells the key manager that every key returned so far is with the application: it destroys its copies (R5). Later
  /// calls do so by themselves; a key manager in this process, or one that speaks plain 004, needs none of it.
  /// Threads: as for keys.
  [[nodiscard]] result<void> acknowledge() {
    if (outcome() == status::qos_not_met) return status::qos_not_met;
    if (state_->flow || !state_->owes_acknowledgement()) return {};
    if (const auto failed = state_->acknowledge(std::chrono::milliseconds{quality().timeout_ms})) return failed;
    return {};
  }

  /// Gives the stream up. What this side has not read is destroyed; the other side reads on what it has.
  /// Clause: GS QKD 004 V2.1.1, 6.1 (CLOSE); D16.
  [[nodiscard]] result<void> close() {
    if (!state_ || state_->left) return {};
    if (state_->flow) (void)prefetch(0);  // acknowledges what was taken, which CLOSE does not
    state_->left = true;
    const auto [failed, s] = state_->close(std::chrono::milliseconds{quality().timeout_ms});
    if (failed) {
      state_->left = false;  // it may be asked for again
      return failed;
    }
    if (s != status::success) return s;
    return {};
  }

  /// Lets the stream live on when this object goes: for a program that comes back with the key_stream_id.
  void detach() noexcept {
    state_->left = true;
    try {
      if (state_->owes_acknowledgement()) (void)state_->acknowledge(grace);
    } catch (...) {  // the keys go at their TTL
    }
  }

 private:
  friend class client;

  enum class patience : std::uint8_t { none, timeout };
  /// What a wire may take beyond QoS Timeout before the call fails here.
  static constexpr std::chrono::milliseconds grace{2'000};
  /// Over a wire: calls and octets asked for at once, within the acknowledgement window of a default key manager.
  static constexpr std::size_t most_in_flight = 32;
  static constexpr std::size_t most_octets_in_flight = 128 * 1024;

  struct state {
    std::shared_ptr<exchange> via;
    secret_arena arena;
    open_connect_response opened;
    std::shared_ptr<key_ring> ring;  ///< set by the first that finds it, under the mutex
    tick_clock clock;
    bool left = false;

    std::mutex mutex;
    std::atomic<key_ring*> fast{nullptr};
    extensions spoken;               ///< wire
    index_ledger ledger;             ///< wire, under the mutex
    std::unique_ptr<key_flow> flow;  ///< wire: prefetch()
    std::uint32_t ahead = 0;         ///< so many keys of it may have come and not been taken

    std::error_code ask(call& c, std::chrono::milliseconds timeout) {
      c.deadline = boot_clock::now() + timeout + grace;
      call* one = &c;
      via->start(std::span{&one, 1});
      via->wait(c);
      return c.error;
    }

    key_ring* find_ring() {
      // pairs with the release below
      if (key_ring* known = fast.load(std::memory_order_acquire)) return known;
      const std::lock_guard lock{mutex};
      if (!ring) ring = via->ring(opened.stream);
      fast.store(ring.get(), std::memory_order_release);  // pairs with the acquire above
      return ring.get();
    }

    /// prefetch(): null while it is not wanted, or something below is still to be read: what a flow brings is
    /// acknowledged up to its end.
    result<key_flow*> flow_or_begin() {
      const std::lock_guard lock{mutex};
      if (!flow && ahead != 0 && ledger.is_whole()) {
        auto made = via->subscribe(opened, ledger.had_below(), ahead, arena);
        if (!made) {
          ahead = 0;
          return made.error();
        }
        flow = std::move(*made);
      }
      return flow.get();
    }

    index_ledger::run claim(std::uint64_t most) {
      const std::lock_guard lock{mutex};
      return ledger.claim(most);
    }
    void settle(const index_ledger::run& r, std::uint64_t had) {
      const std::lock_guard lock{mutex};
      ledger.settle(r, had);
    }
    /// `index` is gone for good, and nothing below `lowest` is live.
    void skip(std::uint64_t index, std::uint64_t lowest) {
      const std::lock_guard lock{mutex};
      ledger.give_up(index);
      ledger.skip_to(lowest);
    }
    std::uint64_t had_below() {
      const std::lock_guard lock{mutex};
      return ledger.had_below();
    }
    bool owes_acknowledgement() {
      const std::lock_guard lock{mutex};
      return spoken.acknowledge && ledger.owes_acknowledgement();
    }

    acknowledge_request acknowledgement() {
      acknowledge_request r;
      r.stream = opened.stream;
      r.epoch = opened.epoch;
      r.below = had_below();
      return r;
    }
    std::error_code acknowledge(std::chrono::milliseconds timeout) {
      call c;
      c.request = acknowledgement();
      return ask(c, timeout);
    }

    /// CLOSE, and before it on the same connection what this side has (R5).
    std::pair<std::error_code, status> close(std::chrono::milliseconds timeout) {
      call had;
      call c;
      call* both[] = {&had, &c};
      const bool acknowledges = owes_acknowledgement();
      had.request = acknowledgement();
      c.request = close_request{opened.stream};
      had.deadline = c.deadline = boot_clock::now() + timeout + grace;
      via->start(std::span{both}.subspan(acknowledges ? 0 : 1));
      if (acknowledges) via->wait(had);
      via->wait(c);
      if (c.error) return {c.error, status::protocol_error};
      return {{}, std::get<close_response>(c.response).outcome};
    }
  };

  key_stream(std::shared_ptr<exchange> via, secret_arena arena, open_connect_response opened)
      : state_{std::make_unique<state>()} {
    state_->via = std::move(via);
    state_->arena = std::move(arena);
    state_->spoken = state_->via->supports();
    state_->ledger = index_ledger{opened.lowest_live_index};
    state_->opened = std::move(opened);
    state_->left = state_->opened.outcome == status::qos_not_met;
  }

  void leave() noexcept {
    if (!state_ || state_->left) return;
    try {
      state_->left = true;
      state_->flow.reset();
      (void)state_->close(std::chrono::milliseconds{0});
    } catch (...) {  // the key manager destroys the keys at their TTL
    }
  }

  [[nodiscard]] result<key_chunk> chunk(std::optional<std::uint64_t> index, patience p) {
    auto memory = state_->arena.allocate(quality().key_chunk_size);
    if (!memory) return memory.error();
    key_chunk c;
    const auto taken = take(index, memory->span(), p, c.metadata);
    if (!taken) return taken.error();
    c.index = *taken;
    c.key = std::move(*memory);
    return c;
  }

  [[nodiscard]] result<std::uint64_t> take(std::optional<std::uint64_t> index, std::span<std::byte> out,
                                           patience p, key_metadata& metadata) {
    if (outcome() == status::qos_not_met) return status::qos_not_met;
    if (out.size() < quality().key_chunk_size) return status::invalid_argument;
    if (key_ring* ring = state_->find_ring()) return take_from(*ring, index, out, p, metadata);
    if (index) {
      const reply r = ask_for(*index, out, p, metadata);
      if (r.error) return r.error;
      return *index;
    }
    const auto got = ask_for_next(out.first(quality().key_chunk_size), p, {&metadata, 1});
    if (!got) return got.error();
    return got->first;
  }

  // in this process
  [[nodiscard]] result<std::uint64_t> take_from(key_ring& ring, std::optional<std::uint64_t> index,
                                                std::span<std::byte> out, patience p, key_metadata& metadata);
  // over a wire
  struct reply {
    std::error_code error;
    std::uint64_t index = 0;  ///< of the first key, or the lowest that can still be had
    std::uint32_t count = 0;
  };
  [[nodiscard]] reply ask_for(std::uint64_t index, std::span<std::byte> out, patience p,
                              key_metadata& metadata);
  [[nodiscard]] reply ask_for(const index_ledger::run& r, std::span<std::byte> out, patience p,
                              std::span<key_metadata> metadata);
  [[nodiscard]] result<run> ask_for_next(std::span<std::byte> out, patience p,
                                         std::span<key_metadata> metadata);
  [[nodiscard]] result<run> ask_for_many(std::span<std::byte> out);
  /// A connection that broke may have lost the reply only: the same index again is a retransmission (D13).
  [[nodiscard]] static bool may_repeat(std::error_code e) noexcept {
    return e == std::errc::connection_reset || e == std::errc::broken_pipe ||
           e == std::errc::connection_aborted;
  }
  [[nodiscard]] get_key_request request_for(std::uint64_t index, patience p) const {
    get_key_request r;
    r.stream = id();
    r.index = index;
    r.metadata_size = quality().metadata_mimetype.empty() ? 0 : metadata_json_size;
    r.no_wait = p == patience::none;
    return r;
  }

  std::unique_ptr<state> state_;
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
  /// shutting_down, or the transport's.
  /// Clause: GS QKD 004 V2.1.1, 6.1 (OPEN_CONNECT); D5, D8, D9.
  [[nodiscard]] result<key_stream> open_connect(const open_connect_request& request) {
    call c;
    c.request = request;
    const std::uint32_t timeout =
        request.quality.timeout_ms == 0 ? qos_defaults::timeout_ms : request.quality.timeout_ms;
    c.deadline = boot_clock::now() + std::chrono::milliseconds{timeout} + key_stream::grace;
    call* one = &c;
    via_->start(std::span{&one, 1});
    via_->wait(c);
    if (c.error) return c.error;
    auto& r = std::get<open_connect_response>(c.response);
    if (!is_answer(r.outcome, operation::open_connect)) return r.outcome;
    return key_stream{via_, arena_, std::move(r)};
  }

  /// How the caller's streams at this site stand, or one of them, as a JSON object. For the people who operate it:
  /// members may be added.
  /// Returns unknown_key_stream, and std::errc::operation_not_supported where this cannot be asked.
  [[nodiscard]] result<std::string> report(const key_stream_id& stream = {}) {
    call c;
    c.request = report_request{stream};
    c.deadline = boot_clock::now() + std::chrono::milliseconds{qos_defaults::timeout_ms};
    call* one = &c;
    via_->start(std::span{&one, 1});
    via_->wait(c);
    if (c.error) return c.error;
    auto& r = std::get<report_response>(c.response);
    if (r.outcome != status::success) return r.outcome;
    return std::move(r.json);
  }

  /// The transport underneath.
  [[nodiscard]] exchange& transport() noexcept { return *via_; }

 private:
  std::shared_ptr<exchange> via_;
  secret_arena arena_;
};

inline result<std::uint64_t> key_stream::take_from(key_ring& ring, std::optional<std::uint64_t> index,
                                                   std::span<std::byte> out, patience p,
                                                   key_metadata& metadata) {
  const auto attempt = [&](time_point now) {
    return index ? ring.take(*index, out, now) : ring.take_next(out, now);
  };
  time_point now = state_->clock.now();
  // R3: another OPEN_CONNECT has resumed the stream, and this one is fenced off
  if (ring.epoch() != state_->opened.epoch) return status::not_authorized;
  auto t = attempt(now);
  if (t.outcome == status::insufficient_key) {
    now = boot_clock::now();
    const time_point deadline = now + std::chrono::milliseconds{quality().timeout_ms};
    while (t.outcome == status::insufficient_key) {
      const time_point due = state_->via->drive(now);
      t = attempt(now);
      if (t.outcome != status::insufficient_key || p == patience::none) break;
      const std::uint32_t ticket = ring.prepare_wait();
      t = attempt(now);
      if (t.outcome != status::insufficient_key) break;
      if (now >= deadline) return status::timeout;
      // whoever waits drives both sites: the other side's reads free slots without a call
      const time_point soon = now + std::chrono::milliseconds{5};
      ring.park(ticket, std::min({deadline, std::max(due, now + std::chrono::milliseconds{1}), soon}));
      now = boot_clock::now();
      if (ring.epoch() != state_->opened.epoch) return status::not_authorized;
    }
  }
  if (t.outcome != status::success) return t.outcome;
  if (t.index > last_index) return status::stream_exhausted;
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - t.since).count();
  metadata.age_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(age, 0, 0xffff'ffff));
  return t.index;
}

inline key_stream::reply key_stream::ask_for(std::uint64_t index, std::span<std::byte> out, patience p,
                                             key_metadata& metadata) {
  for (int attempt = 0;; ++attempt) {
    call c;
    c.request = request_for(index, p);
    c.key_buffer = out;
    const auto failed =
        state_->ask(c, std::chrono::milliseconds{p == patience::none ? 0U : quality().timeout_ms});
    if (failed) {
      if (may_repeat(failed) && attempt == 0) continue;
      return {failed, index};
    }
    const auto& r = std::get<get_key_response>(c.response);
    if (r.outcome != status::success) return {r.outcome, r.index};
    metadata = r.metadata;
    return {{}, index, 1};
  }
}

/// As above with GET_KEYS, which also says what this side has had.
inline key_stream::reply key_stream::ask_for(const index_ledger::run& wanted, std::span<std::byte> out,
                                             patience p, std::span<key_metadata> metadata) {
  for (int attempt = 0;; ++attempt) {
    get_keys_request r;
    r.stream = id();
    r.epoch = state_->opened.epoch;
    r.first = wanted.first;
    r.count = static_cast<std::uint16_t>(wanted.count);
    r.acknowledge_below = state_->had_below();
    r.no_wait = p == patience::none;
    call c;
    c.request = r;
    c.key_buffer = out;
    c.metadata_buffer = metadata;
    const auto failed =
        state_->ask(c, std::chrono::milliseconds{p == patience::none ? 0U : quality().timeout_ms});
    if (failed) {
      if (may_repeat(failed) && attempt == 0) continue;
      return {failed, wanted.first};
    }
    {
      const std::lock_guard lock{state_->mutex};
      state_->ledger.told(r.acknowledge_below);
    }
    const auto& got = std::get<get_keys_response>(c.response);
    if (got.outcome != status::success) return {got.outcome, got.first};
    if (got.first != wanted.first || c.keys == 0 || c.keys > wanted.count) {
      return {make_error_code(status::protocol_error), wanted.first};
    }
    return {{}, wanted.first, c.keys};
  }
}

/// The next keys, as many as fit where they can be asked for in one call, else one.
inline result<key_stream::run> key_stream::ask_for_next(std::span<std::byte> out, patience p,
                                                        std::span<key_metadata> metadata) {
  if (const auto begun = state_->flow_or_begin(); begun && *begun != nullptr) {
    const time_point now = boot_clock::now();
    const auto patient = std::chrono::milliseconds{p == patience::none ? 0U : quality().timeout_ms};
    const auto got = (*begun)->take(out, metadata, now + patient);
    if (!got.error) return run{got.first, got.count};
    const bool none = p == patience::none && to_status(got.error) == status::timeout;
    return none ? make_error_code(status::insufficient_key) : got.error;
  }
  const std::size_t fit = std::min<std::size_t>(out.size() / quality().key_chunk_size, 0xffff);
  for (;;) {
    const auto asked = state_->claim(state_->spoken.get_keys ? fit : 1);
    const reply r = state_->spoken.get_keys ? ask_for(asked, out, p, metadata)
                                            : ask_for(asked.first, out, p, metadata.front());
    state_->settle(asked, r.count);
    if (!r.error) return run{asked.first, r.count};
    const status s = to_status(r.error);
    if ((s == status::index_not_available || s == status::insufficient_key) && r.index > asked.first) {
      state_->skip(asked.first, r.index);  // gone for good: the key manager named the lowest that is not
      continue;
    }
    return r.error;
  }
}

inline result<key_stream::run> key_stream::next_keys_into(std::span<std::byte> out) {
  const std::size_t size = quality().key_chunk_size;
  if (outcome() == status::qos_not_met) return status::qos_not_met;
  if (out.size() < size) return status::invalid_argument;
  if (key_ring* ring = state_->find_ring()) {
    if (ring->epoch() != state_->opened.epoch) return status::not_authorized;
    const auto r = ring->take_run(out, state_->clock.now());
    if (r.outcome == status::success) return run{r.first, r.count};
    key_metadata unused;
    const auto one = take(std::nullopt, out.first(size), patience::timeout, unused);
    if (!one) return one.error();
    return run{*one, 1};
  }
  if (state_->spoken.get_keys || state_->spoken.subscribe) return ask_for_next(out, patience::timeout, {});
  return ask_for_many(out);
}

/// Over plain 004: one request a key, all in one write; the first gap ends the run.
inline result<key_stream::run> key_stream::ask_for_many(std::span<std::byte> out) {
  const std::size_t size = quality().key_chunk_size;
  const std::size_t most =
      std::min({out.size() / size, most_in_flight, std::max(most_octets_in_flight / size, std::size_t{1})});
  const auto asked = state_->claim(most);
  std::vector<call> calls(asked.count);
  std::vector<call*> started;
  const time_point deadline = boot_clock::now() + std::chrono::milliseconds{quality().timeout_ms} + grace;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    calls[i].request = request_for(asked.first + i, patience::timeout);
    calls[i].key_buffer = out.subspan(i * size, size);
    calls[i].deadline = deadline;
    started.push_back(&calls[i]);
  }
  state_->via->start(started);
  run r{asked.first, 0};
  std::error_code failed;
  for (std::size_t i = 0; i < started.size(); ++i) {
    state_->via->wait(*started[i]);
    std::error_code error = started[i]->error;
    if (!error) error = std::get<get_key_response>(started[i]->response).outcome;
    if (!error && r.count == i) r.count += 1;
    if (i == 0) failed = error;
  }
  state_->settle(asked, r.count);
  if (r.count > 0) return r;
  if (to_status(failed) == status::timeout) return failed;
  key_metadata unused;  // one at a time knows how to skip, and how to try again
  return ask_for_next(out.first(size), patience::timeout, {&unused, 1});
}

inline result<void> key_stream::prefetch(std::uint32_t keys) {
  if (outcome() == status::qos_not_met) return status::qos_not_met;
  if (!state_->spoken.subscribe || state_->find_ring() != nullptr) return {};
  if (state_->flow) {
    // what has arrived and was not taken is served again
    const std::uint64_t next = state_->flow->position();
    state_->flow.reset();
    const std::lock_guard lock{state_->mutex};
    state_->ledger = index_ledger{next, next + state_->ahead};
  }
  state_->ahead = keys;
  const auto begun = state_->flow_or_begin();
  if (!begun) return begun.error();
  return {};
}

inline result<void> key_stream::wait_for_peer(std::chrono::milliseconds timeout) {
  if (outcome() == status::qos_not_met) return status::qos_not_met;
  const auto most = std::chrono::milliseconds{std::numeric_limits<std::uint32_t>::max()};
  const auto asked = std::clamp(timeout, std::chrono::milliseconds{0}, most);
  call c;
  c.request = wait_peer_request{id(), static_cast<std::uint32_t>(asked.count())};
  const auto patient = asked.count() == 0 ? std::chrono::milliseconds{quality().timeout_ms} : asked;
  if (const auto failed = state_->ask(c, patient)) return failed;
  const status s = std::get<wait_peer_response>(c.response).outcome;
  if (s != status::success) return s;
  return {};
}

}  // namespace qkd004
