// index_ledger: which indices are asked for, and which may be acknowledged.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "qkd004/index_ledger.hpp"

using qkd004::index_ledger;

TEST_CASE("index_ledger: claims what nobody has, lowest first") {
  index_ledger l{5};
  const auto a = l.claim(4);
  CHECK(a.first == 5);
  CHECK(a.count == 4);
  const auto b = l.claim(2);
  CHECK(b.first == 9);
  l.settle(a, 1);  // 6, 7, 8 are to be asked for again
  const auto c = l.claim(10);
  CHECK(c.first == 6);
  CHECK(c.count == 3);
  l.settle(c, 3);
  l.settle(b, 0);  // nobody asked beyond: 9 is next again
  const auto d = l.claim(1);
  CHECK(d.first == 9);
  CHECK(l.had_below() == 9);
}

TEST_CASE("index_ledger: lets acknowledge only what is below everything that is asked for or missing") {
  index_ledger l;
  const auto a = l.claim(2);
  const auto b = l.claim(2);
  CHECK_FALSE(l.owes_acknowledgement());
  l.settle(b, 2);
  CHECK(l.had_below() == 0);
  CHECK_FALSE(l.owes_acknowledgement());
  l.settle(a, 1);
  CHECK(l.had_below() == 1);
  CHECK(l.owes_acknowledgement());
  l.told(1);
  CHECK_FALSE(l.owes_acknowledgement());
  l.settle(l.claim(9), 1);
  CHECK(l.had_below() == 4);
  l.told(l.had_below());
  CHECK_FALSE(l.owes_acknowledgement());
}

TEST_CASE("index_ledger: takes no word of a run that was claimed of another ledger") {
  index_ledger before;
  const auto claimed = before.claim(4);
  index_ledger l{2};
  l.settle(claimed, 4);
  CHECK(l.had_below() == 2);
  CHECK_FALSE(l.owes_acknowledgement());
  CHECK(l.claim(1).first == 2);
}

TEST_CASE("index_ledger: leaves out what is gone") {
  index_ledger l;
  l.settle(l.claim(1), 0);
  l.give_up(0);
  l.skip_to(10);
  CHECK(l.claim(1).first == 10);
  index_ledger m;
  const auto b = m.claim(2);
  const auto c = m.claim(1);
  m.settle(b, 0);
  m.give_up(0);
  const auto d = m.claim(5);
  CHECK(d.first == 1);
  CHECK(d.count == 1);
  m.settle(c, 1);
  m.settle(d, 1);
  CHECK(m.had_below() == 3);
}

TEST_CASE("index_ledger: asks again for what may have been served, wherever the lowest live index is") {
  index_ledger l;
  l.settle(l.claim(4), 0);  // 0 to 3 were served, and the reply was lost; meanwhile 0 has expired
  l.give_up(0);
  l.skip_to(10);
  CHECK(l.had_below() == 1);
  const auto again = l.claim(9);
  CHECK(again.first == 1);
  CHECK(again.count == 3);
  l.settle(again, 3);
  CHECK(l.claim(1).first == 10);

  index_ledger two;  // callers at the same time, and the one behind finds its own gone
  const auto a = two.claim(4);
  const auto b = two.claim(4);
  two.settle(a, 0);
  two.settle(b, 0);
  two.give_up(4);
  CHECK(two.had_below() == 0);
  CHECK(two.claim(9).count == 4);
  CHECK(two.claim(9).first == 5);

  index_ledger after_flow{3, 5};  // 3 and 4 had come ahead, and 3 is gone
  after_flow.settle(after_flow.claim(1), 0);
  after_flow.give_up(3);
  after_flow.skip_to(9);
  CHECK(after_flow.claim(8).first == 4);
}

TEST_CASE("index_ledger: gives every index once, whatever fails, and acknowledges none that was not had") {
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    std::minstd_rand draw{seed};
    index_ledger l;
    std::set<std::uint64_t> had;
    std::vector<index_ledger::run> asked;
    for (int i = 0; i < 300; ++i) {
      if (asked.size() < 4 && draw() % 2 == 0) {
        asked.push_back(l.claim(1 + draw() % 6));
        continue;
      }
      if (asked.empty()) continue;
      const auto which = draw() % asked.size();
      const auto r = asked[which];
      asked.erase(asked.begin() + static_cast<std::ptrdiff_t>(which));
      const std::uint64_t count = draw() % (r.count + 1);
      l.settle(r, count);
      for (std::uint64_t k = 0; k < count; ++k) REQUIRE(had.insert(r.first + k).second);
      for (std::uint64_t k = 0; k < l.had_below(); ++k) REQUIRE(had.contains(k));
    }
  }
}

TEST_CASE("index_ledger: is whole when nothing is asked for and nothing is missing") {
  index_ledger l;
  CHECK(l.is_whole());
  const auto a = l.claim(2);
  CHECK_FALSE(l.is_whole());
  const auto b = l.claim(2);
  l.settle(b, 2);
  CHECK_FALSE(l.is_whole());
  l.settle(a, 1);
  CHECK_FALSE(l.is_whole());  // 1 is missing, and 2 and 3 were had
  const auto c = l.claim(9);
  CHECK(c.first == 1);
  CHECK(c.count == 1);
  l.settle(c, 1);
  CHECK(l.is_whole());
  CHECK(l.had_below() == 4);
}
