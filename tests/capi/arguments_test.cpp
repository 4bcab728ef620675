// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

/// A call with one thing wrong.
struct wrong {
  const char* what;
  std::function<int()> call;
};

void check_all(const std::vector<wrong>& calls, int expected) {
  for (const wrong& w : calls) {
    CAPTURE(w.what);
    CHECK(w.call() == expected);
    CHECK(std::string{qkd004_last_error()}.starts_with("qkd004_"));
  }
}

/// Some objects, and arguments in which nothing is wrong.
struct things {
  things() {
    must(qkd004_source_memory(0, &source, &other));
    must(qkd004_manager_open(nullptr, &manager));
    must(qkd004_v1_session_open(e.client_a, "qkd://alice@A", "qkd://bob@B", &session));
  }
  things(const things&) = delete;
  things& operator=(const things&) = delete;
  ~things() {
    (void)qkd004_v1_session_close(session);
    (void)qkd004_manager_close(manager);
    (void)qkd004_source_close(source);
    (void)qkd004_source_close(other);
  }

  ends e;
  qkd004_source* source = nullptr;
  qkd004_source* other = nullptr;
  qkd004_manager* manager = nullptr;
  qkd004_v1_session* session = nullptr;
  key k{};
  std::size_t size = key_size;
  std::uint64_t index = 0;
  qkd004_client* client = nullptr;
  qkd004_stream* stream = nullptr;
  qkd004_server* server = nullptr;
  qkd004_v1_session* another_session = nullptr;
  qkd004_key_stream_id id{};
  qkd004_v1_key_handle handle{};
  char text[256] = "";
};

std::uint64_t no_position(void*) { return 0; }
int no_start(void*, const qkd004_source_session*, std::uint8_t*) { return 0; }
int no_poll(void*, std::uint8_t*, std::size_t* size) {
  *size = 0;
  return 0;
}
int no_exchange(void*, const qkd004_request*, qkd004_response*) { return -ENOSYS; }

qkd004_source_ops source_ops() {
  qkd004_source_ops ops = QKD004_SOURCE_OPS_INIT;
  ops.kind = "test";
  ops.block_bytes = 64;
  ops.position = no_position;
  ops.start = no_start;
  ops.poll = no_poll;
  return ops;
}

/// A struct of this version with octets behind it, as of a newer one.
template <class T>
struct newer {
  T s;
  unsigned char more[16] = {};
};

/// What every function that reads a T does with its struct_size. `call` must succeed, or fail otherwise than by that.
template <class T>
void check_struct_size(const char* what, const T& good, const std::function<int(T*)>& call) {
  CAPTURE(what);
  newer<T> n{good};
  const int expected = call(&n.s);
  CHECK(expected != QKD004_INVALID_ARGUMENT);
  n = {good};
  n.s.struct_size = sizeof n;
  CHECK(call(&n.s) == expected);
  n = {good};
  n.s.struct_size = sizeof n;
  n.more[15] = 1;
  CHECK(call(&n.s) == QKD004_INVALID_ARGUMENT);
  CHECK(n.more[15] == 1);
  for (const std::size_t size :
       {std::size_t{0}, sizeof(T) - 1, std::size_t{1} << 20, std::numeric_limits<std::size_t>::max()}) {
    CAPTURE(size);
    n = {good};
    n.s.struct_size = size;
    CHECK(call(&n.s) == QKD004_INVALID_ARGUMENT);
  }
}

}  // namespace

TEST_CASE("arguments: NULL where something has to be is an error each") {
  things t;
  check_all(
      {
          {"connect uri", [&] { return qkd004_connect(nullptr, nullptr, &t.client); }},
          {"connect client", [&] { return qkd004_connect("unix:/nowhere", nullptr, nullptr); }},
          {"report size", [&] { return qkd004_client_report(t.e.client_a, nullptr, t.text, nullptr); }},
          {"open source",
           [&] {
             return qkd004_open_connect(t.e.client_a, nullptr, "qkd://b@B", nullptr, nullptr, QKD004_NO_WAIT,
                                        &t.stream);
           }},
          {"open destination",
           [&] {
             return qkd004_open_connect(t.e.client_a, "qkd://a@A", nullptr, nullptr, nullptr, QKD004_NO_WAIT,
                                        &t.stream);
           }},
          {"open stream",
           [&] {
             return qkd004_open_connect(t.e.client_a, "qkd://a@A", "qkd://b@B", nullptr, nullptr,
                                        QKD004_NO_WAIT, nullptr);
           }},
          {"get_key size", [&] { return qkd004_get_key(t.e.a, 0, t.k.data(), nullptr, nullptr); }},
          {"next_key size", [&] { return qkd004_next_key(t.e.a, t.k.data(), nullptr, &t.index, nullptr); }},
          {"try_next_key size",
           [&] { return qkd004_try_next_key(t.e.a, t.k.data(), nullptr, nullptr, nullptr); }},
          {"get_keys size", [&] { return qkd004_get_keys(t.e.a, t.k.data(), nullptr, nullptr, nullptr); }},
          {"id_format id", [&] { return qkd004_key_stream_id_format(nullptr, t.text); }},
          {"id_format text", [&] { return qkd004_key_stream_id_format(&t.id, nullptr); }},
          {"id_parse text", [&] { return qkd004_key_stream_id_parse(nullptr, &t.id); }},
          {"id_parse id",
           [&] { return qkd004_key_stream_id_parse("00000000-0000-0000-0000-000000000000", nullptr); }},
          {"memory first", [&] { return qkd004_source_memory(0, nullptr, &t.other); }},
          {"memory second", [&] { return qkd004_source_memory(0, &t.other, nullptr); }},
          {"seeded file", [&] { return qkd004_source_seeded(nullptr, 0, &t.other); }},
          {"seeded source", [&] { return qkd004_source_seeded("/nowhere", 0, nullptr); }},
          {"file options", [&] { return qkd004_source_file(nullptr, &t.other); }},
          {"file source",
           [&] {
             qkd004_file_source_options o = QKD004_FILE_SOURCE_OPTIONS_INIT;
             o.path = "/nowhere";
             return qkd004_source_file(&o, nullptr);
           }},
          {"file path",
           [&] {
             const qkd004_file_source_options o = QKD004_FILE_SOURCE_OPTIONS_INIT;
             return qkd004_source_file(&o, &t.other);
           }},
          {"defaults", [] { return qkd004_software_link_defaults(nullptr); }},
          {"software alice", [&] { return qkd004_source_software_link(nullptr, nullptr, &t.other); }},
          {"software bob", [&] { return qkd004_source_software_link(nullptr, &t.other, nullptr); }},
          {"software report", [&] { return qkd004_source_software_report(t.source, nullptr); }},
          {"source ops", [&] { return qkd004_source_from_ops(nullptr, nullptr, &t.other); }},
          {"source ops source",
           [&] {
             const auto ops = source_ops();
             return qkd004_source_from_ops(&ops, nullptr, nullptr);
           }},
          {"source ops kind",
           [&] {
             auto ops = source_ops();
             ops.kind = nullptr;
             return qkd004_source_from_ops(&ops, nullptr, &t.other);
           }},
          {"source ops start",
           [&] {
             auto ops = source_ops();
             ops.start = nullptr;
             return qkd004_source_from_ops(&ops, nullptr, &t.other);
           }},
          {"source ops poll",
           [&] {
             auto ops = source_ops();
             ops.poll = nullptr;
             return qkd004_source_from_ops(&ops, nullptr, &t.other);
           }},
          {"manager", [] { return qkd004_manager_open(nullptr, nullptr); }},
          {"manager with one source",
           [&] {
             qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
             qkd004_manager* m = nullptr;
             o.first = t.source;
             return qkd004_manager_open(&o, &m);
           }},
          {"manager client", [&] { return qkd004_manager_connect(t.manager, 0, nullptr, nullptr); }},
          {"pair a", [&] { return qkd004_pair(nullptr, &t.client); }},
          {"pair b", [&] { return qkd004_pair(&t.client, nullptr); }},
          {"server options", [&] { return qkd004_server_start(nullptr, &t.server); }},
          {"server",
           [] {
             qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
             o.config = "";
             return qkd004_server_start(&o, nullptr);
           }},
          {"server with neither file nor text",
           [&] {
             const qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
             return qkd004_server_start(&o, &t.server);
           }},
          {"server sources",
           [&] {
             qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
             o.config = "node = \"site\"\nlisten = [\"qkd004://127.0.0.1:0\"]\nself_link = true\n";
             o.source_count = 1;
             return qkd004_server_start(&o, &t.server);
           }},
          {"client ops", [&] { return qkd004_client_from_ops(nullptr, nullptr, &t.client); }},
          {"client ops client",
           [] {
             qkd004_exchange_ops ops = QKD004_EXCHANGE_OPS_INIT;
             ops.exchange = no_exchange;
             return qkd004_client_from_ops(&ops, nullptr, nullptr);
           }},
          {"client ops exchange",
           [&] {
             const qkd004_exchange_ops ops = QKD004_EXCHANGE_OPS_INIT;
             return qkd004_client_from_ops(&ops, nullptr, &t.client);
           }},
          {"session application",
           [&] { return qkd004_v1_session_open(t.e.client_a, nullptr, nullptr, &t.another_session); }},
          {"session", [&] { return qkd004_v1_session_open(t.e.client_a, "qkd://a@A", nullptr, nullptr); }},
          {"destination", [&] { return qkd004_v1_session_destination(t.session, nullptr, "qkd://b@B"); }},
          {"destination uri", [&] { return qkd004_v1_session_destination(t.session, "b", nullptr); }},
          {"v1 open handle", [&] { return qkd004_v1_open(t.session, nullptr, nullptr, nullptr); }},
          {"v1 connect_nonblock handle", [&] { return qkd004_v1_connect_nonblock(t.session, nullptr); }},
          {"v1 connect_blocking handle", [&] { return qkd004_v1_connect_blocking(t.session, nullptr, 1); }},
          {"v1 get_key handle", [&] { return qkd004_v1_get_key(t.session, nullptr, t.k.data(), &t.size); }},
          {"v1 get_key size", [&] { return qkd004_v1_get_key(t.session, &t.handle, t.k.data(), nullptr); }},
          {"v1 close handle", [&] { return qkd004_v1_close(t.session, nullptr); }},
      },
      QKD004_INVALID_ARGUMENT);
  t.e.due(0);
}

TEST_CASE("arguments: NULL where something may be is no error") {
  things t;
  CHECK(qkd004_open_connect(t.e.client_a, "qkd://x@A", "qkd://y@B", nullptr, nullptr, 0, &t.stream) ==
        QKD004_PEER_NOT_CONNECTED);
  must(qkd004_stream_describe(t.stream, nullptr, nullptr));
  must(qkd004_next_key(t.stream, t.k.data(), &t.size, nullptr, nullptr));
  must(qkd004_get_keys(t.stream, t.k.data(), &t.size, nullptr, nullptr));
  must(qkd004_close(t.stream));
}

TEST_CASE("arguments: a struct_size is obeyed in every struct") {
  things t;
  check_struct_size<qkd004_qos>("open_connect", QKD004_QOS_INIT, [&](qkd004_qos* q) {
    const int result =
        qkd004_open_connect(t.e.client_a, "qkd://x@A", "qkd://y@B", q, nullptr, QKD004_NO_WAIT, &t.stream);
    if (result <= QKD004_PEER_NOT_CONNECTED) (void)qkd004_close(t.stream);
    return result;
  });
  check_struct_size<qkd004_qos>("describe", QKD004_QOS_INIT,
                                [&](qkd004_qos* q) { return qkd004_stream_describe(t.e.a, nullptr, q); });
  check_struct_size<qkd004_metadata>("next_key", QKD004_METADATA_INIT, [&](qkd004_metadata* m) {
    t.size = key_size;
    return qkd004_next_key(t.e.a, t.k.data(), &t.size, nullptr, m);
  });
  check_struct_size<qkd004_connect_options>(
      "connect", QKD004_CONNECT_OPTIONS_INIT,
      [&](qkd004_connect_options* o) { return qkd004_connect("unix:/nowhere/at/all", o, &t.client); });
  qkd004_file_source_options file = QKD004_FILE_SOURCE_OPTIONS_INIT;
  file.path = "/nowhere/at/all";
  check_struct_size<qkd004_file_source_options>(
      "source_file", file, [&](qkd004_file_source_options* o) { return qkd004_source_file(o, &t.other); });
  qkd004_software_link_options software{};
  software.struct_size = sizeof software;
  must(qkd004_software_link_defaults(&software));
  check_struct_size<qkd004_software_link_options>(
      "software_link", software, [](qkd004_software_link_options* o) {
        qkd004_source* alice = nullptr;
        qkd004_source* bob = nullptr;
        const int result = qkd004_source_software_link(o, &alice, &bob);
        if (result == QKD004_SUCCESS) {
          (void)qkd004_source_close(alice);
          (void)qkd004_source_close(bob);
        }
        return result;
      });
  qkd004_source* alice = nullptr;
  qkd004_source* bob = nullptr;
  must(qkd004_source_software_link(nullptr, &alice, &bob));
  check_struct_size<qkd004_software_report>(
      "software_report", QKD004_SOFTWARE_REPORT_INIT,
      [&](qkd004_software_report* r) { return qkd004_source_software_report(alice, r); });
  must(qkd004_source_close(alice));
  must(qkd004_source_close(bob));
  check_struct_size<qkd004_source_ops>("source_from_ops", source_ops(), [](qkd004_source_ops* o) {
    qkd004_source* s = nullptr;
    const int result = qkd004_source_from_ops(o, nullptr, &s);
    if (result == QKD004_SUCCESS) (void)qkd004_source_close(s);
    return result;
  });
  check_struct_size<qkd004_manager_options>("manager_open", QKD004_MANAGER_OPTIONS_INIT,
                                            [](qkd004_manager_options* o) {
                                              qkd004_manager* m = nullptr;
                                              const int result = qkd004_manager_open(o, &m);
                                              if (result == QKD004_SUCCESS) (void)qkd004_manager_close(m);
                                              return result;
                                            });
  qkd004_server_options server = QKD004_SERVER_OPTIONS_INIT;
  server.file = "/nowhere/at/all";
  check_struct_size<qkd004_server_options>(
      "server_start", server, [&](qkd004_server_options* o) { return qkd004_server_start(o, &t.server); });
  qkd004_exchange_ops exchange = QKD004_EXCHANGE_OPS_INIT;
  exchange.exchange = no_exchange;
  check_struct_size<qkd004_exchange_ops>("client_from_ops", exchange, [](qkd004_exchange_ops* o) {
    qkd004_client* c = nullptr;
    const int result = qkd004_client_from_ops(o, nullptr, &c);
    if (result == QKD004_SUCCESS) (void)qkd004_client_close(c);
    return result;
  });
  check_struct_size<qkd004_v1_qos>("v1_open", QKD004_V1_QOS_INIT, [&](qkd004_v1_qos* q) {
    qkd004_v1_key_handle made{};
    return qkd004_v1_open(t.session, nullptr, q, &made);
  });
}

TEST_CASE("arguments: struct_size of what is only written to bounds what is written") {
  newer<qkd004_software_link_options> n{};
  std::memset(static_cast<void*>(&n), 0xee, sizeof n);
  n.s.struct_size = sizeof n;
  must(qkd004_software_link_defaults(&n.s));
  CHECK(n.s.struct_size == sizeof n);
  CHECK(n.s.km == 25);
  CHECK(std::all_of(std::begin(n.more), std::end(n.more), [](unsigned char c) { return c == 0xee; }));
  n.s.struct_size = sizeof n.s - 1;
  CHECK(qkd004_software_link_defaults(&n.s) == QKD004_INVALID_ARGUMENT);
}

TEST_CASE("arguments: what is not UTF-8 is an error in every string") {
  const char* const bad[] = {"\xff",
                             "a\x80",
                             "\xc0\xaf",
                             "\xe0\x80\x80",
                             "\xed\xa0\x80",
                             "\xf4\x90\x80\x80",
                             "\xf5\x80\x80\x80",
                             "\xe2\x82",
                             "\xf0\x9f\x98"};
  things t;
  for (const char* const s : bad) {
    check_all(
        {
            {"connect", [&] { return qkd004_connect(s, nullptr, &t.client); }},
            {"connect certificate",
             [&] {
               qkd004_connect_options o = QKD004_CONNECT_OPTIONS_INIT;
               o.certificate = s;
               o.key = o.authority = "x";
               return qkd004_connect("qkd004s://localhost", &o, &t.client);
             }},
            {"connect server",
             [&] {
               qkd004_connect_options o = QKD004_CONNECT_OPTIONS_INIT;
               o.server = s;
               return qkd004_connect("unix:/nowhere", &o, &t.client);
             }},
            {"open source",
             [&] {
               return qkd004_open_connect(t.e.client_a, s, "qkd://b@B", nullptr, nullptr, 1, &t.stream);
             }},
            {"open destination",
             [&] {
               return qkd004_open_connect(t.e.client_a, "qkd://a@A", s, nullptr, nullptr, 1, &t.stream);
             }},
            {"open mimetype",
             [&] {
               qkd004_qos q = QKD004_QOS_INIT;
               std::strcpy(q.metadata_mimetype, s);
               return qkd004_open_connect(t.e.client_a, "qkd://a@A", "qkd://b@B", &q, nullptr, 1, &t.stream);
             }},
            {"id_parse", [&] { return qkd004_key_stream_id_parse(s, &t.id); }},
            {"seeded", [&] { return qkd004_source_seeded(s, 0, &t.other); }},
            {"file path",
             [&] {
               qkd004_file_source_options o = QKD004_FILE_SOURCE_OPTIONS_INIT;
               o.path = s;
               return qkd004_source_file(&o, &t.other);
             }},
            {"file offset",
             [&] {
               qkd004_file_source_options o = QKD004_FILE_SOURCE_OPTIONS_INIT;
               o.path = "/nowhere";
               o.offset_path = s;
               return qkd004_source_file(&o, &t.other);
             }},
            {"source kind",
             [&] {
               auto ops = source_ops();
               ops.kind = s;
               return qkd004_source_from_ops(&ops, nullptr, &t.other);
             }},
            {"manager node",
             [&] {
               qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
               qkd004_manager* m = nullptr;
               o.first_node = s;
               return qkd004_manager_open(&o, &m);
             }},
            {"principal", [&] { return qkd004_manager_connect(t.manager, 0, s, &t.client); }},
            {"server file",
             [&] {
               qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
               o.file = s;
               return qkd004_server_start(&o, &t.server);
             }},
            {"server config",
             [&] {
               qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
               o.config = s;
               return qkd004_server_start(&o, &t.server);
             }},
            {"session application",
             [&] { return qkd004_v1_session_open(t.e.client_a, s, nullptr, &t.another_session); }},
            {"session default",
             [&] { return qkd004_v1_session_open(t.e.client_a, "qkd://a@A", s, &t.another_session); }},
            {"destination", [&] { return qkd004_v1_session_destination(t.session, s, "qkd://b@B"); }},
            {"destination uri", [&] { return qkd004_v1_session_destination(t.session, "b", s); }},
            {"v1 destination", [&] { return qkd004_v1_open(t.session, s, nullptr, &t.handle); }},
        },
        QKD004_INVALID_ARGUMENT);
  }
  t.e.due(0);
}

TEST_CASE("arguments: UTF-8 beyond ASCII is taken as it is") {
  things t;
  const char* const alice = "qkd://\xc3\xa4lice-\xf0\x9f\x94\x91@A";
  const char* const bob = "qkd://b\xe2\x82\xac@B";
  CHECK(qkd004_open_connect(t.e.client_a, alice, bob, nullptr, nullptr, 0, &t.stream) ==
        QKD004_PEER_NOT_CONNECTED);
  CHECK(next(t.stream).result == QKD004_SUCCESS);
  must(qkd004_close(t.stream));
}

TEST_CASE("arguments: a mimetype without an end is an error") {
  things t;
  qkd004_qos q = QKD004_QOS_INIT;
  std::memset(q.metadata_mimetype, 'a', sizeof q.metadata_mimetype);
  CHECK(qkd004_open_connect(t.e.client_a, "qkd://a@A", "qkd://b@B", &q, nullptr, QKD004_NO_WAIT, &t.stream) ==
        QKD004_INVALID_ARGUMENT);
  CHECK(t.stream == nullptr);
}

TEST_CASE("arguments: numbers that mean nothing are errors") {
  things t;
  const auto software = [](const std::function<void(qkd004_software_link_options&)>& spoil) {
    qkd004_software_link_options o{};
    o.struct_size = sizeof o;
    must(qkd004_software_link_defaults(&o));
    spoil(o);
    qkd004_source* alice = nullptr;
    qkd004_source* bob = nullptr;
    return qkd004_source_software_link(&o, &alice, &bob);
  };
  const auto manager = [](const std::function<void(qkd004_manager_options&)>& spoil) {
    qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
    spoil(o);
    qkd004_manager* m = nullptr;
    return qkd004_manager_open(&o, &m);
  };
  check_all(
      {
          {"flags",
           [&] {
             return qkd004_open_connect(t.e.client_a, "qkd://a@A", "qkd://b@B", nullptr, nullptr, 8,
                                        &t.stream);
           }},
          {"site", [&] { return qkd004_manager_connect(t.manager, 2, nullptr, &t.client); }},
          {"site below", [&] { return qkd004_manager_connect(t.manager, -1, nullptr, &t.client); }},
          {"ring", [&] { return manager([](auto& o) { o.ring_chunks = 100; }); }},
          {"ring of one", [&] { return manager([](auto& o) { o.ring_chunks = 1; }); }},
          {"one node twice", [&] { return manager([](auto& o) { o.second_node = "A"; }); }},
          {"no node", [&] { return manager([](auto& o) { o.first_node = ""; }); }},
          {"one source twice", [&] { return manager([&](auto& o) { o.first = o.second = t.source; }); }},
          {"proof", [&] { return software([](auto& o) { o.proof = 2; }); }},
          {"sampling", [&] { return software([](auto& o) { o.sampling = -1; }); }},
          {"leak", [&] { return software([](auto& o) { o.leak = 7; }); }},
          {"block", [&] { return software([](auto& o) { o.block_bits = 1; }); }},
          {"distance", [&] { return software([](auto& o) { o.km = -1; }); }},
          {"not a number",
           [&] { return software([](auto& o) { o.km = std::numeric_limits<double>::quiet_NaN(); }); }},
          {"eve", [&] { return software([](auto& o) { o.intercept_resend = 2; }); }},
          {"security",
           [&] {
             auto ops = source_ops();
             ops.security = 3;
             return qkd004_source_from_ops(&ops, nullptr, &t.other);
           }},
          {"block of nothing",
           [&] {
             auto ops = source_ops();
             ops.block_bytes = 0;
             return qkd004_source_from_ops(&ops, nullptr, &t.other);
           }},
          {"very large block",
           [&] {
             auto ops = source_ops();
             ops.block_bytes = std::numeric_limits<std::size_t>::max();
             return qkd004_source_from_ops(&ops, nullptr, &t.other);
           }},
          {"a report of another source",
           [&] {
             qkd004_software_report r = QKD004_SOFTWARE_REPORT_INIT;
             return qkd004_source_software_report(t.source, &r);
           }},
          {"scheme", [&] { return qkd004_connect("gopher://localhost", nullptr, &t.client); }},
          {"id", [&] { return qkd004_key_stream_id_parse("not an id", &t.id); }},
          {"file and text",
           [&] {
             qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
             o.file = "x";
             o.config = "y";
             return qkd004_server_start(&o, &t.server);
           }},
          {"configuration",
           [&] {
             qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
             o.config = "node = ";
             return qkd004_server_start(&o, &t.server);
           }},
      },
      QKD004_INVALID_ARGUMENT);
  // the source that was refused twice is free
  qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
  qkd004_manager* m = nullptr;
  o.first = t.source;
  o.second = t.other;
  must(qkd004_manager_open(&o, &m));
  must(qkd004_manager_close(m));
  t.e.due(0);
}

TEST_CASE("arguments: too little room is ENOBUFS with what is needed, and takes no key") {
  things t;
  t.e.due(0);
  std::vector<std::uint8_t> before(key_size, 0xee);
  std::vector<std::uint8_t> room = before;
  for (const std::size_t given : {std::size_t{0}, std::size_t{1}, key_size - 1}) {
    CAPTURE(given);
    const std::function<int(std::uint8_t*, std::size_t*)> calls[] = {
        [&](std::uint8_t* k, std::size_t* size) {
          return qkd004_next_key(t.e.a, k, size, &t.index, nullptr);
        },
        [&](std::uint8_t* k, std::size_t* size) {
          return qkd004_try_next_key(t.e.a, k, size, &t.index, nullptr);
        },
        [&](std::uint8_t* k, std::size_t* size) { return qkd004_get_key(t.e.a, 1, k, size, nullptr); },
        [&](std::uint8_t* k, std::size_t* size) {
          return qkd004_get_keys(t.e.a, k, size, &t.index, nullptr);
        }};
    for (const auto& call : calls) {
      std::size_t size = given;
      CHECK(call(room.data(), &size) == -ENOBUFS);
      CHECK(size == key_size);
      CHECK(room == before);
      size = key_size;  // a NULL buffer has room 0, whatever its size says
      CHECK(call(nullptr, &size) == -ENOBUFS);
      CHECK(size == key_size);
    }
  }
  t.e.due(1);
}

TEST_CASE("arguments: more room than needed stays untouched") {
  things t;
  std::vector<std::uint8_t> room(4'096, 0xee);
  const auto untouched = [&](std::size_t from) {
    return std::all_of(room.begin() + static_cast<std::ptrdiff_t>(from), room.end(),
                       [](std::uint8_t o) { return o == 0xee; });
  };
  std::size_t size = room.size();
  must(qkd004_next_key(t.e.a, room.data(), &size, nullptr, nullptr));
  CHECK(size == key_size);
  CHECK(untouched(key_size));
  size = room.size();
  must(qkd004_get_key(t.e.a, 1, room.data(), &size, nullptr));
  CHECK(size == key_size);
  CHECK(untouched(key_size));
  size = room.size();
  std::size_t count = 0;
  must(qkd004_get_keys(t.e.a, room.data(), &size, nullptr, &count));
  CHECK(size == count * key_size);
  CHECK(untouched(size));
}

TEST_CASE("arguments: an id has its text, and back") {
  qkd004_key_stream_id id{};
  for (std::uint8_t i = 0; i != 16; ++i) id.octets[i] = static_cast<std::uint8_t>(17 * i);
  char text[QKD004_KEY_STREAM_ID_TEXT];
  must(qkd004_key_stream_id_format(&id, text));
  CHECK(std::string{text} == "00112233-4455-6677-8899-aabbccddeeff");
  qkd004_key_stream_id back{};
  must(qkd004_key_stream_id_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &back));
  CHECK(std::memcmp(&id, &back, sizeof id) == 0);
}
