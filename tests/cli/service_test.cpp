// The program as a service: what it tells a service manager and takes from it.
// SPDX-License-Identifier: Apache-2.0
#include "cli/service_process.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

using namespace qkd004::cli;
using namespace qkd004::cli::test;

namespace {

/// A site that is its own peer, and what belongs to it.
class service_folder : public temporary_folder {
 public:
  explicit service_folder(const std::string& listen, const std::string& further = "") {
    write_file(path("site.toml"),
               "node = 'a'\nself_link = true\nlisten = [" + listen + "]\n" + further + "\n");
  }
  [[nodiscard]] service_start start(std::vector<std::string> further = {}) const {
    service_start s;
    s.arguments = {"serve", "--config", path("site.toml")};
    s.arguments.insert(s.arguments.end(), further.begin(), further.end());
    s.log = path("log");
    s.environment = {{"NOTIFY_SOCKET", path("notify")}};
    return s;
  }
};

constexpr const char* allow_unlocked = "[memory]\nallow_unlocked = true";

/// Whether somebody listens on that Unix socket.
bool is_reachable(const std::string& path) {
  const descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path, path.data(), path.size());
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
}

/// Opens a stream there.
int opens(const std::string& uri) {
  return run({"open", "--uri", uri, "--source", "qkd://one@a", "--destination", "qkd://two@a",
              "--allow-unlocked"})
      .code;
}

/// The start of what is answered on a connection.
std::string answer_on(const descriptor& connection) {
  std::array<char, 12> text{};
  const ssize_t size = ::recv(connection.get(), text.data(), text.size(), MSG_WAITALL);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

}  // namespace

TEST_CASE("service: says that it is ready when it can be reached, how it stands, and that it ends") {
  service_folder folder{"", allow_unlocked};
  const std::string socket = folder.path("site.socket");
  write_file(folder.path("site.toml"),
             "node = 'a'\nself_link = true\nlisten = ['unix:" + socket + "']\n" + allow_unlocked);
  for (const bool abstract : {false, true}) {
    const std::string name = abstract ? "@qkd004-test-" + std::to_string(::getpid()) : folder.path("notify");
    INFO(name);
    notify_socket manager{name};
    auto how = folder.start();
    how.environment = {{"NOTIFY_SOCKET", name}};
    service_process service{how};
    CHECK(manager.next() == "READY=1\n");
    CHECK(is_reachable(socket));
    CHECK(manager.next() == "STATUS=its own peer, 0 streams, 0 keys delivered\n");
    service.signal(SIGTERM);
    CHECK(manager.hears("STOPPING=1"));
    CHECK(service.exit_code() == 0);
  }
}

TEST_CASE("service: says nothing when it does not come about") {
  const bound_port taken;
  REQUIRE(::listen(taken.socket.get(), 1) == 0);
  for (const std::string& listen : {taken.uri("qkd004"), std::string{"qkd004://"}}) {
    INFO(listen);
    const service_folder folder{"'" + listen + "'", allow_unlocked};
    notify_socket manager{folder.path("notify")};
    service_process service{folder.start()};
    CHECK(service.exit_code() != 0);
    CHECK_FALSE(manager.next(0ms));
  }
}

TEST_CASE("service: says that it lives as often as it is asked to, and only if it is the one who is asked") {
  const service_folder folder{"'qkd004://127.0.0.1:0'", allow_unlocked};
  notify_socket manager{folder.path("notify")};
  auto how = folder.start();
  how.environment.emplace_back("WATCHDOG_USEC", "200000");
  {
    const service_process service{how};
    REQUIRE(manager.hears("READY=1"));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) CHECK(manager.hears("WATCHDOG=1"));
    // the first at once, then four halves of the time: never more often
    CHECK(std::chrono::steady_clock::now() - begin > 350ms);
  }
  how.environment.emplace_back("WATCHDOG_PID", "1");
  const service_process service{how};
  REQUIRE(manager.hears("READY=1"));
  CHECK(manager.next() == "STATUS=its own peer, 0 streams, 0 keys delivered\n");
}

TEST_CASE("service: runs on when nobody hears it") {
  const bound_port port;
  REQUIRE(::listen(port.socket.get(), 8) == 0);
  const service_folder folder{"'qkd004+systemd:apps'", allow_unlocked};
  for (const std::string& name : {folder.path("nothing"), std::string{"here"}, "/" + std::string(300, 'x'),
                                  std::string{"@"}, std::string{"/dev/null"}}) {
    INFO(name);
    auto how = folder.start();
    how.environment = {{"NOTIFY_SOCKET", name}, {"WATCHDOG_USEC", "2000"}, {"LISTEN_FDNAMES", "apps"}};
    how.sockets = {port.socket.get()};
    service_process service{how};
    CHECK(opens(port.uri("qkd004")) == 0);
    service.signal(SIGTERM);
    CHECK(service.exit_code() == 0);
    CHECK(has(service.log(), "cannot tell the service manager anything why="));
    std::filesystem::remove(folder.path("log"));
  }
}

TEST_CASE("socket activation: sockets that are given are listeners, and who connected before is answered") {
  const bound_port framed;
  const bound_port web;
  const bound_port more_web;
  const service_folder folder{"'qkd004+systemd:framed', 'http+systemd:web', 'unix+systemd:local'",
                              allow_unlocked};
  const descriptor local = unix_socket(SOCK_STREAM, folder.path("local"));
  for (const int socket : {framed.socket.get(), web.socket.get(), more_web.socket.get(), local.get()}) {
    REQUIRE(::listen(socket, 8) == 0);
  }
  std::vector<descriptor> early;
  early.push_back(web.connected());
  early.push_back(more_web.connected());
  constexpr std::string_view request = "GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  for (const auto& connection : early) {
    REQUIRE(::send(connection.get(), request.data(), request.size(), 0) > 0);
  }

  notify_socket manager{folder.path("notify")};
  auto how = folder.start();
  how.sockets = {web.socket.get(), framed.socket.get(), more_web.socket.get(), local.get()};
  how.environment.emplace_back("LISTEN_FDNAMES", "web:framed:web:local");
  service_process service{how};
  for (const auto& connection : early) CHECK(answer_on(connection) == "HTTP/1.1 200");
  REQUIRE(manager.hears("READY=1"));
  CHECK(opens(framed.uri("qkd004")) == 0);
  CHECK(opens("unix:" + folder.path("local")) == 0);
  for (int i = 3; i < 7; ++i) {  // nothing that it starts must hold them
    const std::string facts =
        read_file("/proc/" + std::to_string(service.id()) + "/fdinfo/" + std::to_string(i));
    const auto at = facts.find("flags:\t");
    REQUIRE(at != std::string::npos);
    CHECK((std::stoul(facts.substr(at + 7), nullptr, 8) & static_cast<unsigned long>(O_CLOEXEC)) != 0);
  }
  service.signal(SIGTERM);
  CHECK(service.exit_code() == 0);
  CHECK(std::filesystem::exists(folder.path("local")));  // whoever made it removes it
}

TEST_CASE("socket activation: says at the start what is wrong with a socket, and opens nothing") {
  const bound_port deaf;
  const bound_port datagrams{SOCK_DGRAM};
  const bound_port good;
  const bound_port open_to_all{SOCK_STREAM, INADDR_ANY};
  REQUIRE(::listen(good.socket.get(), 8) == 0);
  REQUIRE(::listen(open_to_all.socket.get(), 8) == 0);
  const temporary_folder sockets;
  const descriptor local = unix_socket(SOCK_STREAM, sockets.path("local"));
  const descriptor nameless = unix_socket(SOCK_STREAM, "@qkd004-test-" + std::to_string(::getpid()));
  REQUIRE(::listen(local.get(), 8) == 0);
  REQUIRE(::listen(nameless.get(), 8) == 0);
  const descriptor file{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  struct wrong {
    std::string listen;
    int socket;
    std::string names;
    std::string why;
  };
  const std::vector<wrong> all{
      {"qkd004+systemd:x", deaf.socket.get(), "x", "does not listen"},
      {"qkd004+systemd:x", datagrams.socket.get(), "x", "no stream socket"},
      {"qkd004+systemd:x", file.get(), "x", "no socket"},
      {"qkd004+systemd:x", local.get(), "x", "no TCP socket"},
      {"unix+systemd:x", good.socket.get(), "x", "no Unix socket"},
      {"unix+systemd:x", nameless.get(), "x", "has no file"},
      {"qkd004+systemd:x", open_to_all.socket.get(), "x", "allow_insecure"},
      {"http+systemd:x", open_to_all.socket.get(), "x", "allow_insecure"},
      {"qkd004+systemd:x", good.socket.get(), "y", "no socket of that name is given; there are y"},
      {"qkd004+systemd:x", -1, "", "no socket of that name is given, nor any other"},
      {"qkd004://127.0.0.1:0", good.socket.get(), "y", "a socket 'y' is given, and no listener takes it"},
      {"qkd004+systemd:x", good.socket.get(), "x:y", "LISTEN_FDNAMES='x:y' are not 1 names"},
  };
  for (const auto& w : all) {
    INFO(w.listen, " ", w.names, " ", w.why);
    const service_folder folder{"'" + w.listen + "'", allow_unlocked};
    auto how = folder.start();
    if (w.socket >= 0) how.sockets = {w.socket};
    how.environment = {{"LISTEN_FDNAMES", w.names}};
    service_process service{how};
    CHECK(service.exit_code() == 2);
    CHECK_MESSAGE(has(service.log(), w.why), service.log());
  }
}

TEST_CASE("socket activation: takes nothing that is meant for another process, or is not there") {
  const service_folder folder{"'qkd004://127.0.0.1:0'", allow_unlocked};
  const bound_port port;
  REQUIRE(::listen(port.socket.get(), 8) == 0);
  notify_socket manager{folder.path("notify")};
  auto how = folder.start();
  how.sockets = {port.socket.get()};
  how.environment.emplace_back("LISTEN_PID", "1");
  {
    const service_process service{how};
    CHECK(manager.hears("READY=1"));
  }
  how = folder.start();
  how.sockets = {port.socket.get()};
  how.environment.emplace_back("LISTEN_FDS", "999");
  service_process service{how};
  CHECK(service.exit_code() != 0);
  CHECK_MESSAGE(has(service.log(), "LISTEN_FDS=999, but descriptor "), service.log());
}

TEST_CASE("log: has levels as the journal reads them when it goes there, or when it is told to") {
  struct how_to {
    std::vector<std::string> arguments;
    std::string settings;
    bool journal;
    std::string begins;
  };
  const std::string year = "20";
  const std::vector<how_to> all{
      {{}, "", false, year},
      {{}, "", true, "<6>"},
      {{"--log-format", "plain"}, "", true, year},
      {{"--log-format", "journal"}, "[log]\nformat = 'plain'", false, "<6>"},
      {{}, "[log]\nformat = 'journal'", false, "<6>"},
      {{}, "[log]\nlevel = 'warning'", true, "<4>"},
      {{"--log-level", "info"}, "[log]\nlevel = 'error'", true, "<6>"},
  };
  for (const auto& one : all) {
    INFO(one.settings, " ", one.begins);
    const service_folder folder{"'qkd004://127.0.0.1:0'", std::string{allow_unlocked} + "\n" + one.settings};
    notify_socket manager{folder.path("notify")};
    auto with = folder.start(one.arguments);
    with.stderr_is_journal = one.journal;
    service_process service{with};
    REQUIRE(manager.hears("READY=1"));
    CHECK_MESSAGE(service.log().starts_with(one.begins), service.log());
  }
  // that is another file
  const service_folder folder{"'qkd004://127.0.0.1:0'", allow_unlocked};
  notify_socket manager{folder.path("notify")};
  auto with = folder.start();
  with.environment.emplace_back("JOURNAL_STREAM", "1:2");
  service_process service{with};
  REQUIRE(manager.hears("READY=1"));
  CHECK(service.log().starts_with(year));
}

TEST_CASE("locked memory: the start says when there may be too little, and how much it takes") {
  const auto said = [](const std::string& settings, rlim_t limit) {
    const service_folder folder{"'qkd004://127.0.0.1:0'", settings};
    notify_socket manager{folder.path("notify")};
    auto how = folder.start();
    how.locked_memory = limit;
    const service_process service{how};
    const bool ready = manager.hears("READY=1");
    REQUIRE_MESSAGE(ready, service.log());
    return service.log();
  };
  const std::string too_little = said("[memory]\nbytes = 4_194_304", rlim_t{1} << 20);
  CHECK_MESSAGE(has(too_little, "needed=4194304 limit=1048576"), too_little);
  CHECK(has(too_little, "LimitMEMLOCK="));
  CHECK(has(said("[memory]\nbytes = 4_194_304\nallow_unlocked = true", rlim_t{1} << 20), "swap space"));
  // not more than an unprivileged process may have where the tests run
  CHECK_FALSE(has(said("[memory]\nbytes = 4_194_304", rlim_t{6} << 20), "locked memory"));
}
