// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

/// A folder of this test, which goes with what is in it.
class folder {
 public:
  folder() { REQUIRE(::mkdtemp(name_.data()) != nullptr); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() {
    for (const std::string& f : files_) std::remove(f.c_str());
    std::remove(name_.c_str());
  }
  std::string file(const std::string& name, const std::string& octets, mode_t mode = 0600) {
    const std::string path = expect(name);
    std::ofstream{path, std::ios::binary} << octets;
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    return path;
  }
  /// One that somebody else will make.
  std::string expect(const std::string& name) {
    files_.push_back(name_ + "/" + name);
    return files_.back();
  }

 private:
  std::string name_ = "/tmp/qkd004-capi-XXXXXX";
  std::vector<std::string> files_;
};

/// A stream whose key comes from these, which are let go at once.
ends::clients linked(qkd004_source* first, qkd004_source* second) {
  qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
  o.first = first;
  o.second = second;
  qkd004_manager* m = nullptr;
  must(qkd004_manager_open(&o, &m));
  must(qkd004_source_close(first));
  must(qkd004_source_close(second));
  ends::clients c{};
  must(qkd004_manager_connect(m, 0, nullptr, &c.a));
  must(qkd004_manager_connect(m, 1, nullptr, &c.b));
  must(qkd004_manager_close(m));
  return c;
}

/// One end of a key source in C: block n is 96 octets of n and an octet of salt, or shorter.
struct called {
  std::atomic<int> started{0};
  std::atomic<int> stopped{0};
  std::atomic<int> destroyed{0};
  std::uint64_t block = 0;
  std::size_t size = 96;
  bool has_started = false;
  int start_result = 0;
  int poll_result = 0;
  bool throws = false;
  bool lies = false;  ///< of the size of a block
  std::string link;
  int (*meanwhile)(void*) = nullptr;  ///< called in poll()
  void* of = nullptr;
  int came_to = 0;

  static int start(void* context, const qkd004_source_session* s, std::uint8_t* check) {
    auto& me = *static_cast<called*>(context);
    ++me.started;
    if (me.throws) throw std::runtime_error{"thrown by a key source"};
    me.link = s->link;
    me.block = s->first_block;
    CHECK(s->struct_size == sizeof *s);
    std::memcpy(check, s->lower, 16);
    std::memcpy(check + 16, s->higher, 16);
    me.has_started = true;
    return me.start_result;
  }
  static int poll(void* context, std::uint8_t* block, std::size_t* size) {
    auto& me = *static_cast<called*>(context);
    CHECK(me.has_started);
    CHECK(*size == 96);
    if (me.throws) throw 7;
    if (me.poll_result != 0) return me.poll_result;
    if (me.meanwhile != nullptr) me.came_to = me.meanwhile(me.of);
    *size = me.lies ? 97 : me.size;
    for (std::size_t i = 0; i != me.size; ++i) block[i] = static_cast<std::uint8_t>(1 + me.block + 3 * i);
    me.block += 1;
    return 0;
  }
  static void stop(void* context) {
    auto& me = *static_cast<called*>(context);
    ++me.stopped;
    if (me.throws) throw 8;
  }
  static void destroy(void* context) {
    auto& me = *static_cast<called*>(context);
    ++me.destroyed;
    if (me.throws) throw 9;
  }
  static std::uint32_t ready(void*) { return 0; }

  qkd004_source* make() {
    qkd004_source_ops ops = QKD004_SOURCE_OPS_INIT;
    ops.kind = "called";
    ops.security = QKD004_HARDWARE;
    ops.block_bytes = 96;
    ops.start = start;
    ops.poll = poll;
    ops.ready_in_ms = ready;
    ops.stop = stop;
    ops.destroy = destroy;
    qkd004_source* s = nullptr;
    must(qkd004_source_from_ops(&ops, this, &s));
    return s;
  }
};

}  // namespace

TEST_CASE("source: one written in C gives the keys, whatever the size of its blocks") {
  for (const std::size_t size : {96U, 32U, 7U}) {
    CAPTURE(size);
    called a;
    called b;
    a.size = b.size = size;
    {
      ends e{linked(a.make(), b.make())};
      for (std::uint64_t i = 0; i != 50; ++i) e.due(i);
      CHECK(a.link == b.link);
      CHECK(a.started == 1);
      CHECK(a.destroyed == 0);
    }
    CHECK(a.destroyed == 1);
    CHECK(b.destroyed == 1);
  }
}

TEST_CASE("source: is destroyed once, also when it was never used, and by nobody where it never was one") {
  called a;
  must(qkd004_source_close(a.make()));
  CHECK(a.destroyed == 1);
  CHECK(a.started == 0);
  qkd004_source_ops ops = QKD004_SOURCE_OPS_INIT;
  ops.destroy = called::destroy;
  qkd004_source* s = nullptr;
  CHECK(qkd004_source_from_ops(&ops, &a, &s) == QKD004_INVALID_ARGUMENT);
  CHECK(a.destroyed == 1);
}

TEST_CASE("source: is used once") {
  called a;
  called b;
  qkd004_source* first = a.make();
  qkd004_source* second = b.make();
  qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
  o.first = first;
  o.second = second;
  qkd004_manager* m = nullptr;
  qkd004_manager* other = nullptr;
  must(qkd004_manager_open(&o, &m));
  CHECK(qkd004_manager_open(&o, &other) == QKD004_INVALID_ARGUMENT);
  must(qkd004_manager_close(m));
  CHECK(qkd004_manager_open(&o, &other) == QKD004_INVALID_ARGUMENT);
  must(qkd004_source_close(first));
  must(qkd004_source_close(second));
}

TEST_CASE("source: a callback that throws, fails or lies ends the link, and nothing else") {
  struct spoilt {
    const char* what;
    std::function<void(called&)> spoil;
  };
  const spoilt all[] = {{"throws", [](called& c) { c.throws = true; }},
                        {"fails", [](called& c) { c.poll_result = -EIO; }},
                        {"a status", [](called& c) { c.poll_result = QKD004_STREAM_EXHAUSTED; }},
                        {"says that a block is larger than its room", [](called& c) { c.lies = true; }}};
  for (const spoilt& w : all) {
    CAPTURE(w.what);
    called a;
    called b;
    {
      ends e{linked(a.make(), b.make()), {20}};
      e.due(0);
      w.spoil(a);
      std::vector<taken> had;
      do {
        had.push_back(next(e.a));
      } while (had.back().result == QKD004_SUCCESS && had.size() < 10'000);
      CHECK(had.back().result == QKD004_TIMEOUT);
      had.pop_back();
      // what was there is there at the other end
      for (const taken& t : had) CHECK(next(e.b) == t);
    }
    CHECK(a.destroyed == 1);
  }
}

TEST_CASE("source: a start that throws or fails leaves a link that gives no key") {
  for (const int result : {0, -EIO, static_cast<int>(QKD004_PROTOCOL_ERROR)}) {
    called a;
    called b;
    a.throws = result == 0;
    a.start_result = result;
    qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
    o.first = a.make();
    o.second = b.make();
    qkd004_manager* m = nullptr;
    qkd004_client* c = nullptr;
    qkd004_stream* s = nullptr;
    must(qkd004_manager_open(&o, &m));
    must(qkd004_manager_connect(m, 0, nullptr, &c));
    qkd004_qos q = QKD004_QOS_INIT;
    q.timeout_ms = 5;
    CHECK(qkd004_open_connect(c, "qkd://a@A", "qkd://b@B", &q, nullptr, QKD004_NO_WAIT, &s) ==
          QKD004_PEER_NOT_CONNECTED);
    CHECK(next(s).result == QKD004_TIMEOUT);
    CHECK(a.started >= 1);
    must(qkd004_close(s));
    must(qkd004_client_close(c));
    must(qkd004_manager_close(m));
    must(qkd004_source_close(o.first));
    must(qkd004_source_close(o.second));
  }
}

TEST_CASE("source: a callback may call others, and its own key manager is EDEADLK") {
  called a;
  called b;
  ends other;
  other.due(0);
  ends e{linked(a.make(), b.make())};
  e.due(0);
  // with a stream of another key manager
  a.of = other.a;
  a.meanwhile = [](void* of) { return next(static_cast<qkd004_stream*>(of)).result; };
  std::uint64_t due = 1;
  for (; due != 300; ++due) e.due(due);
  CHECK(a.came_to == QKD004_SUCCESS);
  struct attempt {
    void* of;
    int (*call)(void*);
  };
  const attempt all[] = {
      {e.client_b, [](void* of) { return qkd004_client_close(static_cast<qkd004_client*>(of)); }},
      {e.b, [](void* of) { return qkd004_close(static_cast<qkd004_stream*>(of)); }},
      {e.b, [](void* of) { return qkd004_detach(static_cast<qkd004_stream*>(of)); }},
      {e.b, [](void* of) { return qkd004_acknowledge(static_cast<qkd004_stream*>(of)); }},
      {e.b,
       [](void* of) {
         key k{};
         std::size_t size = k.size();
         return qkd004_get_key(static_cast<qkd004_stream*>(of), 1u << 30, k.data(), &size, nullptr);
       }},
      {e.client_b, [](void* of) {
         qkd004_stream* s = nullptr;
         return qkd004_open_connect(static_cast<qkd004_client*>(of), "qkd://a@A", "qkd://b@B", nullptr,
                                    nullptr, 0, &s);
       }}};
  for (const attempt& t : all) {
    a.of = t.of;
    a.meanwhile = t.call;
    a.came_to = 0;
    const std::uint64_t until = due + 200;
    for (; due != until; ++due) e.due(due);
    CHECK(a.came_to == -EDEADLK);
  }
}

TEST_CASE("source: seeded ends draw the same key from a secret file, which others may not read") {
  folder f;
  const std::string secret = f.file("secret", std::string(32, 's'));
  qkd004_source* first = nullptr;
  qkd004_source* second = nullptr;
  must(qkd004_source_seeded(secret.c_str(), 0, &first));
  must(qkd004_source_seeded(secret.c_str(), 0, &second));
  ends e{linked(first, second)};
  for (std::uint64_t i = 0; i != 20; ++i) e.due(i);
  const std::string readable = f.file("readable", std::string(32, 's'), 0644);
  CHECK(qkd004_source_seeded(readable.c_str(), 0, &first) == -EACCES);
  CHECK(std::string{qkd004_last_error()}.find(readable) != std::string::npos);
  const std::string small = f.file("short", "s");
  CHECK(qkd004_source_seeded(small.c_str(), 0, &first) == QKD004_INVALID_ARGUMENT);
  CHECK(qkd004_source_seeded("/nowhere/at/all", 0, &first) == -ENOENT);
}

TEST_CASE("source: files at both ends give their key once") {
  folder f;
  std::string octets(40'000, 0);
  for (std::size_t i = 0; i != octets.size(); ++i) octets[i] = static_cast<char>(1 + (i * i + i / 256) % 251);
  qkd004_source* ends_of_it[2] = {};
  for (const int i : {0, 1}) {
    const std::string path = f.file("key" + std::to_string(i), octets);
    const std::string offset = f.expect("offset" + std::to_string(i));
    qkd004_file_source_options o = QKD004_FILE_SOURCE_OPTIONS_INIT;
    o.path = path.c_str();
    o.offset_path = offset.c_str();
    o.security = QKD004_SIMULATED_INSECURE;
    must(qkd004_source_file(&o, &ends_of_it[i]));
    qkd004_source* again = nullptr;
    CHECK(qkd004_source_file(&o, &again) == -EBUSY);
  }
  ends e{linked(ends_of_it[0], ends_of_it[1])};
  for (std::uint64_t i = 0; i != 20; ++i) e.due(i);
}

TEST_CASE("source: a software link distils the same key at both ends, and says what it has counted") {
  qkd004_software_link_options o{};
  o.struct_size = sizeof o;
  must(qkd004_software_link_defaults(&o));
  CHECK(o.km == 25);
  CHECK(o.block_bits == 1'048'576);
  CHECK(o.intensities[1].mean_photons == 0.196);
  o.km = 1;
  o.block_bits = 262'144;
  o.sampling = QKD004_SAMPLE_BLOCKS;
  qkd004_source* alice = nullptr;
  qkd004_source* bob = nullptr;
  must(qkd004_source_software_link(&o, &alice, &bob));
  qkd004_manager_options m = QKD004_MANAGER_OPTIONS_INIT;
  qkd004_manager* manager = nullptr;
  m.first = alice;
  m.second = bob;
  must(qkd004_manager_open(&m, &manager));
  ends::clients c{};
  must(qkd004_manager_connect(manager, 0, nullptr, &c.a));
  must(qkd004_manager_connect(manager, 1, nullptr, &c.b));
  must(qkd004_manager_close(manager));
  {
    ends e{c, {60'000}};
    for (std::uint64_t i = 0; i != 20; ++i) e.due(i);
    qkd004_software_report r = QKD004_SOFTWARE_REPORT_INIT;
    must(qkd004_source_software_report(bob, &r));
    CHECK(r.pulses > 0);
    CHECK(r.accepted >= 1);
    CHECK(r.secret >= 20 * 256);
    CHECK(r.qber > 0);
    CHECK(r.qber < 0.03);
  }
  must(qkd004_source_close(alice));
  must(qkd004_source_close(bob));
}
