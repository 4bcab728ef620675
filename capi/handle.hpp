// handle: the numbers that stand for objects at the C interface, looked up at every use and never used twice.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "qkd004.h"

namespace qkd004::capi {

/// What a handle stands for.
class object {
 public:
  object() = default;
  object(const object&) = delete;
  object& operator=(const object&) = delete;
  virtual ~object() = default;
};

/// The lowest bits of a handle.
enum class kind : std::uintptr_t { client = 1, stream, source, manager, server, v1_session };

/// A handle as a number: kind, slot, how often the process was forked, how often the slot was used before.
///
///     63                          30  29      24  23              3  2    0
///     generation, never 0 in a slot   forks       slot               kind
using handle_number = std::uintptr_t;
static_assert(sizeof(handle_number) == 8, "the layout needs 64 bits");

namespace layout {
inline constexpr unsigned kind_bits = 3;
inline constexpr unsigned slot_bits = 21;
inline constexpr unsigned fork_bits = 6;
inline constexpr unsigned generation_bits = 64 - kind_bits - slot_bits - fork_bits;
inline constexpr unsigned slots_at = kind_bits;
inline constexpr unsigned forks_at = slots_at + slot_bits;
inline constexpr unsigned generation_at = forks_at + fork_bits;
}  // namespace layout

[[nodiscard]] constexpr kind kind_of(handle_number h) noexcept {
  return static_cast<kind>(h & ((1U << layout::kind_bits) - 1));
}
[[nodiscard]] constexpr std::size_t slot_of(handle_number h) noexcept {
  return (h >> layout::slots_at) & ((std::size_t{1} << layout::slot_bits) - 1);
}
[[nodiscard]] constexpr std::uintptr_t forks_of(handle_number h) noexcept {
  return (h >> layout::forks_at) & ((std::uintptr_t{1} << layout::fork_bits) - 1);
}

/// Where an object is found. It stays a slot for as long as the process lives.
struct alignas(64) slot {
  std::atomic<handle_number> handle{0};  ///< 0: nobody's
  object* fast = nullptr;                ///< what `owner` owns
  std::shared_ptr<object> owner;         ///< guarded by the table's lock
  std::uint64_t generation = 0;          ///< of the last handle; guarded by the table's lock
  std::uint64_t number = 0;
  slot* next_free = nullptr;  ///< guarded by the table's lock
};

/// Slots are found by way of a directory of blocks. In a forked child all entries are null, as its page is wiped there:
/// so a short call needs no question of its own whether the process is still the same.
inline constexpr std::size_t slots_in_block = 1024;
inline constexpr std::size_t directory_size = (std::size_t{1} << layout::slot_bits) / slots_in_block;
using directory_entry = std::atomic<slot*>;
extern std::atomic<directory_entry*> directory;

/// What the library keeps for a thread: the slot whose object it uses at this moment without owning a part of it, and
/// its last error.
struct alignas(64) thread_record {
  std::atomic<const slot*> in{nullptr};
  std::atomic<bool> taken{false};
  thread_record* next = nullptr;  ///< of all that were ever made
  char error[512] = "";
  char status[96] = "";
};

/// This thread's, or null: it has made no call yet, or is on its way out. The TLS model is what makes it one load; a
/// library that uses it must keep all it has in TLS small (dlopen finds room for some hundred octets).
extern __thread thread_record* this_thread __attribute__((tls_model("initial-exec")));

/// this_thread, made if there is none. Null when memory is short or the thread is on its way out.
[[nodiscard]] thread_record* record_of_this_thread() noexcept;

/// A use of an object that is short: it must not block, call back, or make another use. Costs a store, a load and a
/// comparison: this thread says first which slot it is in, then looks whether the handle still stands. Who ends a handle
/// does the same in the other order, with a barrier on every processor in between (membarrier(2)), and waits until no
/// thread says it is in that slot.
class short_use {
 public:
  explicit short_use(handle_number h) noexcept {
    thread_record* me = this_thread;
    if (me == nullptr) [[unlikely]] {
      me = record_of_this_thread();
      if (me == nullptr) return;
    }
    // acquire: pairs with the release where the directory is published
    const directory_entry* const blocks = directory.load(std::memory_order_acquire);
    slot* const block = blocks[slot_of(h) / slots_in_block].load(std::memory_order_acquire);
    if (block == nullptr) [[unlikely]]
      return;
    slot& s = block[slot_of(h) % slots_in_block];
    me->in.store(&s, std::memory_order_relaxed);
    // for the compiler; membarrier() in handle_table::end() makes it hold for the processor
    std::atomic_signal_fence(std::memory_order_seq_cst);
    me_ = me;
    // acquire: pairs with the release in handle_table::publish(), which wrote `fast` before
    if (s.handle.load(std::memory_order_acquire) == h) [[likely]]
      used_ = s.fast;
  }
  short_use(const short_use&) = delete;
  short_use& operator=(const short_use&) = delete;
  ~short_use() {
    // release: pairs with the acquire in handle_table::end(), after which the object may go
    if (me_ != nullptr) me_->in.store(nullptr, std::memory_order_release);
  }

  /// Null: the handle does not stand for an object that can be used in this way. No error: the long way says which.
  [[nodiscard]] object* get() const noexcept { return used_; }

 private:
  thread_record* me_ = nullptr;
  object* used_ = nullptr;
};

/// Every handle of this process.
/// Threads: any number.
class handle_table {
 public:
  /// The one of this process: a forked child's is another than its parent's. Throws std::bad_alloc.
  [[nodiscard]] static handle_table& of_this_process();

  /// A slot that was set aside, so that nothing can fail once there is an object for it.
  class reservation {
   public:
    reservation(handle_table& t, slot& s) noexcept : table_{&t}, slot_{&s} {}
    reservation(const reservation&) = delete;
    reservation& operator=(const reservation&) = delete;
    ~reservation() {
      if (slot_ != nullptr) table_->give_back(*slot_);
    }
    [[nodiscard]] handle_number publish(kind k, std::shared_ptr<object> o) noexcept {
      return table_->publish(*std::exchange(slot_, nullptr), k, std::move(o));
    }

   private:
    handle_table* table_;
    slot* slot_;
  };
  /// Throws std::bad_alloc, also when there are no more slots.
  [[nodiscard]] reservation reserve();

  /// The object; null, and `why` -EBADF or -EPERM.
  [[nodiscard]] std::shared_ptr<object> find(handle_number h, kind k, int& why);

  /// The handle stands for nothing from now on. Waits for short uses; others own a part of the object. Null if somebody
  /// else was faster.
  [[nodiscard]] std::shared_ptr<object> end(handle_number h) noexcept;

 private:
  struct state;
  explicit handle_table(handle_table* parent);
  ~handle_table();
  [[nodiscard]] bool of_another_process() const noexcept;
  void give_back(slot& s) noexcept;
  [[nodiscard]] handle_number publish(slot& s, kind k, std::shared_ptr<object> o) noexcept;

  std::unique_ptr<state> state_;
};

}  // namespace qkd004::capi
