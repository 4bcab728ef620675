// SPDX-License-Identifier: Apache-2.0
#include "source/block_pace.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>

using namespace qkd004;
using namespace std::chrono_literals;
using source::block_pace;

namespace {

std::uint64_t take_all(block_pace& pace, time_point now) {
  std::uint64_t count = 0;
  for (; pace.ready(now); ++count) pace.taken(now);
  return count;
}

}  // namespace

TEST_CASE("block_pace: keeps its rate to within a block when the interval is no whole nanosecond") {
  block_pace pace{64, 300'000'000};  // 1706.67 ns; without the fraction 229 blocks a second too many
  const time_point begin{7s};
  pace.start(begin);
  std::uint64_t count = 0;
  for (auto now = begin; now < begin + 2s; now += 500ms) count += take_all(pace, now);
  count += take_all(pace, begin + 2s);
  const std::uint64_t exact = std::uint64_t{300'000'000} * 2 / (64 * 8) + 1;
  CHECK(count == exact);
}

TEST_CASE("block_pace: has a block at once when it starts") {
  block_pace pace{1000, 8000};
  const time_point begin{7s};
  pace.start(begin);
  CHECK(pace.ready(begin));
  pace.taken(begin);
  CHECK_FALSE(pace.ready(begin + 999ms));
  CHECK(pace.ready(begin + 1s));
  CHECK(pace.ready_at(begin) == begin + 1s);
}

TEST_CASE("block_pace: makes up for one second when it was not asked for long") {
  block_pace pace{100, 8000};  // 10 blocks/s
  pace.start(time_point{});
  take_all(pace, time_point{});
  CHECK(take_all(pace, time_point{900ms}) == 9);
  CHECK(take_all(pace, time_point{1h}) == 11);
  CHECK(take_all(pace, time_point{1h + 100ms}) == 1);
}

TEST_CASE("block_pace: is always ready when there is no rate") {
  block_pace pace{100, 0};
  pace.start(time_point{5s});
  for (int i = 0; i < 1000; ++i) {
    CHECK(pace.ready(time_point{5s}));
    pace.taken(time_point{5s});
  }
  CHECK(pace.ready_at(time_point{5s}) == time_point{5s});
}

TEST_CASE("block_pace: does not overflow when blocks are largest and the rate is 1 bit/s") {
  block_pace pace{std::size_t{1} << 20, 1};
  pace.start(time_point{});
  pace.taken(time_point{});
  CHECK(pace.ready_at(time_point{}) == time_point{std::chrono::seconds{8 << 20}});
}
