// SPDX-License-Identifier: Apache-2.0
#include "cli/key_origin.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "cli/demo_progress.hpp"
#include "qkd004/vendor_metadata.hpp"
#include "site_pair.hpp"

using namespace qkd004;
using namespace qkd004::cli;
using namespace std::chrono_literals;
using test::has;

TEST_CASE("key origin: is read from what a key manager writes") {
  key_provenance p;
  p.first_block = 3;
  p.last_block = 5;
  p.qber = 0.0241;
  p.phase_error = 0.05;
  p.eps_sec = 1e-10;
  p.eps_cor = 1e-15;
  p.eps_auth = 5e-20;
  p.sifted = 262'144;
  p.efficiency = 1.04;
  p.leak_alice = 44'000;
  p.leak_bob = 43'000;
  p.model = "lim14";
  p.reconciliation = "cascade";
  p.amplification = "toeplitz";
  p.authentication = "its";
  const key_source_capabilities source{.kind = "software-bb84",
                                       .security = security_class::simulated_insecure};
  CHECK(parse_key_origin(vendor_metadata_json(source, "a+b", &p)) == p);
  CHECK_FALSE(parse_key_origin(vendor_metadata_json(source, "a+b", nullptr)));
  CHECK_FALSE(parse_key_origin(""));
}

TEST_CASE("progress: writes over its line on a terminal, and plain lines now and then elsewhere") {
  const demo_progress::clock::time_point start{1h};
  demo_progress terminal{demo_progress::on::terminal};
  CHECK(terminal.next("photons, 10 %", start) == "\r\x1b[Kphotons, 10 %");
  CHECK(terminal.next("photons, 11 %", start + 99ms).empty());
  CHECK(terminal.next("photons, 10 %", start + 1s).empty());
  CHECK(terminal.next(std::string(200, 'x'), start + 2s).size() == 4 + 79);
  CHECK(terminal.next("reconciliation", start + 3s) == "\r\x1b[Kreconciliation");
  demo_progress pipe{demo_progress::on::pipe};
  CHECK(pipe.next("photons, 10 %", start).empty());
  CHECK(pipe.next("photons, 20 %", start + 1s).empty());
  CHECK(pipe.next("photons, 30 %", start + 2s) == "photons, 30 %\n");
  CHECK(pipe.next("photons, 40 %", start + 3s).empty());
  CHECK(pipe.next("photons, 90 %", start + 4s) == "photons, 90 %\n");
}
