// key_ring: the lock-free ring of the key of one stream that is ready to be delivered. It is filled by one
// thread and emptied by any; it knows nothing of peers, principals and wires.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "qkd004/clock.hpp"
#include "qkd004/parking.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"

namespace qkd004 {

/// A window onto the chunks of one stream: chunk number p, its *position* and its index for the application,
/// lies in slot p mod capacity, and the slot is used again for p + capacity once chunk p is gone.
///
/// Publisher: `(room publish | serve | acknowledge_below | burn | expire)* finish? close?`, one thread at a
/// time. Takers: take_next, take and take_run in any mixture, from any thread, lock-free: a taker that is
/// held up keeps its one slot and nobody else. Each chunk is delivered at most once, or, when it is served,
/// to the owner of the wire only.
///
/// What a slot is in, and who may change it:
///
///     free --publish--> live --take, expire, burn, close--> claimed --wiped--> free, one round later
///                       live --serve--> served --acknowledge, expire, burn, close--> free, one round later
///
/// `now` must never go back from one call of the publisher's to the next.
/// Clause: the delivery rule R4, R5, R7, R8; GS QKD 004 V2.1.1, 6.1 (GET_KEY, TTL).
class key_ring {
 public:
  /// The shape of a ring.
  struct options {
    std::uint32_t chunk_size;  ///< octets of a chunk, at least 1
    std::uint32_t capacity;    ///< slots: a power of two, at least 2
    boot_clock::duration ttl;  ///< above 0; duration::max() is for ever
  };

  /// A ring whose key lies in `arena`, and which keeps the arena alive.
  /// Returns invalid_argument outside the bounds of `options`, resource_limit when the arena has no room.
  [[nodiscard]] static result<std::shared_ptr<key_ring>> make(const options& o, const secret_arena& arena) {
    if (o.chunk_size == 0 || o.capacity < 2 || !std::has_single_bit(o.capacity) ||
        o.ttl <= boot_clock::duration::zero()) {
      return status::invalid_argument;
    }
    result<secret_bytes> memory = arena.allocate(bytes_needed(o));
    if (!memory) return memory.error();
    return std::shared_ptr<key_ring>{new key_ring{o, arena, *std::move(memory)}};
  }

  key_ring(const key_ring&) = delete;
  key_ring& operator=(const key_ring&) = delete;
  ~key_ring() = default;

  [[nodiscard]] const options& shape() const noexcept { return options_; }

  /// Octets of the arena that a ring takes.
  [[nodiscard]] static std::size_t bytes_needed(const options& o) noexcept {
    return slot_size(o) * o.capacity;
  }

  /// \name Publisher: one thread at a time
  ///@{

  /// The next position; as many have been published.
  [[nodiscard]] std::uint64_t published() const noexcept {
    return published_.load(std::memory_order_relaxed);  // written by this thread only
  }

  /// How many of the next `most` positions have a free slot, without a gap; 0 after finish() and in a forked
  /// child.
  [[nodiscard]] std::uint32_t room(std::uint32_t most) const noexcept {
    if (end_flags() != 0 || arena_.forked()) return 0;
    const std::uint64_t wanted = published() + most;
    // What was found free stays so until it is published: only what lies beyond is looked at.
    // acquire: pairs with the release in free(), so that the last taker's wiping comes before the next key
    while (free_to_ < wanted && at(free_to_).turn.load(std::memory_order_acquire) == free_for(free_to_)) {
      ++free_to_;
    }
    return static_cast<std::uint32_t>(std::min(free_to_, wanted) - published());
  }

  /// Makes chunks takeable, and wakes whoever waits.
  /// Requires: whole chunks, and no more than room() allows.
  void publish(std::span<const std::byte> chunks, time_point now) noexcept {
    assert(chunks.size() % options_.chunk_size == 0 && "whole chunks");
    stamp_ = std::max(stamp_, now);
    const std::uint64_t last = published() + chunks.size() / options_.chunk_size;
    if (last > free_to_) [[unlikely]] {
      (void)room(static_cast<std::uint32_t>(last - published()));
    }
    assert(last <= free_to_ && "more chunks than there is room for");
    const std::byte* from = chunks.data();
    for (std::uint64_t p = published(); p != last; ++p, from += options_.chunk_size) {
      slot& s = at(p);
      s.since = stamp_;
      copy(s.key(), from);
      s.turn.store(live(p), std::memory_order_release);  // pairs with the acquire in claim()
    }
    published_.store(last, std::memory_order_release);  // pairs with the acquire in tally()
    parking_.wake();
  }

  /// Nothing more will be published: from now on a taker that finds nothing gets `why`. The last call counts.
  /// Requires: `why` is not success.
  void finish(status why) noexcept { end(static_cast<std::uint32_t>(why) | (end_flags() & closed)); }

  /// finish(), and wipes everything live or served, which counts as discarded. A chunk that a taker has
  /// claimed is that taker's. Returns how many were discarded.
  std::uint64_t close(status why = status::unknown_key_stream) noexcept {
    end(static_cast<std::uint32_t>(why) | closed);
    std::uint64_t count = 0;
    for (std::uint64_t p = lowest_held(); p != published(); ++p) count += seize(p) ? 1U : 0U;
    count_discarded(count);
    return count;
  }

  /// Wipes what has been live or served for the TTL or longer.
  /// Returns how many.
  std::uint64_t expire(time_point now) noexcept {
    std::uint64_t count = 0;
    for (std::uint64_t p = lowest_held(); p != published(); ++p) {
      const slot& s = at(p);
      if (!is_held(s.turn.load(std::memory_order_relaxed), p)) continue;
      if (!is_old(s, now)) break;  // stamps never go down: what comes after is younger
      count += seize(p) ? 1U : 0U;
    }
    if (count != 0) count_expired(count);
    return count;
  }

  /// The lowest position that is live or served; published() if there is none.
  [[nodiscard]] std::uint64_t lowest_held() const noexcept {
    // what is not held now will not be again: the search goes on where the last one ended
    while (held_from_ != published() &&
           !is_held(at(held_from_).turn.load(std::memory_order_relaxed), held_from_)) {
      ++held_from_;
    }
    return held_from_;
  }

  /// The lowest position whose slot is not free again: live, served, or with a taker that is not done with it;
  /// published() if there is none.
  [[nodiscard]] std::uint64_t lowest_used() const noexcept {
    // a slot that was freed is for a later position, for good
    while (used_from_ != published() &&
           at(used_from_).turn.load(std::memory_order_relaxed) >> 2 != used_from_) {
      ++used_from_;
    }
    return used_from_;
  }

  /// The lowest position that is live and not served; published() if there is none.
  [[nodiscard]] std::uint64_t lowest_live() const noexcept {
    while (live_from_ != published() &&
           !is_live(at(live_from_).turn.load(std::memory_order_relaxed), live_from_)) {
      ++live_from_;
    }
    return live_from_;
  }

  /// When lowest_held() was published.
  [[nodiscard]] std::optional<time_point> oldest() const noexcept {
    const std::uint64_t p = lowest_held();
    if (p == published()) return std::nullopt;
    return at(p).since;  // written by this thread only
  }

  /// When lowest_live() was published.
  [[nodiscard]] std::optional<time_point> oldest_live() const noexcept {
    const std::uint64_t p = lowest_live();
    if (p == published()) return std::nullopt;
    return at(p).since;  // written by this thread only
  }

  /// \name Serving over a wire: the publisher's thread
  ///@{

  /// What serve() came to; `outcome` success: a key.
  struct served {
    status outcome;
    std::span<const std::byte>
        key;           ///< lies in the ring until acknowledge_below(), burn(), expire() or close()
    time_point since;  ///< when it was published
  };

  /// The chunk at `index`, for the owner of the wire; the same again as often as asked, until it is
  /// acknowledged. Returns insufficient_key when it is not there yet, index_not_available when it is gone,
  /// what finish() or close() said, shutting_down in a forked child.
  [[nodiscard]] served serve(std::uint64_t index, time_point now) noexcept {
    slot& s = at(index);
    std::uint64_t turn = s.turn.load(std::memory_order_relaxed);
    // the loop ends: a slot that is not live (any more) changes by this thread only
    while (is_held(turn, index)) {
      if (is_old(s, now)) {
        if (seize(index)) count_expired(1);
      } else if (is_served(turn, index) ||
                 // relaxed: this thread wrote the key itself
                 s.turn.compare_exchange_strong(turn, served_at(index), std::memory_order_relaxed)) {
        served_from_ = std::min(served_from_, index);
        return {status::success, {s.key(), options_.chunk_size}, s.since};
      }
      turn = s.turn.load(std::memory_order_relaxed);
    }
    return {is_gone(turn, index) ? gone() : nothing(), {}, {}};
  }

  /// Wipes every served chunk below `index`; live ones stay.
  /// Returns how many.
  std::uint32_t acknowledge_below(std::uint64_t index) noexcept {
    const std::uint64_t to = std::min(index, published());
    std::uint32_t count = 0;
    for (std::uint64_t p = std::max(served_from_, window_start()); p < to; ++p) {
      if (!is_served(at(p).turn.load(std::memory_order_relaxed), p)) continue;
      let_go(at(p), p);
      ++count;
    }
    served_from_ = std::max(served_from_, to);
    return count;
  }

  /// Wipes a live or served chunk without delivering it; it counts as discarded.
  /// Returns insufficient_key when it is not there yet, index_not_available when it is gone.
  status burn(std::uint64_t index) noexcept {
    if (seize(index)) {
      count_discarded(1);
      return status::success;
    }
    return is_gone(at(index).turn.load(std::memory_order_relaxed), index) ? gone() : nothing();
  }
  ///@}
  ///@}

  /// \name Takers: any thread, lock-free
  ///@{

  /// What take() and take_next() came to; `outcome` success: a key was copied out.
  struct taken {
    status outcome;
    std::uint64_t index;  ///< of the key, or the position that was waited for
    time_point since;     ///< when it was published
  };

  /// Copies the lowest live chunk out and wipes its slot.
  /// Returns insufficient_key with the position waited for when there is none, then what finish() or close()
  /// said if they were called; invalid_argument when `out` is smaller than a chunk, which consumes nothing;
  /// shutting_down in a forked child, which never gets key.
  [[nodiscard]] taken take_next(std::span<std::byte> out, time_point now) noexcept {
    if (out.size() < options_.chunk_size) return {status::invalid_argument, 0, {}};
    std::uint64_t p = next_.load(std::memory_order_relaxed);  // a hint: all below it are gone, for good
    status why{};
    do {
      slot& s = at(p);
      if (!claim(s, p)) continue;
      if (is_old(s, now)) [[unlikely]] {
        drop_old(p);
        continue;
      }
      // plain: a thread that is held up here may set the hint back, and what it says is still true
      next_.store(p + 1, std::memory_order_relaxed);
      return hand_over(s, p, out.data());
    } while (find_live(p, why));
    next_.store(p, std::memory_order_relaxed);
    return {why, p, {}};
  }

  /// Copies the chunk at `index` out and wipes its slot.
  /// Returns as take_next(); index_not_available when it is taken, served, acknowledged, burnt or expired.
  [[nodiscard]] taken take(std::uint64_t index, std::span<std::byte> out, time_point now) noexcept {
    if (out.size() < options_.chunk_size) return {status::invalid_argument, index, {}};
    slot& s = at(index);
    while (!claim(s, index)) {
      const std::uint64_t turn = s.turn.load(std::memory_order_relaxed);
      if (is_live(turn, index)) continue;
      if (is_gone(turn, index)) return {gone(), index, {}};
      const status why = nothing();
      // what was published before the end came must be found, even if it was not there a moment ago
      if (s.turn.load(std::memory_order_relaxed) == turn) return {why, index, {}};
    }
    if (is_old(s, now)) [[unlikely]] {
      drop_old(index);
      return {gone(), index, {}};
    }
    return hand_over(s, index, out.data());
  }

  /// What take_run() came to; `outcome` success: `count` keys.
  struct run {
    status outcome;
    std::uint64_t first;  ///< index of the first key, or the position that was waited for
    std::uint32_t count;  ///< chunks, with indices from `first` on without a gap
    time_point since;     ///< when the first was published
  };

  /// Copies out as many chunks as are live in one row from the lowest on, and fit, and wipes their slots.
  /// Returns as take_next().
  [[nodiscard]] run take_run(std::span<std::byte> out, time_point now) noexcept {
    const taken first = take_next(out, now);
    if (first.outcome != status::success) return {first.outcome, first.index, 0, {}};
    const std::uint64_t end =
        first.index + std::min<std::uint64_t>(out.size() / options_.chunk_size, options_.capacity);
    std::uint64_t p = first.index + 1;
    std::byte* to = out.data() + options_.chunk_size;
    // none of them can be older than the first
    for (; p != end && claim(at(p), p); ++p, to += options_.chunk_size) hand_over(at(p), p, to);
    next_.store(p, std::memory_order_relaxed);
    return {status::success, first.index, static_cast<std::uint32_t>(p - first.index), first.since};
  }
  ///@}

  /// \name Waiting: any thread
  ///@{

  /// Announces a waiter. Take again after this, and if there is still nothing, park() with the ticket.
  [[nodiscard]] std::uint32_t prepare_wait() noexcept { return parking_.prepare(); }

  /// Sleeps until something is published, finish(), close(), or the deadline. May return early for no reason.
  void park(std::uint32_t ticket, time_point until) noexcept { parking_.park(ticket, until); }

  /// Has everybody who is parked look up, though nothing was published.
  void wake_takers() noexcept { parking_.wake(); }

  /// take_next() that waits for a key, on boot_clock.
  /// Returns as take_next(), and timeout in place of insufficient_key.
  [[nodiscard]] taken take_next_wait(std::span<std::byte> out, time_point deadline) noexcept {
    for (;;) {
      const time_point now = boot_clock::now();
      taken t = take_next(out, now);
      if (t.outcome != status::insufficient_key) return t;
      if (now >= deadline) return {status::timeout, t.index, {}};
      const std::uint32_t ticket = prepare_wait();
      t = take_next(out, now);
      if (t.outcome != status::insufficient_key) return t;
      park(ticket, deadline);
    }
  }
  ///@}

  /// \name Fence and balance: any thread
  ///@{

  /// How often the stream was resumed by another OPEN_CONNECT: callers of an older one are fenced off.
  /// Clause: the delivery rule R3.
  [[nodiscard]] std::uint64_t epoch() const noexcept {
    return epoch_.load(std::memory_order_acquire);  // pairs with the release in set_epoch()
  }
  void set_epoch(std::uint64_t e) noexcept {
    epoch_.store(e, std::memory_order_release);  // pairs with the acquire in epoch()
  }

  /// Chunks of this side. Clause: the delivery rule R7.
  struct balance {
    std::uint64_t bound;         ///< published
    std::uint64_t acknowledged;  ///< taken, or served and acknowledged
    std::uint64_t expired;
    std::uint64_t discarded;  ///< burnt, or there when the ring was closed
    std::uint64_t live;       ///< live or served
  };

  /// How many chunks have expired, or were discarded.
  [[nodiscard]] std::uint64_t expired() const noexcept {
    return expired_.load(std::memory_order_acquire);  // pairs with the release in count_expired()
  }
  [[nodiscard]] std::uint64_t discarded() const noexcept {
    return discarded_.load(std::memory_order_acquire);  // pairs with the release in count_discarded()
  }

  /// The balance: bound = acknowledged + expired + discarded + live. A chunk on its way out of the ring
  /// counts as acknowledged. Taking keeps no counter: this looks at every slot.
  [[nodiscard]] balance tally() const noexcept {
    // The counters first, then the slots: acquire pairs with the release in count_expired() and
    // count_discarded(), so that no chunk is both counted there and found live.
    balance b{};
    b.expired = expired_.load(std::memory_order_acquire);
    b.discarded = discarded_.load(std::memory_order_acquire);
    // acquire: pairs with the release in publish(). A chunk may be taken, and expire, before its batch is
    // counted.
    b.bound = std::max(published_.load(std::memory_order_acquire), b.expired + b.discarded);
    for (std::uint64_t p = b.bound - std::min<std::uint64_t>(b.bound, options_.capacity); p != b.bound; ++p) {
      b.live += is_held(at(p).turn.load(std::memory_order_relaxed), p) ? 1U : 0U;
    }
    b.live = std::min(b.live, b.bound - b.expired - b.discarded);
    b.acknowledged = b.bound - b.expired - b.discarded - b.live;
    return b;
  }
  ///@}

 private:
  /// A slot, followed by its key. `turn` is four times a position, plus what the slot is for that position.
  /// All zero is "free for position 0": what a forked child finds everywhere, where nothing can be taken.
  struct slot {
    std::atomic<std::uint64_t> turn;
    time_point since;

    [[nodiscard]] std::byte* key() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  static constexpr std::size_t line = 64;  ///< octets that move between processors as one

  static constexpr std::uint64_t free_for(std::uint64_t p) noexcept { return p << 2; }
  static constexpr std::uint64_t live(std::uint64_t p) noexcept { return p << 2 | 1; }
  static constexpr std::uint64_t claimed(std::uint64_t p) noexcept { return p << 2 | 2; }
  static constexpr std::uint64_t served_at(std::uint64_t p) noexcept { return p << 2 | 3; }

  // Positions are compared, not whole words: an index from outside may have upper bits that no position has.
  static constexpr bool is_live(std::uint64_t turn, std::uint64_t p) noexcept {
    return turn >> 2 == p && (turn & 3) == 1;
  }
  static constexpr bool is_served(std::uint64_t turn, std::uint64_t p) noexcept {
    return turn >> 2 == p && (turn & 3) == 3;
  }
  static constexpr bool is_held(std::uint64_t turn, std::uint64_t p) noexcept {
    return turn >> 2 == p && (turn & 1) != 0;
  }
  /// Whether `p` was published and cannot be taken (any more).
  static constexpr bool is_gone(std::uint64_t turn, std::uint64_t p) noexcept {
    return turn >> 2 > p || (turn >> 2 == p && (turn & 2) != 0);
  }

  static constexpr std::size_t slot_size(const options& o) noexcept {
    return (sizeof(slot) + o.chunk_size + line - 1) / line * line;
  }

  key_ring(const options& o, const secret_arena& arena, secret_bytes memory) noexcept
      : slots_{memory.data()},
        stride_{slot_size(o)},
        mask_{o.capacity - 1},
        options_{o},
        arena_{arena},
        memory_{std::move(memory)} {
    for (std::uint64_t p = 0; p != o.capacity; ++p) {
      ::new (slots_ + p * stride_) slot{std::atomic<std::uint64_t>{free_for(p)}, time_point{}};
    }
  }

  [[nodiscard]] slot& at(std::uint64_t p) const noexcept {
    return *std::launder(reinterpret_cast<slot*>(slots_ + (p & mask_) * stride_));
  }

  /// The lowest position that can have a slot. Publisher's thread.
  [[nodiscard]] std::uint64_t window_start() const noexcept {
    return published() - std::min<std::uint64_t>(published(), options_.capacity);
  }

  [[nodiscard]] bool is_old(const slot& s, time_point now) const noexcept {
    return now - s.since >= options_.ttl;  // not since + ttl, which overflows for a TTL of "for ever"
  }

  /// Live to claimed: whoever succeeds owns the slot until it is freed.
  [[nodiscard]] bool claim(slot& s, std::uint64_t p) noexcept {
    std::uint64_t turn = s.turn.load(std::memory_order_relaxed);
    if (!is_live(turn, p)) return false;
    // acquire: pairs with the release in publish(), which wrote key and stamp before
    return s.turn.compare_exchange_strong(turn, claimed(p), std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }

  /// Copies the key of a slot this thread owns, wipes it, and frees the slot.
  taken hand_over(slot& s, std::uint64_t p, std::byte* to) noexcept {
    const time_point since = s.since;
    // hides from g++ which object this is: it warns of the branches for sizes that this one does not have
    asm("" : "+r"(to));
    // the usual sizes without a call
    switch (options_.chunk_size) {
      case 32: move_out(to, s.key(), 32); break;
      case 16: move_out(to, s.key(), 16); break;
      case 64: move_out(to, s.key(), 64); break;
      default: move_out(to, s.key(), options_.chunk_size);
    }
    free(s, p);
    return {status::success, p, since};
  }

  static void move_out(std::byte* to, std::byte* key, std::size_t size) noexcept {
    std::memcpy(to, key, size);
    wipe(key, size);
  }

  /// For the next round.
  void free(slot& s, std::uint64_t p) noexcept {
    // release: pairs with the acquire in room(), after which the next key is written here
    s.turn.store(free_for(p + options_.capacity), std::memory_order_release);
  }

  /// Wipes a slot this thread owns, and frees it.
  void let_go(slot& s, std::uint64_t p) noexcept {
    wipe(s.key(), options_.chunk_size);
    free(s, p);
  }

  [[gnu::noinline, gnu::cold]] void drop_old(std::uint64_t p) noexcept {
    let_go(at(p), p);
    count_expired(1);
  }

  /// Wipes and frees `p` if it is live or served. Publisher's thread.
  [[nodiscard]] bool seize(std::uint64_t p) noexcept {
    slot& s = at(p);
    if (!is_served(s.turn.load(std::memory_order_relaxed), p) && !claim(s, p)) return false;
    let_go(s, p);
    return true;
  }

  /// Moves `p` up to a live chunk, or to the first position that is not published, and says `why` there is
  /// none.
  [[nodiscard]] [[gnu::noinline]] bool find_live(std::uint64_t& p, status& why) const noexcept {
    for (;;) {
      const std::uint64_t turn = at(p).turn.load(std::memory_order_relaxed);
      if (is_live(turn, p)) return true;
      if (is_gone(turn, p)) {
        p = std::max(p + 1, lowest_possible(turn));
        continue;
      }
      why = nothing();
      // what was published before the end came must be found, even if it was not there a moment ago
      if (at(p).turn.load(std::memory_order_relaxed) == turn) return false;
    }
  }

  /// The lowest position that can be live when a slot says `turn`: a stale hint catches up in one step.
  [[nodiscard]] std::uint64_t lowest_possible(std::uint64_t turn) const noexcept {
    // the newest position that was published in that slot; with all slots in use its window ends there
    const std::uint64_t newest = (turn >> 2) - ((turn & 3) == 0 ? options_.capacity : 0);
    return newest + 1 - std::min<std::uint64_t>(newest + 1, options_.capacity);
  }

  /// Why there is nothing at a position that is not published.
  [[nodiscard]] status nothing() const noexcept {
    // acquire: pairs with the release in end(), so that all that was published before is seen after
    const std::uint32_t e = end_.load(std::memory_order_acquire);
    if (e != 0) return static_cast<status>(e & ~closed);
    return arena_.forked() ? status::shutting_down : status::insufficient_key;
  }

  /// Why there is nothing at a position that was published.
  [[nodiscard]] status gone() const noexcept {
    const std::uint32_t e = end_.load(std::memory_order_acquire);  // pairs with the release in end()
    return (e & closed) != 0 ? static_cast<status>(e & ~closed) : status::index_not_available;
  }

  /// Publisher's thread, which alone writes it.
  [[nodiscard]] std::uint32_t end_flags() const noexcept { return end_.load(std::memory_order_relaxed); }

  void end(std::uint32_t why) noexcept {
    assert((why & ~closed) != 0 && "an end has a reason");
    end_.store(why, std::memory_order_release);  // pairs with the acquire in nothing() and gone()
    parking_.wake();
  }

  void count_expired(std::uint64_t n) noexcept {
    expired_.fetch_add(n, std::memory_order_release);  // pairs with the acquire in tally()
  }
  void count_discarded(std::uint64_t n) noexcept {
    discarded_.fetch_add(n, std::memory_order_release);  // pairs with the acquire in tally()
  }

  void copy(std::byte* to, const std::byte* from) const noexcept {
    switch (options_.chunk_size) {  // the usual sizes without a call
      case 32: std::memcpy(to, from, 32); return;
      case 16: std::memcpy(to, from, 16); return;
      case 64: std::memcpy(to, from, 64); return;
      default: std::memcpy(to, from, options_.chunk_size);
    }
  }

  static constexpr std::uint32_t closed = std::uint32_t{1} << 31;  ///< in end_, beside a status

  // Three groups on cache lines of their own: what nobody writes while keys flow, what the publisher writes,
  // what takers write.
  alignas(line) std::byte* const slots_;
  const std::size_t stride_;
  const std::uint64_t mask_;
  const options options_;
  std::atomic<std::uint32_t> end_{0};  ///< 0, or a status, which may be `closed`
  std::atomic<std::uint64_t> epoch_{0};
  const secret_arena arena_;
  const secret_bytes memory_;

  alignas(line) std::atomic<std::uint64_t> published_{0};
  mutable std::uint64_t free_to_ = 0;     ///< from published_ up to here all slots are free
  mutable std::uint64_t held_from_ = 0;   ///< none below is live or served
  mutable std::uint64_t used_from_ = 0;   ///< all below are free for the next round
  mutable std::uint64_t live_from_ = 0;   ///< none below is live
  std::uint64_t served_from_ = 0;         ///< none below is served
  time_point stamp_ = time_point::min();  ///< of the last batch
  std::atomic<std::uint64_t> discarded_{0};
  parking parking_;

  alignas(line) std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint64_t> expired_{0};
};

}  // namespace qkd004
