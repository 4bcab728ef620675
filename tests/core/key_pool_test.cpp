#include "qkd004/key_pool.hpp"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace qkd004;

namespace {

std::byte octet(std::uint64_t position) { return static_cast<std::byte>(position * 31 + (position >> 8)); }

secret_bytes block(const secret_arena& arena, std::uint64_t position, std::size_t size) {
  auto b = arena.allocate(size).value();
  for (std::size_t i = 0; i < size; ++i) b.span()[i] = octet(position + i);
  return b;
}

}  // namespace

TEST_CASE("key_pool: hands out every octet once, in whole units, across blocks of any size") {
  const secret_arena arena;
  std::mt19937_64 random{77};
  for (const std::size_t unit : {1U, 3U, 16U, 32U, 100U, 1'000U}) {
    CAPTURE(unit);
    key_pool pool;
    for (int i = 0; i < 60; ++i) pool.append(block(arena, pool.end(), 1 + random() % 300));
    std::vector<std::byte> scratch(unit);
    std::uint64_t position = 0;
    while (position + unit <= pool.end()) {
      const std::uint64_t units = 1 + random() % ((pool.end() - position) / unit);
      std::uint64_t seen = position;
      pool.for_each_run(position, units * unit, scratch, [&](std::span<const std::byte> run) {
        REQUIRE(run.size() % unit == 0);
        REQUIRE_FALSE(run.empty());
        for (const auto o : run) REQUIRE(o == octet(seen++));
      });
      REQUIRE(seen == position + units * unit);
      for (const auto o : scratch) REQUIRE(o == std::byte{0});
      position = seen;
      pool.discard_below(position);
      REQUIRE(pool.begin() == position);
    }
  }
}

TEST_CASE("key_pool: wipes what is discarded, in the middle of a block too") {
  const secret_arena arena;
  key_pool pool;
  auto b = block(arena, 0, 100);
  const std::byte* where = b.data();
  pool.append(std::move(b));
  pool.discard_below(40);
  for (int i = 0; i < 40; ++i) REQUIRE(where[i] == std::byte{0});
  CHECK(where[40] == octet(40));
  pool.discard_below(30);  // never back
  CHECK(pool.begin() == 40);
  pool.discard_below(100);
  CHECK(arena.used() == 0);
  pool.append(block(arena, 100, 10));
  pool.clear();
  CHECK(pool.end() == 0);
  CHECK(arena.used() == 0);
}
