// SPDX-License-Identifier: Apache-2.0
#include "net/in_order.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <random>

using qkd004::net::in_order;

TEST_CASE("in_order: is a queue, whatever is pushed and popped") {
  in_order<std::unique_ptr<int>> queue;
  std::deque<int> model;
  constexpr unsigned seed = 5;
  CAPTURE(seed);
  std::minstd_rand draw{seed};
  for (int i = 0; i < 20'000; ++i) {
    // in waves, so that it is cleared away in the middle, at the end, and all at once
    if (draw() % 10 < (i / 500 % 2 == 0 ? 8U : 3U)) {
      queue.push(std::make_unique<int>(i));
      model.push_back(i);
    } else if (!model.empty()) {
      REQUIRE(*queue.front() == model.front());
      queue.pop();
      model.pop_front();
    }
    REQUIRE(queue.size() == model.size());
    if (!model.empty()) {
      const std::size_t at = draw() % model.size();
      REQUIRE(*queue[at] == model[at]);
    }
  }
  queue.clear();
  CHECK(queue.empty());
}
