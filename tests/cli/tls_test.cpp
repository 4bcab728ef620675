// The commands over TLS and Unix sockets: real processes, certificates as `qkd004 certs` makes them.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "site_pair.hpp"

using namespace qkd004::cli;
using test::has;
using test::over;
using test::site_pair;

namespace {

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// Opens at site-a, and takes the same keys at both.
void exchanges_keys(site_pair& sites) {
  const std::string ksid = sites.open(sites.a);
  const std::string at_b = sites.keys(sites.b, ksid, 5);
  CHECK(at_b.size() == 5 * 32);
  CHECK(at_b == sites.keys(sites.a, ksid, 5));
  const auto closed = sites.application(sites.a, {"close", "--ksid", ksid});
  INFO(closed.err);
  CHECK(closed.code == 0);
}

}  // namespace

TEST_CASE("tls: gives the same keys at both sites when everybody shows a certificate") {
  site_pair sites{"", "1_000_000", over::tls};
  CHECK(sites.a.uri.starts_with("qkd004s://127.0.0.1:"));
  exchanges_keys(sites);
}

TEST_CASE("unix socket: gives the same keys at both sites without a certificate") {
  site_pair sites{"", "1_000_000", over::unix_socket};
  CHECK(sites.a.uri == "unix:" + sites.folder.path("site-a.socket"));
  struct stat s {};
  REQUIRE(::stat(sites.folder.path("site-a.socket").c_str(), &s) == 0);
  CHECK((s.st_mode & 0777) == 0600);
  exchanges_keys(sites);
}

TEST_CASE("tls: lets an application open its own streams only") {
  site_pair sites{"", "1_000_000", over::tls};
  const auto bob = sites.anybody(sites.a, with({"open"}, sites.shown("bob", "qkd://site-a")));
  CHECK(bob.code == 3);
  CHECK(has(bob.err, "status 1026"));
  CHECK(bob.out.empty());
  const auto alice = sites.application(sites.a, {"open"});
  INFO(alice.err);
  CHECK(alice.code == 0);
}

TEST_CASE("tls: lets those open that the access table names when it has rows") {
  site_pair sites{"[[access]]\nidentity = \"qkd://bob@*\"\nlocal = \"qkd://alice@site-a\"\n", "1_000_000",
                  over::tls};
  const auto bob = sites.anybody(sites.a, with({"open"}, sites.shown("bob", "qkd://site-a")));
  INFO(bob.err);
  CHECK(bob.code == 0);
  const auto alice = sites.application(sites.a, {"open"});
  CHECK(alice.code == 3);
  CHECK(has(alice.err, "status 1026"));
}

TEST_CASE("tls: exits with 4 when the other end is not who it should be") {
  site_pair sites{"", "1_000_000", over::tls};
  // site-a is not site-b
  const auto other_site = sites.anybody(sites.a, with({"open"}, sites.shown("alice", "qkd://site-b")));
  CHECK(other_site.code == 4);
  CHECK_FALSE(other_site.err.empty());
  // what an authority says that the site does not know
  REQUIRE(test::run({"certs", sites.folder.path("strange")}).code == 0);
  auto stranger = sites.shown("alice", "qkd://site-a");
  stranger[1] = sites.folder.path("strange/alice.pem");
  stranger[3] = sites.folder.path("strange/alice.key");
  const auto unknown = sites.anybody(sites.a, with({"open"}, stranger));
  CHECK(unknown.code == 4);
  CHECK_FALSE(unknown.err.empty());
  // TLS does not answer those who speak without it
  site_pair::site plain{sites.a.name, "qkd004" + sites.a.uri.substr(7), {}};
  CHECK(sites.anybody(plain, {"open"}).code == 4);
}

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
