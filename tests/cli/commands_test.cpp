// The commands against two sites, all of them real processes.
// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "site_pair.hpp"

using namespace qkd004::cli;
using test::finish;
using test::has;
using test::patience;
using test::read_file;
using test::run;
using test::site_pair;

namespace {

constexpr char some_ksid[] = "01234567-89ab-4cde-8f01-23456789abcd";

std::vector<std::string> with_ends(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--source", "qkd://alice@site-a", "--destination", "qkd://bob@site-b"});
  return arguments;
}

/// A port on loopback that is taken, and where nobody listens.
class deaf_port {
 public:
  deaf_port() : socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const address = reinterpret_cast<sockaddr*>(&address_);
    socklen_t size = sizeof address_;
    REQUIRE(::bind(socket_, address, size) == 0);
    REQUIRE(::getsockname(socket_, address, &size) == 0);
  }
  deaf_port(const deaf_port&) = delete;
  deaf_port& operator=(const deaf_port&) = delete;
  ~deaf_port() { ::close(socket_); }
  void listen() const { REQUIRE(::listen(socket_, 1) == 0); }
  [[nodiscard]] std::string number() const { return std::to_string(ntohs(address_.sin_port)); }
  [[nodiscard]] std::string uri() const { return "qkd004://127.0.0.1:" + number(); }

 private:
  int socket_;
  sockaddr_in address_{};
};

}  // namespace

TEST_CASE("program: prints version and help when asked") {
  CHECK(run({"--version"}).out == "qkd004 0.1.0\n");
  for (const char* command : {"serve", "open", "get", "close", "secret", "certs", "demo", "rate"}) {
    INFO(command);
    const auto help = run({command, "--help"});
    CHECK(help.code == 0);
    CHECK(has(help.out, std::string{"Example:\n  qkd004 "} + command));
    CHECK(has(help.out, "Exit codes: 0 ok"));
  }
  CHECK_FALSE(has(run({"--help"}).out, "demo-application"));
}

TEST_CASE("program: exits with 2 when it is used wrongly") {
  const std::vector<std::vector<std::string>> wrong{
      {},
      {"fly"},
      {"open"},
      {"serve", "--config", "/nonexistent"},
      {"serve", "--config", "/dev/null", "--log-level", "loud"},
      {"close", "--uri", "qkd004://127.0.0.1", "--ksid", "1234"},
      {"close", "--uri", "qkd004://127.0.0.1", "--ksid", "00000000-0000-0000-0000-000000000000"},
      {"demo", "--keys", "0"},
      {"secret", "/"},
      {"certs"},
      {"certs", "/dev/null"},
      {"certs", "/nonexistent/folder"},
      {"certs", "/nonexistent", "--days", "0"},
      {"certs", "/nonexistent", "--node-a", "a/b"},
      with_ends({"get", "--uri", "qkd004://127.0.0.1", "--ksid", some_ksid, "-n", "0"}),
      with_ends({"get", "--uri", "qkd004://127.0.0.1", "--ksid", some_ksid, "--index", "4294967295"}),
      with_ends({"open", "--uri", "smoke://signals"}),
      with_ends({"open", "--uri", "qkd004://127.0.0.1:70000"}),
      with_ends({"open", "--uri", "qkd004://192.0.2.1:1"}),
      // all of a certificate, its key and an authority, or none; and nothing of them without TLS
      {"close", "--uri", "qkd004s://127.0.0.1:1", "--ksid", some_ksid, "--certificate", "c", "--key", "k"},
      {"close", "--uri", "qkd004s://127.0.0.1:1", "--ksid", some_ksid, "--certificate", "c", "--authority",
       "a"},
      {"close", "--uri", "qkd004s://127.0.0.1:1", "--ksid", some_ksid, "--key", "k", "--authority", "a"},
      {"close", "--uri", "qkd004s://127.0.0.1:1", "--ksid", some_ksid, "--server", "qkd://site-a"},
      {"close", "--uri", "qkd004s://127.0.0.1:1", "--ksid", some_ksid},
      {"close", "--uri", "qkd004://127.0.0.1:1", "--ksid", some_ksid, "--certificate", "c", "--key", "k",
       "--authority", "a"},
  };
  for (const auto& arguments : wrong) {
    std::string command;
    for (const auto& argument : arguments) command += argument + " ";
    INFO(command);
    const auto o = run(arguments);
    INFO(o.err);
    CHECK(o.code == 2);
    CHECK_FALSE(o.err.empty());
    CHECK(o.out.empty());
  }
}

TEST_CASE("open and get: give the same keys at both sites, and go on where they were when called again") {
  site_pair sites;
  const auto opened = sites.application(sites.a, {"open", "--chunk", "48"});
  INFO(opened.err);
  REQUIRE(opened.code == 0);
  const std::string ksid = opened.line();
  CHECK(opened.out.size() == 37);
  CHECK(has(opened.err, "status 1: success, the peer is not connected yet"));
  CHECK(has(opened.err, "key_chunk_size     48 octets"));
  CHECK(has(opened.err, "metadata_mimetype  application/json"));

  const auto shown = sites.application(sites.b, {"get", "--ksid", ksid, "-n", "2"});
  INFO(shown.err);
  CHECK(shown.code == 0);
  CHECK(shown.out.starts_with("index 0  48 octets  age "));
  CHECK(has(shown.out, " ms  sha256 "));
  CHECK(has(shown.out, "\nindex 1  48 octets  age "));

  const std::string at_b = sites.keys(sites.b, ksid, 3);
  const std::string at_a = sites.keys(sites.a, ksid, 5);
  CHECK(at_b.size() == 3 * 48);
  CHECK(at_a.size() == 5 * 48);
  CHECK(at_a.substr(2 * 48) == at_b);
}

TEST_CASE("get: repeats a key when its index is given") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  const std::string first = sites.application(sites.a, {"get", "--ksid", ksid, "-n", "3", "--show-keys"}).out;
  const std::string again =
      sites.application(sites.a, {"get", "--ksid", ksid, "-n", "2", "--index", "1", "--show-keys"}).out;
  const auto keys = [](const std::string& text) {
    std::vector<std::string> found;
    for (auto at = text.find("  key "); at != std::string::npos; at = text.find("  key ", at + 1)) {
      found.push_back(text.substr(at + 6, 64));
    }
    return found;
  };
  REQUIRE(keys(first).size() == 3);
  REQUIRE(keys(again).size() == 2);
  CHECK(keys(again)[0] == keys(first)[1]);
  CHECK(keys(again)[1] == keys(first)[2]);
}

TEST_CASE("get: shows no key unless asked") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  const auto got = sites.application(sites.a, {"get", "--ksid", ksid});
  CHECK(got.code == 0);
  CHECK_FALSE(has(got.out, "key"));
}

TEST_CASE("get: takes no key when the file it should write exists") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  const std::string file = sites.folder.path("keys");
  test::write_file(file, "mine");
  const auto got = sites.application(sites.a, {"get", "--ksid", ksid, "--out", file});
  CHECK(got.code == 2);
  CHECK(has(got.err, file));
  CHECK(read_file(file) == "mine");
  CHECK(has(sites.application(sites.a, {"get", "--ksid", ksid}).out, "index 0 "));
}

TEST_CASE("get: writes a file that only its owner may read") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  const std::string file = sites.folder.path("keys");
  REQUIRE(sites.application(sites.a, {"get", "--ksid", ksid, "--out", file}).code == 0);
  struct stat s {};
  REQUIRE(::stat(file.c_str(), &s) == 0);
  CHECK((s.st_mode & 07777) == 0600);
  CHECK(s.st_size == 32);
}

TEST_CASE("open: gives a KSID that was chosen when both ends name it") {
  site_pair sites;
  const auto at_a = sites.application(sites.a, {"open", "--ksid", some_ksid, "--no-wait", "--json"});
  CHECK(at_a.code == 0);
  CHECK(has(at_a.out, "{\"status\":1,"));
  CHECK(has(at_a.out, std::string{"\"key_stream_id\":\""} + some_ksid + "\""));
  CHECK(at_a.err.empty());
  const auto at_b = sites.application(sites.b, {"open", "--ksid", some_ksid, "--json"});
  CHECK(at_b.code == 0);
  CHECK(has(at_b.out, "{\"status\":0,"));
  CHECK(sites.keys(sites.a, some_ksid, 4) == sites.keys(sites.b, some_ksid, 4));
}

TEST_CASE("open: shows a counter-proposal that is then accepted when the QoS cannot be met") {
  site_pair sites;
  const auto absurd = sites.application(sites.a, {"open", "--min-bps", "4000000000", "--mimetype", "a/b"});
  CHECK(absurd.code == 3);
  CHECK(absurd.out.empty());
  CHECK(has(absurd.err, "status 7: the requested QoS cannot be met"));
  CHECK(has(absurd.err, "min_bps            500000 bit/s"));
  CHECK(has(absurd.err, "metadata_mimetype  application/json"));
  CHECK(sites.application(sites.a, {"open", "--min-bps", "500000"}).code == 0);

  const auto json = sites.application(sites.a, {"open", "--min-bps", "4000000000", "--json"});
  CHECK(json.code == 3);
  CHECK(has(json.out, "{\"status\":7,"));
  CHECK(has(json.out, "\"key_stream_id\":null"));
}

TEST_CASE("open: exits with 3 and names the status when the key manager refuses") {
  site_pair sites;
  sites.ends = {"--source", "qkd://alice@site-a", "--destination", "qkd://carol@site-c"};
  const auto o = sites.application(sites.a, {"open", "--json"});
  CHECK(o.code == 3);
  CHECK(has(o.err, "OPEN_CONNECT: status 4: no QKD connection towards the destination"));
  CHECK(has(o.out, "{\"status\":4,"));
}

TEST_CASE("get and close: exit with 3 when nobody opened the stream") {
  site_pair sites;
  const auto got = sites.application(sites.a, {"get", "--ksid", some_ksid, "--timeout", "100"});
  CHECK(got.code == 3);
  CHECK(got.out.empty());
  CHECK(has(got.err, "status 1024: unknown key stream"));
  const auto closed = sites.application(sites.a, {"close", "--ksid", some_ksid});
  CHECK(closed.code == 3);
  CHECK(has(closed.err, "CLOSE: status 1024: unknown key stream"));
}

TEST_CASE("get: leaves no trace of a stream that it asked for in vain") {
  site_pair sites;
  CHECK(sites.application(sites.a, {"get", "--ksid", some_ksid, "--timeout", "1"}).code == 3);
  CHECK(sites.application(sites.b, {"get", "--ksid", some_ksid, "--timeout", "1"}).code == 3);
  CHECK(sites.application(sites.b, {"open", "--ksid", some_ksid, "--no-wait"}).code == 0);
  CHECK(sites.keys(sites.a, some_ksid, 2) == sites.keys(sites.b, some_ksid, 2));
}

TEST_CASE("get: waits for a stream that the other end opens meanwhile") {
  site_pair sites;
  auto waiting = test::start(sites.folder, "get.err",
                             with_ends({"get", "--uri", sites.a.uri, "--allow-unlocked", "--ksid", some_ksid,
                                        "--timeout", "20000"}));
  CHECK(sites.application(sites.b, {"open", "--ksid", some_ksid}).code == 0);
  const auto o = finish(waiting);
  INFO(o.err);
  CHECK(o.code == 0);
  CHECK(has(o.out, "index 0 "));
}

TEST_CASE("close: ends this side of a stream, twice with the same result") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  CHECK(sites.keys(sites.a, ksid, 1) == sites.keys(sites.b, ksid, 1));
  CHECK(sites.application(sites.a, {"close", "--ksid", ksid}).code == 0);
  CHECK(sites.application(sites.a, {"close", "--ksid", ksid}).code == 0);
  const auto got = sites.application(sites.a, {"get", "--ksid", ksid});
  CHECK(got.code == 3);
  CHECK(has(got.err, "status 5: the key stream id is in use or was closed"));
}

TEST_CASE("commands: exit with 4 when nobody listens") {
  const deaf_port port;
  for (const auto& arguments : {with_ends({"open", "--uri", port.uri()}),
                                with_ends({"get", "--uri", port.uri(), "--ksid", some_ksid}),
                                {"close", "--uri", port.uri(), "--ksid", some_ksid}}) {
    INFO(arguments[0]);
    const auto o = run(arguments);
    CHECK(o.code == 4);
    CHECK(has(o.err, "refused"));
    CHECK(has(o.err, port.number()));
  }
}

TEST_CASE("commands: exit with 4 when the site goes away while they wait") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  // nobody reads at the other end: it comes as far as the window, and waits
  auto waiting = test::start(
      sites.folder, "get.err",
      with_ends({"get", "--uri", sites.a.uri, "--allow-unlocked", "--ksid", ksid, "-n", "100000"}));
  REQUIRE(waiting.wait_line(patience));
  sites.kill(sites.a);
  const auto o = finish(waiting);
  INFO(o.err);
  CHECK(o.code == 4);
  CHECK(has(o.err, "GET_KEY "));
}

TEST_CASE("serve: checks its file and opens nothing when told so") {
  const test::temporary_folder folder;
  const deaf_port port;  // taken: listening there would fail
  const std::string file = folder.path("site.toml");
  const std::string text =
      "node = 'a'\nlisten = ['" + port.uri() +
      "']\n[[peer]]\nnode = 'b'\naddress = 'qkd004://127.0.0.1:1'\n[peer.source]\nkind = 'seeded'\n"
      "secret_file = 'there-is-none'\n";
  test::write_file(file, text);
  const auto good = run({"serve", "--config", file, "--check"});
  CHECK(good.code == 0);
  CHECK(has(good.out, "site a"));
  test::write_file(file, text + "colour = 'red'\n");
  const auto bad = run({"serve", "--config", file, "--check"});
  CHECK(bad.code == 2);
  CHECK(has(bad.err, file + ":9:1: unknown key 'peer.source.colour'"));
  test::write_file(file, "node = 'a'\nlisten = ['" + port.uri() +
                             "']\n[[peer]]\nnode = 'b'\naddress = 'qkd004://127.0.0.1:1'\n[peer.source]\n"
                             "kind = 'given'\n");
  const auto given = run({"serve", "--config", file, "--check"});
  CHECK(given.code == 2);
  CHECK(has(given.err, "peer b: kind = \"given\" is for programs"));
}

TEST_CASE("serve: exits with 2 and names the file when the secret is missing or readable by others") {
  const test::temporary_folder folder;
  const std::string file = folder.path("site.toml");
  test::write_file(file,
                   "node = 'a'\nlisten = ['qkd004://127.0.0.1:0']\n[[peer]]\nnode = 'b'\naddress = "
                   "'qkd004://127.0.0.1:1'\n"
                   "[peer.source]\nkind = 'seeded'\nsecret_file = 'link.secret'\n");
  auto o = run({"serve", "--config", file});
  CHECK(o.code == 2);
  CHECK(has(o.err, folder.path("link.secret")));
  std::string why;
  REQUIRE(create_secret(folder.path("link.secret"), &why));
  REQUIRE(::chmod(folder.path("link.secret").c_str(), 0644) == 0);
  o = run({"serve", "--config", file});
  CHECK(o.code == 2);
  CHECK(has(o.err, "group or others have access"));
}

TEST_CASE("serve: exits with 4 when its port is taken, with 2 when it is off loopback") {
  const test::temporary_folder folder;
  const deaf_port port;
  port.listen();
  const std::string file = folder.path("site.toml");
  test::write_file(file, "node = 'a'\nlisten = ['" + port.uri() + "']\n");
  auto o = run({"serve", "--config", file});
  CHECK(o.code == 4);
  CHECK(has(o.err, port.uri()));
  test::write_file(file, "node = 'a'\nlisten = ['qkd004://192.0.2.1:0']\n");
  o = run({"serve", "--config", file});
  CHECK(o.code == 2);
  CHECK(has(o.err, "allow_insecure"));
}

TEST_CASE(
    "serve: says at the start how far each link's key is to be trusted, and at the end what it delivered") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  CHECK(sites.keys(sites.a, ksid, 7) == sites.keys(sites.b, ksid, 7));
  sites.a.daemon->signal(SIGTERM);
  CHECK(sites.a.daemon->wait_exit(patience) == 0);
  const std::string log = sites.log(sites.a);
  CHECK(has(log, "key source link=site-a+site-b peer=site-b kind=seeded security_class=simulated-insecure"));
  CHECK(has(log, "ended delivered_keys=7 burned_keys=0"));
}

TEST_CASE("serve: ends within two seconds when it is told to, though an application waits") {
  for (const int number : {SIGTERM, SIGINT}) {
    site_pair sites;
    sites.kill(sites.b);
    auto waiting =
        test::start(sites.folder, "open.err",
                    with_ends({"open", "--uri", sites.a.uri, "--ksid", some_ksid, "--timeout", "60000"}));
    // status 5: the stream is there, and somebody uses it
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!has(sites.application(sites.a, {"get", "--ksid", some_ksid, "--timeout", "1"}).err, "status 5")) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
    }
    sites.a.daemon->signal(number);
    CHECK(sites.a.daemon->wait_exit(std::chrono::seconds{2}) == 0);
    const auto o = finish(waiting);
    INFO(o.err);
    CHECK(o.code == 3);
    CHECK(has(o.err, "status 1031: shutting down"));
  }
}

TEST_CASE(
    "serve: loses the old streams and never repeats a key when either site is killed and started again") {
  site_pair sites{"", "0"};
  const std::string before = sites.open(sites.a);
  const std::string old = sites.keys(sites.a, before, 100);
  REQUIRE(sites.keys(sites.b, before, 100) == old);
  std::string all = old;

  for (const auto kill_a : {true, false}) {
    INFO(kill_a);
    if (kill_a) {
      sites.kill(sites.a);
      sites.start_a();
    } else {
      sites.kill(sites.b);
      sites.start_b();
    }
    const std::string ksid = sites.open(sites.a);
    const std::string at_b = sites.keys(sites.b, ksid, 100);
    const std::string at_a = sites.keys(sites.a, ksid, 100);
    CHECK(at_a.size() == 3'200);
    CHECK(at_a == at_b);
    // at any offset: a window of octets that was there before
    for (std::size_t at = 0; at + 8 <= at_a.size(); ++at) REQUIRE_FALSE(has(all, at_a.substr(at, 8)));
    all += at_a;
    for (const auto* site : {&sites.a, &sites.b}) {
      const auto gone = sites.application(*site, {"get", "--ksid", before, "--timeout", "100"});
      INFO(gone.err);
      CHECK(gone.code == 3);
      CHECK(gone.out.empty());
    }
  }
}
