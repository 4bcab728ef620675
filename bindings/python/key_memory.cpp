// SPDX-License-Identifier: Apache-2.0
#include "key_memory.hpp"

#include <algorithm>
#include <utility>

namespace qkd004::python {

key_memory::~key_memory() {
  while (slab* const s = empty_) {
    unlink(empty_, s);
    delete s;
  }
  Py_DECREF(stream_id_);
}

key_memory::slab* key_memory::grow() {
  if (forked()) return nullptr;  // the arena's lock may be held for ever
  auto memory = arena_.allocate(places_ * chunk_size_);
  if (!memory) return nullptr;
  slab* const s = new slab{*this, std::move(*memory)};
  ++empties_;
  link(empty_, s);
  return s;
}

key_memory::place key_memory::take_run(std::size_t most) {
  slab* s = most > 1 ? empty_ : nullptr;
  if (s == nullptr && most > 1) s = grow();
  if (s == nullptr) s = begun_ != nullptr ? begun_ : empty_;
  if (s == nullptr) s = grow();
  if (s == nullptr) return {};
  const auto first = static_cast<std::size_t>(std::countr_zero(s->free_));
  const auto free = static_cast<std::size_t>(std::countr_one(s->free_ >> first));
  const std::size_t count = std::min(most, free);
  took(s, (~std::uint64_t{0} >> (64 - count)) << first);
  return {s, s->memory_.data() + first * chunk_size_, count};
}

}  // namespace qkd004::python
