// SPDX-License-Identifier: Apache-2.0
#include "wire/out_buffer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;

namespace {

void append(out_buffer& out, std::size_t count, std::byte value) {
  auto room = out.grow(count);
  REQUIRE(room);
  REQUIRE(room->size() == count);
  std::memset(room->data(), std::to_integer<int>(value), count);
}

bool all_zero(const std::byte* memory, std::size_t count) {
  return std::all_of(memory, memory + count, [](std::byte b) { return b == std::byte{0}; });
}

constexpr std::byte secret{0xa5};

}  // namespace

TEST_CASE("out_buffer: octets come out in the order they went in") {
  out_buffer out{test::arena(), 100};
  append(out, 2, std::byte{1});
  append(out, 1, std::byte{2});
  CHECK(test::to_hex(out.pending()) == "010102");
  out.consume(1);
  CHECK(test::to_hex(out.pending()) == "0102");
  append(out, 1, std::byte{3});
  CHECK(test::to_hex(out.pending()) == "010203");
}

TEST_CASE("out_buffer: wipes what is consumed, and only that") {
  out_buffer out{test::arena(), 1000};
  append(out, 100, secret);
  const std::byte* memory = out.pending().data();
  out.consume(40);
  CHECK(all_zero(memory, 40));
  CHECK_FALSE(all_zero(memory + 40, 1));
  CHECK(out.size() == 60);
  out.consume(60);
  CHECK(all_zero(memory, 100));
  CHECK(out.empty());
}

TEST_CASE("out_buffer: clear wipes everything and keeps the memory") {
  const secret_arena arena = test::arena();
  out_buffer out{arena, 1000};
  append(out, 100, secret);
  const std::byte* memory = out.pending().data();
  const std::size_t used = arena.used();
  out.clear();
  CHECK(all_zero(memory, 100));
  CHECK(out.empty());
  CHECK(arena.used() == used);
}

TEST_CASE("out_buffer: wipes the old memory when it moves to a larger one") {
  const secret_arena arena = test::arena();
  out_buffer out{arena, std::size_t{1} << 20};
  append(out, out_buffer::first_size, secret);
  const std::byte* old = out.pending().data();
  append(out, 1, secret);
  REQUIRE(out.pending().data() != old);
  CHECK(all_zero(old, out_buffer::first_size));  // still mapped: it went back to the arena
  CHECK(out.size() == out_buffer::first_size + 1);
}

TEST_CASE("out_buffer: wipes what stays behind when pending octets move to the front") {
  out_buffer out{test::arena(), out_buffer::first_size};
  for (const std::size_t left : {std::size_t{10}, out_buffer::first_size - 10}) {  // apart, and overlapping
    CAPTURE(left);
    append(out, out_buffer::first_size, secret);
    const std::byte* memory = out.pending().data();
    out.consume(out_buffer::first_size - left);
    auto room = out.grow(1);
    REQUIRE(room);
    REQUIRE(out.pending().data() == memory);
    CHECK(all_zero(memory + left, out_buffer::first_size - left));
    CHECK(std::count(memory, memory + left, secret) == static_cast<std::ptrdiff_t>(left));
    out.clear();
  }
}

TEST_CASE("out_buffer: grow gives zeros whatever was there before") {
  const std::uint64_t seed = test::seed();
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  out_buffer out{test::arena(), 20'000};
  std::size_t expected = 0;
  for (int i = 0; i < 5'000; ++i) {
    const std::size_t count = random() % 3'000;
    auto room = out.grow(count);
    REQUIRE(room.has_value() == (expected + count <= out.bound()));
    if (room) {
      REQUIRE(all_zero(room->data(), room->size()));
      std::memset(room->data(), 0xa5, room->size());
      expected += count;
    }
    const std::size_t gone = std::min<std::size_t>(random() % 4'000, out.size());
    out.consume(gone);
    expected -= gone;
    REQUIRE(out.size() == expected);
    REQUIRE(std::count(out.pending().begin(), out.pending().end(), secret) ==
            static_cast<std::ptrdiff_t>(expected));
  }
}

TEST_CASE("out_buffer: refuses and changes nothing when its bound is reached") {
  out_buffer out{test::arena(), 100};
  append(out, 60, secret);
  CHECK(out.grow(41).error() == status::resource_limit);
  CHECK(out.grow(static_cast<std::size_t>(-1)).error() == status::resource_limit);
  CHECK(out.size() == 60);
  append(out, 40, secret);
  CHECK(out.size() == 100);
  CHECK(out.capacity() == 100);
}

TEST_CASE("out_buffer: refuses and changes nothing when the arena has no more") {
  const secret_arena arena{secret_options{64 * 1024, true}};
  out_buffer out{arena, std::size_t{1} << 20};
  append(out, 30'000, secret);
  CHECK(out.grow(40'000).error() == status::resource_limit);
  CHECK(out.size() == 30'000);
  CHECK(out.pending().back() == secret);
}

TEST_CASE("out_buffer: takes no memory in steady state") {
  const secret_arena arena = test::arena();
  out_buffer out{arena, std::size_t{1} << 20};
  append(out, 10'000, secret);
  out.clear();
  const std::size_t used = arena.used();
  const std::byte* memory = out.grow(1)->data();
  out.clear();
  for (int batch = 0; batch < 1'000; ++batch) {
    for (int i = 0; i < 100; ++i) append(out, 100, secret);
    REQUIRE(out.pending().data() == memory);
    out.consume(9'999);
    out.consume(1);
  }
  CHECK(arena.used() == used);
}

TEST_CASE("out_buffer: does not grow when octets are consumed as fast as they come") {
  out_buffer out{test::arena(), std::size_t{1} << 20};
  append(out, 1'000, secret);
  for (int i = 0; i < 1'000; ++i) {
    append(out, 100, secret);
    out.consume(100);
  }
  CHECK(out.size() == 1'000);
  CHECK(out.capacity() == out_buffer::first_size);
}

TEST_CASE("out_buffer: release wipes and gives the memory back") {
  const secret_arena arena = test::arena();
  out_buffer out{arena, 1000};
  append(out, 100, secret);
  const std::byte* memory = out.pending().data();
  out.release();
  CHECK(all_zero(memory, 100));
  CHECK(arena.used() == 0);
  append(out, 1, secret);
  CHECK(out.size() == 1);
}

TEST_CASE("out_buffer: moves with its octets and leaves an empty one") {
  out_buffer from{test::arena(), 1000};
  append(from, 3, secret);
  out_buffer to{std::move(from)};
  CHECK(to.size() == 3);
  CHECK(from.empty());  // NOLINT(bugprone-use-after-move): it may be used again
  append(from, 1, std::byte{1});
  std::swap(from, to);
  CHECK(from.size() == 3);
  CHECK(to.size() == 1);
}
