// key_memory: locked memory for the keys of one stream that Python holds, in slabs of up to 64 keys; a Key costs a bit, not
// an allocation.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "interpreter.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::python {

/// Lives as long as its stream, or any key in it.
/// Threads: under the GIL; what lies in a place is its owner's.
class key_memory {
 public:
  class slab;
  /// Room for one key, or for several one after another.
  struct place {
    slab* in = nullptr;
    std::byte* at = nullptr;  ///< null: the arena is full
    std::size_t count = 0;
  };

  /// `stream_id` is the uuid.UUID that keys say they are of.
  static key_memory* make(secret_arena arena, std::uint32_t chunk_size, PyObject* stream_id) {
    return new key_memory{std::move(arena), chunk_size, stream_id};
  }
  key_memory(const key_memory&) = delete;
  key_memory& operator=(const key_memory&) = delete;

  void let_go() noexcept {
    if (--holders_ == 0) delete this;
  }

  [[nodiscard]] std::uint32_t chunk_size() const noexcept { return chunk_size_; }
  [[nodiscard]] PyObject* stream_id() const noexcept { return stream_id_; }

  /// Whether this process is a child of the one whose keys these are: there they are zeros.
  [[nodiscard]] bool forked() const noexcept { return generation_ != fork_generation(); }

  [[nodiscard]] place take();
  /// At least one and at most `most`, with a slab of their own if there is one.
  [[nodiscard]] place take_run(std::size_t most);
  /// Wipes one key and lets its place go.
  static void give(slab* in, std::byte* at) noexcept;

  class slab {
   public:
    slab(key_memory& owner, secret_bytes memory) noexcept
        : free_{owner.all_}, owner_{owner}, memory_{std::move(memory)} {}
    [[nodiscard]] key_memory& owner() const noexcept { return owner_; }

   private:
    friend class key_memory;
    std::uint64_t free_;  ///< one bit a place
    key_memory& owner_;
    secret_bytes memory_;
    slab* next_ = nullptr;  ///< in its list; those without room are in none
    slab* previous_ = nullptr;
  };

 private:
  static constexpr std::size_t most_bytes = 16 * 1024;  ///< of a slab, if one key is not larger
  static constexpr std::size_t spare = 2;               ///< empty slabs that are kept

  key_memory(secret_arena arena, std::uint32_t chunk_size, PyObject* stream_id)
      : arena_{std::move(arena)},
        chunk_size_{chunk_size},
        places_{std::clamp<std::size_t>(most_bytes / chunk_size, 1, 64)},
        all_{~std::uint64_t{0} >> (64 - places_)},
        stream_id_{stream_id},
        generation_{fork_generation()} {
    Py_INCREF(stream_id_);
  }
  ~key_memory();

  [[nodiscard]] slab* grow();
  static void link(slab*& list, slab* s) noexcept;
  static void unlink(slab*& list, slab* s) noexcept;
  void took(slab* s, std::uint64_t bits) noexcept;

  const secret_arena arena_;
  const std::uint32_t chunk_size_;
  const std::size_t places_;
  const std::uint64_t all_;
  PyObject* const stream_id_;
  const unsigned generation_;
  slab* begun_ = nullptr;  ///< slabs with keys and room
  slab* empty_ = nullptr;
  std::size_t empties_ = 0;
  std::size_t holders_ = 1;  ///< the stream, and each key
};

inline void key_memory::took(slab* s, std::uint64_t bits) noexcept {
  if (s->free_ == all_) {
    unlink(empty_, s);
    --empties_;
    if (bits != all_) link(begun_, s);
  } else if (s->free_ == bits) {
    unlink(begun_, s);
  }
  s->free_ &= ~bits;
  holders_ += static_cast<std::size_t>(std::popcount(bits));
}

inline key_memory::place key_memory::take() {
  slab* s = begun_ != nullptr ? begun_ : empty_;
  if (s == nullptr) [[unlikely]]
    s = grow();
  if (s == nullptr) [[unlikely]]
    return {};
  const auto n = static_cast<std::size_t>(std::countr_zero(s->free_));
  took(s, std::uint64_t{1} << n);
  return {s, s->memory_.data() + n * chunk_size_, 1};
}

inline void key_memory::give(slab* s, std::byte* at) noexcept {
  key_memory& m = s->owner_;
  if (m.forked()) [[unlikely]]
    return;  // zeros already, and the locks below may be held for ever
  wipe(at, m.chunk_size_);
  const auto n = static_cast<std::size_t>(at - s->memory_.data()) / m.chunk_size_;
  const std::uint64_t before = s->free_;
  s->free_ |= std::uint64_t{1} << n;
  if (s->free_ == m.all_) {
    if (before != 0) unlink(m.begun_, s);
    if (m.empties_ < spare) {
      ++m.empties_;
      link(m.empty_, s);
    } else {
      delete s;
    }
  } else if (before == 0) {
    link(m.begun_, s);
  }
  m.let_go();
}

inline void key_memory::link(slab*& list, slab* s) noexcept {
  s->previous_ = nullptr;
  s->next_ = list;
  if (list != nullptr) list->previous_ = s;
  list = s;
}

inline void key_memory::unlink(slab*& list, slab* s) noexcept {
  (s->previous_ != nullptr ? s->previous_->next_ : list) = s->next_;
  if (s->next_ != nullptr) s->next_->previous_ = s->previous_;
}

}  // namespace qkd004::python
