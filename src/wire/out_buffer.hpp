// out_buffer: octets that wait to be sent, key among them: locked memory that wipes whatever it lets go of.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::wire {

/// A queue of octets up to a bound. It keeps its memory for the next batch: no allocation once it has grown
/// to what its user needs. Whatever it lets go of is zeros at once: after consume(), clear(), growth and the
/// end of its life no octet that was in it is left, apart from what is still pending.
/// Threads: one at a time.
class out_buffer {
 public:
  static constexpr std::size_t first_size = 4096;

  /// `bound`: the most octets that may be pending. Memory comes from `arena` with the first grow().
  out_buffer(secret_arena arena, std::size_t bound) : arena_{std::move(arena)}, bound_{bound} {}

  out_buffer(out_buffer&& other) noexcept
      : arena_{other.arena_},
        memory_{std::move(other.memory_)},
        bound_{other.bound_},
        begin_{std::exchange(other.begin_, 0)},
        end_{std::exchange(other.end_, 0)} {}
  out_buffer& operator=(out_buffer&& other) noexcept {
    if (this != &other) {
      arena_ = other.arena_;
      memory_ = std::move(other.memory_);
      bound_ = other.bound_;
      begin_ = std::exchange(other.begin_, 0);
      end_ = std::exchange(other.end_, 0);
    }
    return *this;
  }
  ~out_buffer() = default;

  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  [[nodiscard]] std::size_t bound() const noexcept { return bound_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return memory_.size(); }

  /// Appends `count` zeros and returns their place, to be written by the caller.
  /// Returns resource_limit past the bound or when the arena has no more; then nothing has changed.
  /// Lifetime: until the next grow(), consume() or clear().
  [[nodiscard]] result<std::span<std::byte>> grow(std::size_t count) {
    if (count > memory_.size() - end_ || count > bound_ - size()) {
      if (const auto made = make_room(count); !made) return made.error();
    }
    const auto grown = memory_.span().subspan(end_, count);
    end_ += count;
    return grown;
  }

  /// What is to be sent, in order. Lifetime: until the next call of another function.
  [[nodiscard]] std::span<const std::byte> pending() const noexcept {
    return memory_.span().subspan(begin_, size());
  }

  /// Wipes and lets go of the first `count` pending octets. Requires: count <= size().
  void consume(std::size_t count) noexcept {
    assert(count <= size());
    count = std::min(count, size());
    if (count == 0) return;
    wipe(memory_.data() + begin_, count);
    begin_ += count;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  /// Wipes and lets go of everything; the memory stays for the next batch.
  void clear() noexcept { consume(size()); }

  /// clear(), and gives the memory back: for a connection that had much to say once and now is idle.
  void release() noexcept {
    memory_.reset();
    begin_ = end_ = 0;
  }

 private:
  /// Makes room at the end: moves what is pending to the front where half of the memory is free already (so
  /// that every octet is moved a bounded number of times) or it cannot grow, else doubles.
  result<void> make_room(std::size_t count) {
    if (count > bound_ - size()) return status::resource_limit;
    const std::size_t need = size() + count;
    if (need <= memory_.size() && (begin_ >= memory_.size() / 2 || memory_.size() >= bound_)) {
      std::memmove(memory_.data(), memory_.data() + begin_, size());
      wipe(memory_.data() + std::max(size(), begin_), end_ - std::max(size(), begin_));
    } else {
      auto larger = arena_.allocate(std::min(bound_, std::max({need, first_size, 2 * memory_.size()})));
      if (!larger) return larger.error();
      if (!empty()) std::memcpy(larger->data(), memory_.data() + begin_, size());
      memory_ = std::move(*larger);  // wipes the old
    }
    end_ = size();
    begin_ = 0;
    return {};
  }

  secret_arena arena_;
  secret_bytes memory_;  ///< zeros outside of [begin_, end_)
  std::size_t bound_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace qkd004::wire
