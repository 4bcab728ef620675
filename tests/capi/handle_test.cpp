// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

/// A call in which nothing is wrong but, perhaps, its handle.
struct use {
  const char* name;
  std::function<int(void*)> call;
  bool ends = false;
};

/// Arguments that may be written to.
struct scratch {
  key k{};
  std::size_t size = key_size;
  std::uint64_t index = 0;
  std::size_t count = 0;
  char text[4096] = "";
  std::size_t text_size = sizeof text;
  qkd004_key_stream_id id{};
  qkd004_qos qos = QKD004_QOS_INIT;
  qkd004_software_report report = QKD004_SOFTWARE_REPORT_INIT;
  qkd004_v1_key_handle v1{{1}};
  qkd004_client* client = nullptr;
  qkd004_stream* stream = nullptr;
  qkd004_v1_session* session = nullptr;
};

std::vector<use> uses_of_client(scratch& s) {
  const auto as = [](void* h) { return static_cast<qkd004_client*>(h); };
  return {
      {"qkd004_open_connect",
       [&s, as](void* h) {
         return qkd004_open_connect(as(h), "qkd://alice@A", "qkd://bob@B", nullptr, nullptr, QKD004_NO_WAIT,
                                    &s.stream);
       }},
      {"qkd004_client_report",
       [&s, as](void* h) { return qkd004_client_report(as(h), nullptr, s.text, &s.text_size); }},
      {"qkd004_v1_session_open",
       [&s, as](void* h) { return qkd004_v1_session_open(as(h), "qkd://alice@A", nullptr, &s.session); }},
      {"qkd004_client_cancel", [as](void* h) { return qkd004_client_cancel(as(h)); }},
      {"qkd004_client_close", [as](void* h) { return qkd004_client_close(as(h)); }, true},
  };
}

std::vector<use> uses_of_stream(scratch& s) {
  const auto as = [](void* h) { return static_cast<qkd004_stream*>(h); };
  return {
      {"qkd004_get_key",
       [&s, as](void* h) { return qkd004_get_key(as(h), 0, s.k.data(), &s.size, nullptr); }},
      {"qkd004_next_key",
       [&s, as](void* h) { return qkd004_next_key(as(h), s.k.data(), &s.size, &s.index, nullptr); }},
      {"qkd004_try_next_key",
       [&s, as](void* h) { return qkd004_try_next_key(as(h), s.k.data(), &s.size, &s.index, nullptr); }},
      {"qkd004_get_keys",
       [&s, as](void* h) { return qkd004_get_keys(as(h), s.k.data(), &s.size, &s.index, &s.count); }},
      {"qkd004_prefetch", [as](void* h) { return qkd004_prefetch(as(h), 0); }},
      {"qkd004_acknowledge", [as](void* h) { return qkd004_acknowledge(as(h)); }},
      {"qkd004_wait_for_peer", [as](void* h) { return qkd004_wait_for_peer(as(h), 1); }},
      {"qkd004_stream_describe", [&s, as](void* h) { return qkd004_stream_describe(as(h), &s.id, &s.qos); }},
      {"qkd004_stream_cancel", [as](void* h) { return qkd004_stream_cancel(as(h)); }},
      {"qkd004_close", [as](void* h) { return qkd004_close(as(h)); }, true},
      {"qkd004_detach", [as](void* h) { return qkd004_detach(as(h)); }, true},
  };
}

std::vector<use> uses_of_source(scratch& s) {
  const auto as = [](void* h) { return static_cast<qkd004_source*>(h); };
  return {
      {"qkd004_source_software_report",
       [&s, as](void* h) { return qkd004_source_software_report(as(h), &s.report); }},
      {"qkd004_manager_open",
       [as](void* h) {
         qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
         qkd004_manager* m = nullptr;
         o.first = o.second = as(h);
         return qkd004_manager_open(h == nullptr ? nullptr : &o, h == nullptr ? nullptr : &m);
       }},
      {"qkd004_source_close", [as](void* h) { return qkd004_source_close(as(h)); }, true},
  };
}

std::vector<use> uses_of_manager(scratch& s) {
  const auto as = [](void* h) { return static_cast<qkd004_manager*>(h); };
  return {
      {"qkd004_manager_connect",
       [&s, as](void* h) { return qkd004_manager_connect(as(h), 0, nullptr, &s.client); }},
      {"qkd004_manager_close", [as](void* h) { return qkd004_manager_close(as(h)); }, true},
  };
}

std::vector<use> uses_of_server(scratch& s) {
  const auto as = [](void* h) { return static_cast<qkd004_server*>(h); };
  return {
      {"qkd004_server_address",
       [&s, as](void* h) { return qkd004_server_address(as(h), 0, s.text, &s.text_size); }},
      {"qkd004_server_stop", [as](void* h) { return qkd004_server_stop(as(h)); }, true},
  };
}

std::vector<use> uses_of_session(scratch& s) {
  const auto as = [](void* h) { return static_cast<qkd004_v1_session*>(h); };
  return {
      {"qkd004_v1_session_destination",
       [as](void* h) { return qkd004_v1_session_destination(as(h), "b", "qkd://bob@B"); }},
      {"qkd004_v1_open", [&s, as](void* h) { return qkd004_v1_open(as(h), nullptr, nullptr, &s.v1); }},
      {"qkd004_v1_connect_nonblock", [&s, as](void* h) { return qkd004_v1_connect_nonblock(as(h), &s.v1); }},
      {"qkd004_v1_connect_blocking",
       [&s, as](void* h) { return qkd004_v1_connect_blocking(as(h), &s.v1, 1); }},
      {"qkd004_v1_get_key",
       [&s, as](void* h) { return qkd004_v1_get_key(as(h), &s.v1, s.k.data(), &s.size); }},
      {"qkd004_v1_close", [&s, as](void* h) { return qkd004_v1_close(as(h), &s.v1); }},
      {"qkd004_v1_session_close", [as](void* h) { return qkd004_v1_session_close(as(h)); }, true},
  };
}

/// One object of each kind, all its functions, and how many kinds there are.
class everything {
 public:
  everything() {
    must(qkd004_source_memory(0, &source, &other_source));
    must(qkd004_manager_open(nullptr, &manager));
    must(qkd004_manager_connect(manager, 0, nullptr, &client));
    must(qkd004_v1_session_open(client, "qkd://alice@A", "qkd://bob@B", &session));
    all = {{e.a, uses_of_stream(s)},      {client, uses_of_client(s)},      {source, uses_of_source(s)},
           {manager, uses_of_manager(s)}, {site.server, uses_of_server(s)}, {session, uses_of_session(s)}};
  }
  everything(const everything&) = delete;
  everything& operator=(const everything&) = delete;
  ~everything() {
    (void)qkd004_v1_session_close(session);
    (void)qkd004_client_close(client);
    (void)qkd004_manager_close(manager);
    (void)qkd004_source_close(source);
    (void)qkd004_source_close(other_source);
  }

  struct object {
    void* handle;
    std::vector<use> uses;
  };
  std::vector<object> all;
  ends e;
  served site;
  scratch s;
  qkd004_source* source = nullptr;
  qkd004_source* other_source = nullptr;
  qkd004_manager* manager = nullptr;
  qkd004_client* client = nullptr;
  qkd004_v1_session* session = nullptr;
};

/// All functions that take a handle say this of it. (A manager's key sources may be NULL: that is not a handle then.)
void check_all(const everything& x, void* handle, const std::vector<use>& uses, int expected) {
  for (const use& u : uses) {
    if (handle == nullptr && std::string{u.name} == "qkd004_manager_open") continue;
    CAPTURE(u.name);
    CHECK(u.call(handle) == expected);
  }
  (void)x;
}

}  // namespace

TEST_CASE("handle: NULL gives EBADF in every function") {
  const everything x;
  for (const auto& o : x.all) check_all(x, nullptr, o.uses, -EBADF);
}

TEST_CASE("handle: a number that was never one gives EBADF in every function") {
  const everything x;
  int here = 0;
  const std::uintptr_t numbers[] = {1,
                                    7,
                                    0x1234,
                                    ~std::uintptr_t{0},
                                    reinterpret_cast<std::uintptr_t>(&here),
                                    reinterpret_cast<std::uintptr_t>(x.e.a) ^ std::uintptr_t{1} << 62};
  for (const auto& o : x.all) {
    for (const std::uintptr_t n : numbers) check_all(x, reinterpret_cast<void*>(n), o.uses, -EBADF);
  }
}

TEST_CASE("handle: one of another kind gives EBADF in every function") {
  const everything x;
  for (const auto& o : x.all) {
    for (const auto& other : x.all) {
      if (other.handle != o.handle) check_all(x, other.handle, o.uses, -EBADF);
    }
  }
  // and all of them are as they were
  CHECK(next(x.e.a).result == QKD004_SUCCESS);
  char text[64];
  std::size_t size = sizeof text;
  CHECK(qkd004_server_address(x.site.server, 0, text, &size) == QKD004_SUCCESS);
}

TEST_CASE("handle: one that has ended gives EBADF in every function, as often as it is used") {
  everything x;
  for (const auto& o : x.all) {
    for (const use& u : o.uses) {
      if (!u.ends || std::string{u.name} == "qkd004_detach") continue;
      CAPTURE(u.name);
      CHECK(u.call(o.handle) == QKD004_SUCCESS);
    }
    check_all(x, o.handle, o.uses, -EBADF);
    check_all(x, o.handle, o.uses, -EBADF);
  }
}

TEST_CASE("handle: numbers are never used again") {
  qkd004_manager* manager = nullptr;
  must(qkd004_manager_open(nullptr, &manager));
  std::set<qkd004_client*> seen;
  qkd004_client* first = nullptr;
  for (int i = 0; i != 3'000; ++i) {
    qkd004_client* c = nullptr;
    REQUIRE(qkd004_manager_connect(manager, 0, nullptr, &c) == QKD004_SUCCESS);
    if (first == nullptr) first = c;
    CHECK(seen.insert(c).second);
    CHECK(qkd004_client_close(c) == QKD004_SUCCESS);
  }
  CHECK(qkd004_client_cancel(first) == -EBADF);
  must(qkd004_manager_close(manager));
}

TEST_CASE("handle: the parent's give EPERM in every function of a forked child, which can have its own") {
  everything x;
  x.e.due(0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // says by its exit status what was wrong
    for (const auto& o : x.all) {
      for (const use& u : o.uses) {
        if (u.call(o.handle) != -EPERM) ::_exit(1);
      }
    }
    if (qkd004_client_close(nullptr) != -EBADF) ::_exit(2);
    qkd004_client* a = nullptr;
    qkd004_client* b = nullptr;
    qkd004_stream* s = nullptr;
    if (qkd004_pair(&a, &b) != QKD004_SUCCESS) ::_exit(3);
    if (qkd004_open_connect(a, "qkd://alice@A", "qkd://bob@B", nullptr, nullptr, QKD004_NO_WAIT, &s) !=
        QKD004_PEER_NOT_CONNECTED) {
      ::_exit(4);
    }
    for (int i = 0; i != 3; ++i) {
      key k{};
      std::size_t size = k.size();
      if (qkd004_next_key(s, k.data(), &size, nullptr, nullptr) != QKD004_SUCCESS || k == key{}) ::_exit(5);
    }
    if (qkd004_close(s) != QKD004_SUCCESS || qkd004_close(s) != -EBADF) ::_exit(6);
    for (const auto& o : x.all) {  // also now that the child has handles
      for (const use& u : o.uses) {
        if (u.call(o.handle) != -EPERM) ::_exit(7);
      }
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  x.e.due(1);
}

TEST_CASE("handle: a fork while other threads are inside leaves the child free to work") {
  ends e;
  std::atomic<bool> stop{false};
  std::thread busy{[&] {
    while (!stop.load()) {
      (void)next(e.a);
      (void)next(e.b);
      (void)qkd004_stream_describe(e.a, nullptr, nullptr);
    }
  }};
  for (int i = 0; i != 20; ++i) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      if (next(e.a).result != -EPERM) ::_exit(1);
      qkd004_client* a = nullptr;
      qkd004_client* b = nullptr;
      if (qkd004_pair(&a, &b) != QKD004_SUCCESS || qkd004_client_close(a) != QKD004_SUCCESS) ::_exit(2);
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  stop.store(true);
  busy.join();
}

TEST_CASE("handle: ending it while other threads take keys is an error for them and no crash") {
  for (int round = 0; round != 30; ++round) {
    ends e;
    std::atomic<int> started{0};
    std::vector<std::thread> takers;
    for (int i = 0; i != 3; ++i) {
      takers.emplace_back([&] {
        ++started;
        for (;;) {
          key k{};
          std::size_t size = k.size();
          const int result = qkd004_next_key(e.a, k.data(), &size, nullptr, nullptr);
          if (result == QKD004_SUCCESS) continue;
          // called off, or too late
          if (result != -ECANCELED && result != -EBADF) FAIL_CHECK(result << ": " << qkd004_last_error());
          return;
        }
      });
    }
    while (started.load() != 3) std::this_thread::yield();
    for (int i = 0; i != 50; ++i) (void)next(e.b);
    CHECK(qkd004_close(e.a) == QKD004_SUCCESS);
    for (auto& t : takers) t.join();
  }
}

TEST_CASE("handle: of several threads that end it, one does") {
  for (int round = 0; round != 50; ++round) {
    ends e;
    std::atomic<int> ended{0};
    std::vector<std::thread> all;
    for (int i = 0; i != 4; ++i) {
      all.emplace_back([&] {
        const int result = qkd004_close(e.a);
        if (result == QKD004_SUCCESS) ++ended;
        if (result != QKD004_SUCCESS && result != -ECANCELED && result != -EBADF) FAIL_CHECK(result);
      });
    }
    for (auto& t : all) t.join();
    CHECK(ended.load() == 1);
  }
}
