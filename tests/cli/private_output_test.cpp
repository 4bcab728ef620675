// SPDX-License-Identifier: Apache-2.0
#include "cli/private_output.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <span>
#include <string>
#include <string_view>

#include "cli/secret.hpp"
#include "qkd004/seeded_source.hpp"
#include "site_pair.hpp"

using namespace qkd004;
using namespace qkd004::cli;
using test::has;
using test::read_file;

TEST_CASE("private output: makes a file of mode 0600 with what was written") {
  const test::temporary_folder folder;
  const mode_t before = ::umask(0);
  auto file = private_output::create(folder.path("f"), nullptr);
  ::umask(before);
  REQUIRE(file);
  const std::string_view text{"a\0b", 3};
  CHECK(file->write(std::as_bytes(std::span{text})));
  CHECK(file->close());
  CHECK_FALSE(*file);
  CHECK(read_file(folder.path("f")) == text);
  struct stat s {};
  REQUIRE(::stat(folder.path("f").c_str(), &s) == 0);
  CHECK((s.st_mode & 07777) == 0600);
}

TEST_CASE("private output: leaves what is there when there is something") {
  const test::temporary_folder folder;
  test::write_file(folder.path("f"), "old");
  REQUIRE(::symlink(folder.path("g").c_str(), folder.path("l").c_str()) == 0);
  std::string why;
  CHECK(private_output::create(folder.path("f"), &why).error() == std::errc::file_exists);
  CHECK(has(why, folder.path("f")));
  CHECK(read_file(folder.path("f")) == "old");
  CHECK(private_output::create(folder.path("l"), nullptr).error() == std::errc::file_exists);
}

TEST_CASE("secret: is read by the seeded source, and is another one each time") {
  const test::temporary_folder folder;
  std::string why;
  REQUIRE(create_secret(folder.path("a"), &why));
  REQUIRE(create_secret(folder.path("b"), &why));
  const secret_arena arena{{std::size_t{64} << 10, true}};
  const auto secret = read_secret_file(folder.path("a"), arena, &why);
  INFO(why);
  REQUIRE(secret);
  CHECK(secret->size() == seeded_secret_bytes);
  CHECK(read_file(folder.path("a")) != read_file(folder.path("b")));
  CHECK_FALSE(create_secret(folder.path("a"), &why));
}
