// client and key_stream: what an application holds; the blocking calls of GS QKD 004 over any exchange.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

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

namespace qkd004 {

/// What OPEN_CONNECT returned, and the key that comes of it. Closes the stream when it goes, unless detach() was
/// called.
/// Order of calls: `(next_key | get_key | try_next_key)* close`.
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
    // the way of nearly every key in one process, by itself so that it stays short
    if (key_ring* const ring =
            state_->fast.load(std::memory_order_acquire);  // pairs with the release in find_ring()
        ring != nullptr && ring->epoch() == state_->opened.epoch) [[likely]] {
      const auto taken = ring->take_next(out, state_->clock.now());
      if (taken.outcome == status::success) [[likely]]
        return taken.index;
    }
    key_metadata unused;
    return take(std::nullopt, out, patience::timeout, unused);
  }

  /// A run of keys, one after another in the caller's memory.
  struct run {
    std::uint64_t first = 0;  ///< index of the first; the others follow without a gap
    std::size_t count = 0;    ///< at least 1
  };

  /// The next keys, as many as follow one another and fit. In this process it waits for the first only; over plain
  /// 004 it asks for up to 32 at a time, and waits for each of them up to QoS Timeout.
  /// Requires: room for Key_chunk_size octets (else invalid_argument, and no key is consumed).
  [[nodiscard]] result<run> next_keys_into(std::span<std::byte> out);

  /// Gives the stream up. What this side has not read is destroyed; the other side reads on what it has.
  /// Clause: GS QKD 004 V2.1.1, 6.1 (CLOSE); D16.
  [[nodiscard]] result<void> close() {
    if (!state_ || state_->left) return {};
    state_->left = true;
    call c;
    c.request = close_request{id()};
    const auto failed = state_->ask(c, std::chrono::milliseconds{quality().timeout_ms});
    if (failed) {
      state_->left = false;  // it may be asked for again
      return failed;
    }
    const status s = std::get<close_response>(c.response).outcome;
    if (s != status::success) return s;
    return {};
  }

  /// Lets the stream live on when this object goes: for a program that comes back with the key_stream_id.
  void detach() noexcept { state_->left = true; }

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
    std::uint64_t next = 0;           ///< wire: the lowest index that was never asked for
    std::set<std::uint64_t> again{};  ///< wire: below `next`, and not received

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

    std::uint64_t claim() {
      const std::lock_guard lock{mutex};
      if (again.empty()) return next++;
      return again.extract(again.begin()).value();
    }

    /// An index was claimed and not received.
    void give_back(std::uint64_t index) {
      const std::lock_guard lock{mutex};
      if (index + 1 == next) {
        --next;
      } else {
        again.insert(index);
      }
    }

    /// Nothing below `lowest` is live. Those in `again` may have been served, and be had once more.
    void skip_to(std::uint64_t lowest) {
      const std::lock_guard lock{mutex};
      next = std::max(next, lowest);
    }
  };

  key_stream(std::shared_ptr<exchange> via, secret_arena arena, open_connect_response opened)
      : state_{std::make_unique<state>()} {
    state_->via = std::move(via);
    state_->arena = std::move(arena);
    state_->next = opened.lowest_live_index;
    state_->opened = std::move(opened);
    state_->left = state_->opened.outcome == status::qos_not_met;
  }

  void leave() noexcept {
    if (!state_ || state_->left) return;
    try {
      state_->left = true;
      call c;
      c.request = close_request{id()};
      (void)state_->ask(c, std::chrono::milliseconds{0});
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
    if (!index) return ask_for_next(out, p, metadata);
    const reply r = ask_for(*index, out, p, metadata);
    if (r.error) return r.error;
    return *index;
  }

  // in this process
  [[nodiscard]] result<std::uint64_t> take_from(key_ring& ring, std::optional<std::uint64_t> index,
                                                std::span<std::byte> out, patience p, key_metadata& metadata);
  // over a wire
  struct reply {
    std::error_code error;
    std::uint64_t index;  ///< of the key, or the lowest that can still be had
  };
  [[nodiscard]] reply ask_for(std::uint64_t index, std::span<std::byte> out, patience p,
                              key_metadata& metadata);
  [[nodiscard]] result<std::uint64_t> ask_for_next(std::span<std::byte> out, patience p,
                                                   key_metadata& metadata);
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
      // a connection that broke may have lost the reply only: the same index again is a retransmission (D13)
      const bool broke = failed == std::errc::connection_reset || failed == std::errc::broken_pipe ||
                         failed == std::errc::connection_aborted;
      if (broke && attempt == 0) continue;
      return {failed, index};
    }
    const auto& r = std::get<get_key_response>(c.response);
    if (r.outcome != status::success) return {r.outcome, r.index};
    metadata = r.metadata;
    return {{}, index};
  }
}

inline result<std::uint64_t> key_stream::ask_for_next(std::span<std::byte> out, patience p,
                                                      key_metadata& metadata) {
  for (;;) {
    const std::uint64_t index = state_->claim();
    const reply r = ask_for(index, out, p, metadata);
    if (!r.error) return index;
    const status s = to_status(r.error);
    if ((s == status::index_not_available || s == status::insufficient_key) && r.index > index) {
      state_->skip_to(r.index);  // this one is gone for good: the key manager named the lowest that is not
      continue;
    }
    state_->give_back(index);
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

  // one request a key, all in one write; the first gap ends the run
  const std::size_t most =
      std::min({out.size() / size, most_in_flight, std::max(most_octets_in_flight / size, std::size_t{1})});
  std::vector<call> calls(most);
  std::vector<call*> started;
  std::vector<std::uint64_t> indices;
  const time_point deadline = boot_clock::now() + std::chrono::milliseconds{quality().timeout_ms} + grace;
  for (std::size_t i = 0; i < most; ++i) {
    const std::uint64_t index = state_->claim();
    if (i > 0 && index != indices.back() + 1) {
      state_->give_back(index);
      break;
    }
    indices.push_back(index);
    calls[i].request = request_for(index, patience::timeout);
    calls[i].key_buffer = out.subspan(i * size, size);
    calls[i].deadline = deadline;
    started.push_back(&calls[i]);
  }
  state_->via->start(started);
  run r{indices.front(), 0};
  std::error_code failed;
  for (std::size_t i = 0; i < started.size(); ++i) {
    state_->via->wait(*started[i]);
    std::error_code error = started[i]->error;
    if (!error) error = std::get<get_key_response>(started[i]->response).outcome;
    if (!error && r.count == i) {
      r.count += 1;
      continue;
    }
    if (i == 0) failed = error;
    state_->give_back(indices[i]);
  }
  if (r.count > 0) return r;
  if (to_status(failed) == status::timeout) return failed;
  key_metadata unused;  // one at a time knows how to skip, and how to try again
  const auto one = ask_for_next(out.first(size), patience::timeout, unused);
  if (!one) return one.error();
  return run{*one, 1};
}

}  // namespace qkd004
