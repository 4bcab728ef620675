// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

std::string address_of(qkd004_server* server, std::size_t number) {
  char uri[256];
  std::size_t size = sizeof uri;
  must(qkd004_server_address(server, number, uri, &size));
  CHECK(size == std::strlen(uri) + 1);
  return uri;
}

}  // namespace

TEST_CASE("server: two sites with key sources of the program's own give both applications the same keys") {
  qkd004_source* first = nullptr;
  qkd004_source* second = nullptr;
  must(qkd004_source_memory(0, &first, &second));
  const qkd004_link_source at_b{"a+b", second};
  qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
  o.config =
      "node = \"b\"\nlisten = [\"qkd004://127.0.0.1:0\"]\n[[peer]]\nnode = \"a\"\n[peer.source]\nkind = "
      "\"given\"\n";
  o.sources = &at_b;
  o.source_count = 1;
  qkd004_server* site_b = nullptr;
  must(qkd004_server_start(&o, &site_b));
  const std::string uri_b = address_of(site_b, 0);
  const std::string config =
      "node = \"a\"\nlisten = [\"qkd004://127.0.0.1:0\"]\n[[peer]]\nnode = \"b\"\naddress = \"" + uri_b +
      "\"\n[peer.source]\nkind = \"given\"\n";
  const qkd004_link_source at_a{"a+b", first};
  o.config = config.c_str();
  o.sources = &at_a;
  qkd004_server* site_a = nullptr;
  must(qkd004_server_start(&o, &site_a));
  ends::clients c{nullptr, nullptr, "qkd://alice@a", "qkd://bob@b"};
  must(qkd004_connect(address_of(site_a, 0).c_str(), nullptr, &c.a));
  must(qkd004_connect(uri_b.c_str(), nullptr, &c.b));
  // the sites may not have met yet
  qkd004_stream* s = nullptr;
  int result = QKD004_NO_QKD_CONNECTION;
  while (result == QKD004_NO_QKD_CONNECTION) {
    result = qkd004_open_connect(c.a, c.source, c.destination, nullptr, nullptr, QKD004_NO_WAIT, &s);
  }
  CHECK(result == QKD004_PEER_NOT_CONNECTED);
  must(qkd004_close(s));
  {
    ends e{c};
    for (std::uint64_t i = 0; i != 200; ++i) e.due(i);
  }
  must(qkd004_server_stop(site_a));
  must(qkd004_server_stop(site_b));
  must(qkd004_source_close(first));
  must(qkd004_source_close(second));
}

TEST_CASE("server: says where it listens, and how much room that needs") {
  const served site;
  char uri[256];
  std::size_t size = 3;
  CHECK(qkd004_server_address(site.server, 0, uri, &size) == -ENOBUFS);
  CHECK(size == site.uri.size() + 1);
  CHECK(site.uri.starts_with("qkd004://127.0.0.1:"));
  CHECK_FALSE(site.uri.ends_with(":0"));
  size = sizeof uri;
  CHECK(qkd004_server_address(site.server, 1, uri, &size) == QKD004_INVALID_ARGUMENT);
}

TEST_CASE("server: what is wrong with a configuration is said") {
  qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
  qkd004_server* server = nullptr;
  o.config = "node = \"site\"\nlisten = [\"qkd004://127.0.0.1:0\"]\nself_link = true\nspoon = 1\n";
  CHECK(qkd004_server_start(&o, &server) == QKD004_INVALID_ARGUMENT);
  CHECK(std::string{qkd004_last_error()}.find("spoon") != std::string::npos);
  o.config = nullptr;
  o.file = "/nowhere/at/all.toml";
  CHECK(qkd004_server_start(&o, &server) == -ENOENT);
  CHECK(server == nullptr);
  const served site;
  const std::string taken = "node = \"site\"\nlisten = [\"" + site.uri + "\"]\nself_link = true\n";
  o.file = nullptr;
  o.config = taken.c_str();
  CHECK(qkd004_server_start(&o, &server) == -EADDRINUSE);
}

TEST_CASE("server: a source for a link that there is not is an error, and stays the program's") {
  qkd004_source* first = nullptr;
  qkd004_source* second = nullptr;
  must(qkd004_source_memory(0, &first, &second));
  const qkd004_link_source sources[] = {{"no such link", first}};
  qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
  o.config = "node = \"site\"\nlisten = [\"qkd004://127.0.0.1:0\"]\nself_link = true\n";
  o.sources = sources;
  o.source_count = 1;
  qkd004_server* server = nullptr;
  CHECK(qkd004_server_start(&o, &server) == QKD004_INVALID_ARGUMENT);
  qkd004_manager_options m = QKD004_MANAGER_OPTIONS_INIT;
  qkd004_manager* manager = nullptr;
  m.first = first;
  m.second = second;
  must(qkd004_manager_open(&m, &manager));
  must(qkd004_manager_close(manager));
  must(qkd004_source_close(first));
  must(qkd004_source_close(second));
}

TEST_CASE("server: its log goes to the callback, which may throw, and may not stop it") {
  struct log {
    std::mutex mutex;
    std::vector<std::string> lines;
    std::atomic<qkd004_server*> server{nullptr};
    std::atomic<int> came_to{0};
    static void line(void* context, qkd004_log_level level, const char* text) {
      auto& me = *static_cast<log*>(context);
      CHECK(level <= QKD004_LOG_ERROR);
      {
        const std::lock_guard lock{me.mutex};
        me.lines.emplace_back(text);
      }
      if (qkd004_server* const s = me.server.load()) me.came_to = qkd004_server_stop(s);
      throw std::runtime_error{"thrown by a log"};
    }
  } l;
  qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
  o.config = "node = \"site\"\nlisten = [\"qkd004://127.0.0.1:0\"]\nself_link = true\n";
  o.log = log::line;
  o.log_context = &l;
  qkd004_server* server = nullptr;
  must(qkd004_server_start(&o, &server));
  l.server.store(server);
  const std::string uri = address_of(server, 0);
  {
    // something that is logged: octets that are no request
    qkd004_client* c = nullptr;
    qkd004_connect_options plain = QKD004_CONNECT_OPTIONS_INIT;
    plain.plain = 1;
    must(qkd004_connect(uri.c_str(), &plain, &c));
    qkd004_stream* s = nullptr;
    (void)qkd004_open_connect(c, "qkd://alice@site", "qkd://bob@site", nullptr, nullptr, QKD004_NO_WAIT, &s);
    (void)qkd004_close(s);
    must(qkd004_client_close(c));
  }
  must(qkd004_server_stop(server));
  CHECK(qkd004_server_stop(server) == -EBADF);
  CHECK_FALSE(l.lines.empty());
  if (l.came_to != 0) CHECK(l.came_to == -EDEADLK);
}
