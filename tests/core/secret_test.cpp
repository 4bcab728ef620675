#include "qkd004/secret.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace qkd004;

namespace {

/// The VmFlags of the mapping that holds `p`, from /proc/self/smaps.
std::string flags_of(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  std::ifstream maps{"/proc/self/smaps"};
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) here = from <= address && address < to;
    if (here && line.starts_with("VmFlags:")) return line + " ";
  }
  return {};
}

bool all_are(std::span<const std::byte> octets, std::byte value) {
  return std::all_of(octets.begin(), octets.end(), [value](std::byte o) { return o == value; });
}

// The sanitizers' runtimes turn mlock into nothing.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool mlock_works = false;
#else
constexpr bool mlock_works = true;
#endif

/// Runs `body` in a child; true if it returned true.
template <class Body>
bool in_child(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int how = 0;
  ::waitpid(child, &how, 0);
  return WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

}  // namespace

static_assert(!std::is_copy_constructible_v<secret_bytes> && !std::is_copy_assignable_v<secret_bytes>);
static_assert(std::is_nothrow_move_constructible_v<secret_bytes>);

TEST_CASE("secret_arena: locks its pages and keeps them out of core dumps and forked children") {
  const secret_arena arena;
  const auto s = arena.allocate(100).value();
  const auto flags = flags_of(s.data());
  CAPTURE(flags);
  CHECK((flags.find(" lo ") != std::string::npos) == mlock_works);
  CHECK(flags.find(" dd ") != std::string::npos);
  CHECK(flags.find(" wf ") != std::string::npos);
}

TEST_CASE("secret_arena: wipes memory that is let go, and hands it out zeroed") {
  const secret_arena arena;
  auto s = arena.allocate(64).value();
  std::byte* where = s.data();
  std::memset(where, 0xa5, 64);
  s.reset();
  for (int i = 0; i < 64; ++i) REQUIRE(where[i] == std::byte{0});
  CHECK(arena.used() == 0);
  CHECK(arena.allocate(64).value().data() == where);
}

TEST_CASE("secret_arena: stays within its bound, and gives memory back to later callers") {
  const secret_arena arena{{.bytes = 256 * 1024, .allow_unlocked = false}};
  std::vector<secret_bytes> held;
  for (;;) {
    auto s = arena.allocate(4'096);
    if (!s) {
      CHECK(s.error() == make_error_code(status::resource_limit));
      break;
    }
    held.push_back(std::move(*s));
  }
  CHECK(held.size() >= 60);
  CHECK(arena.mapped() <= arena.limit());
  held.erase(held.begin() + 40, held.begin() + 50);
  CHECK(arena.allocate(10 * 4'096));
  CHECK_FALSE(arena.allocate(1 << 20));
  CHECK(arena.allocate(0).value().empty());
}

TEST_CASE("secret_arena: maps little more than is used when much is used") {
  constexpr std::size_t used = std::size_t{40} << 20;
  const secret_arena arena{{4 * used, true}};
  std::vector<secret_bytes> held;
  while (arena.used() < used) held.push_back(arena.allocate(4'096).value());
  CHECK(arena.mapped() - arena.used() <= used / 8);
}

TEST_CASE("secret_arena: never hands out an octet twice, in any order of taking and giving") {
  const secret_arena arena{{.bytes = std::size_t{2} << 20, .allow_unlocked = false}};
  std::mt19937_64 random{4'004};
  std::vector<std::pair<secret_bytes, std::byte>> held;
  std::size_t granules = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0 || held.empty()) {
      auto s = arena.allocate(1 + random() % (random() % 8 == 0 ? 40'000 : 900));
      if (!s) continue;
      REQUIRE(all_are(s->span(), std::byte{0}));
      const auto tag = static_cast<std::byte>(1 + random() % 255);
      std::memset(s->data(), std::to_integer<int>(tag), s->size());
      granules += (s->size() + secret_arena::granule - 1) / secret_arena::granule;
      held.emplace_back(std::move(*s), tag);
    } else {
      auto& one = held[random() % held.size()];
      REQUIRE(all_are(one.first.span(), one.second));
      granules -= (one.first.size() + secret_arena::granule - 1) / secret_arena::granule;
      std::swap(one, held.back());
      held.pop_back();
    }
    REQUIRE(arena.used() == granules * secret_arena::granule);
  }
}

TEST_CASE("secret_arena: outlives its handle while something of it is held") {
  secret_bytes s;
  {
    const secret_arena arena;
    s = arena.allocate(32).value();
  }
  std::memset(s.data(), 1, s.size());
  CHECK(s.size() == 32);
}

TEST_CASE("secret_arena: gives aligned memory that does not overlap, from many threads") {
  const secret_arena arena{{.bytes = std::size_t{4} << 20, .allow_unlocked = false}};
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2'000; ++i) {
        auto s = arena.allocate(static_cast<std::size_t>(1 + (i * 37) % 300)).value();
        std::memset(s.data(), t + 1, s.size());
        wrong += reinterpret_cast<std::uintptr_t>(s.data()) % secret_arena::granule != 0;
        for (const auto o : s.span()) wrong += o != static_cast<std::byte>(t + 1);
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(arena.used() == 0);
}

TEST_CASE("secret_arena: knows a forked child, which finds no key") {
  const secret_arena arena;
  const auto s = arena.allocate(32).value();
  std::memset(const_cast<std::byte*>(s.data()), 0x5a, 32);
  CHECK_FALSE(arena.forked());
  CHECK(in_child([&] {
    bool zero = true;
    for (const auto o : s.span()) zero = zero && o == std::byte{0};
    return zero && arena.forked();
  }));
  CHECK(s.span()[0] == std::byte{0x5a});
}

TEST_CASE("secret_arena: refuses to go on without locked pages unless it is allowed to") {
  if (!mlock_works) return;
  const auto run_limited = [](auto&& body) {
    return in_child([&] {
      // mlock is bounded for root too once the capability is gone
      const rlimit none{0, 0};
      if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0) return false;
      if (::geteuid() == 0 && ::setuid(65'534) != 0) return false;
      return body();
    });
  };
  CHECK(run_limited([] {
    const secret_arena arena;
    return !arena.allocate(32) && arena.lock_refused();
  }));
  CHECK(run_limited([] {
    const secret_arena arena{{.bytes = 1 << 20, .allow_unlocked = true}};
    return static_cast<bool>(arena.allocate(32)) && arena.lock_refused();
  }));
}

TEST_CASE("equal_in_constant_time: compares length and every octet") {
  const std::vector<std::byte> a(33, std::byte{7});
  auto b = a;
  CHECK(equal_in_constant_time(a, b));
  b.back() ^= std::byte{0x80};
  CHECK_FALSE(equal_in_constant_time(a, b));
  b.pop_back();
  CHECK_FALSE(equal_in_constant_time(a, b));
}
