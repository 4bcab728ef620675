// SPDX-License-Identifier: Apache-2.0
#include "qkd004/random.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <span>
#include <vector>

using namespace qkd004;

TEST_CASE("system_random: fills all of a buffer when signals cut getrandom short") {
  struct sigaction ignore {};
  ignore.sa_handler = [](int) {};  // without SA_RESTART
  struct sigaction before {};
  REQUIRE(::sigaction(SIGALRM, &ignore, &before) == 0);
  const itimerval often{{0, 1000}, {0, 1000}};
  REQUIRE(::setitimer(ITIMER_REAL, &often, nullptr) == 0);

  // of random octets each 64 have one that is not 0, but for a chance of 2^-495 in all
  std::vector<std::byte> octets(std::size_t{8} << 20);
  system_random(octets);
  bool filled = true;
  for (std::size_t at = 0; at < octets.size(); at += 64) {
    const auto part = std::span{octets}.subspan(at, 64);
    filled = filled &&
             std::any_of(part.begin(), part.end(), [](std::byte octet) { return octet != std::byte{0}; });
  }
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  CHECK(filled);
}

TEST_CASE("system_random: never gives the same octets when it is called again") {
  std::set<std::array<std::byte, 16>> seen;
  for (int i = 0; i < 1000; ++i) {
    std::array<std::byte, 16> octets{};
    system_random(octets);
    CHECK(seen.insert(octets).second);
  }
}

TEST_CASE("system_random: leaves everything else alone when the buffer is a part of more, or empty") {
  std::array<std::byte, 48> octets{};
  system_random(std::span{octets}.subspan(16, 16));
  system_random({});
  const auto zero = [](std::byte octet) { return octet == std::byte{0}; };
  CHECK(std::all_of(octets.begin(), octets.begin() + 16, zero));
  CHECK(std::all_of(octets.begin() + 32, octets.end(), zero));
}

TEST_CASE("system_random: serves as the random function of a component when it is passed as an argument") {
  const std::function<void(std::span<std::byte>)> random = system_random;
  std::array<std::byte, 32> octets{};
  random(octets);
  CHECK(octets != std::array<std::byte, 32>{});
}
