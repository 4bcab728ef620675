// SPDX-License-Identifier: Apache-2.0
#include "qkd004/software_link.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "qkd004/in_process.hpp"
#include "software/two_distillers.hpp"

using namespace qkd004;
using namespace qkd004::software;

namespace {

/// The next block of an end, which has a thread of its own to make it.
std::optional<key_block> next_block(key_source& from, const secret_arena& arena) {
  for (const auto until = boot_clock::now() + std::chrono::seconds{20}; boot_clock::now() < until;) {
    auto polled = from.poll(arena, boot_clock::now());
    REQUIRE_MESSAGE(polled, polled.error().message()
                                << ": " << dynamic_cast<software_link_end&>(from).report().failure);
    if (*polled) return std::move(**polled);
    std::this_thread::yield();
  }
  return std::nullopt;
}

key_source_session session_of(unsigned number) {
  key_source_session s;
  s.link = "link";
  s.lower[0] = std::byte{static_cast<unsigned char>(number)};
  return s;
}

/// Both ends in the same new session.
bool start(key_source& a, key_source& b, unsigned number) {
  auto s = session_of(number);
  s.first_block = std::max(a.position(), b.position());
  const auto now = boot_clock::now();
  const auto at_a = a.start(s, now);
  const auto at_b = b.start(s, now);
  return at_a && at_b && *at_a == *at_b;
}

}  // namespace

TEST_CASE("software link: both ends hand out equal blocks, numbered without a gap") {
  const auto link = make_software_link(small_blocks());
  REQUIRE(link);
  const auto& [a, b] = *link;
  REQUIRE(start(*a, *b, 1));
  const secret_arena arena{{std::size_t{1} << 20, true}};
  std::uint64_t octets = 0;
  std::optional<std::uint64_t> expected;
  while (octets < 10'000) {
    const auto at_a = next_block(*a, arena);
    const auto at_b = next_block(*b, arena);
    REQUIRE(at_a);
    REQUIRE(at_b);
    CHECK(at_a->number == at_b->number);
    if (expected) CHECK(at_a->number == *expected);
    expected = at_a->number + 1;
    REQUIRE(at_a->bytes.size() == at_b->bytes.size());
    CHECK(equal_in_constant_time(at_a->bytes.span(), at_b->bytes.span()));
    REQUIRE(at_a->provenance);
    CHECK(at_a->provenance->created_ms > 0);
    octets += at_a->bytes.size();
  }
}

TEST_CASE("software link: an application of each end gets the same keys") {
  const auto link = make_software_link(small_blocks());
  REQUIRE(link);
  pair_options o;
  o.memory.allow_unlocked = true;
  o.first_source = link->first;
  o.second_source = link->second;
  auto [a, b] = pair(std::move(o));
  qos wants;
  wants.timeout_ms = 20'000;
  auto at_a = a.open_connect({"qkd://alice@A", "qkd://bob@B", wants});
  REQUIRE(at_a);
  auto at_b = b.open_connect({"qkd://alice@A", "qkd://bob@B", wants, at_a->id()});
  REQUIRE(at_b);
  for (int i = 0; i < 200; ++i) {
    const auto x = at_a->next_key();
    const auto y = at_b->next_key();
    REQUIRE(x);
    REQUIRE(y);
    REQUIRE(x->index == y->index);
    REQUIRE(equal_in_constant_time(x->bytes(), y->bytes()));
  }
}

TEST_CASE("software link: a session that is over has no more blocks, and the next has others") {
  const auto link = make_software_link(small_blocks());
  REQUIRE(link);
  const auto& [a, b] = *link;
  const secret_arena arena{{std::size_t{1} << 20, true}};
  std::vector<std::vector<std::byte>> seen;
  for (unsigned session = 1; session <= 4; ++session) {
    REQUIRE(start(*a, *b, session));
    const auto at_a = next_block(*a, arena);
    const auto at_b = next_block(*b, arena);
    REQUIRE(at_a);
    REQUIRE(at_b);
    CHECK(equal_in_constant_time(at_a->bytes.span(), at_b->bytes.span()));
    seen.emplace_back(at_a->bytes.span().begin(), at_a->bytes.span().end());
    a->stop();
    CHECK(a->poll(arena, boot_clock::now()).error() == make_error_code(status::invalid_argument));
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(seen[i] != seen[j]);
  }
}

TEST_CASE("software link: an end without the other in its session makes nothing") {
  const auto link = make_software_link(small_blocks());
  REQUIRE(link);
  const auto& [a, b] = *link;
  const secret_arena arena{{std::size_t{1} << 20, true}};
  REQUIRE(a->start(session_of(1), boot_clock::now()));
  REQUIRE(b->start(session_of(2), boot_clock::now()));
  bool made = false;
  for (int i = 0; i < 2'000; ++i) {
    made |= a->poll(arena, boot_clock::now())->has_value() || b->poll(arena, boot_clock::now())->has_value();
    std::this_thread::yield();
  }
  CHECK_FALSE(made);
  CHECK(a->report().pulses == 0);
}

TEST_CASE("software link: is simulated, and says so") {
  const auto link = make_software_link({});
  REQUIRE(link);
  CHECK(link->first->capabilities().security == security_class::simulated_insecure);
  CHECK(link->first->capabilities().kind == "software-bb84");
  std::string why;
  const software_link_end_options hardware{software_link_end_options::role::alice, security_class::hardware,
                                           "key", "state"};
  CHECK(make_software_link_end({}, hardware, &why).error() == make_error_code(status::invalid_argument));
  CHECK(why == "simulated photons are no hardware");
}

TEST_CASE("software link: refuses options that cannot be, and says which") {
  const auto refused = [](auto change) {
    software_link_options o;
    change(o);
    std::string why;
    CHECK(make_software_link(o, &why).error() == make_error_code(status::invalid_argument));
    CHECK_FALSE(why.empty());
    return why;
  };
  refused([](auto& o) { o.system.km = -1; });
  refused([](auto& o) { o.system.km = std::nan(""); });
  refused([](auto& o) { o.system.efficiency = 0; });
  refused([](auto& o) { o.system.dark_count = 1; });
  refused([](auto& o) { o.system.afterpulse = 0.9; });
  refused([](auto& o) { o.system.misalignment = -0.1; });
  refused([](auto& o) { o.system.x_basis = 1; });
  refused([](auto& o) { o.system.intensities[0].probability = 0.5; });
  refused([](auto& o) { o.system.intensities[1].mean_photons = 0.5; });
  refused([](auto& o) { o.system.eps_sec = 0; });
  refused([](auto& o) { o.block_bits = 1'000; });
  refused([](auto& o) { o.qber_limit = 0.2; });
  refused([](auto& o) { o.intercept_resend = 2; });
  CHECK(refused([](auto& o) { o.blocks_in_flight = 0; }) == "blocks_in_flight is from 1 to 16");
}

TEST_CASE("software link: says that it has ended, and not that memory is short, once its pads are used up") {
  auto o = small_blocks();
  o.blocks_in_flight = 1;
  const auto link = make_software_link(o);
  REQUIRE(link);
  const auto& [a, b] = *link;
  // 2,032 octets; each session takes 32
  auto s = session_of(1);
  s.first_block = 2'032 - 40;  // 8 are left for a block
  REQUIRE(a->start(s, boot_clock::now()));
  REQUIRE(b->start(s, boot_clock::now()));
  const secret_arena arena{{std::size_t{1} << 20, true}};
  std::error_code ended;
  for (const auto until = boot_clock::now() + std::chrono::seconds{20};
       !ended && boot_clock::now() < until;) {
    const auto polled = a->poll(arena, boot_clock::now());
    ended = polled.error();
    std::this_thread::yield();
  }
  CHECK(ended == make_error_code(status::no_qkd_connection));
  CHECK(a->report().failure.find("authentication key is used up") != std::string::npos);
}
