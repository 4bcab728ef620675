// Sites whose key is distilled between them, all of them real processes.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "serve/link_report.hpp"
#include "site_pair.hpp"

using namespace qkd004::cli;
namespace serve = qkd004::serve;
using test::has;
using test::patience;
using test::run;
using test::site_pair;

namespace {

/// Blocks that are small and still leave key.
constexpr char small_blocks[] = "km = 0\nblock_bits = 262_144\n";

}  // namespace

TEST_CASE("software link: gives both sites the same keys and says in the log that it is simulated") {
  site_pair sites{test::distilling{small_blocks}};
  const std::string ksid = sites.open(sites.a);
  CHECK(sites.keys(sites.a, ksid, 20) == sites.keys(sites.b, ksid, 20));
  for (auto* site : {&sites.a, &sites.b}) {
    site->daemon->signal(SIGTERM);
    CHECK(site->daemon->wait_exit(patience) == 0);
    const std::string log = sites.log(*site);
    INFO(log);
    CHECK(has(log, "warning NOT QUANTUM-SECURE: simulated photons"));
    CHECK(has(log, "(simulated-insecure) link=site-a+site-b end=" +
                       std::string{site == &sites.a ? "Alice" : "Bob"} +
                       " options=\"0 km, proof lim14, 262,144 sifted bits a block"));
    CHECK(has(log, " accepted, "));
    CHECK_FALSE(has(log, "discarded: "));
  }
}

TEST_CASE("software link: comes back with equal keys when a site is killed while it distils") {
  site_pair sites{test::distilling{small_blocks}};
  const std::string first = sites.open(sites.a);
  CHECK(sites.keys(sites.a, first, 3) == sites.keys(sites.b, first, 3));
  site_pair::kill(sites.b);
  sites.start_b();
  const std::string second = sites.open(sites.a);
  const std::string after_bob = sites.keys(sites.a, second, 3);
  CHECK(after_bob == sites.keys(sites.b, second, 3));
  site_pair::kill(sites.a);
  sites.start_a();
  const std::string third = sites.open(sites.a);
  const std::string after_alice = sites.keys(sites.a, third, 3);
  CHECK(after_alice == sites.keys(sites.b, third, 3));
  CHECK(after_alice != after_bob);
}

TEST_CASE("software link: makes no key and says why when the ends have different authentication keys") {
  site_pair sites{test::distilling{small_blocks}};
  for (auto* site : {&sites.a, &sites.b}) site_pair::kill(*site);
  const auto log_size = [&](const site_pair::site& of) { return sites.log(of).size(); };
  const std::size_t before_a = log_size(sites.a);
  const std::size_t before_b = log_size(sites.b);
  namespace fs = std::filesystem;
  for (const char* file : {"link.secret", "site-b.state"}) fs::remove(sites.folder.path(file));
  std::string why;
  REQUIRE(create_auth_key(sites.folder.path("link.secret"), usual_auth_key, &why));
  // site-a has its state, so that it needs no key any more
  fs::rename(sites.folder.path("link.secret"), sites.folder.path("other.secret"));
  sites.start_a();
  fs::rename(sites.folder.path("other.secret"), sites.folder.path("link.secret"));
  sites.start_b();
  const auto opened = sites.application(sites.a, {"open", "--timeout", "500"});
  const auto got = sites.application(sites.a, {"get", "--ksid", opened.line()});
  CHECK(got.code == 3);
  const std::string log = sites.log(sites.a).substr(before_a) + sites.log(sites.b).substr(before_b);
  INFO(log);
  CHECK(has(log, "authentication key"));
  CHECK_FALSE(has(log, " accepted, "));
}

TEST_CASE("serve: writes a line of JSON about each software link when asked") {
  site_pair sites{test::distilling{small_blocks}};
  site_pair::kill(sites.b);
  sites.serve_with = {"--link-report", "20"};
  sites.start_b();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  serve::link_sample last;
  while (last.counts.accepted == 0) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    const auto line = sites.b.daemon->wait_line(patience);
    REQUIRE(line);
    const auto sample = serve::parse_link_sample(*line);
    INFO(*line);
    REQUIRE(sample);
    last = *sample;
  }
  CHECK(last.link == "site-a+site-b");
  CHECK(last.at.count() > 0);
  CHECK(last.counts.sessions == 1);
  CHECK(last.counts.secret > 0);
  CHECK(last.counts.qber > 0.001);
}

TEST_CASE("serve: exits with 2 and says why when an end's files cannot be used") {
  const test::temporary_folder folder;
  const std::string config = folder.path("site.toml");
  test::write_file(config,
                   "node = 'site-b'\nlisten = ['qkd004://127.0.0.1:0']\n[memory]\nallow_unlocked = true\n"
                   "[[peer]]\nnode = 'site-a'\n[peer.source]\nkind = 'software'\nrole = 'bob'\n"
                   "auth_key_file = 'key'\nauth_state_file = 'state'\n");
  const auto missing = run({"serve", "--config", config});
  CHECK(missing.code == 2);
  CHECK(has(missing.err, "key source of peer site-a: "));
  CHECK(has(missing.err, folder.path("key")));
  test::write_file(folder.path("key"), std::string(4'096, 'k'));
  REQUIRE(::chmod(folder.path("key").c_str(), 0644) == 0);
  const auto readable = run({"serve", "--config", config});
  CHECK(readable.code == 2);
  CHECK(has(readable.err, "0644"));
}

TEST_CASE("secret: makes an authentication key of the size that is asked for, and no second time") {
  const test::temporary_folder folder;
  const std::string file = folder.path("auth.secret");
  const auto o = run({"secret", "--auth", file});
  CHECK(o.code == 0);
  CHECK(has(o.out, ": 4096 random octets\n"));
  struct stat s {};
  REQUIRE(::stat(file.c_str(), &s) == 0);
  CHECK(s.st_size == 4'096);
  CHECK((s.st_mode & 07777) == 0600);
  CHECK(run({"secret", "--auth", file}).code == 2);
  CHECK(run({"secret", "--auth", "--octets", "512", folder.path("least")}).code == 0);
  CHECK(test::read_file(folder.path("least")).size() == 512);
  CHECK(run({"secret", "--auth", "--octets", "511", folder.path("less")}).code == 2);
  CHECK(run({"secret", "--octets", "1024", folder.path("seeded")}).code == 2);
  CHECK(run({"secret", folder.path("seeded")}).code == 0);
  CHECK(test::read_file(folder.path("seeded")).size() == 32);
}
