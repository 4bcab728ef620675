// wiped_octets: ordinary memory for what a peer sends, which may be key under HTTP: zeros before it is given back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "qkd004/secret.hpp"

namespace qkd004::net {

/// Input is bounded for each connection, but thousands of connections may have some: more than can be locked.
template <class T>
struct wiping_allocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = wiping_allocator<U>;
  };
  wiping_allocator() noexcept = default;
  template <class U>
  wiping_allocator(const wiping_allocator<U>&) noexcept {}

  void deallocate(T* memory, std::size_t count) noexcept {
    wipe(memory, count * sizeof(T));
    std::allocator<T>::deallocate(memory, count);
  }
};

using wiped_octets = std::vector<std::byte, wiping_allocator<std::byte>>;

}  // namespace qkd004::net
