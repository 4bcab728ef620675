// The QoS demonstration as a whole.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <signal.h>

#include <cstddef>
#include <string>
#include <vector>

#include "site_pair.hpp"

using namespace qkd004::cli;
using test::has;
using test::run;

namespace {

void check_all_is_well(const test::outcome& o) {
  INFO(o.out);
  INFO(o.err);
  CHECK(o.code == 0);
  CHECK(o.err.empty());
  CHECK(has(o.out, "simulated link of 120000 bit/s"));
  CHECK(has(o.out, "seeded, simulated-insecure, 120000 bit/s"));
  CHECK(has(o.out,
            "Min_bps 100000: status 7: the requested QoS cannot be met; counter-proposal Priority 0, "
            "Min_bps "));
  CHECK(has(o.out, "sent back as it came, and granted\n"));
  const auto head = o.out.find("  second       voice       vpn    backup  together\n  1       ");
  REQUIRE(head != std::string::npos);
  CHECK(has(o.out.substr(head), "\n  2       "));
  CHECK(has(o.out.substr(head), "\n  3       "));
  CHECK_FALSE(has(o.out.substr(head), "\n  4       "));
  CHECK(has(o.out, "\n  voice        40000        -     8000         1      40000   120000 "));
  CHECK(has(o.out, "\n  vpn              -        -        -         3          -   120000 "));
  CHECK(has(o.out, "\n  backup           -        -        -         0          -   120000 "));
  CHECK(has(o.out, " keys are equal at both ends\n"));
}

}  // namespace

TEST_CASE("qos demo: keeps Min_bps and shares the rest by Priority") {  // D5, D6
  check_all_is_well(run({"demo", "--qos", "--seconds", "3"}));
}

TEST_CASE("qos demo: goes over TLS when asked") {
  const auto o = run({"demo", "--qos", "--seconds", "3", "--tls"});
  check_all_is_well(o);
  CHECK(has(o.out, "\n  transport   TLS 1.3, certificates at both ends\n"));
}

TEST_CASE("qos demo: fails and says so when a process dies") {
  const test::temporary_folder folder;
  auto demo = test::start(folder, "err", {"demo", "--qos", "--seconds", "600"});
  pid_t site = 0;
  std::string line;
  while (!line.starts_with("  second")) {
    line = demo.wait_line(test::patience).value();
    const auto at = line.rfind("process ");
    if (line.starts_with("site-b listens")) site = std::stoi(line.substr(at + 8));
  }
  REQUIRE(site > 0);
  ::kill(site, SIGKILL);
  const auto o = test::finish(demo);
  INFO(o.err);
  CHECK(o.code == 1);
  CHECK(has(o.err, "site-b ended"));
}

TEST_CASE("qos demo: refuses options that are not its own") {
  const std::vector<std::vector<std::string>> all{
      {"demo", "--qos", "--keys", "5"},  {"demo", "--qos", "--rate", "5"},
      {"demo", "--qos", "--chunk", "5"}, {"demo", "--qos", "--show-keys"},
      {"demo", "--seconds", "3"},        {"demo", "--qos", "--seconds", "2"}};
  for (const auto& arguments : all) {
    INFO(arguments.back());
    CHECK(run(arguments).code == 2);
  }
}
