// SPDX-License-Identifier: Apache-2.0
#include "net/readiness.hpp"

#include <doctest/doctest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>

using qkd004::net::readiness;

TEST_CASE("readiness: tells no more of a descriptor that was removed when a child has a copy of it") {
  asio::io_context context;
  readiness set{context};
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  int who = 0;
  REQUIRE_FALSE(set.add(ends[0], &who, readiness::input));
  CHECK(set.take().empty());
  REQUIRE(::write(ends[1], "x", 1) == 1);
  const auto ready = set.take();
  REQUIRE(ready.size() == 1);
  CHECK(ready[0].data.ptr == &who);
  const int copy = ::dup(ends[0]);
  set.remove(ends[0]);
  ::close(ends[0]);
  CHECK(set.take().empty());
  ::close(copy);
  ::close(ends[1]);
}
