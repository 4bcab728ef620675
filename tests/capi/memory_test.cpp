// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in the middle of a call.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdlib>
#include <new>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

/// Of this thread: how many more allocations succeed before one fails; below 0 none does.
thread_local long allocations = -1;

}  // namespace

// The library's, too: it is a symbol of the program.
void* operator new(std::size_t size) {
  if (allocations >= 0 && allocations-- == 0) throw std::bad_alloc{};
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc{};
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept try {
  return operator new(size);
} catch (const std::bad_alloc&) {
  return nullptr;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST_CASE("memory: a close that finds none is resource_limit, and can be called again") {
  int failed = 0;
  for (long after = 0;; ++after) {
    ends e;
    e.due(0);
    allocations = after;
    const int result = qkd004_close(e.a);
    const bool was_enough = allocations >= 0;
    allocations = -1;
    if (result == QKD004_SUCCESS) {
      if (was_enough) break;
      continue;
    }
    CHECK(result == QKD004_RESOURCE_LIMIT);
    ++failed;
    CHECK(qkd004_close(e.a) == QKD004_SUCCESS);
  }
  CHECK(failed > 0);
}
