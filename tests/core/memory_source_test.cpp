// SPDX-License-Identifier: Apache-2.0
#include "qkd004/memory_source.hpp"

#include <doctest/doctest.h>
#include <errno.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <system_error>
#include <thread>

#include "source/two_ends.hpp"

using namespace qkd004;
using namespace qkd004::tests;
using namespace std::chrono_literals;

TEST_CASE("memory_source: says what it is when asked") {
  memory_source_options options;
  options.rate_bps = 1'000'000;
  const auto ends = make_memory_sources(options);
  CHECK(ends.first->capabilities().kind == "memory");
  CHECK(ends.first->capabilities().security == security_class::simulated_insecure);
  CHECK(ends.second->capabilities().rate_bps == 1'000'000);
  CHECK(ends.second->position() == 0);
}

TEST_CASE("memory_source: delivers the same blocks at both ends when they take turns at being ahead") {
  const auto arena = test_arena();
  const auto ends = make_memory_sources();
  const auto check = ends.first->start(session_of(1, 2), at_zero);
  REQUIRE(check);
  CHECK(*check == *ends.second->start(session_of(1, 2), at_zero));

  std::string first = take(*ends.first, arena, 0, 3);
  std::string second = take(*ends.second, arena, 0, 5);
  first += take(*ends.first, arena, 3, 4);
  second += take(*ends.second, arena, 5, 2);
  CHECK(first.size() == 7 * memory_source_options{}.block_bytes);
  CHECK(same(first, second));
}

TEST_CASE("memory_source: keeps blocks for the other end when that one starts later") {
  const auto arena = test_arena();
  const auto ends = make_memory_sources();
  REQUIRE(ends.first->start(session_of(1, 2, 7), at_zero));
  const auto first = take(*ends.first, arena, 7, 2);
  REQUIRE(ends.second->start(session_of(1, 2, 7), at_zero));
  CHECK(same(first, take(*ends.second, arena, 7, 2)));
}

TEST_CASE("memory_source: has another check value when the session is another") {
  const auto ends = make_memory_sources();
  const auto one = ends.first->start(session_of(1, 2), at_zero);
  const auto other = ends.second->start(session_of(1, 3), at_zero);
  REQUIRE(one);
  REQUIRE(other);
  CHECK(*one != *other);
  auto renamed = session_of(1, 3);
  renamed.link = "link-2";
  CHECK(*ends.first->start(renamed, at_zero) != *other);
}

TEST_CASE("memory_source: never repeats an octet when a new session begins") {
  const auto arena = test_arena();
  const auto ends = make_memory_sources();
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  const auto old = take(*ends.first, arena, 0, 8);
  take(*ends.second, arena, 0, 3);

  REQUIRE(ends.second->start(session_of(1, 3), at_zero));
  CHECK(none_yet(*ends.first, arena));  // it is still in the old session
  const auto second = take(*ends.second, arena, 0, 8);
  REQUIRE(ends.first->start(session_of(1, 3), at_zero));
  const auto first = take(*ends.first, arena, 0, 8);
  CHECK(same(first, second));
  CHECK_FALSE(repeats(second, old));
}

TEST_CASE("memory_source: refuses a session again when it gave blocks in it or stopped") {
  const auto arena = test_arena();
  const auto ends = make_memory_sources();
  const auto check = ends.first->start(session_of(1, 2), at_zero);
  REQUIRE(check);
  CHECK(*check == *ends.first->start(session_of(1, 2), at_zero));  // nothing was taken yet
  take(*ends.first, arena, 0, 1);
  CHECK(ends.first->start(session_of(1, 2), at_zero).error() == make_error_code(status::invalid_argument));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  ends.second->stop();
  CHECK(ends.second->start(session_of(1, 2), at_zero).error() == make_error_code(status::invalid_argument));
}

TEST_CASE("memory_source: gives what the other end had and then none when the other end stopped") {
  const auto arena = test_arena();
  auto ends = make_memory_sources();
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  const auto first = take(*ends.first, arena, 0, 2);
  ends.first.reset();
  CHECK(same(first, take(*ends.second, arena, 0, 2)));
  CHECK(none_yet(*ends.second, arena));
}

TEST_CASE("memory_source: gives none when one end is as far ahead as allowed") {
  const auto arena = test_arena();
  memory_source_options options;
  options.max_ahead = 3;
  const auto ends = make_memory_sources(options);
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  CHECK(blocks_ready(*ends.first, arena, at_zero) == 3);
  CHECK(ends.first->ready_at(at_zero) > at_zero);
  CHECK(ends.second->ready_at(at_zero) == at_zero);
  take(*ends.second, arena, 0, 1);
  CHECK(blocks_ready(*ends.first, arena, at_zero) == 1);
}

TEST_CASE("memory_source: lets go of the memory of waiting blocks when a session ends") {
  const auto arena = test_arena();
  const auto ends = make_memory_sources();
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  take(*ends.first, arena, 0, 5);
  CHECK(arena.used() > 0);
  SUBCASE("by stop") { ends.second->stop(); }
  SUBCASE("by another session") { REQUIRE(ends.first->start(session_of(3, 2), at_zero)); }
  CHECK(arena.used() == 0);
}

TEST_CASE("memory_source: delivers one block at once and then its rate when it has one") {
  const auto arena = test_arena();
  memory_source_options options;
  options.block_bytes = 1000;
  options.rate_bps = 80'000;  // 10 blocks/s
  const auto ends = make_memory_sources(options);
  const auto begin = at_zero + 5s;
  REQUIRE(ends.first->start(session_of(1, 2), begin));
  REQUIRE(ends.second->start(session_of(1, 2), begin));
  CHECK(blocks_ready(*ends.first, arena, begin) == 1);
  CHECK(ends.first->ready_at(begin) == begin + 100ms);
  CHECK(blocks_ready(*ends.first, arena, begin + 99ms) == 0);

  std::size_t count = 0;
  for (auto now = begin; now < begin + 30s; now += 7ms) {
    count += blocks_ready(*ends.first, arena, now);
    blocks_ready(*ends.second, arena, now);
  }
  CHECK(count >= 298);
  CHECK(count <= 300);
  CHECK(blocks_ready(*ends.first, arena, begin + 3600s) <= 11);  // a second's worth, not an hour's
}

TEST_CASE("memory_source: loses no block when the arena is full") {
  const auto arena = test_arena();
  secret_options small;
  small.bytes = 16384;  // three blocks of 4096 and the fork mark
  small.allow_unlocked = true;
  const secret_arena narrow{small};
  const auto ends = make_memory_sources();
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  const auto first = take(*ends.first, arena, 0, 2);
  auto full = narrow.allocate(3 * 4096);
  REQUIRE(full);
  CHECK(error_of_poll(*ends.second, narrow) == make_error_code(status::resource_limit));
  full->reset();
  const auto second = take(*ends.second, narrow, 0, 2);
  CHECK(same(first, second));
  auto again = narrow.allocate(2 * 4096);  // room for a block, none for its copy
  REQUIRE(again);
  CHECK(error_of_poll(*ends.second, narrow) == make_error_code(status::resource_limit));
  CHECK(same(take(*ends.second, arena, 2, 1), take(*ends.first, arena, 2, 1)));
}

TEST_CASE("memory_source: passes on the error when the random function throws") {
  const auto arena = test_arena();
  bool broken = true;
  memory_source_options options;
  options.random = [&broken](std::span<std::byte> out) {
    if (broken) throw std::system_error{ENOSYS, std::generic_category()};
    system_random(out);
  };
  const auto ends = make_memory_sources(options);
  CHECK(ends.first->start(session_of(1, 2), at_zero).error() == std::errc::function_not_supported);
  broken = false;
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  broken = true;
  CHECK(error_of_poll(*ends.first, arena) == std::errc::function_not_supported);
  broken = false;
  CHECK(same(take(*ends.first, arena, 0, 1), take(*ends.second, arena, 0, 1)));
}

TEST_CASE("memory_source: delivers the same blocks when each end has a thread of its own") {
  const auto ends = make_memory_sources();
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  REQUIRE(ends.second->start(session_of(1, 2), at_zero));
  const auto take_all = [](key_source& source, std::string& all) {
    const auto arena = test_arena();
    while (all.size() < 200 * 4096) {
      const auto block = source.poll(arena, at_zero);
      if (!block) return;
      if (block->has_value()) all += text_of((*block)->bytes);
    }
  };
  std::string first;
  std::string second;
  std::thread other{take_all, std::ref(*ends.first), std::ref(first)};
  take_all(*ends.second, second);
  other.join();
  CHECK(first.size() == 200 * 4096);
  CHECK(same(first, second));
}

TEST_CASE("memory_source: gives nothing when it is in a child of fork") {
  const auto arena = test_arena();
  const auto ends = make_memory_sources();
  REQUIRE(ends.first->start(session_of(1, 2), at_zero));
  take(*ends.first, arena, 0, 1);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(ends.first->poll(arena, at_zero).has_value() ? 1 : 0);
  REQUIRE(child > 0);
  int result = -1;
  REQUIRE(::waitpid(child, &result, 0) == child);
  CHECK(result == 0);
}
