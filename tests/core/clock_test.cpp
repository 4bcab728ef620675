#include "qkd004/clock.hpp"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace qkd004;
using namespace std::chrono_literals;

TEST_CASE("tick_clock: is never ahead of boot_clock, and never far behind it") {
  const tick_clock ticks;
  std::vector<std::thread> threads;
  std::atomic<int> ahead{0};
  std::atomic<int> behind{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200'000; ++i) {
        const auto before = boot_clock::now();
        const auto tick = ticks.now();
        const auto after = boot_clock::now();
        ahead += tick > after;
        // a tick is 1 to 10 ms; the rest is room for a busy machine
        behind += before - tick > 100ms;
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(ahead == 0);
  CHECK(behind == 0);
}

TEST_CASE("tick_clock: moves on") {
  const tick_clock ticks;
  const auto from = ticks.now();
  const auto give_up = boot_clock::now() + 5s;
  while (ticks.now() == from && boot_clock::now() < give_up) {}
  CHECK(ticks.now() > from);
}
