// SPDX-License-Identifier: Apache-2.0
#include <asio/local/stream_protocol.hpp>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>

#include "net/certificates.hpp"

using namespace test;

namespace {

net::site_options site_at(const std::string& path) {
  auto o = site_options_of("a");
  o.listen = {"unix:" + path};
  o.self_link = true;
  return o;
}

mode_t mode_of(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0 ? found.st_mode & 0777 : 0;
}

/// Why a site does not start.
std::string start_failure(net::site_options options, std::errc expected) {
  asio::io_context context;
  options.memory = some_memory();
  net::site site{context, std::move(options)};
  std::string why;
  const auto started = site.start(&why);
  REQUIRE_FALSE(started);
  CHECK_MESSAGE(started.error() == expected, why);
  return why;
}

/// A listener whose process died: its file is left.
void leave_behind(const std::string& path) {
  asio::io_context context;
  asio::local::stream_protocol::acceptor gone{context, {path}};
}

/// The outcome of an OPEN_CONNECT of another user's process, or 255 when it did not get that far.
int outcome_as_user(uid_t user, const std::string& path) {
  const auto where = net::endpoints_of(*net::parse_address("unix:" + path), net::reach::loopback)->front();
  const octets request =
      frame_of(0x02, text0("qkd://one@a") + text0("qkd://two@a") + zeros(7 * 4) + text0("") + zeros(16));
  octets answer(12);
  const pid_t child = ::fork();
  if (child == 0) {
    const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const bool answered = ::setuid(user) == 0 &&
                          ::connect(socket, where.data(), static_cast<socklen_t>(where.size())) == 0 &&
                          ::send(socket, request.data(), request.size(), MSG_NOSIGNAL) > 0 &&
                          ::recv(socket, answer.data(), answer.size(), MSG_WAITALL) == 12;
    ::_exit(answered ? answer[11] : 255);
  }
  int ended = 0;
  ::waitpid(child, &ended, 0);
  return WEXITSTATUS(ended);
}

}  // namespace

TEST_CASE("unix: gives both applications the same keys over sockets between peers over a socket") {
  temporary_folder folder;
  auto sources = make_memory_sources();
  auto of_b = site_options_of("b");
  of_b.listen = {"unix:" + folder / "b"};
  of_b.peers.push_back(peer_of("a", "", std::move(sources.second)));
  running_site b{std::move(of_b)};
  auto of_a = site_options_of("a");
  of_a.listen = {"unix:" + folder / "a"};
  of_a.peers.push_back(peer_of("b", b.address(), std::move(sources.first)));
  running_site a{std::move(of_a)};
  CHECK(a.address() == "unix:" + folder / "a");
  CHECK(a.log.has("a peer is up link=link peer=b"));
  CHECK(a.log.count_now("'anonymous'") == 0);

  const auto at_a = connect_to(a.address());
  const auto at_b = connect_to(b.address());
  qos large;
  large.key_chunk_size = 4096;
  const auto stream = open_connect(*at_a, {}, large).stream;
  CHECK(open_connect(*at_b, stream).outcome == status::success);
  for (std::uint64_t i = 0; i < 200; ++i) {
    get_key_call one{stream, i, 0, 4096};
    get_key_call other{stream, i, 0, 4096};
    ask(*at_a, one);
    ask(*at_b, other);
    REQUIRE_FALSE(one.error);
    REQUIRE(one.octets().size() == 4096);
    REQUIRE(one.octets() == other.octets());
  }
  CHECK(close(*at_a, stream) == status::success);
}

TEST_CASE("unix: knows a caller by its user and lets it resume its stream") {
  temporary_folder folder;
  std::mutex mutex;
  std::string principal;
  auto options = site_at(folder / "socket");
  options.self_link = false;
  options.peers.push_back(peer_of("b", "qkd004://127.0.0.1:1", make_memory_sources().first));
  options.manager.may_open = [&](std::string_view who, std::string_view, std::string_view) {
    const std::lock_guard lock{mutex};
    principal = who;
    return true;
  };
  running_site site{std::move(options)};
  const auto first = connect_to(site.address());
  const auto opened = open_connect(*first);
  {
    const std::lock_guard lock{mutex};
    CHECK(principal == "unix:uid:" + std::to_string(::geteuid()));
  }
  const auto second = connect_to(site.address());
  const auto resumed = open_connect(*second, opened.stream);
  CHECK(resumed.outcome == status::peer_not_connected);
  CHECK(resumed.epoch == opened.epoch + 1);
}

TEST_CASE("unix: is open to the own user and root, and to others whom the table names") {
  temporary_folder folder;
  for (const std::string& user : {"uid:" + std::to_string(::geteuid()), std::string{"uid:65533"}}) {
    auto options = site_at(folder / "socket");
    options.access = {{user}};
    running_site site{std::move(options)};
    call c;
    c.request = open_connect_request{"qkd://one@a", "qkd://two@a"};
    ask(*connect_to(site.address()), c);
    const auto outcome = std::get<open_connect_response>(c.response).outcome;
    CHECK((outcome == status::not_authorized) == (user == "uid:65533"));
  }
  if (::geteuid() != 0) return;  // only root can be somebody else
  ::chmod((folder / "").c_str(), 0755);
  auto options = site_at(folder / "socket");
  options.unix_mode = 0666;
  {
    running_site site{options};
    CHECK(outcome_as_user(65533, folder / "socket") == 5);  // not_authorized, in the standard's words
  }
  options.access = {{"uid:65533"}};
  running_site site{options};
  CHECK(outcome_as_user(65533, folder / "socket") == 1);
  CHECK(outcome_as_user(65532, folder / "socket") == 5);
}

TEST_CASE("unix: makes a file that is its user's alone unless told otherwise and takes it away") {
  temporary_folder folder;
  const std::string path = folder / "socket";
  const mode_t before = ::umask(0077);
  {
    running_site site{site_at(path)};
    CHECK(mode_of(path) == 0600);
  }
  CHECK_FALSE(std::filesystem::exists(path));
  auto options = site_at(path);
  options.unix_mode = 0660;
  {
    running_site site{std::move(options)};
    CHECK(mode_of(path) == 0660);
  }
  ::umask(before);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("unix: takes the place of a dead listener and of nobody and nothing else") {
  temporary_folder folder;
  const std::string path = folder / "socket";
  leave_behind(path);
  REQUIRE(std::filesystem::exists(path));
  running_site site{site_at(path)};
  CHECK(connect_to(site.address()));

  CHECK(start_failure(site_at(path), std::errc::address_in_use).find("cannot listen on unix:") !=
        std::string::npos);
  CHECK(connect_to(site.address()));  // the first one is still there

  const std::string file = write_file(folder / "file", "precious");
  start_failure(site_at(file), std::errc::address_in_use);
  CHECK(std::filesystem::file_size(file) == 8);
  start_failure(site_at(folder / "no/folder"), std::errc::no_such_file_or_directory);
  CHECK(start_failure(site_at("/" + std::string(200, 'x')), std::errc::invalid_argument).find("too long") !=
        std::string::npos);
}

TEST_CASE("unix: leaves the file alone in the end when it is another one by then") {
  temporary_folder folder;
  const std::string path = folder / "socket";
  {
    running_site site{site_at(path)};
    std::filesystem::remove(path);
    write_file(path, "somebody else's");
  }
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("unix: sends all that it owes to a client that has said its last and is slow to read") {
  temporary_folder folder;
  auto options = site_at(folder / "socket");
  options.self_link = false;
  auto sources = make_memory_sources();
  auto of_b = site_options_of("b");
  of_b.peers.push_back(peer_of("a", "", std::move(sources.second)));
  running_site b{std::move(of_b)};
  options.peers.push_back(peer_of("b", b.address(), std::move(sources.first)));
  running_site site{std::move(options)};
  const auto at_a = connect_to(site.address());
  qos large;
  large.key_chunk_size = 4096;
  const auto stream = open_connect(*at_a, {}, large).stream;
  get_key_call first{stream, 0, 0, 4096};
  ask(*at_a, first);
  REQUIRE_FALSE(first.error);

  constexpr std::size_t count = 100;  // twice what the system's buffer holds, and less than max_unsent more
  asio::io_context context;
  asio::local::stream_protocol::socket slow{context};
  slow.connect({folder / "socket"});
  octets many;
  for (std::size_t i = 0; i < count; ++i)
    many = std::move(many) + frame_of(0x04, id_octets(stream) + u32(0) + u32(0));
  asio::write(slow, asio::buffer(many));
  slow.shutdown(asio::socket_base::shutdown_send);
  for (int i = 0; i < 5; ++i) {  // and meanwhile the site has read the end
    first.rearm();
    ask(*at_a, first);
    CHECK_FALSE(first.error);
  }
  octets answers((8 + 16 + 4096) * (count + 1));
  std::error_code end;
  CHECK(asio::read(slow, asio::buffer(answers), end) == (8 + 16 + 4096) * count);
  CHECK(end == asio::error::eof);
}

TEST_CASE("unix: says who was refused when he speaks no frame") {
  temporary_folder folder;
  running_site site{site_at(folder / "socket")};
  asio::io_context context;
  asio::local::stream_protocol::socket odd{context};
  odd.connect({folder / "socket"});
  asio::write(odd, asio::buffer(zeros(8)));
  CHECK(site.log.has("refused remote=unix:uid:" + std::to_string(::geteuid())));
}

TEST_CASE("unix: tells a client that nobody listens") {
  temporary_folder folder;
  std::string why;
  const std::string uri = "unix:" + folder / "socket";
  auto made = net::connect(uri, secret_arena{some_memory()}, {}, &why);
  CHECK(made.error() == std::errc::no_such_file_or_directory);
  CHECK(why.find(folder / "socket") != std::string::npos);
  leave_behind(folder / "socket");
  made = net::connect(uri, secret_arena{some_memory()}, {}, &why);
  CHECK(made.error() == std::errc::connection_refused);
}
