// SPDX-License-Identifier: Apache-2.0
#include "qkd004/seeded_source.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "source/two_ends.hpp"

using namespace qkd004;
using namespace qkd004::tests;
using namespace std::chrono_literals;

namespace {

secret_bytes secret_of(const secret_arena& arena, unsigned first_octet = 0) {
  auto secret = arena.allocate(seeded_secret_bytes);
  REQUIRE(secret);
  for (std::size_t i = 0; i < seeded_secret_bytes; ++i) secret->data()[i] = std::byte(first_octet + i);
  return std::move(*secret);
}

std::unique_ptr<key_source> make(const secret_arena& arena, std::uint64_t rate_bps = 0,
                                 std::size_t block_bytes = 64, unsigned secret = 0) {
  seeded_source_options options;
  options.rate_bps = rate_bps;
  options.block_bytes = block_bytes;
  auto source = make_seeded_source(secret_of(arena, secret), options);
  REQUIRE(source);
  return std::move(*source);
}

key_source_check check_of(key_source& source, const key_source_session& session) {
  const auto check = source.start(session, at_zero);
  REQUIRE(check);
  return *check;
}

std::string hex(const char* data, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    const auto octet = static_cast<unsigned char>(data[i]);
    text += "0123456789abcdef"[octet >> 4];
    text += "0123456789abcdef"[octet & 15];
  }
  return text;
}

}  // namespace

// Computed with OpenSSL's program. INFO is, in hexadecimal: 0000001a, "qkd004 seeded source key 1", 00000006,
// "link-1", 00000010, 16 x 11, 00000010, 16 x 22, 0000000000000040 (block size), 0000000000000000 (rate):
//   SECRET=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
//   openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:$SECRET -kdfopt hexinfo:$INFO HKDF     gives
//   KEY head -c 128 /dev/zero | openssl enc -aes-256-ctr -K $KEY -iv 00000000000000000000000000000000 | xxd
//   -p -c 64
// and the check value as KEY, with 0000001c, "qkd004 seeded source check 1" in place of the first two.
TEST_CASE("seeded_source: delivers what OpenSSL's program computes when given the same secret and session") {
  const auto arena = test_arena();
  const auto source = make(arena);
  const auto check = check_of(*source, session_of(0x11, 0x22));
  CHECK(hex(reinterpret_cast<const char*>(check.data()), check.size()) ==
        "a40f1290006140c012012d2118ac6265a78323a0a98f97a3e40cc8a1caeeabd9");
  const auto text = take(*source, arena, 0, 2);
  CHECK(hex(text.data(), 64) ==
        "f8acdf2b94ade9dd0a831e8ed0b79c4a927b65fe646273560016b3c097dbd0ae"
        "62ada5b1e1f09cbef6a453d0a2748d102eba487fa51582c92e6b2c55bf372e6b");
  CHECK(hex(text.data() + 64, 64) ==
        "e2fba128f04056c02ad525443fe12a89c406d9dd9fd08b57ee14cf13b3c57aeb"
        "cae74efcd55244923201ea2f5b26fca7fbe121e0b895eac048bbecaf6407eccb");
}

TEST_CASE("seeded_source: says what it is when asked") {
  const auto arena = test_arena();
  const auto source = make(arena, 1'000'000);
  CHECK(source->capabilities().kind == "seeded");
  CHECK(source->capabilities().security == security_class::simulated_insecure);
  CHECK(source->capabilities().rate_bps == 1'000'000);
  CHECK(source->position() == 0);
}

TEST_CASE("seeded_source: delivers the same blocks at both ends when their paces differ") {
  const auto arena = test_arena();
  const auto one = make(arena, 80'000, 100);
  const auto other = make(arena, 80'000, 100);
  CHECK(check_of(*one, session_of(1, 2)) == check_of(*other, session_of(1, 2)));
  std::string often;
  for (auto now = at_zero; now < at_zero + 3s; now += 10ms) often += take_ready(*one, arena, now).octets;
  std::string seldom;
  for (auto now = at_zero; now < at_zero + 4s; now += 1s) seldom += take_ready(*other, arena, now).octets;
  CHECK(often.size() >= 299 * 100);
  CHECK(same(often, seldom.substr(0, often.size())));
}

TEST_CASE("seeded_source: never repeats an octet when a site restarts") {
  const auto arena = test_arena();
  auto source = make(arena);
  auto old_check = check_of(*source, session_of(1, 2));
  auto old = take(*source, arena, 0, 50);
  SUBCASE("the lower") {}
  SUBCASE("the lower, its key source made anew") { source = make(arena); }
  const auto check = check_of(*source, session_of(3, 2));
  CHECK(check != old_check);
  CHECK_FALSE(repeats(take(*source, arena, 0, 50), old));
  const auto third = check_of(*source, session_of(3, 4));  // and the higher
  CHECK(third != check);
  CHECK_FALSE(repeats(take(*source, arena, 0, 50), old));
  CHECK(check_of(*source, session_of(4, 3)) != third);  // the order counts
}

TEST_CASE("seeded_source: refuses the instances of the last session when that gave a block") {
  const auto arena = test_arena();
  const auto source = make(arena);
  const auto check = check_of(*source, session_of(1, 2));
  CHECK(check == check_of(*source, session_of(1, 2)));  // nothing was taken yet
  take(*source, arena, 0, 1);
  CHECK(source->start(session_of(1, 2), at_zero).error() == make_error_code(status::invalid_argument));
  source->stop();
  CHECK(source->start(session_of(1, 2), at_zero).error() == make_error_code(status::invalid_argument));
}

TEST_CASE("seeded_source: has another check value and key when anything differs at the other site") {
  const auto arena = test_arena();
  const auto here = make(arena, 1'000'000, 64);
  auto there = make(arena, 1'000'000, 64);
  auto session = session_of(1, 2);
  SUBCASE("the secret") { there = make(arena, 1'000'000, 64, 1); }
  SUBCASE("the rate") { there = make(arena, 1'000'001, 64); }
  SUBCASE("the block size") { there = make(arena, 1'000'000, 128); }
  SUBCASE("the link") { session.link = "link-2"; }
  SUBCASE("an instance") { session.higher[15] = std::byte{3}; }
  CHECK(check_of(*here, session_of(1, 2)) != check_of(*there, session));
  CHECK_FALSE(repeats(take(*there, arena, 0, 1), take(*here, arena, 0, 1)));
}

TEST_CASE("seeded_source: tells a link name from an instance when octets move from one to the other") {
  const auto arena = test_arena();
  const auto source = make(arena);
  auto session = session_of(0x41, 0x41);
  session.link = "A";
  const auto check = check_of(*source, session);
  session.link = "AA";
  CHECK(check != check_of(*source, session));
}

TEST_CASE("seeded_source: keeps its rate to within a block when it is polled at odd times") {
  const auto arena = test_arena();
  const auto source = make(arena, 1'000'000, 0);
  REQUIRE(source->start(session_of(1, 2), at_zero + 5s));
  std::size_t octets = 0;
  auto now = at_zero + 5s;
  for (; now < at_zero + 65s; now += 17ms) octets += take_ready(*source, arena, now).octets.size();
  octets += take_ready(*source, arena, at_zero + 65s).octets.size();
  CHECK(octets >= 60 * 125'000);
  CHECK(octets <= 60 * 125'000 + 6'208);
}

TEST_CASE("seeded_source: says when the next block is there when it had none") {
  const auto arena = test_arena();
  const auto source = make(arena, 8'000, 100);  // 10 blocks/s
  CHECK(error_of_poll(*source, arena) == make_error_code(status::invalid_argument));
  REQUIRE(source->start(session_of(1, 2), at_zero));
  CHECK(source->ready_at(at_zero) == at_zero);
  take(*source, arena, 0, 1);
  CHECK(none_yet(*source, arena, at_zero + 99ms));
  CHECK(source->ready_at(at_zero) == at_zero + 100ms);
  take(*source, arena, 1, 1, at_zero + 100ms);
}

TEST_CASE("seeded_source: chooses the block size from the rate when the options leave it open") {
  const auto arena = test_arena();
  const auto size_at = [&arena](std::uint64_t rate_bps) {
    const auto source = make(arena, rate_bps, 0);
    REQUIRE(source->start(session_of(1, 2), at_zero));
    return take(*source, arena, 0, 1).size();
  };
  CHECK(size_at(0) == 16'384);
  CHECK(size_at(1) == 256);
  CHECK(size_at(100'000) == 576);  // 21.7 blocks/s
  CHECK(size_at(1'000'000) == 6'208);
  CHECK(size_at(1'000'000'000) == 65'536);
}

TEST_CASE("seeded_source: loses no block when the arena is full") {
  const auto arena = test_arena();
  secret_options small;
  small.bytes = 4096;
  small.allow_unlocked = true;
  const secret_arena narrow{small};
  const auto here = make(arena, 0, 2048);
  const auto there = make(arena, 0, 2048);
  REQUIRE(here->start(session_of(1, 2), at_zero));
  REQUIRE(there->start(session_of(1, 2), at_zero));
  auto full = narrow.allocate(2048);
  REQUIRE(full);
  CHECK(error_of_poll(*here, narrow) == make_error_code(status::resource_limit));
  full->reset();
  const auto first = take(*here, narrow, 0, 3);
  CHECK(same(first, take(*there, arena, 0, 3)));
}

TEST_CASE("seeded_source: gives nothing when it was stopped") {
  const auto arena = test_arena();
  const auto source = make(arena);
  REQUIRE(source->start(session_of(1, 2), at_zero));
  source->stop();
  CHECK(error_of_poll(*source, arena) == make_error_code(status::invalid_argument));
}

TEST_CASE("seeded_source: refuses what it cannot do when a session or an option is out of range") {
  const auto arena = test_arena();
  const auto invalid = make_error_code(status::invalid_argument);
  auto short_secret = arena.allocate(31);
  REQUIRE(short_secret);
  CHECK(make_seeded_source(std::move(*short_secret)).error() == invalid);
  seeded_source_options large;
  large.block_bytes = (1 << 20) + 1;
  CHECK(make_seeded_source(secret_of(arena), large).error() == invalid);

  const auto source = make(arena);
  CHECK(source->start(session_of(1, 2, 1), at_zero).error() == invalid);
  auto session = session_of(1, 2);
  session.link.assign(513, 'x');
  CHECK(source->start(session, at_zero).error() == invalid);
  session.link.assign(512, 'x');
  CHECK(source->start(session, at_zero));
}

TEST_CASE("seeded_source: gives nothing when it is in a child of fork") {
  const auto arena = test_arena();
  const auto source = make(arena);
  REQUIRE(source->start(session_of(1, 2), at_zero));
  take(*source, arena, 0, 1);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(source->poll(arena, at_zero).has_value() ? 1 : 0);
  REQUIRE(child > 0);
  int result = -1;
  REQUIRE(::waitpid(child, &result, 0) == child);
  CHECK(result == 0);
}

namespace {

const std::string digits = "000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f";

}  // namespace

TEST_CASE("read_secret_file: gives the same secret when the file has octets or digits") {
  const auto arena = test_arena();
  const passing_folder folder;
  std::string text = text_of(secret_of(arena));
  SUBCASE("octets") {}
  SUBCASE("octets that end like a line") { text[31] = '\n'; }
  SUBCASE("digits") { text = digits; }
  SUBCASE("digits and a line feed") { text = digits + "\n"; }
  SUBCASE("digits and both line ends") { text = digits + "\r\n"; }
  std::string why = "unchanged";
  const auto secret = read_secret_file(folder.write("secret", text), arena, &why);
  REQUIRE(secret);
  auto right = text_of(secret_of(arena));
  if (text.size() == 32) right = text;
  CHECK(same(text_of(*secret), right));
  CHECK(why == "unchanged");
}

TEST_CASE("read_secret_file: refuses a file when it is no secret") {
  const auto arena = test_arena();
  const passing_folder folder;
  std::string text;
  SUBCASE("empty") {}
  SUBCASE("31 octets") { text.assign(31, 'a'); }
  SUBCASE("32 octets and a line end") { text.assign(32, 'a'), text += '\n'; }
  SUBCASE("63 digits") { text = digits.substr(1); }
  SUBCASE("63 digits and a line end") { text = digits.substr(1) + "\n"; }
  SUBCASE("two more digits") { text = digits + "00"; }
  SUBCASE("a first digit that is none") { text = "g" + digits.substr(1); }
  SUBCASE("a letter too far") { text = digits.substr(1) + "g"; }
  SUBCASE("below the digits") { text = digits.substr(1) + "/"; }
  SUBCASE("above the digits") { text = digits.substr(1) + ":"; }
  SUBCASE("below the letters") { text = digits.substr(1) + "@"; }
  SUBCASE("a control character that looks like a digit in capitals") { text = digits.substr(1) + "\x10"; }
  SUBCASE("an octet above 127") { text = digits.substr(1) + "\xe1"; }
  std::string why;
  const auto path = folder.write("secret", text);
  CHECK(read_secret_file(path, arena, &why).error() == make_error_code(status::invalid_argument));
  CHECK(why.find(path + ": has ") == 0);
  CHECK(why.find("0102") == std::string::npos);  // no digit of the secret
}

TEST_CASE("read_secret_file: refuses a file when others than its owner have access") {
  const auto arena = test_arena();
  const passing_folder folder;
  const auto path = folder.write("secret", digits);
  mode_t mode = 0;
  SUBCASE("group reads") { mode = 0640; }
  SUBCASE("others read") { mode = 0604; }
  SUBCASE("group writes") { mode = 0620; }
  REQUIRE(::chmod(path.c_str(), mode) == 0);
  std::string why;
  CHECK(read_secret_file(path, arena, &why).error() == std::errc::permission_denied);
  CHECK(why.find("group or others have access (mode 06") != std::string::npos);
  REQUIRE(::chmod(path.c_str(), 0400) == 0);
  CHECK(read_secret_file(path, arena));
}

TEST_CASE("read_secret_file: says why when there is no file, or none to read") {
  const auto arena = test_arena();
  const passing_folder folder;
  std::string why;
  CHECK(read_secret_file(folder / "missing", arena, &why).error() == std::errc::no_such_file_or_directory);
  CHECK(why.find("missing: open: ") != std::string::npos);
  CHECK(read_secret_file(folder / "", arena, &why).error() == make_error_code(status::invalid_argument));
  CHECK(why.find("not a regular file") != std::string::npos);
  const auto pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(read_secret_file(pipe, arena).error() == make_error_code(status::invalid_argument));  // and at once
}
