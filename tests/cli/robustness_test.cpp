// The daemon when something runs out: descriptors, key, its peer; and with very many connections.
// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "site_pair.hpp"

using namespace qkd004::cli;
using namespace std::chrono_literals;
using test::has;
using test::over;
using test::site_pair;

namespace {

using clock = std::chrono::steady_clock;

/// One connection, one descriptor.
class line {
 public:
  explicit line(const std::string& uri) : descriptor_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    REQUIRE(descriptor_ >= 0);
    const timeval most{20, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    where.sin_port =
        htons(static_cast<std::uint16_t>(std::strtoul(uri.c_str() + uri.rfind(':') + 1, nullptr, 10)));
    REQUIRE(::connect(descriptor_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
  }
  line(line&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
  line& operator=(line&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~line() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int descriptor() const { return descriptor_; }

  /// A CLOSE of a stream that nobody has.
  void ask() const {
    std::array<unsigned char, 24> request{2, 1, 1, 0x08, 0, 0, 0, 16};
    REQUIRE(::send(descriptor_, request.data(), request.size(), MSG_NOSIGNAL) == 24);
  }
  [[nodiscard]] bool is_answered(int flags = 0) const {
    std::array<unsigned char, 12> answer{};
    return ::recv(descriptor_, answer.data(), answer.size(), flags) == 12 && answer[3] == 0x09;
  }

 private:
  int descriptor_;
};

/// Seconds of processor time that a process has used, in user and in kernel mode.
double processor_time(const process& of) {
  const std::string stat = test::read_file("/proc/" + std::to_string(of.id()) + "/stat");
  std::istringstream rest{stat.substr(stat.rfind(')') + 1)};  // its name may hold anything
  std::string skipped;
  for (int field = 3; field < 14; ++field) rest >> skipped;
  double user = 0;
  double system = 0;
  rest >> user >> system;
  REQUIRE(rest);
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

/// Part of a core that it uses during a second.
double load_of(const process& p) {
  const double before = processor_time(p);
  std::this_thread::sleep_for(1s);
  return processor_time(p) - before;
}

/// KiB.
std::string resident(const process& p) {
  const std::string all = test::read_file("/proc/" + std::to_string(p.id()) + "/status");
  const auto at = all.find("VmRSS:");
  REQUIRE(at != std::string::npos);
  const auto first = all.find_first_not_of(" \t", at + 6);
  return all.substr(first, all.find('\n', first) - first);
}

/// Starts site-a anew with so many descriptors.
void restart_with_descriptors(site_pair& sites, const std::string& most) {
  site_pair::kill(sites.a);
  sites.a.daemon.emplace(
      process::start({"/bin/sh",
                      {"-c", "ulimit -n " + most + " && exec \"$0\" \"$@\"", QKD004_PROGRAM, "serve",
                       "--config", sites.folder.path("site-a.toml")},
                      sites.folder.path("site-a.log")})
          .value());
  const auto said = sites.a.daemon->wait_line(test::patience);
  INFO(sites.log(sites.a));
  REQUIRE(said);
  REQUIRE(said->starts_with("listening "));
  sites.a.uri = said->substr(10);
}

bool runs(process& p) { return !p.wait_exit(0ms).has_value(); }

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Calls that wait for key: as many connections with one each, in frames of OPEN_CONNECT's stream.
std::vector<line> waiting_for_key(const site_pair& sites, const std::string& ksid, std::size_t how_many) {
  std::vector<unsigned char> request{2, 1, 1, 0x04, 0, 0, 0, 24};
  for (std::size_t i = 0; i < ksid.size(); ++i) {
    if (ksid[i] == '-') continue;
    request.push_back(static_cast<unsigned char>(std::strtoul(ksid.substr(i, 2).c_str(), nullptr, 16)));
    ++i;
  }
  request.insert(request.end(), {0, 1, 0, 0, 0, 0, 0, 0});  // far beyond what is there
  std::vector<line> lines;
  for (std::size_t i = 0; i < how_many; ++i) {
    lines.emplace_back(sites.a.uri);
    REQUIRE(::send(lines.back().descriptor(), request.data(), request.size(), MSG_NOSIGNAL) == 32);
  }
  return lines;
}

}  // namespace

TEST_CASE("robustness: the daemon bears it when it has no descriptor left and serves when it has again") {
  site_pair sites;
  restart_with_descriptors(sites, "64");
  const std::string ksid = sites.open(sites.a);
  std::vector<line> lines;
  for (int i = 0; i < 100; ++i) {
    lines.emplace_back(sites.a.uri);
    lines.back().ask();
  }
  REQUIRE(lines.front().is_answered());
  REQUIRE_FALSE(lines.back().is_answered(MSG_DONTWAIT));
  CHECK(load_of(*sites.a.daemon) < 0.1);
  CHECK(runs(*sites.a.daemon));
  lines.front().ask();  // those who are in go on
  CHECK(lines.front().is_answered());
  CHECK_FALSE(lines.back().is_answered(MSG_DONTWAIT));
  const std::string log = sites.log(sites.a);
  CHECK(has(log, "cannot accept"));
  CHECK(count(log, "cannot accept") < 5);  // and not ten times a second

  lines.erase(lines.begin(), lines.begin() + 60);
  const auto released = clock::now();
  CHECK(lines.back().is_answered());
  CHECK(clock::now() - released < 1s);
  CHECK(sites.keys(sites.a, ksid, 3) == sites.keys(sites.b, ksid, 3));
}

TEST_CASE("robustness: the daemon rests while its callers wait for key that does not come") {
  site_pair sites{"", "2_000"};  // 32 octets in 128 ms
  const std::string ksid = sites.open(sites.a);
  {
    const auto lines = waiting_for_key(sites, ksid, 30);
    CHECK(load_of(*sites.a.daemon) < 0.1);
    CHECK(load_of(*sites.b.daemon) < 0.1);
  }
  CHECK(sites.keys(sites.a, ksid, 1) == sites.keys(sites.b, ksid, 1));
}

TEST_CASE("robustness: the daemon rests while its peer hangs and goes on with it afterwards") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  const std::string before = sites.keys(sites.b, ksid, 10);
  CHECK(sites.keys(sites.a, ksid, 10) == before);
  sites.b.daemon->signal(SIGSTOP);
  {
    const auto lines = waiting_for_key(sites, ksid, 30);
    CHECK(load_of(*sites.a.daemon) < 0.1);
    CHECK(sites.open(sites.a) != ksid);  // it does not wait for the peer
  }
  sites.b.daemon->signal(SIGCONT);
  const std::string after = sites.keys(sites.b, ksid, 100);
  CHECK(sites.keys(sites.a, ksid, 100) == after);
}

TEST_CASE("robustness: the daemon rests while its peer is dead") {
  site_pair sites;
  const std::string ksid = sites.open(sites.a);
  site_pair::kill(sites.b);
  const auto lines = waiting_for_key(sites, ksid, 30);
  CHECK(load_of(*sites.a.daemon) < 0.1);
  CHECK(runs(*sites.a.daemon));
}

TEST_CASE("robustness: the daemon stays small and idle with a thousand TLS connections") {
  constexpr std::size_t many = 1'000;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  constexpr rlim_t needed = many + 200;
  if (before.rlim_max < needed) {
    MESSAGE("skipped: no more than " << before.rlim_max << " descriptors are allowed here");
    return;
  }
  rlimit enough = before;
  enough.rlim_cur = std::max(before.rlim_cur, needed);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &enough) == 0);  // the daemon inherits it
  {
    site_pair sites{"", "1_000_000", over::tls};
    const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context{SSL_CTX_new(TLS_client_method()),
                                                               SSL_CTX_free};
    const std::string alice = sites.folder.path("certs/alice");
    REQUIRE(SSL_CTX_use_certificate_chain_file(context.get(), (alice + ".pem").c_str()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(context.get(), (alice + ".key").c_str(), SSL_FILETYPE_PEM) == 1);
    const std::string empty = resident(*sites.a.daemon);
    std::vector<line> lines;
    std::vector<std::unique_ptr<SSL, void (*)(SSL*)>> sessions;
    for (std::size_t i = 0; i < many; ++i) {
      lines.emplace_back(sites.a.uri);
      sessions.emplace_back(SSL_new(context.get()), SSL_free);
      SSL_set_fd(sessions.back().get(), lines.back().descriptor());
      REQUIRE(SSL_connect(sessions.back().get()) == 1);
    }
    const std::string full = resident(*sites.a.daemon);
    MESSAGE("resident: " << empty << " without, " << full << " with " << many << " connections");
    CHECK(std::strtoul(full.c_str(), nullptr, 10) < 512 * 1024);
    CHECK(load_of(*sites.a.daemon) < 0.1);
    const std::string ksid = sites.open(sites.a);
    CHECK(sites.keys(sites.a, ksid, 3) == sites.keys(sites.b, ksid, 3));
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}
