// SPDX-License-Identifier: Apache-2.0
#include "handle.hpp"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>
#include <vector>

namespace qkd004::capi {
namespace {

/// Where nothing is found: before the first object, and where short uses cannot be had.
directory_entry nothing[directory_size];

/// Lock-free and for the life of the process, so that a forked child may go on with it.
std::atomic<thread_record*> records{nullptr};

constexpr std::size_t directory_bytes = (directory_size + 1) * sizeof(directory_entry);
slot mark;

bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

/// Whether who ends a handle can have a barrier on all processors. The thread sanitizer does not know of this one.
bool register_barrier() noexcept {
#ifdef __SANITIZE_THREAD__
  return false;
#else
  return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
#endif
}

/// Gives the record back when the thread ends.
struct leaver {
  thread_record* record = nullptr;
  bool left = false;
  ~leaver() {
    left = true;
    this_thread = nullptr;
    // release: pairs with the acquire of who takes it next
    if (record != nullptr) record->taken.store(false, std::memory_order_release);
  }
};
thread_local leaver leaves;

}  // namespace

std::atomic<directory_entry*> directory{nothing};

__thread thread_record* this_thread __attribute__((tls_model("initial-exec"))) = nullptr;

thread_record* record_of_this_thread() noexcept {
  if (this_thread != nullptr) return this_thread;
  if (leaves.left) return nullptr;
  thread_record* r = records.load(std::memory_order_acquire);  // pairs with the release below
  for (; r != nullptr; r = r->next) {
    // acquire: pairs with the release in ~leaver()
    if (!r->taken.load(std::memory_order_relaxed) && !r->taken.exchange(true, std::memory_order_acquire))
      break;
  }
  if (r == nullptr) {
    r = new (std::nothrow) thread_record;
    if (r == nullptr) return nullptr;
    r->taken.store(true, std::memory_order_relaxed);
    r->next = records.load(std::memory_order_relaxed);
    while (!records.compare_exchange_weak(r->next, r, std::memory_order_release, std::memory_order_relaxed)) {
    }
  }
  r->error[0] = '\0';
  leaves.record = r;
  this_thread = r;
  return r;
}

struct handle_table::state {
  std::mutex mutex;
  handle_table* parent = nullptr;
  std::uintptr_t forks = 0;
  pid_t process = ::getpid();
  directory_entry* blocks = nullptr;
  bool wiped_on_fork = false;
  bool short_uses = false;                    ///< can be had; settled before another thread can see the table
  std::vector<std::unique_ptr<slot[]>> made;  ///< what `blocks` shows
  slot* free = nullptr;
};

handle_table::handle_table(handle_table* parent) : state_{std::make_unique<state>()} {
  state_->parent = parent;  // so that what it holds is still held by somebody
  if (parent != nullptr) state_->forks = parent->state_->forks + 1;
  if (state_->forks >> layout::fork_bits != 0) throw std::bad_alloc{};
  void* const memory =
      ::mmap(nullptr, directory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc{};
  state_->blocks = ::new (memory) directory_entry[directory_size + 1]{};
#ifdef MADV_WIPEONFORK
  state_->wiped_on_fork = ::madvise(memory, directory_bytes, MADV_WIPEONFORK) == 0;
#endif
  state_->short_uses = state_->wiped_on_fork && register_barrier();
  // the one behind the last block: null in a child only
  state_->blocks[directory_size].store(&mark, std::memory_order_relaxed);
}

handle_table::~handle_table() { ::munmap(state_->blocks, directory_bytes); }

bool handle_table::of_another_process() const noexcept {
  if (!state_->wiped_on_fork) return state_->process != ::getpid();
  return state_->blocks[directory_size].load(std::memory_order_relaxed) == nullptr;
}

handle_table& handle_table::of_this_process() {
  static std::atomic<handle_table*> current{nullptr};
  for (;;) {
    handle_table* known = current.load(std::memory_order_acquire);  // pairs with the exchange below
    if (known != nullptr && !known->of_another_process()) return *known;
    auto* const made = new handle_table{known};
    if (current.compare_exchange_strong(known, made, std::memory_order_acq_rel)) {
      // release: pairs with the acquire in short_use
      directory.store(made->state_->short_uses ? made->state_->blocks : nothing, std::memory_order_release);
      return *made;
    }
    delete made;  // another thread was faster
  }
}

handle_table::reservation handle_table::reserve() {
  const std::lock_guard lock{state_->mutex};
  if (state_->free == nullptr) {
    const std::size_t block = state_->made.size();
    if (block == directory_size) throw std::bad_alloc{};
    state_->made.push_back(std::make_unique<slot[]>(slots_in_block));
    slot* const slots = state_->made.back().get();
    for (std::size_t i = slots_in_block; i-- != 0;) {
      slots[i].number = block * slots_in_block + i;
      slots[i].next_free = std::exchange(state_->free, &slots[i]);
    }
    state_->blocks[block].store(slots, std::memory_order_release);  // pairs with the acquire in short_use
  }
  slot& s = *state_->free;
  state_->free = std::exchange(s.next_free, nullptr);
  return {*this, s};
}

void handle_table::give_back(slot& s) noexcept {
  constexpr std::uint64_t last = (std::uint64_t{1} << layout::generation_bits) - 1;
  const std::lock_guard lock{state_->mutex};
  if (s.generation == last) return;  // a number is never used again
  s.next_free = std::exchange(state_->free, &s);
}

handle_number handle_table::publish(slot& s, kind k, std::shared_ptr<object> o) noexcept {
  const std::lock_guard lock{state_->mutex};
  s.generation += 1;
  s.fast = o.get();
  s.owner = std::move(o);
  const handle_number h = static_cast<handle_number>(k) | s.number << layout::slots_at |
                          state_->forks << layout::forks_at | s.generation << layout::generation_at;
  s.handle.store(h, std::memory_order_release);  // pairs with the acquire in short_use
  return h;
}

std::shared_ptr<object> handle_table::find(handle_number h, kind k, int& why) {
  if (h != 0 && forks_of(h) < state_->forks) {
    why = -EPERM;
    return nullptr;
  }
  why = -EBADF;
  const std::size_t block = slot_of(h) / slots_in_block;
  const std::lock_guard lock{state_->mutex};
  if (kind_of(h) != k || block >= state_->made.size()) return nullptr;
  const slot& s = state_->made[block][slot_of(h) % slots_in_block];
  if (s.handle.load(std::memory_order_relaxed) != h) return nullptr;
  return s.owner;
}

std::shared_ptr<object> handle_table::end(handle_number h) noexcept {
  std::shared_ptr<object> ended;
  slot* s = nullptr;
  {
    const std::lock_guard lock{state_->mutex};
    s = &state_->made[slot_of(h) / slots_in_block][slot_of(h) % slots_in_block];
    if (s->handle.load(std::memory_order_relaxed) != h) return nullptr;
    s->handle.store(0, std::memory_order_relaxed);
    ended = std::move(s->owner);
  }
  if (state_->short_uses) {
    // From here on a thread either is seen in the slot below, or sees that the handle is gone.
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    // acquire: pairs with the release where a record is made, and of each short use at its end
    for (auto* r = records.load(std::memory_order_acquire); r != nullptr; r = r->next) {
      while (r->in.load(std::memory_order_acquire) == s) ::sched_yield();
    }
  }
  s->fast = nullptr;
  give_back(*s);
  return ended;
}

}  // namespace qkd004::capi
