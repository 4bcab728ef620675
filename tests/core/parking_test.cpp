// SPDX-License-Identifier: Apache-2.0
#include "qkd004/parking.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using qkd004::boot_clock;
using qkd004::parking;
using qkd004::time_point;

TEST_CASE("parking: returns at once when the deadline is past") {
  parking p;
  p.park(p.prepare(), boot_clock::now() - 1s);
  p.park(p.prepare(), time_point::min());
}

TEST_CASE("parking: returns at once when it was woken after the ticket was drawn") {
  parking p;
  const auto ticket = p.prepare();
  p.wake();
  p.park(ticket, time_point::max());
}

TEST_CASE("parking: an old ticket does not sleep when another waiter has announced itself since") {
  parking p;
  const auto old = p.prepare();
  p.wake();
  const auto fresh = p.prepare();
  CHECK(old != fresh);
  p.park(old, time_point::max());
}

TEST_CASE("parking: wakes for nobody do not keep a later waiter from sleeping") {
  parking p;
  for (int i = 0; i < 100; ++i) p.wake();
  const auto start = boot_clock::now();
  while (boot_clock::now() < start + 2ms) p.park(p.prepare(), start + 2ms);
  CHECK(boot_clock::now() >= start + 2ms);
}

TEST_CASE("parking: wakes every sleeper when something is there") {
  parking p;
  std::atomic<bool> there{false};
  std::atomic<int> announced{0};
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] {
      for (;;) {
        const auto ticket = p.prepare();
        announced.fetch_add(1);
        if (there.load(std::memory_order_relaxed)) return;
        p.park(ticket, time_point::max());
      }
    });
  }
  while (announced.load() < 4) std::this_thread::yield();
  there.store(true, std::memory_order_relaxed);
  p.wake();
  for (auto& t : sleepers) t.join();
  CHECK(announced.load() >= 4);
}

TEST_CASE("parking: loses no wake-up when two threads hand a turn back and forth") {
  constexpr int turns = 100'000;
  parking to[2];
  std::atomic<int> turn{0};
  const auto play = [&](int me) {
    for (int mine = me; mine < turns; mine += 2) {
      while (turn.load(std::memory_order_relaxed) != mine) {
        const auto ticket = to[me].prepare();
        if (turn.load(std::memory_order_relaxed) == mine) break;
        to[me].park(ticket, time_point::max());
      }
      turn.store(mine + 1, std::memory_order_relaxed);
      to[1 - me].wake();
    }
  };
  std::thread other{play, 1};
  play(0);
  other.join();
  CHECK(turn.load() == turns);
}
