// SPDX-License-Identifier: Apache-2.0
#include "software/auth_pool.hpp"

#include <doctest/doctest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "source/two_ends.hpp"

using namespace qkd004;
using namespace qkd004::tests;
using qkd004::software::auth_pool;
using qkd004::software::least_bootstrap_bits;
using qkd004::software::most_pool_octets;

namespace {

constexpr unsigned seed = 20120404;
constexpr std::size_t bootstrap_octets = 2000;  // pads
constexpr std::size_t identity_octets = 16;
constexpr std::size_t record_octets = 128;  // of each copy, at 0 and 4096; the ring begins at 8192
constexpr std::size_t ring_place = 8192;

/// What stands at a position, whoever appends it.
std::byte octet_at(std::uint64_t position) {
  std::uint64_t mixed = (position + 1) * 0x9e3779b97f4a7c15;
  mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9;
  return static_cast<std::byte>(mixed >> 32);
}

std::vector<std::byte> sequence(std::uint64_t from, std::uint64_t to) {
  std::vector<std::byte> octets;
  for (; from < to; ++from) octets.push_back(octet_at(from));
  return octets;
}

std::string text_of_sequence(std::uint64_t from, std::uint64_t to) {
  const auto octets = sequence(from, to);
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

/// Until it ends, new folders are in memory if that can be: these tests are about what is written, and a disk takes its
/// time for each write.
class memory_disk {
 public:
  memory_disk() {
    if (const char* now = std::getenv("TMPDIR")) before_ = now;
    if (::access("/dev/shm", R_OK | W_OK | X_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 1);
  }
  memory_disk(const memory_disk&) = delete;
  memory_disk& operator=(const memory_disk&) = delete;
  ~memory_disk() {
    if (before_) {
      ::setenv("TMPDIR", before_->c_str(), 1);
    } else {
      ::unsetenv("TMPDIR");
    }
  }

 private:
  std::optional<std::string> before_;
};

/// A folder with the file "psk" and, made from it, "pool".
struct site {
  passing_folder folder;
  std::string bootstrap = folder.write("psk", text_of_sequence(0, bootstrap_octets + identity_octets));
  std::string path = folder / "pool";
  secret_arena arena = arena_of(std::size_t{16} << 20);

  static secret_arena arena_of(std::size_t bytes) {
    return secret_arena{{.bytes = bytes, .allow_unlocked = true}};
  }

  result<auth_pool> open(std::string* why = nullptr) const {
    return auth_pool::open(path, bootstrap, arena, why);
  }

  auth_pool opened() const {
    std::string why;
    auto pool = open(&why);
    REQUIRE_MESSAGE(pool, why);
    return std::move(*pool);
  }

  /// The error of opening, which has a sentence that names the file and none of what is in it.
  std::error_code refused(const std::string& word) const {
    std::string why;
    const auto pool = open(&why);
    CHECK_FALSE(pool);
    INFO(why);
    CHECK(why.find(word) != std::string::npos);
    CHECK(why.find(folder / "") == 0);
    return pool.error();
  }
};

bool takes_what_is_next(auth_pool& pool, std::size_t count) {
  const auto from = pool.position();
  std::vector<std::byte> octets(count);
  return pool.take(octets) && octets == sequence(from, from + count) && pool.position() == from + count;
}

/// Whether all that is left is what it ought to be; on a copy, as it is used up by this.
bool all_left_is_right(const site& here) {
  const site copy;
  std::filesystem::copy_file(here.path, copy.path);
  auto pool = auth_pool::open(copy.path, here.bootstrap, copy.arena, nullptr);
  return pool && takes_what_is_next(*pool, pool->left());
}

bool appends_what_follows(auth_pool& pool, std::size_t count) {
  return pool.append(sequence(pool.end(), pool.end() + count)).has_value();
}

void overwrite_file(const std::string& path, const std::string& text) {
  std::ofstream{path, std::ios::binary | std::ios::trunc} << text;
}

const auto invalid = make_error_code(status::invalid_argument);
const auto too_much = make_error_code(status::resource_limit);
const auto forked = make_error_code(status::no_qkd_connection);

secret_bytes bootstrap_of(const secret_arena& arena, std::size_t count) {
  auto octets = arena.allocate(count);
  REQUIRE(octets);
  for (std::size_t i = 0; i < count; ++i) octets->data()[i] = octet_at(i);
  return std::move(*octets);
}

/// Runs it in a child, which must end with 0.
template <class Work>
void in_child(Work work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(work());
  int ended = 0;
  REQUIRE(::waitpid(child, &ended, 0) == child);
  CHECK(WIFEXITED(ended));
  CHECK(WEXITSTATUS(ended) == 0);
}

}  // namespace

TEST_CASE("auth_pool: hands out the sequence once and in order when it is in memory") {
  const auto arena = site::arena_of(1 << 20);
  auto pool = auth_pool::in_memory(bootstrap_of(arena, 600 + identity_octets));
  REQUIRE(pool);
  CHECK(pool->position() == 0);
  CHECK(pool->end() == 600);
  CHECK(takes_what_is_next(*pool, 100));
  CHECK(appends_what_follows(*pool, 5000));
  CHECK(takes_what_is_next(*pool, 0));
  CHECK(takes_what_is_next(*pool, 5500));
  CHECK(pool->left() == 0);
  CHECK(appends_what_follows(*pool, 32));
  CHECK(takes_what_is_next(*pool, 32));
}

TEST_CASE("auth_pool: refuses a bootstrap when it has fewer than 4096 bits or more than it can hold") {
  site here;
  SUBCASE("in memory, too short") {
    CHECK(auth_pool::in_memory(bootstrap_of(here.arena, 511)).error() == invalid);
    CHECK(auth_pool::in_memory(bootstrap_of(here.arena, 512)));
  }
  SUBCASE("in memory, too long") {
    CHECK(auth_pool::in_memory(bootstrap_of(here.arena, most_pool_octets + 1)).error() == invalid);
  }
  SUBCASE("a file, too short") {
    here.folder.write("psk", text_of_sequence(0, 511));
    CHECK(here.refused("511 octets") == invalid);
    here.folder.write("psk", text_of_sequence(0, 512));
    CHECK(here.open());
  }
  SUBCASE("a file, too long") {
    here.folder.write("psk", text_of_sequence(0, most_pool_octets + 1));
    CHECK(here.refused("octets") == invalid);
  }
  SUBCASE("a file of zeros") {
    here.folder.write("psk", std::string(600, '\0'));
    CHECK(here.refused("zeros") == invalid);
  }
  SUBCASE("no file") {
    std::filesystem::remove(here.bootstrap);
    CHECK(here.refused("psk") == std::errc::no_such_file_or_directory);
    CHECK_FALSE(std::filesystem::exists(here.path));
  }
  static_assert(least_bootstrap_bits == 4096);
}

TEST_CASE("auth_pool: takes nothing when more is asked for than is left") {
  const site here;
  auto pool = here.opened();
  CHECK(takes_what_is_next(pool, bootstrap_octets - 10));
  std::vector<std::byte> out(11, std::byte{7});
  CHECK(pool.take(out).error() == too_much);
  CHECK(out == std::vector<std::byte>(11, std::byte{7}));
  CHECK(pool.left() == 10);
  CHECK(takes_what_is_next(pool, 10));
  out.resize(1);
  CHECK(pool.take(out).error() == too_much);
  CHECK(appends_what_follows(pool, 1));
  CHECK(takes_what_is_next(pool, 1));
}

TEST_CASE("auth_pool: goes on where it was when it was closed, appended octets included") {
  const site here;
  {
    auto pool = here.opened();
    CHECK(pool.position() == 0);
    CHECK(pool.end() == bootstrap_octets);
    CHECK(takes_what_is_next(pool, 33));
    CHECK(appends_what_follows(pool, 700));
  }
  CHECK(all_left_is_right(here));
  {
    auto pool = here.opened();
    CHECK(pool.position() == 33);
    CHECK(pool.end() == bootstrap_octets + 700);
    CHECK(takes_what_is_next(pool, 2000));
  }
  const auto pool = here.opened();
  CHECK(pool.position() == 2033);
}

TEST_CASE("auth_pool: does not write when the position is stored ahead") {
  const site here;
  auto pool = here.opened();
  CHECK(takes_what_is_next(pool, 16));
  const auto stored = text_of_file(here.path);
  for (int i = 0; i < 15; ++i) CHECK(takes_what_is_next(pool, 16));  // 1984 / 8 = 248 are reserved
  CHECK(same(text_of_file(here.path), stored));
  CHECK(takes_what_is_next(pool, 16));
  CHECK_FALSE(same(text_of_file(here.path), stored));
}

TEST_CASE("auth_pool: holds no used pad, and has one size for ever, when the ring has come round") {
  const memory_disk fast;
  const site here;
  std::uint64_t used = 0;
  const auto size = [&here] { return std::filesystem::file_size(here.path); };
  {
    auto pool = here.opened();
    const auto at_first = size();
    CHECK(appends_what_follows(pool, most_pool_octets - bootstrap_octets));
    CHECK(pool.append(std::array{std::byte{1}}).error() == too_much);
    for (int i = 0; i < 50; ++i) {
      CHECK(takes_what_is_next(pool, 50'000));
      CHECK(appends_what_follows(pool, 50'000));
    }
    used = pool.position();
    CHECK(used > 2 * most_pool_octets);
    CHECK(size() == at_first);
  }
  CHECK(all_left_is_right(here));
  {
    auto pool = here.opened();
    CHECK(pool.position() == used);
    CHECK(pool.left() == most_pool_octets);
    CHECK(takes_what_is_next(pool, most_pool_octets - 3000));
    used = pool.position();
  }
  const auto text = text_of_file(here.path).substr(ring_place);
  std::string expected(most_pool_octets, '\0');
  for (std::uint64_t at = used; at < used + 3000; ++at) {
    expected[at % most_pool_octets] = static_cast<char>(octet_at(at));
  }
  CHECK(same(text, expected));
}

TEST_CASE("auth_pool: has what both sites have when a session begins") {
  const site here;
  std::optional<auth_pool> pool;
  SUBCASE("in a file") { pool = here.opened(); }
  SUBCASE("in memory") {
    auto made = auth_pool::in_memory(bootstrap_of(here.arena, bootstrap_octets + identity_octets));
    REQUIRE(made);
    pool = std::move(*made);
  }
  CHECK(takes_what_is_next(*pool, 100));
  CHECK(appends_what_follows(*pool, 500));
  REQUIRE(pool->begin_session(50, 9000));  // the other site is behind, and has more
  CHECK(pool->position() == 100);
  CHECK(pool->end() == 2500);
  REQUIRE(pool->begin_session(300, 2400));
  CHECK(pool->position() == 300);
  CHECK(pool->end() == 2400);
  CHECK(takes_what_is_next(*pool, 60));
  REQUIRE(pool->begin_session(360, 2400));
  CHECK(pool->begin_session(2400, 2500).error() == invalid);
  CHECK(pool->begin_session(0, 360).error() == invalid);
  CHECK(pool->begin_session(800, 700).error() == invalid);
  CHECK(pool->position() == 360);
  CHECK(pool->end() == 2400);
  CHECK(appends_what_follows(*pool, 50));
  CHECK(takes_what_is_next(*pool, 2090));
}

TEST_CASE("auth_pool: has stored what a session began with when the process is killed then") {
  const site here;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto pool = auth_pool::open(here.path, here.bootstrap, site::arena_of(1 << 22), nullptr);
    if (!pool || !takes_what_is_next(*pool, 100) || !pool->begin_session(300, 1500)) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  int ended = 0;
  REQUIRE(::waitpid(child, &ended, 0) == child);
  REQUIRE(WIFSIGNALED(ended));
  // nor is anything else in the file
  std::string expected(most_pool_octets, '\0');
  const auto live = text_of_sequence(300, 1500);
  std::copy(live.begin(), live.end(), expected.begin() + 300);
  CHECK(same(text_of_file(here.path).substr(ring_place), expected));
  CHECK(all_left_is_right(here));
  const auto pool = here.opened();
  CHECK(pool.position() == 300);
  CHECK(pool.end() == 1500);
}

TEST_CASE("auth_pool: overwrites what is no pad any more when a crash has left it in the file") {
  const site here;
  {
    auto pool = here.opened();
    CHECK(takes_what_is_next(pool, 100));
  }
  const auto good = text_of_file(here.path);
  auto text = good;
  const auto used = text_of_sequence(0, 100);
  std::copy(used.begin(), used.end(), text.begin() + ring_place);
  text[ring_place + bootstrap_octets] = 'x';
  text.back() = 'x';
  overwrite_file(here.path, text);
  const auto pool = here.opened();
  CHECK(same(text_of_file(here.path), good));
}

TEST_CASE("auth_pool: has no pad in memory any more when it was taken or given up") {
  const auto arena = site::arena_of(1 << 20);
  auto bootstrap = bootstrap_of(arena, 600);
  const std::byte* const memory = bootstrap.data();
  auto pool = auth_pool::in_memory(std::move(bootstrap));
  REQUIRE(pool);
  CHECK(takes_what_is_next(*pool, 100));
  REQUIRE(pool->begin_session(200, 500));
  std::vector<std::byte> expected(600);
  const auto left = sequence(200, 500);
  std::copy(left.begin(), left.end(), expected.begin() + 200);
  CHECK(std::equal(expected.begin(), expected.end(), memory));
  CHECK(takes_what_is_next(*pool, 290));
  CHECK(appends_what_follows(*pool, 150));  // moves what is left to the front
  expected.assign(600, std::byte{0});
  const auto moved = sequence(490, 650);
  std::copy(moved.begin(), moved.end(), expected.begin());
  CHECK(std::equal(expected.begin(), expected.end(), memory));
}

namespace {

/// What a child that is going to be killed tells of itself.
struct progress {
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::uint64_t> taken{0};  ///< no octet below this may come again
  std::atomic<std::uint64_t> end{0};
  std::atomic<int> wrong{0};
};

/// Takes, appends and begins sessions for ever.
void use_for_ever(const site& here, progress& told, std::uint64_t child_seed) {
  std::mt19937_64 random{child_seed};
  auto pool = auth_pool::open(here.path, here.bootstrap, site::arena_of(std::size_t{16} << 20), nullptr);
  if (!pool) {
    told.wrong = 1;
    return;
  }
  while (true) {
    ++told.steps;
    const auto kind = random() % 16;
    if (kind == 0) {
      if (!pool->begin_session(pool->position() + random() % 20, pool->end() - random() % 20)) told.wrong = 2;
    } else if (kind < 8 && pool->left() < 3000) {
      if (!appends_what_follows(*pool, 1 + random() % 400)) told.wrong = 3;
    } else if (pool->left() > 500) {
      if (!takes_what_is_next(*pool, 1 + random() % 150)) told.wrong = 4;
    }
    told.taken = pool->position();
    told.end = pool->end();
  }
}

}  // namespace

TEST_CASE("auth_pool: never goes back when its process is killed at any moment") {
  const memory_disk fast;
  const site here;
  void* const shared =
      ::mmap(nullptr, sizeof(progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto& told = *new (shared) progress;
  std::mt19937_64 random{seed};
  std::uint64_t before = 0;
  int early = 0;
  for (int trial = 0; trial < 300; ++trial) {
    INFO("seed ", seed, ", trial ", trial);
    const std::uint64_t child_seed = random();
    told.steps = 0;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      use_for_ever(here, told, child_seed);
      ::_exit(1);
    }
    const std::uint64_t most_steps =
        random() % 4 == 0 ? 0 : random() % 150;  // 0: perhaps in the midst of opening or making the file
    while (told.steps < most_steps && told.wrong == 0) ::sched_yield();
    for (auto spins = random() % 100'000; spins > 0; --spins) asm volatile("");
    ::kill(child, SIGKILL);
    int ended = 0;
    REQUIRE(::waitpid(child, &ended, 0) == child);
    REQUIRE(told.wrong == 0);

    if (most_steps == 0) ++early;
    if (!std::filesystem::exists(here.path)) continue;  // killed before it was made
    REQUIRE(all_left_is_right(here));
    const auto pool = here.opened();
    REQUIRE(pool.position() >= told.taken);
    REQUIRE(pool.position() >= before);
    // what a crash makes used is an eighth of what was left, and what the last call would have taken
    REQUIRE(pool.position() <= std::max<std::uint64_t>(told.taken, before) + 3400 / 8 + 150);
    before = pool.position();
  }
  CHECK(before > 50'000);
  CHECK(early > 40);
  ::munmap(shared, sizeof(progress));
}

TEST_CASE("auth_pool: has the state before or after when a write was torn") {
  const memory_disk fast;
  const site here;
  std::string earlier;
  std::string later;
  std::uint64_t earlier_end = 0;
  std::uint64_t later_end = 0;
  {
    auto pool = here.opened();
    REQUIRE(pool.begin_session(100, bootstrap_octets));
    earlier = text_of_file(here.path);
    earlier_end = pool.end();
    REQUIRE(appends_what_follows(pool, 300));
    SUBCASE("of a session") { REQUIRE(pool.begin_session(200, pool.end())); }
    SUBCASE("of a pad") { REQUIRE(takes_what_is_next(pool, 32)); }
    later = text_of_file(here.path);
    later_end = pool.end();
  }
  // in the order in which they are written: what is appended, one record, the other, zeros over what is used
  const std::array<std::pair<std::size_t, std::size_t>, 4> writes{
      std::pair{ring_place + earlier_end, later_end - earlier_end},
      {0, record_octets},
      {4096, record_octets},
      {ring_place, 300}};
  std::string torn = earlier;
  std::uint64_t highest = 100;
  const site copy;
  for (const auto& write : writes) {
    const std::size_t place = write.first;
    const std::size_t size = write.second;
    for (std::size_t done = 0; done <= size; done += place < ring_place ? 8 : 50) {
      std::copy_n(later.begin() + static_cast<std::ptrdiff_t>(place), done,
                  torn.begin() + static_cast<std::ptrdiff_t>(place));
      copy.folder.write("pool", torn);
      INFO(done, " octets written at ", place);
      std::string why;
      auto pool = auth_pool::open(copy.path, here.bootstrap, copy.arena, &why);
      REQUIRE_MESSAGE(pool, why);
      REQUIRE(pool->position() >= highest);
      REQUIRE(pool->end() == (pool->position() == 100 ? earlier_end : later_end));
      if (place > 0 && place < ring_place) REQUIRE(pool->position() > 100);  // one copy is there
      highest = pool->position();
      REQUIRE(takes_what_is_next(*pool, pool->left()));
    }
  }
  CHECK(same(torn, later));
  CHECK(highest > 100);
}

TEST_CASE("auth_pool: is opened when one record is damaged, and refused when both are") {
  const memory_disk fast;
  const site here;
  {
    auto pool = here.opened();
    CHECK(takes_what_is_next(pool, 100));
  }
  const auto good = text_of_file(here.path);
  std::mt19937_64 random{seed};
  const auto damage = [&random](std::string& text, std::size_t place) {
    text[place + random() % record_octets] ^= static_cast<char>(1 << random() % 8);
  };
  for (int trial = 0; trial < 20; ++trial) {
    INFO("seed ", seed, ", trial ", trial);
    auto text = good;
    damage(text, trial % 2 == 0 ? 0 : 4096);
    overwrite_file(here.path, text);
    {
      const auto pool = here.opened();
      REQUIRE(pool.position() == 100);
    }
    REQUIRE(same(text_of_file(here.path), good));  // whole again
    damage(text, trial % 2 == 0 ? 4096 : 0);
    overwrite_file(here.path, text);
    REQUIRE(here.refused("damaged") == invalid);
    REQUIRE(same(text_of_file(here.path), text));
  }
}

TEST_CASE("auth_pool: is refused when a bit of a pad that is left differs") {
  const memory_disk fast;
  const site here;
  {
    auto pool = here.opened();
    CHECK(takes_what_is_next(pool, 100));
  }
  const auto good = text_of_file(here.path);
  std::mt19937_64 random{seed};
  for (int trial = 0; trial < 50; ++trial) {
    INFO("seed ", seed, ", trial ", trial);
    auto text = good;
    text[ring_place + 100 + random() % (bootstrap_octets - 100)] ^= static_cast<char>(1 << random() % 8);
    overwrite_file(here.path, text);
    REQUIRE(here.refused("damaged") == invalid);
  }
}

TEST_CASE("auth_pool: is refused when the file is cut, empty, or another") {
  site here;
  { const auto pool = here.opened(); }
  auto text = text_of_file(here.path);
  std::string word = "damaged";
  SUBCASE("cut") { text.pop_back(); }
  SUBCASE("longer") { text.push_back('x'); }
  SUBCASE("empty") { text.clear(); }
  SUBCASE("zeros") { std::fill(text.begin(), text.end(), '\0'); }
  SUBCASE("from another bootstrap") {
    here.folder.write("psk", text_of_sequence(1, bootstrap_octets + identity_octets + 1));
    word = "another bootstrap";
  }
  SUBCASE("from the beginning of another bootstrap") {
    here.folder.write("psk", text_of_sequence(0, bootstrap_octets + identity_octets + 1));
    word = "another bootstrap";
  }
  overwrite_file(here.path, text);
  CHECK(here.refused(word) == invalid);
  CHECK(same(text_of_file(here.path), text));
}

TEST_CASE("auth_pool: needs no bootstrap when the file is there") {
  const site here;
  {
    auto pool = here.opened();
    CHECK(takes_what_is_next(pool, 64));
  }
  std::filesystem::remove(here.bootstrap);
  auto pool = here.opened();
  CHECK(pool.position() == 64);
  CHECK(takes_what_is_next(pool, 64));
}

TEST_CASE("auth_pool: is refused when others may read a file of its own") {
  const site here;
  { const auto pool = here.opened(); }
  struct stat facts {};
  REQUIRE(::stat(here.path.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 0600);
  std::string which = here.path;
  SUBCASE("the pool") {}
  SUBCASE("the bootstrap") { which = here.bootstrap; }
  std::filesystem::permissions(which, std::filesystem::perms{0640});
  CHECK(here.refused("0640") == std::errc::permission_denied);
  std::filesystem::permissions(which, std::filesystem::perms{0600});
  CHECK(here.open());
}

TEST_CASE("auth_pool: is refused when another pool has the file, in this process or in another") {
  const site here;
  constexpr auto busy = std::errc::device_or_resource_busy;
  {
    const auto pool = here.opened();
    CHECK(here.refused("another process") == busy);
    in_child([&here] { return here.open().error() == busy ? 0 : 1; });
  }
  CHECK(here.open());
}

TEST_CASE("auth_pool: is made by one process when many make it at once") {
  const memory_disk fast;
  for (int trial = 0; trial < 20; ++trial) {
    const site here;
    std::array<pid_t, 4> children{};
    for (auto& child : children) {
      child = ::fork();
      REQUIRE(child >= 0);
      if (child == 0) {
        // each takes the first pads that it can have, and leaves without giving back
        std::string why;
        auto pool = auth_pool::open(here.path, here.bootstrap, site::arena_of(1 << 22), &why);
        if (!pool) {
          const bool is_busy = pool.error() == std::errc::device_or_resource_busy;
          if (!is_busy) std::fprintf(stderr, "%s\n", why.c_str());
          ::_exit(is_busy ? 0 : 1);
        }
        ::_exit(pool->position() % 100 == 0 && pool->begin_session(pool->position() + 100, bootstrap_octets)
                    ? 2
                    : 3);
      }
    }
    std::uint64_t made = 0;
    for (const auto child : children) {
      int ended = 0;
      REQUIRE(::waitpid(child, &ended, 0) == child);
      REQUIRE(WIFEXITED(ended));
      CHECK(WEXITSTATUS(ended) % 2 == 0);
      if (WEXITSTATUS(ended) == 2) ++made;
    }
    CHECK(made >= 1);
    const auto pool = here.opened();
    CHECK(pool.position() == made * 100);
    CHECK_FALSE(std::filesystem::exists(here.path + ".new"));
  }
}

TEST_CASE("auth_pool: does not take the place of what has its name when that came to be in between") {
  // a link to nothing is not there when one looks, and is when one gives its name to a file
  const site here;
  std::filesystem::create_symlink(here.folder / "nothing", here.path);
  CHECK(here.refused("No such file") == std::errc::no_such_file_or_directory);
  CHECK(std::filesystem::is_symlink(here.path));
  CHECK_FALSE(std::filesystem::exists(here.path + ".new"));
}

TEST_CASE("auth_pool: is made anew when it was left half made") {
  const site here;
  here.folder.write("pool.new", std::string(3 << 20, 'x'));
  CHECK(takes_what_is_next(*std::make_unique<auth_pool>(here.opened()), bootstrap_octets));
  CHECK_FALSE(std::filesystem::exists(here.path + ".new"));
}

TEST_CASE("auth_pool: gives nothing and stores nothing when it is in a child of fork") {
  const site here;
  auto pool = here.opened();
  CHECK(takes_what_is_next(pool, 100));
  const auto stored = text_of_file(here.path);
  in_child([&pool] {
    auto child_pool = std::move(pool);
    std::array<std::byte, 16> out{};
    if (child_pool.take(out).error() != forked) return 1;
    if (child_pool.append(out).error() != forked) return 2;
    if (child_pool.begin_session(200, 1000).error() != forked) return 3;
    return out == std::array<std::byte, 16>{} ? 0 : 4;
  });
  CHECK(same(text_of_file(here.path), stored));
  CHECK(takes_what_is_next(pool, 1000));
}

TEST_CASE("auth_pool: gives no pad any more when the file could not be written") {
  const site here;
  in_child([&here] {
    auto pool = auth_pool::open(here.path, here.bootstrap, site::arena_of(1 << 22), nullptr);
    if (!pool || !takes_what_is_next(*pool, 100)) return 1;
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const auto most = limit.rlim_cur;
    ::signal(SIGXFSZ, SIG_IGN);
    limit.rlim_cur = 0;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::vector<std::byte> out(1000);
    const auto position = pool->position();
    if (pool->take(out).error() != std::errc::file_too_large) return 2;
    limit.rlim_cur = most;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    if (pool->take(out).error() != std::errc::file_too_large) return 3;
    return pool->position() == position && out == std::vector<std::byte>(1000) ? 0 : 4;
  });
  CHECK(here.open());
}
