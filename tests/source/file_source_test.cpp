// SPDX-License-Identifier: Apache-2.0
#include "qkd004/file_source.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "source/two_ends.hpp"

using namespace qkd004;
using namespace qkd004::tests;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t block = 64;

/// Octets that look like key, of so many blocks and some more.
std::string key_text(std::size_t blocks, unsigned seed = 1) {
  std::mt19937 random{seed};
  std::string text(blocks * block + 17, '\0');
  for (auto& octet : text) octet = static_cast<char>(random());
  return text;
}

/// A folder with the key file "key" and options for it.
struct site {
  explicit site(const std::string& text) : options{folder.write("key", text), security_class::hardware} {
    options.block_bytes = block;
    options.reserve_blocks = 4;
  }

  std::unique_ptr<key_source> open() const {
    std::string why;
    auto source = make_file_source(options, &why);
    REQUIRE_MESSAGE(source, why);
    return std::move(*source);
  }

  std::error_code error(std::string* why = nullptr) const { return make_file_source(options, why).error(); }

  std::string offset_path() const { return options.path + ".offset"; }

  passing_folder folder;
  file_source_options options;
};

key_source_check begin(key_source& source, std::uint64_t first_block, time_point now = at_zero) {
  const auto check = source.start(session_of(1, 2, first_block), now);
  REQUIRE(check);
  return *check;
}

std::string blocks_of(const std::string& text, std::size_t first, std::size_t count) {
  return text.substr(first * block, count * block);
}

const auto invalid = make_error_code(status::invalid_argument);
const auto insufficient = make_error_code(status::insufficient_key);

}  // namespace

TEST_CASE("file_source: says what it is when asked") {
  site here{key_text(4)};
  here.options.rate_bps = 5000;
  const auto source = here.open();
  CHECK(source->capabilities().kind == "file");
  CHECK(source->capabilities().security == security_class::hardware);
  CHECK(source->capabilities().rate_bps == 5000);
  CHECK(source->position() == 0);
}

TEST_CASE(
    "file_source: delivers the file in order at both ends when the first block went into the check value") {
  const auto arena = test_arena();
  const auto text = key_text(20);
  const site here{text};
  const site there{text};
  const auto one = here.open();
  const auto other = there.open();
  CHECK(begin(*one, 0) == begin(*other, 0));
  const auto first = take(*one, arena, 0, 10);
  CHECK(same(first, blocks_of(text, 1, 10)));
  CHECK(same(first, take(*other, arena, 0, 10)));
  CHECK(one->position() == 11);
}

TEST_CASE("file_source: has another check value when anything differs at the other site") {
  const auto arena = test_arena();
  const auto text = key_text(20);
  auto other_text = text;
  auto session = session_of(1, 2);
  std::size_t other_block = block;
  std::uint64_t other_rate = 0;
  SUBCASE("the file") { other_text = key_text(20, 2); }
  SUBCASE("a bit") { other_text[block - 1] ^= 1; }
  SUBCASE("the place") { other_text = text.substr(block) + text.substr(0, block); }
  SUBCASE("the file's size") { other_text += "x"; }
  SUBCASE("the block size") { other_block = 2 * block; }
  SUBCASE("the rate") { other_rate = 1; }
  SUBCASE("the link") { session.link = "link-2"; }
  SUBCASE("an instance") { session.lower[0] = std::byte{9}; }
  bool erase = false;
  SUBCASE("the file, when it is erased") { other_text = key_text(20, 2), erase = true; }
  site here{text};
  site there{other_text};
  there.options.block_bytes = other_block;
  there.options.rate_bps = other_rate;
  here.options.erase = there.options.erase = erase;
  const auto check = there.open()->start(session, at_zero);
  REQUIRE(check);
  CHECK(begin(*here.open(), 0) != *check);
}

TEST_CASE("file_source: tells nothing of the key when the check value is seen") {
  const auto text = key_text(4);
  const site here{text};
  const auto check = begin(*here.open(), 0);
  CHECK(text.find(std::string{reinterpret_cast<const char*>(check.data()), 8}) == std::string::npos);
  CHECK_FALSE(repeats(text_of_file(here.offset_path()), text));
}

TEST_CASE("file_source: goes on behind what it handed out when it was stopped and opened again") {
  const auto arena = test_arena();
  const auto text = key_text(40);
  const site here{text};
  auto source = here.open();
  begin(*source, 0);
  take(*source, arena, 0, 9);
  source->stop();
  CHECK(source->position() == 10);
  source.reset();
  source = here.open();
  CHECK(source->position() == 10);
  begin(*source, 10);
  CHECK(same(take(*source, arena, 10, 5), blocks_of(text, 11, 5)));
}

TEST_CASE("file_source: never hands out a block twice when it dies at any point") {
  const auto arena = test_arena();
  const auto text = key_text(200);
  const site here{text};
  std::string all;
  for (std::uint64_t taken = 0; taken < 12; ++taken) {
    const auto source = here.open();  // dies at the end of the loop, without stop()
    const auto position = source->position();
    begin(*source, position);
    const auto fresh = take(*source, arena, position, taken);
    CHECK_FALSE(repeats(fresh, all));
    all += blocks_of(text, position, 1) + fresh;
  }
  const auto last = here.open();
  CHECK(last->position() <=
        12 + 66 + 12 * here.options.reserve_blocks);  // and does not skip more than it says
}

TEST_CASE("file_source: goes to where the peer is when that is further, and never back") {
  const auto arena = test_arena();
  const auto text = key_text(40);
  const site here{text};
  auto source = here.open();
  begin(*source, 0);
  take(*source, arena, 0, 3);
  CHECK(source->start(session_of(1, 3, 3), at_zero).error() == invalid);
  begin(*source, 20);
  CHECK(same(take(*source, arena, 20, 2), blocks_of(text, 21, 2)));
  source.reset();
  source = here.open();
  CHECK(source->position() >= 23);
  CHECK(source->start(session_of(1, 4, 5), at_zero).error() == invalid);
}

TEST_CASE("file_source: is at its end when the file is") {
  const auto arena = test_arena();
  const auto text = key_text(6);
  const site here{text};
  auto source = here.open();
  CHECK(source->start(session_of(1, 2, 5), at_zero).error() ==
        insufficient);  // nothing behind the check's block
  CHECK(source->start(session_of(1, 2, UINT64_MAX), at_zero).error() == insufficient);
  begin(*source, 0);
  CHECK(same(take(*source, arena, 0, 5), blocks_of(text, 1, 5)));
  CHECK(error_of_poll(*source, arena) == insufficient);
  CHECK(error_of_poll(*source, arena) == insufficient);
  source->stop();
  source.reset();
  source = here.open();
  CHECK(source->position() == 6);
  CHECK(source->start(session_of(1, 3, 6), at_zero).error() == insufficient);
}

TEST_CASE("file_source: gives nothing when it is outside a session") {
  const auto arena = test_arena();
  const site here{key_text(6)};
  const auto source = here.open();
  CHECK(error_of_poll(*source, arena) == invalid);
  begin(*source, 0);
  source->stop();
  CHECK(error_of_poll(*source, arena) == invalid);
}

TEST_CASE("file_source: keeps its rate to within a block when it has one") {
  const auto arena = test_arena();
  site here{key_text(1100)};
  here.options.rate_bps = 51'200;  // 100 blocks/s
  here.options.reserve_blocks = 1000;
  const auto source = here.open();
  begin(*source, 0, at_zero + 3s);
  CHECK(blocks_ready(*source, arena, at_zero + 3s) == 1);
  CHECK(source->ready_at(at_zero + 3s) == at_zero + 3s + 10ms);
  std::size_t count = 1;
  for (auto now = at_zero + 3s; now <= at_zero + 13s; now += 25ms) count += blocks_ready(*source, arena, now);
  CHECK(count >= 1000);
  CHECK(count <= 1001);
}

TEST_CASE("file_source: loses no block when the arena is full") {
  const auto arena = test_arena();
  const auto text = key_text(10);
  const site here{text};
  secret_options none;
  none.bytes = 0;
  const auto source = here.open();
  begin(*source, 0);
  CHECK(error_of_poll(*source, secret_arena{none}) == make_error_code(status::resource_limit));
  CHECK(same(take(*source, arena, 0, 2), blocks_of(text, 1, 2)));
}

TEST_CASE("file_source: refuses a file when another key source has it") {
  const auto text = key_text(10);
  site here{text};
  auto source = here.open();
  std::string why;
  CHECK(here.error(&why) == std::errc::device_or_resource_busy);
  CHECK(why == here.options.path + ": another key source has it");
  SUBCASE("and another offset file") {
    here.options.offset_path = here.folder / "other";
    CHECK(here.error() == std::errc::device_or_resource_busy);
  }
  SUBCASE("the offset file") {
    here.options.offset_path = here.offset_path();
    here.options.path = here.folder.write("copy", text);
    CHECK(here.error(&why) == std::errc::device_or_resource_busy);
    CHECK(why.find("key.offset") != std::string::npos);
  }
  SUBCASE("but not any longer") {
    source.reset();
    CHECK(make_file_source(here.options));
  }
}

TEST_CASE("file_source: refuses to start when the offset file is damaged") {
  const auto arena = test_arena();
  const site here{key_text(40)};
  {
    const auto source = here.open();
    begin(*source, 0);
    take(*source, arena, 0, 6);
  }
  auto record = text_of_file(here.offset_path());
  SUBCASE("empty") { record.clear(); }
  SUBCASE("short") { record.pop_back(); }
  SUBCASE("long") { record += '\0'; }
  SUBCASE("zeros") { record.assign(record.size(), '\0'); }
  SUBCASE("an octet of the offset in both copies") { record[31] ^= 1, record[4096 + 31] ^= 1; }
  SUBCASE("an octet of the checksum in both copies") { record[63] ^= 1, record[4096 + 40] ^= 1; }
  SUBCASE("the magic in both copies") { record[0] ^= 1, record[4096] ^= 1; }
  here.folder.write("key.offset", record);
  std::string why;
  CHECK(here.error(&why) == invalid);
  CHECK(why.find(here.offset_path() + ": damaged") == 0);
}

TEST_CASE("file_source: uses the other copy when one of the offset file is damaged") {
  const auto arena = test_arena();
  const site here{key_text(40)};
  {
    const auto source = here.open();
    begin(*source, 0);
    take(*source, arena, 0, 6);
  }
  auto record = text_of_file(here.offset_path());
  std::size_t place = 0;
  SUBCASE("the first") { place = 31; }
  SUBCASE("the second") { place = 4096 + 63; }
  record[place] ^= 1;
  here.folder.write("key.offset", record);
  auto source = here.open();
  CHECK(source->position() == 9);
  begin(*source, 9);
  source.reset();
  record = text_of_file(here.offset_path());
  CHECK(same(record.substr(0, 64), record.substr(4096)));  // healed
}

TEST_CASE("file_source: believes the further copy when a crash left the two of the offset file unequal") {
  const auto arena = test_arena();
  const site here{key_text(40)};
  begin(*here.open(), 0);
  const auto old = text_of_file(here.offset_path());
  begin(*here.open(), 5);
  auto record = text_of_file(here.offset_path());
  SUBCASE("the first is old") { record = old.substr(0, 4096) + record.substr(4096); }
  SUBCASE("the second is old") { record = record.substr(0, 4096) + old.substr(4096); }
  here.folder.write("key.offset", record);
  CHECK(here.open()->position() == 10);
}

TEST_CASE("file_source: refuses the offset file when it belongs to another key file or block size") {
  site here{key_text(40)};
  here.open();
  std::string why;
  SUBCASE("longer") { here.folder.write("key", key_text(41)); }
  SUBCASE("shorter") { here.folder.write("key", key_text(39)); }
  SUBCASE("block size") { here.options.block_bytes = 128; }
  CHECK(here.error(&why) == invalid);
  CHECK(why == here.offset_path() + ": belongs to a key file of 2577 octets in blocks of 64");
}

TEST_CASE("file_source: fails and ends the session when the file is cut off while it is read") {
  const auto arena = test_arena();
  const site here{key_text(10)};
  const auto source = here.open();
  begin(*source, 0);
  take(*source, arena, 0, 2);
  std::filesystem::resize_file(here.options.path, 3 * block + 1);
  CHECK(error_of_poll(*source, arena) == std::errc::io_error);
  CHECK(error_of_poll(*source, arena) == invalid);
}

TEST_CASE("file_source: refuses a key file when others than its owner have access, unless told to go on") {
  site here{key_text(10)};
  REQUIRE(::chmod(here.options.path.c_str(), 0640) == 0);
  std::string why;
  CHECK(here.error(&why) == std::errc::permission_denied);
  CHECK(why == here.options.path + ": group or others have access (mode 0640), chmod 600 helps");
  here.options.allow_readable = true;
  here.open();
}

TEST_CASE("file_source: makes an offset file for its owner only when there is none") {
  const site here{key_text(10)};
  here.open();
  struct stat facts {};
  REQUIRE(::stat(here.offset_path().c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 0600);
  REQUIRE(::chmod(here.offset_path().c_str(), 0666) == 0);
  CHECK(here.error() == std::errc::permission_denied);  // others could set it back
}

TEST_CASE("file_source: says why when options or files are of no use") {
  site here{key_text(10)};
  std::string why;
  SUBCASE("block too small") {
    here.options.block_bytes = 31;
    CHECK(here.error(&why) == invalid);
  }
  SUBCASE("block too large") {
    here.options.block_bytes = (1 << 20) + 1;
    CHECK(here.error(&why) == invalid);
  }
  SUBCASE("nothing to reserve") {
    here.options.reserve_blocks = 0;
    CHECK(here.error(&why) == invalid);
  }
  SUBCASE("file too small") {
    here.options.block_bytes = 512;
    CHECK(here.error(&why) == invalid);
  }
  SUBCASE("no key file") {
    here.options.path += "s";
    CHECK(here.error(&why) == std::errc::no_such_file_or_directory);
  }
  SUBCASE("no folder for the offset file") {
    here.options.offset_path = here.folder / "none/offset";
    CHECK(here.error(&why) == std::errc::no_such_file_or_directory);
  }
  SUBCASE("the offset file would be somewhere else") {
    std::filesystem::create_symlink(here.folder / "elsewhere", here.offset_path());
    CHECK(here.error(&why) == std::errc::file_exists);
  }
  SUBCASE("the offset file is a folder") {
    here.options.offset_path = here.folder / "";
    CHECK(here.error(&why));
  }
  CHECK(why.find(": ") != std::string::npos);
}

TEST_CASE("file_source: overwrites what was used and nothing else when told to erase") {
  const auto arena = test_arena();
  const auto text = key_text(40);
  site here{text};
  here.options.erase = true;
  const auto left = [&] { return text_of_file(here.options.path); };
  const auto erased = [&](std::size_t blocks) {
    return std::string(blocks * block, '\0') + text.substr(blocks * block);
  };
  auto source = here.open();
  begin(*source, 0);
  CHECK(same(left(), erased(1)));
  CHECK(same(take(*source, arena, 0, 10), blocks_of(text, 1, 10)));
  CHECK(same(left(), erased(9)));  // with the last reservation
  SUBCASE("stopped") {
    source->stop();
    CHECK(same(left(), erased(11)));
  }
  SUBCASE("died") {
    source.reset();
    CHECK(same(left(), erased(9)));
    source = here.open();
    CHECK(source->position() == 13);
    CHECK(same(left(), erased(13)));
  }
}

TEST_CASE("file_source: hands out no zeros when the offset file of an erased key file was lost") {
  const auto arena = test_arena();
  site here{key_text(40)};
  here.options.erase = true;
  auto source = here.open();
  begin(*source, 0);
  take(*source, arena, 0, 10);
  source->stop();
  source.reset();
  std::filesystem::remove(here.offset_path());
  source = here.open();
  CHECK(source->start(session_of(3, 4, 0), at_zero).error() == insufficient);
  begin(*source, 11);
  take(*source, arena, 11, 1);
}

TEST_CASE("file_source: hands out no zeros when there is a hole in the file") {
  const auto arena = test_arena();
  auto text = key_text(10);
  text.replace(3 * block, block, block, '\0');
  const site here{text};
  const auto source = here.open();
  begin(*source, 0);
  take(*source, arena, 0, 2);
  CHECK(error_of_poll(*source, arena) == insufficient);
}

TEST_CASE("file_source: neither delivers nor marks when it is in a child of fork") {
  const auto arena = test_arena();
  const site here{key_text(40)};
  auto source = here.open();
  begin(*source, 0);
  take(*source, arena, 0, 2);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool gave = source->poll(test_arena(), at_zero).has_value();
    source->stop();
    const bool began = source->start(session_of(1, 3, 20), at_zero).has_value();
    ::_exit(gave || began ? 1 : 0);
  }
  REQUIRE(child > 0);
  int result = -1;
  REQUIRE(::waitpid(child, &result, 0) == child);
  CHECK(result == 0);
  source.reset();
  CHECK(here.open()->position() == 5);
}
