// The commands over TLS: real processes, certificates as `qkd004 certs` makes them.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <string>

#include "site_pair.hpp"

using namespace qkd004::cli;
using test::has;

TEST_CASE("tls: exits with 2 when a file cannot be used") {
  const test::temporary_folder folder;
  const std::string made = folder.path("certs");
  REQUIRE(test::run({"certs", made}).code == 0);
  const auto close = [&](const std::string& certificate, const std::string& key,
                         const std::string& authority) {
    return test::run({"close", "--uri", "qkd004s://127.0.0.1:1", "--ksid",
                      "01234567-89ab-4cde-8f01-23456789abcd", "--allow-unlocked", "--certificate",
                      certificate, "--key", key, "--authority", authority});
  };
  const auto missing = close(made + "/alice.pem", made + "/no.key", made + "/authority.pem");
  CHECK(missing.code == 2);
  CHECK(has(missing.err, made + "/no.key"));
  const auto folder_as_file = close(made + "/alice.pem", made + "/alice.key", made);
  CHECK(folder_as_file.code == 2);
  CHECK(has(folder_as_file.err, made + ": "));
  REQUIRE(::chmod((made + "/bob.key").c_str(), 0640) == 0);
  const auto readable = close(made + "/bob.pem", made + "/bob.key", made + "/authority.pem");
  CHECK(readable.code == 2);
  CHECK(has(readable.err, made + "/bob.key"));
  CHECK(has(readable.err, "0640"));
}

TEST_CASE("serve: exits with 2 when a file of its TLS cannot be used") {
  const test::temporary_folder folder;
  REQUIRE(test::run({"certs", folder.path("certs")}).code == 0);
  const std::string file = folder.path("site.toml");
  test::write_file(
      file,
      "node = 'site-a'\nlisten = ['qkd004s://127.0.0.1:0']\n[memory]\nallow_unlocked = true\n[tls]\n"
      "certificate = 'certs/site-a.pem'\nkey = 'certs/site-b.key'\nauthority = 'certs/authority.pem'\n");
  const auto wrong_key = test::run({"serve", "--config", file});
  CHECK(wrong_key.code == 2);
  CHECK_FALSE(wrong_key.err.empty());
  CHECK(wrong_key.out.empty());
  REQUIRE(::chmod(folder.path("certs/site-b.key").c_str(), 0644) == 0);
  const auto readable = test::run({"serve", "--config", file});
  CHECK(readable.code == 2);
  CHECK(has(readable.err, folder.path("certs/site-b.key")));
  CHECK(test::run({"serve", "--check", "--config", file}).code == 0);
}
