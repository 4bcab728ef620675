// SPDX-License-Identifier: Apache-2.0
#include "qkd004/push_sender.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace qkd004;
using namespace std::chrono_literals;

namespace {

struct sending {
  explicit sending(std::uint64_t first = 0) : sender{{}, first} {}
  void give(std::uint64_t index, time_point expires = time_point::max()) {
    auto key = arena.allocate(32);
    REQUIRE(key);
    key->data()[0] = static_cast<std::byte>(index);
    sender.give(index, std::move(*key), expires);
  }
  std::vector<push_sender::post> posts() {
    std::vector<push_sender::post> all;
    while (const auto p = sender.next(now)) all.push_back(*p);
    return all;
  }

  secret_arena arena;
  push_sender sender;
  time_point now{1000s};
};

}  // namespace

TEST_CASE("push sender: posts in order, at most eight without an answer") {
  sending f;
  for (std::uint64_t i = 0; i < 12; ++i) f.give(i);
  const auto first = f.posts();
  REQUIRE(first.size() == 8);
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(first[i].index == i);
    CHECK(first[i].key[0] == static_cast<std::byte>(i));
  }
  f.sender.answered(first[0].attempt, 201, f.now, 0);
  const auto next = f.posts();
  REQUIRE(next.size() == 1);
  CHECK(next[0].index == 8);
  CHECK(f.sender.settled_below() == 1);
}

TEST_CASE("push sender: what is not acknowledged holds back what lies eight indices behind it") {
  sending f;
  for (std::uint64_t i = 0; i < 16; ++i) f.give(i);
  const auto first = f.posts();
  for (std::size_t i = 1; i < 8; ++i) f.sender.answered(first[i].attempt, 200, f.now, 0);
  CHECK(f.posts().empty());
  CHECK(f.sender.settled_below() == 0);
  CHECK(f.sender.is_settled(3));
  CHECK_FALSE(f.sender.is_settled(0));
  CHECK_FALSE(f.sender.is_settled(16));
  f.sender.answered(first[0].attempt, 204, f.now, 0);
  CHECK(f.sender.settled_below() == 8);
  CHECK(f.posts().size() == 8);
}

TEST_CASE("push sender: pauses after a failure, twice as long after each, and as at first after a success") {
  sending f;
  f.give(0);
  auto expected = 100ms;
  for (int i = 0; i < 12; ++i) {
    const auto p = f.posts();
    REQUIRE(p.size() == 1);
    if (i % 2 == 0) {
      f.sender.failed(p[0].attempt, f.now, 0.999999);
    } else {
      f.sender.answered(p[0].attempt, i % 4 == 1 ? 503 : 429, f.now, 0.999999);
    }
    const auto pause = f.sender.next_deadline() - f.now;
    CHECK(pause <= expected);
    CHECK(pause >= expected - 1ms);
    CHECK(f.posts().empty());
    f.now += pause;
    expected = std::min<std::chrono::milliseconds>(expected * 2, 30s);
  }
  f.sender.answered(f.posts().at(0).attempt, 201, f.now, 0);
  f.give(1);
  f.sender.answered(f.posts().at(0).attempt, 408, f.now, 0);
  CHECK(f.sender.next_deadline() - f.now == 50ms);  // chance 0: half of 100 ms
}

TEST_CASE("push sender: posts that fail together are one failure") {
  sending f;
  for (std::uint64_t i = 0; i < 8; ++i) f.give(i);
  const auto all = f.posts();
  for (const auto& p : all) f.sender.answered(p.attempt, 500, f.now, 0);
  CHECK(f.sender.next_deadline() - f.now == 50ms);
  f.now += 50ms;
  const auto again = f.posts();
  REQUIRE(again.size() == 8);
  for (std::size_t i = 0; i < 8; ++i) CHECK(again[i].index == i);
}

TEST_CASE("push sender: waits as long as the answer says") {
  sending f;
  f.give(0);
  f.sender.answered(f.posts().at(0).attempt, 503, f.now, 0, 2s);
  CHECK(f.sender.next_deadline() - f.now == 1s);
}

TEST_CASE("push sender: any other answer stops the stream, until it is asked again") {
  for (const unsigned code : {400U, 404U, 401U, 301U, 199U}) {
    CAPTURE(code);
    sending f;
    for (std::uint64_t i = 0; i < 9; ++i) f.give(i);
    const auto all = f.posts();
    f.sender.answered(all[2].attempt, code, f.now, 0);
    CHECK(f.sender.stopped() == code);
    f.sender.answered(all[0].attempt, 201, f.now, 0);
    CHECK(f.posts().empty());
    f.sender.restart(f.sender.settled_below());
    CHECK_FALSE(f.sender.stopped());
    const auto again = f.posts();
    REQUIRE(again.size() == 2);
    CHECK(again[0].index == 2);
    CHECK(again[1].index == 8);
  }
}

TEST_CASE("push sender: a key whose life is over is not posted any more") {
  sending f;
  f.give(0, f.now + 1s);
  f.give(1, f.now + 10s);
  const auto first = f.posts();
  f.sender.failed(first[0].attempt, f.now, 0);
  f.now += 2s;
  f.sender.failed(first[1].attempt, f.now, 0);  // together with the other, whose pause is over
  CHECK(f.posts().at(0).index == 1);
  CHECK(f.sender.expired() == 1);
  CHECK(f.sender.settled_below() == 1);
}

TEST_CASE("push sender: a key in flight lives until its answer") {
  sending f;
  f.give(0, f.now + 1s);
  const auto p = f.posts();
  f.now += 2s;
  CHECK(f.posts().empty());
  CHECK(f.sender.expired() == 0);
  f.sender.answered(p[0].attempt, 201, f.now, 0);
  CHECK(f.sender.acknowledged() == 1);
}

TEST_CASE("push sender: a restart leaves out what lies below, and answers of before count still") {
  sending f;
  for (std::uint64_t i = 0; i < 8; ++i) f.give(i);
  const auto all = f.posts();
  f.sender.failed(all[4].attempt, f.now, 0);
  f.sender.restart(3);
  CHECK(f.sender.settled_below() == 3);
  f.sender.answered(all[0].attempt, 201, f.now, 0);  // of a key that is gone
  f.sender.answered(all[3].attempt, 201, f.now, 0);
  CHECK(f.sender.settled_below() == 4);
  const auto again = f.posts();
  REQUIRE(again.size() == 1);  // at once, and only what is not in flight
  CHECK(again[0].index == 4);
}

TEST_CASE("push sender: what is answered late to a post of before a restart does not stop it again") {
  sending f;
  for (std::uint64_t i = 0; i < 2; ++i) f.give(i);
  const auto all = f.posts();
  f.sender.answered(all[0].attempt, 400, f.now, 0);
  f.sender.restart(0);
  f.sender.answered(all[1].attempt, 400, f.now, 0);
  CHECK_FALSE(f.sender.stopped());
  const auto again = f.posts();
  REQUIRE(again.size() == 2);
  f.sender.answered(again[0].attempt, 400, f.now, 0);
  CHECK(f.sender.stopped() == 400U);
}

TEST_CASE("push sender: an answer counts once") {
  sending f;
  f.give(0);
  const auto p = f.posts();
  f.sender.answered(p[0].attempt, 201, f.now, 0);
  f.sender.answered(p[0].attempt, 400, f.now, 0);
  f.sender.failed(p[0].attempt, f.now, 0);
  f.sender.answered(999, 400, f.now, 0);
  CHECK_FALSE(f.sender.stopped());
  CHECK(f.sender.acknowledged() == 1);
  CHECK(f.sender.empty());
}

TEST_CASE("push sender: wants no more keys than can be under way soon") {
  sending f;
  std::uint64_t given = 0;
  while (f.sender.room() > 0) f.give(given++);
  CHECK(given == 16);
}

TEST_CASE("push sender: holds until it is restarted, and lives end meanwhile") {
  sending f;
  for (std::uint64_t i = 0; i < 4; ++i) f.give(i, f.now + (i < 2 ? 1s : 10s));
  const auto first = f.sender.next(f.now);
  REQUIRE(first);
  f.sender.failed(first->attempt, f.now, 0);
  f.sender.hold();
  CHECK(f.sender.next_deadline() == f.now + 1s);  // not the end of the pause
  f.now += 1s;
  CHECK(f.posts().empty());
  CHECK(f.sender.settled_below() == 2);
  CHECK(f.sender.expired() == 2);
  f.sender.restart(2);
  CHECK(f.posts().size() == 2);
}
