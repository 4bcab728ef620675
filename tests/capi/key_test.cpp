// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

ends::clients in_process() {
  ends::clients c{};
  must(qkd004_pair(&c.a, &c.b));
  return c;
}

/// What a call with metadata came to.
struct described {
  taken t;
  qkd004_metadata metadata = QKD004_METADATA_INIT;
  std::array<char, QKD004_METADATA_VENDOR_SIZE> text{};

  [[nodiscard]] std::string json() const { return {text.data(), metadata.size}; }
};
described next_described(qkd004_stream* s, std::size_t room) {
  described d;
  std::size_t size = key_size;
  d.metadata.buffer = d.text.data();
  d.metadata.size = room;
  d.t.result = qkd004_next_key(s, d.t.octets.data(), &size, &d.t.index, &d.metadata);
  return d;
}

}  // namespace

TEST_CASE("key: the same at both ends for the same index, in this process") {
  ends e;
  for (std::uint64_t i = 0; i != 300; ++i) e.due(i);
}

TEST_CASE("key: the same at both ends for the same index, over a wire") {
  const served site;
  ends e{site.clients()};
  for (std::uint64_t i = 0; i != 300; ++i) e.due(i);
}

TEST_CASE("key: one of an index comes once in this process, and others are not disturbed") {
  ends e;
  taken at_5;
  std::size_t size = key_size;
  must(qkd004_get_key(e.a, 5, at_5.octets.data(), &size, nullptr));
  CHECK(qkd004_get_key(e.a, 5, at_5.octets.data(), &size, nullptr) == QKD004_INDEX_NOT_AVAILABLE);
  for (std::uint64_t i = 0; i != 5; ++i) e.due(i);
  key same{};
  must(qkd004_get_key(e.b, 5, same.data(), &size, nullptr));
  CHECK(same == at_5.octets);
  e.due(6);
}

TEST_CASE("key: one of an index is served again over a wire until it is acknowledged") {
  const served site;
  ends e{site.clients()};
  e.due(0);
  key first{};
  key again{};
  std::size_t size = key_size;
  const taken one = next(e.a);
  must(qkd004_get_key(e.a, 1, first.data(), &size, nullptr));
  must(qkd004_get_key(e.a, 1, again.data(), &size, nullptr));
  CHECK(first == one.octets);
  CHECK(first == again);
  must(qkd004_acknowledge(e.a));
  CHECK(qkd004_get_key(e.a, 1, again.data(), &size, nullptr) == QKD004_INDEX_NOT_AVAILABLE);
  must(qkd004_acknowledge(e.a));  // nothing new to say
}

TEST_CASE("key: several come in one call, the same at both ends") {
  const served site;
  for (const ends::clients& c : {in_process(), site.clients()}) {
    ends e{c};
    e.due(0);
    std::uint64_t due = 1;
    while (due < 400) {
      std::vector<std::uint8_t> at_a(20 * key_size + 7);  // a part of a key has no use
      std::size_t size = at_a.size();
      std::uint64_t first = 0;
      std::size_t count = 0;
      must(qkd004_get_keys(e.a, at_a.data(), &size, &first, &count));
      CHECK(first == due);
      REQUIRE(count >= 1);
      CHECK(size == count * key_size);
      for (std::size_t i = 0; i != count; ++i) {
        const taken t = next(e.b);
        CHECK(t.result == QKD004_SUCCESS);
        CHECK(t.index == due + i);
        CHECK(std::equal(t.octets.begin(), t.octets.end(),
                         at_a.begin() + static_cast<std::ptrdiff_t>(i * key_size)));
      }
      due += count;
    }
  }
}

TEST_CASE("key: keys that are sent ahead are the ones that are due") {
  const served site;
  ends e{site.clients()};
  e.due(0);
  must(qkd004_prefetch(e.a, 16));
  for (std::uint64_t i = 1; i != 100; ++i) e.due(i);
  must(qkd004_prefetch(e.a, 0));
  for (std::uint64_t i = 100; i != 120; ++i) e.due(i);
}

TEST_CASE("key: one that is not there is insufficient_key for who does not wait, and none is lost") {
  qkd004_source* first = nullptr;
  qkd004_source* second = nullptr;
  must(qkd004_source_memory(8 * 4'096, &first, &second));  // a block a second, the first at once
  qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
  o.first = first;
  o.second = second;
  qkd004_manager* manager = nullptr;
  must(qkd004_manager_open(&o, &manager));
  ends::clients c{};
  must(qkd004_manager_connect(manager, 0, nullptr, &c.a));
  must(qkd004_manager_connect(manager, 1, nullptr, &c.b));
  must(qkd004_manager_close(manager));
  must(qkd004_source_close(first));
  must(qkd004_source_close(second));
  ends e{c, {20}};
  std::uint64_t due = 0;
  std::vector<key> at_a;
  int result = 0;
  for (;; ++due) {
    taken t;
    std::size_t size = key_size;
    result = qkd004_try_next_key(e.a, t.octets.data(), &size, &t.index, nullptr);
    if (result != QKD004_SUCCESS) break;
    CHECK(t.index == due);
    at_a.push_back(t.octets);
  }
  CHECK(result == QKD004_INSUFFICIENT_KEY);
  CHECK(at_a.size() >= 1);
  CHECK(next(e.a).result == QKD004_TIMEOUT);
  for (std::uint64_t i = 0; i != due; ++i) CHECK(next(e.b).octets == at_a[i]);
}

TEST_CASE("key: who waits past QoS Timeout gets timeout, and the key later") {
  qkd004_source* first = nullptr;
  qkd004_source* second = nullptr;
  must(qkd004_source_memory(8 * 4'096 * 10, &first, &second));
  qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
  o.first = first;
  o.second = second;
  qkd004_manager* manager = nullptr;
  must(qkd004_manager_open(&o, &manager));
  ends::clients c{};
  must(qkd004_manager_connect(manager, 0, nullptr, &c.a));
  must(qkd004_manager_connect(manager, 1, nullptr, &c.b));
  ends e{c, {5}};
  int timeouts = 0;
  for (std::uint64_t due = 0; timeouts < 3 || due < 130;) {
    const taken t = next(e.a);
    if (t.result == QKD004_TIMEOUT) {
      ++timeouts;
      continue;
    }
    REQUIRE(t.result == QKD004_SUCCESS);
    CHECK(t.index == due);
    taken same;
    do {
      same = next(e.b);
    } while (same.result == QKD004_TIMEOUT);
    CHECK(same == t);
    ++due;
  }
  must(qkd004_manager_close(manager));
  must(qkd004_source_close(first));
  must(qkd004_source_close(second));
}

TEST_CASE("metadata: age and hops always, text where there is room for any") {
  const served site;
  for (const ends::clients& c : {in_process(), site.clients()}) {
    ends e{c, {0, 0, "application/json"}};
    e.due(0);
    const described d = next_described(e.a, 100);
    CHECK(d.t.result == QKD004_SUCCESS);
    CHECK(d.t.index == 1);
    CHECK(d.json() == "{\"age\":" + std::to_string(d.metadata.age_ms) + ",\"hops\":0}");
    CHECK(next(e.b).octets == d.t.octets);
    e.due(2);
  }
}

TEST_CASE("metadata: too little room is metadata_size_insufficient with what is needed, and takes no key") {
  const served site;
  for (const ends::clients& c : {in_process(), site.clients()}) {
    ends e{c, {0, 0, "application/json"}};
    e.due(0);
    for (const std::size_t room : {0U, 1U, QKD004_METADATA_SIZE - 1U}) {
      const described d = next_described(e.a, room);
      CHECK(d.t.result == QKD004_METADATA_SIZE_INSUFFICIENT);
      CHECK(d.metadata.size == QKD004_METADATA_SIZE);
      CHECK(d.t.octets == key{});
      std::size_t size = key_size;
      qkd004_metadata m = QKD004_METADATA_INIT;
      std::array<char, 8> text{};
      m.buffer = text.data();
      m.size = room < text.size() ? room : text.size();
      key k{};
      CHECK(qkd004_get_key(e.a, 1, k.data(), &size, &m) == QKD004_METADATA_SIZE_INSUFFICIENT);
    }
    const described d = next_described(e.a, QKD004_METADATA_SIZE);
    CHECK(d.t.result == QKD004_SUCCESS);
    CHECK(d.t.index == 1);
    CHECK(next(e.b).octets == d.t.octets);
  }
}

TEST_CASE("metadata: vendor members where a stream was opened with them, in room that is enough for any") {
  const served site;
  for (const ends::clients& c : {in_process(), site.clients()}) {
    ends e{c, {0, QKD004_VENDOR_METADATA, "application/json"}};
    e.due(0);
    const described little = next_described(e.a, QKD004_METADATA_VENDOR_SIZE - 1);
    CHECK(little.t.result == QKD004_METADATA_SIZE_INSUFFICIENT);
    CHECK(little.metadata.size == QKD004_METADATA_VENDOR_SIZE);
    const described d = next_described(e.a, QKD004_METADATA_VENDOR_SIZE);
    CHECK(d.t.result == QKD004_SUCCESS);
    CHECK(d.t.index == 1);
    CHECK(d.json() == "{\"age\":" + std::to_string(d.metadata.age_ms) +
                          R"(,"hops":0,"x_security":"simulated-insecure"})");
    CHECK(next(e.b).octets == d.t.octets);
    e.due(2);
  }
}

TEST_CASE("metadata: no text without a mimetype, and no room needed") {
  ends e;
  const described d = next_described(e.a, 0);
  CHECK(d.t.result == QKD004_SUCCESS);
  CHECK(d.metadata.size == 0);
}

TEST_CASE("open_connect: qos_not_met has the counter-proposal and makes no stream") {
  qkd004_manager* manager = nullptr;
  qkd004_client* a = nullptr;
  must(qkd004_manager_open(nullptr, &manager));
  must(qkd004_manager_connect(manager, 0, nullptr, &a));
  qkd004_qos q = QKD004_QOS_INIT;
  q.key_chunk_size = 1'000'000;
  q.timeout_ms = 50;
  std::strcpy(q.metadata_mimetype, "text/plain");
  qkd004_key_stream_id id{};
  qkd004_stream* s = nullptr;
  CHECK(qkd004_open_connect(a, "qkd://a@A", "qkd://b@B", &q, &id, QKD004_NO_WAIT, &s) == QKD004_QOS_NOT_MET);
  CHECK(s == nullptr);
  CHECK(q.key_chunk_size == 64 * 1024);
  CHECK(std::string{q.metadata_mimetype} == "application/json");
  const int again = qkd004_open_connect(a, "qkd://a@A", "qkd://b@B", &q, &id, QKD004_NO_WAIT, &s);
  CHECK(again == QKD004_PEER_NOT_CONNECTED);
  must(qkd004_close(s));
  must(qkd004_client_close(a));
  must(qkd004_manager_close(manager));
}

TEST_CASE("open_connect: what fails is a status, and outputs are as they were") {
  ends e;
  qkd004_stream* s = nullptr;
  qkd004_key_stream_id id = e.id;
  qkd004_qos q = QKD004_QOS_INIT;
  q.timeout_ms = 1;
  CHECK(qkd004_open_connect(e.client_a, "qkd://a@A", "qkd://b@elsewhere", &q, nullptr, 0, &s) ==
        QKD004_NO_QKD_CONNECTION);
  CHECK(qkd004_open_connect(e.client_a, "", "", &q, nullptr, 0, &s) == QKD004_INVALID_ARGUMENT);
  CHECK(qkd004_open_connect(e.client_a, "qkd://a@A", "qkd://somebody-else@B", &q, &id, 0, &s) ==
        QKD004_KSID_IN_USE);
  CHECK(s == nullptr);
  CHECK(std::memcmp(&id, &e.id, sizeof id) == 0);
  CHECK(q.key_chunk_size == 0);
}

TEST_CASE(
    "open_connect: of an id waits for the peer application up to QoS Timeout, and then says that it is not "
    "there") {
  const ends e;
  qkd004_stream* s = nullptr;
  qkd004_key_stream_id id{{1}};
  qkd004_qos q = QKD004_QOS_INIT;
  q.timeout_ms = 1;
  CHECK(qkd004_open_connect(e.client_a, "qkd://a@A", "qkd://b@B", &q, &id, 0, &s) ==
        QKD004_PEER_NOT_CONNECTED);
  must(qkd004_close(s));
}

TEST_CASE("open_connect: describe says what was settled") {
  ends e;
  qkd004_key_stream_id id{};
  qkd004_qos q = QKD004_QOS_INIT;
  must(qkd004_stream_describe(e.a, &id, &q));
  CHECK(std::memcmp(&id, &e.id, sizeof id) == 0);
  CHECK(q.key_chunk_size == key_size);
  CHECK(q.timeout_ms == 5'000);
  CHECK(q.ttl_s == 3'600);
  CHECK(q.struct_size == sizeof q);
}

TEST_CASE("close: the other side reads on, and detach lets a program come back") {
  const served site;
  for (const ends::clients& c : {in_process(), site.clients()}) {
    ends e{c};
    e.due(0);
    must(qkd004_detach(e.a));
    qkd004_stream* back = nullptr;
    qkd004_key_stream_id id = e.id;
    const int result =
        qkd004_open_connect(e.client_a, c.source, c.destination, nullptr, &id, QKD004_NO_WAIT, &back);
    CHECK(result == QKD004_SUCCESS);
    const taken t = next(back);
    CHECK(t.index == 1);
    CHECK(next(e.b) == t);
    must(qkd004_close(back));
    CHECK(next(e.b).index == 2);
    CHECK(qkd004_wait_for_peer(e.b, 1) == QKD004_GET_KEY_PEER_NOT_CONNECTED);
  }
}

TEST_CASE("wait_for_peer: success when the peer has opened, timeout when it has not") {
  ends e;
  must(qkd004_wait_for_peer(e.a, 0));
  must(qkd004_wait_for_peer(e.b, 1));
  qkd004_stream* alone = nullptr;
  qkd004_key_stream_id id{{9}};
  CHECK(qkd004_open_connect(e.client_a, "qkd://a@A", "qkd://b@B", nullptr, &id, QKD004_NO_WAIT, &alone) ==
        QKD004_PEER_NOT_CONNECTED);
  CHECK(qkd004_wait_for_peer(alone, 1) == QKD004_TIMEOUT);
  must(qkd004_close(alone));
}

TEST_CASE("strict_once: a key of a call that failed for want of room is not burned") {
  const served site;
  for (const ends::clients& c : {in_process(), site.clients()}) {
    ends e{c, {0, QKD004_STRICT_ONCE}};
    e.due(0);
    key k{};
    std::size_t size = 1;
    CHECK(qkd004_next_key(e.a, k.data(), &size, nullptr, nullptr) == -ENOBUFS);
    CHECK(qkd004_get_key(e.a, 1, k.data(), &(size = 1), nullptr) == -ENOBUFS);
    e.due(1);
  }
}

TEST_CASE("report: JSON over a wire, ENOBUFS says how much, not supported in this process") {
  const served site;
  ends e{site.clients()};
  std::size_t size = 0;
  CHECK(qkd004_client_report(e.client_a, nullptr, nullptr, &size) == -ENOBUFS);
  REQUIRE(size > 2);
  std::vector<char> json(size + 100);
  size = json.size();
  must(qkd004_client_report(e.client_a, &e.id, json.data(), &size));
  CHECK(json.front() == '{');
  CHECK(json[size - 1] == '}');
  qkd004_key_stream_id unknown{{7}};
  CHECK(qkd004_client_report(e.client_a, &unknown, json.data(), &size) == QKD004_UNKNOWN_KEY_STREAM);
  const ends here;
  CHECK(qkd004_client_report(here.client_a, nullptr, json.data(), &size) == -EOPNOTSUPP);
}

TEST_CASE("connect: nobody there is the system's error, and no client") {
  qkd004_client* c = nullptr;
  CHECK(qkd004_connect("unix:/nowhere/at/all", nullptr, &c) == -ENOENT);
  CHECK(c == nullptr);
  CHECK(qkd004_connect("qkd004://192.0.2.1:1", nullptr, &c) ==
        QKD004_INVALID_ARGUMENT);  // plain TCP off loopback
  CHECK(qkd004_connect("qkd004s://localhost:1", nullptr, &c) == QKD004_INVALID_ARGUMENT);  // no certificate
  qkd004_connect_options o = QKD004_CONNECT_OPTIONS_INIT;
  o.certificate = o.key = o.authority = "/nowhere/at/all";
  CHECK(qkd004_connect("qkd004s://localhost:1", &o, &c) != QKD004_SUCCESS);
  CHECK(std::string{qkd004_last_error()}.find("/nowhere/at/all") != std::string::npos);
}
