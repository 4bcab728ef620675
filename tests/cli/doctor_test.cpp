// `qkd004 doctor` against two real sites, and against nobody. What the cases find is tests/conformance's business.
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "site_pair.hpp"

using namespace qkd004::cli::test;

TEST_CASE("doctor: examines two sites and says that they conform") {
  site_pair sites;
  const std::string page = sites.folder.path("page.html");
  const auto text = run({"doctor", sites.a.uri, "--peer", sites.b.uri, "--only", "sequence.1", "--only",
                         "metadata", "--html", page});
  INFO(text.out, text.err);
  CHECK(text.code == 0);
  CHECK(has(text.out, "answers HELLO as site-a and site-b"));
  CHECK(has(text.out, "from qkd://doctor-a@site-a to qkd://doctor-b@site-b"));
  CHECK(has(text.out, "PASS      sequence.1"));
  CHECK(has(text.out, "PASS      metadata.exact"));
  CHECK_FALSE(has(text.out, "key.same"));
  CHECK(has(text.out, " 0 failed, 0 advisory, 0 skipped"));
  CHECK(text.err.empty());
  CHECK(has(read_file(page), "<code>sequence.1</code>"));
  CHECK(read_file(page).ends_with("</html>\n"));

  const auto json = run({"doctor", sites.a.uri, "--peer", sites.b.uri, "--only", "status.0", "--json"});
  CHECK(json.code == 0);
  CHECK(json.out.starts_with("{\"schema\":1,"));
  CHECK(has(json.out, "\"id\":\"status.0\""));
  CHECK(json.out.ends_with("\"conforms\":true}\n"));
  CHECK(json.out.find('\n') == json.out.size() - 1);
}

TEST_CASE("doctor: skips what may stop a server unless it is asked for") {
  site_pair sites;
  const auto spared = run({"doctor", sites.a.uri, "--peer", sites.b.uri, "--only", "hostile.stop"});
  CHECK(has(spared.out, "SKIP      hostile.stop"));
  CHECK(spared.code == 1);  // nothing was checked
  const auto asked =
      run({"doctor", sites.a.uri, "--peer", sites.b.uri, "--only", "hostile.stop", "--destructive"});
  CHECK(has(asked.out, "PASS      hostile.stop"));
  CHECK(asked.code == 0);
}

TEST_CASE("doctor: says what is missing when one site is not its own peer") {
  site_pair sites;
  const auto alone = run({"doctor", sites.a.uri});
  CHECK(alone.code == 3);
  CHECK(has(alone.err, "status 4"));
  CHECK(has(alone.err, "--peer"));
  const auto one_end =
      run({"doctor", sites.a.uri, "--destination", "qkd://bob@site-b", "--only", "sequence"});
  INFO(one_end.out);
  CHECK(one_end.code == 0);
  CHECK(has(one_end.out, "SKIP      sequence.1"));
  CHECK(has(one_end.out, "PASS      sequence.4"));
  CHECK(has(one_end.out, "conforms as far as one end can tell"));
}

TEST_CASE("doctor: examines two sites over TLS with a certificate for each end") {
  site_pair sites{"", "1_000_000", over::tls};
  const auto with = [](std::vector<std::string> arguments, const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const auto alice = sites.shown("alice", "qkd://site-a");
  const std::vector<std::string> bob{"--peer-certificate", sites.folder.path("certs/bob.pem"), "--peer-key",
                                     sites.folder.path("certs/bob.key")};
  const auto anybody = with({"doctor", sites.a.uri, "--peer", sites.b.uri, "--only", "sequence.1", "--only",
                             "principal", "--only", "ends.longest"},
                            sites.ends);
  const auto good = run(with(with(with(anybody, alice), bob), {"--peer-server", "qkd://site-b"}));
  INFO(good.out, good.err);
  CHECK(good.code == 0);
  CHECK(has(good.out, "PASS      sequence.1"));
  CHECK(has(good.out, "PASS      principal.calls"));
  CHECK(has(good.out, "PASS      principal.resume"));
  CHECK(has(good.out, "SKIP      principal.open"));  // bob may open nothing at site-a
  CHECK(has(good.out, "SKIP      ends.longest"));    // and alice only what is hers
  CHECK(has(good.out, " 0 failed, 0 advisory, 2 skipped"));

  const auto alone = run(with(anybody, alice));  // alice at both ends
  CHECK(alone.code == 3);
  CHECK(has(alone.err, "status 1026"));
  CHECK(has(alone.err, "--peer-certificate"));
  CHECK(run(anybody).code == 2);
  const auto elsewhere = run(with(with(with(anybody, alice), bob), {"--peer-server", "qkd://site-a"}));
  CHECK(elsewhere.code == 4);
  CHECK(has(elsewhere.err, "somebody else's"));

  REQUIRE(run({"certs", sites.folder.path("strange")}).code == 0);
  auto stranger = alice;
  stranger[1] = sites.folder.path("strange/alice.pem");
  stranger[3] = sites.folder.path("strange/alice.key");
  const auto unknown = run(with(anybody, stranger));
  CHECK(unknown.code == 4);
  CHECK(has(unknown.err, "refuses this end's certificate"));
  auto missing = alice;
  missing[1] = sites.folder.path("nobody.pem");
  CHECK(run(with(anybody, missing)).code == 2);
  CHECK(run(with({"doctor", "qkd004://127.0.0.1:1"}, alice)).code == 2);  // certificates for plain TCP
}

TEST_CASE("doctor: examines two sites over Unix sockets") {
  site_pair sites{"", "1_000_000", over::unix_socket};
  const auto text = run(
      {"doctor", sites.a.uri, "--peer", sites.b.uri, "--only", "sequence.1", "--only", "principal.resume"});
  INFO(text.out, text.err);
  CHECK(text.code == 0);
  CHECK(has(text.out, "2 passed, 0 failed"));
}

TEST_CASE("doctor: ends with the code of what is wrong when it examines nobody") {
  CHECK(run({"doctor"}).code == 2);
  CHECK(run({"doctor", "gopher://127.0.0.1"}).code == 2);
  CHECK(run({"doctor", "qkd004://127.0.0.1:1", "--only", "no-such-case"}).code == 2);
  CHECK(run({"doctor", "qkd004://127.0.0.1:1", "--dialect", "latin"}).code == 2);
  CHECK(run({"doctor", "qkd004://127.0.0.1:1", "--html", "/nowhere/at/all"}).code == 2);
  const auto dead = run({"doctor", "qkd004://127.0.0.1:1"});
  CHECK(dead.code == 4);
  CHECK(has(dead.err, "Connection refused"));
  CHECK(run({"doctor", "unix:/nowhere/at/all"}).code == 4);
}

TEST_CASE("doctor: lists every case with clause, level and needs") {
  const auto list = run({"doctor", "--list"});
  CHECK(list.code == 0);
  CHECK(has(list.out, "sequence.2-cut"));
  CHECK(has(list.out, "6.2 case 2"));
  CHECK(has(list.out, "[needs both ends, control of the link]"));
}
