// SPDX-License-Identifier: Apache-2.0
#include "qkd004/parking.hpp"

#include <doctest/doctest.h>

#include <array>
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

TEST_CASE("parking: loses no wake-up when wake and prepare meet while earlier stores are on their way") {
  // Both threads start each round together. Lines that the other processor wrote last keep the waker's
  // stores in its store buffer, so that with anything less than two read-modify-writes each side misses the
  // other.
  constexpr unsigned rounds = 30'000;
  struct alignas(64) cell {
    std::atomic<unsigned> value{0};
  };
  std::array<cell, 8> lines;
  cell waker_at, waiter_at, there;
  parking p;
  const auto together = [](cell& mine, const cell& other, unsigned round) {
    mine.value.store(round, std::memory_order_release);
    for (int spins = 0; other.value.load(std::memory_order_acquire) < round; ++spins) {
      if (spins > 1000) std::this_thread::yield();
    }
  };
  std::thread waker{[&] {
    for (unsigned i = 1; i <= rounds; ++i) {
      together(waker_at, waiter_at, i);
      for (cell& c : lines) c.value.store(i, std::memory_order_relaxed);
      there.value.store(i, std::memory_order_relaxed);
      p.wake();
    }
  }};
  unsigned lost = 0;
  for (unsigned i = 1; i <= rounds; ++i) {
    for (cell& c : lines) c.value.store(i, std::memory_order_relaxed);
    together(waiter_at, waker_at, i);
    for (unsigned wait = i * 0x9e37'79b9U % 64; wait != 0; --wait) asm volatile("");
    const auto ticket = p.prepare();
    if (there.value.load(std::memory_order_relaxed) == i || lost != 0) continue;
    const auto deadline = boot_clock::now() + 10s;
    p.park(ticket, deadline);
    if (boot_clock::now() >= deadline) ++lost;
  }
  waker.join();
  CHECK(lost == 0);
}
