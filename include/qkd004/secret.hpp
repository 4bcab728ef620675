// Memory for key: pages that are locked, kept out of core dumps and wiped in a forked child, and secret_bytes, the
// only thing in this library that owns key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "qkd004/result.hpp"

namespace qkd004 {

/// Overwrites memory with zeros so that no compiler may leave it out.
inline void wipe(void* memory, std::size_t size) noexcept {
  std::memset(memory, 0, size);
  asm volatile("" : : "r"(memory) : "memory");
}

/// Whether two runs of octets are equal, in a time that depends on their length only.
[[nodiscard]] inline bool equal_in_constant_time(std::span<const std::byte> a,
                                                 std::span<const std::byte> b) noexcept {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= std::to_integer<unsigned>(a[i] ^ b[i]);
  asm volatile("" : "+r"(difference));
  return difference == 0;
}

/// What a secret_arena may use, and whether it may do without locked pages.
struct secret_options {
  std::size_t bytes =
      std::size_t{8} << 20;     ///< upper bound on mapped octets; pages are mapped as they are needed
  bool allow_unlocked = false;  ///< go on when the system refuses mlock: key may reach swap space
};

class secret_bytes;

/// A bounded store of page-locked memory. A handle: copies share one store, and the store lives as long as anything
/// that was taken from it. Memory comes in granules of 64 octets, aligned to 64.
/// Threads: any number may allocate and free; the lock is never taken on the GET_KEY path of a filled ring.
class secret_arena {
 public:
  static constexpr std::size_t granule = 64;

  explicit secret_arena(secret_options options = {}) : store_{std::make_shared<store>(options)} {}

  /// `size` zeroed octets. `size` 0 gives an empty secret_bytes.
  /// Returns resource_limit past the bound of the options, or when the system refuses to lock pages (then
  /// `lock_refused()` says so).
  [[nodiscard]] result<secret_bytes> allocate(std::size_t size) const;

  /// Octets mapped, and octets handed out (in whole granules).
  [[nodiscard]] std::size_t mapped() const noexcept { return store_->mapped.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t used() const noexcept { return store_->used.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t limit() const noexcept { return store_->options.bytes; }

  /// True in a child of fork(): the pages were wiped there, and nothing in them may be used or published.
  [[nodiscard]] bool forked() const noexcept { return store_->forked(); }

  /// True once the system refused to lock pages (RLIMIT_MEMLOCK): an error unless allow_unlocked.
  [[nodiscard]] bool lock_refused() const noexcept {
    return store_->lock_refused.load(std::memory_order_relaxed);
  }

 private:
  friend class secret_bytes;

  /// One mapping and a bitmap of its granules. The bitmap stands outside the mapping: a forked child finds the
  /// mapping zeroed, and must not find it free.
  struct region {
    std::byte* base = nullptr;
    std::size_t granules = 0;
    std::size_t free = 0;
    std::size_t hint = 0;             ///< where the next search starts
    std::vector<std::uint64_t> used;  ///< one bit a granule

    /// Takes granules that are free, or frees granules that are taken.
    void flip(std::size_t first, std::size_t count) noexcept {
      for (std::size_t g = first; g < first + count;) {
        const std::size_t bits = std::min(64 - g % 64, first + count - g);
        const std::uint64_t mask = (~std::uint64_t{0} >> (64 - bits)) << (g % 64);
        used[g / 64] ^= mask;
        g += bits;
      }
    }
  };

  struct store {
    explicit store(secret_options o) : options{o} {}
    store(const store&) = delete;
    store& operator=(const store&) = delete;
    ~store() {
      for (auto& r : regions) ::munmap(r.base, r.granules * granule);
    }

    bool forked() const noexcept {
      const std::byte* mark = fork_mark.load(std::memory_order_acquire);  // pairs with the release in grow()
      return mark != nullptr ? *mark == std::byte{0} : ::getpid() != owner;
    }

    std::byte* take(std::size_t count);
    void give(std::byte* memory, std::size_t count) noexcept;
    bool grow(std::size_t count);

    const secret_options options;
    std::mutex mutex;
    std::vector<region> regions;
    std::atomic<std::size_t> mapped{0};
    std::atomic<std::size_t> used{0};
    std::atomic<bool> lock_refused{false};
    const pid_t owner = ::getpid();
    std::atomic<const std::byte*> fork_mark{nullptr};  ///< an octet that is 1, and 0 in a forked child
  };

  std::shared_ptr<store> store_;
};

/// Octets of key: owned, locked in memory, movable, never copied, compared or printed by accident, and wiped when
/// let go.
/// Threads: one owner at a time.
class secret_bytes {
 public:
  secret_bytes() noexcept = default;
  secret_bytes(secret_bytes&& other) noexcept
      : store_{std::move(other.store_)},
        memory_{std::exchange(other.memory_, nullptr)},
        size_{std::exchange(other.size_, 0)} {}
  secret_bytes& operator=(secret_bytes&& other) noexcept {
    if (this != &other) {
      reset();
      store_ = std::move(other.store_);
      memory_ = std::exchange(other.memory_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~secret_bytes() { reset(); }

  [[nodiscard]] std::byte* data() noexcept { return memory_; }
  [[nodiscard]] const std::byte* data() const noexcept { return memory_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::span<std::byte> span() noexcept { return {memory_, size_}; }
  [[nodiscard]] std::span<const std::byte> span() const noexcept { return {memory_, size_}; }

  /// Wipes and lets go at once.
  void reset() noexcept {
    if (memory_ == nullptr) return;
    wipe(memory_, size_);
    store_->give(memory_, (size_ + secret_arena::granule - 1) / secret_arena::granule);
    store_.reset();
    memory_ = nullptr;
    size_ = 0;
  }

 private:
  friend class secret_arena;
  secret_bytes(std::shared_ptr<secret_arena::store> store, std::byte* memory, std::size_t size) noexcept
      : store_{std::move(store)}, memory_{memory}, size_{size} {}

  std::shared_ptr<secret_arena::store> store_;
  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
};

inline result<secret_bytes> secret_arena::allocate(std::size_t size) const {
  if (size == 0) return secret_bytes{};
  if (size > store_->options.bytes) return status::resource_limit;
  std::byte* memory = store_->take((size + granule - 1) / granule);
  if (memory == nullptr) return status::resource_limit;
  return secret_bytes{store_, memory, size};
}

inline std::byte* secret_arena::store::take(std::size_t count) {
  const std::lock_guard lock{mutex};
  // word by word: a block of key is hundreds of granules, and bit by bit that costs more than making the key
  const auto first_fit = [count](region& r, std::size_t from, std::size_t to) -> std::byte* {
    std::size_t first = from;  // of the run of free granules that ends at g
    for (std::size_t g = from; g < to;) {
      const std::uint64_t word = r.used[g / 64] >> (g % 64);
      const auto free =
          static_cast<std::size_t>(std::countr_zero(word));  // 64 when the rest of the word is free
      g = word == 0 ? (g / 64 + 1) * 64 : g + free;
      if (std::min(g, to) - first >= count) {
        r.flip(first, count);
        r.free -= count;
        r.hint = first + count;
        return r.base + first * granule;
      }
      if (word != 0) first = g += static_cast<std::size_t>(std::countr_one(word >> free));
    }
    return nullptr;
  };
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (auto& r : regions) {
      if (r.free < count) continue;
      std::byte* memory = first_fit(r, r.hint, r.granules);
      if (memory == nullptr) memory = first_fit(r, 0, r.granules);
      if (memory == nullptr) continue;
      used.fetch_add(count * granule, std::memory_order_relaxed);
      return memory;
    }
    if (attempt == 0 && !grow(count)) return nullptr;
  }
  return nullptr;
}

inline void secret_arena::store::give(std::byte* memory, std::size_t count) noexcept {
  const std::lock_guard lock{mutex};
  for (auto& r : regions) {
    if (memory < r.base || memory >= r.base + r.granules * granule) continue;
    const auto first = static_cast<std::size_t>(memory - r.base) / granule;
    r.flip(first, count);
    r.free += count;
    r.hint = std::min(r.hint, first);
    used.fetch_sub(count * granule, std::memory_order_relaxed);
    return;
  }
  assert(false && "memory of another arena");
}

inline bool secret_arena::store::grow(std::size_t count) {
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t have = mapped.load(std::memory_order_relaxed);
  // one granule more in the first region, for the fork mark
  const std::size_t need = ((count + (have == 0 ? 1 : 0)) * granule + page - 1) / page * page;
  if (need > options.bytes - std::min(have, options.bytes)) return false;
  // Each mapping as large as all before it, so that there are few; large ones in smaller steps, as all of it is locked
  // whether it is used or not; never past the bound.
  const std::size_t step = std::min(have, std::max(have / 8, std::size_t{4} << 20));
  std::size_t size = std::max({need, step, std::size_t{64} << 10});
  size = std::min(size / page * page, (options.bytes - have) / page * page);
  if (size < need) return false;

  void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return false;
  if (::mlock(base, size) != 0) {
    lock_refused.store(true, std::memory_order_relaxed);
    if (!options.allow_unlocked) {
      ::munmap(base, size);
      return false;
    }
  }
#ifdef MADV_DONTDUMP
  ::madvise(base, size, MADV_DONTDUMP);
#endif
  bool wiped_on_fork = false;
#ifdef MADV_WIPEONFORK
  wiped_on_fork = ::madvise(base, size, MADV_WIPEONFORK) == 0;
#endif
  region r;
  r.base = static_cast<std::byte*>(base);
  r.granules = size / granule;
  r.free = r.granules;
  r.used.assign((r.granules + 63) / 64, 0);
  const bool marks = wiped_on_fork && regions.empty();
  if (marks) {  // the first granule of the first region never belongs to anybody
    r.base[0] = std::byte{1};
    r.used[0] = 1;
    r.free -= 1;
  }
  try {
    regions.push_back(std::move(r));
  } catch (...) {
    ::munmap(base, size);
    throw;
  }
  if (marks) {
    fork_mark.store(static_cast<std::byte*>(base), std::memory_order_release);  // pairs with forked()
  }
  mapped.store(have + size, std::memory_order_relaxed);
  return true;
}

}  // namespace qkd004
