// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

/// A key manager of a few lines behind a transport in C: key n is 32 octets of n + 1.
struct toy {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> log;
  std::atomic<int> destroyed{0};
  std::atomic<int> waiting{0};
  const qkd004_request* held = nullptr;
  bool hold = false;  ///< GET_KEY waits to be called off
  bool cancelled = false;
  int fails_with = 0;  ///< instead of an answer
  int status = QKD004_SUCCESS;
  bool throws = false;
  std::size_t key_octets = key_size;
  bool bad_text = false;
  std::size_t chunk = key_size;    ///< what is asked for
  std::function<int()> meanwhile;  ///< in the middle of GET_KEY
  int came_to = 0;
  bool overlaps = false;  ///< GET_KEY stays until another has come
  int arrived = 0;
  std::uint32_t metadata_size = 0;

  static int exchange(void* context, const qkd004_request* q, qkd004_response* r) {
    auto& me = *static_cast<toy*>(context);
    if (me.throws) throw std::runtime_error{"thrown by a transport"};
    CHECK(q->struct_size == sizeof *q);
    CHECK(r->struct_size == sizeof *r);
    std::unique_lock lock{me.mutex};
    switch (q->operation) {
      case QKD004_OPEN_CONNECT:
        me.log.push_back(std::string{"open "} + q->source + " " + q->destination);
        r->qos.key_chunk_size = q->qos.key_chunk_size;
        r->qos.timeout_ms = 60'000;
        std::strcpy(r->qos.metadata_mimetype, me.bad_text ? "\xff" : q->qos.metadata_mimetype);
        r->id.octets[0] = 42;
        r->status = me.status;
        return me.fails_with;
      case QKD004_CLOSE:
        me.log.emplace_back("close");
        CHECK(q->id.octets[0] == 42);
        r->status = me.status;
        return me.fails_with;
      case QKD004_GET_KEY: break;
      default: FAIL_CHECK("no such operation"); return -EINVAL;
    }
    me.metadata_size = q->metadata_size;
    if (me.meanwhile) {
      lock.unlock();
      me.came_to = me.meanwhile();
      return -ECONNREFUSED;
    }
    if (me.overlaps) {
      const int mine = ++me.arrived;
      me.changed.notify_all();
      me.changed.wait_for(lock, std::chrono::milliseconds{100}, [&] { return me.arrived != mine; });
    }
    if (me.hold) {
      me.held = q;
      ++me.waiting;
      me.changed.notify_all();
      me.changed.wait(lock, [&] { return me.cancelled; });
      me.cancelled = false;
      return -EINTR;
    }
    if (me.fails_with != 0) return me.fails_with;
    r->status = me.status;
    r->index = 0;
    if (me.status != QKD004_SUCCESS) return 0;
    CHECK(r->key_size == me.chunk);
    std::memset(r->key, static_cast<int>(q->index + 1), std::min(r->key_size, me.key_octets));
    r->key_size = me.key_octets;
    r->age_ms = 5;
    r->hops = 2;
    return 0;
  }
  static void cancel(void* context, const qkd004_request* q) {
    auto& me = *static_cast<toy*>(context);
    const std::lock_guard lock{me.mutex};
    if (q != me.held) return;
    me.cancelled = true;
    me.changed.notify_all();
  }
  static void destroy(void* context) { ++static_cast<toy*>(context)->destroyed; }

  qkd004_client* make() {
    qkd004_exchange_ops ops = QKD004_EXCHANGE_OPS_INIT;
    ops.exchange = exchange;
    ops.cancel = cancel;
    ops.destroy = destroy;
    qkd004_client* c = nullptr;
    must(qkd004_client_from_ops(&ops, this, &c));
    return c;
  }
};

qkd004_stream* open(qkd004_client* c, const char* mimetype = "") {
  qkd004_qos q = QKD004_QOS_INIT;
  q.key_chunk_size = key_size;
  std::string{mimetype}.copy(q.metadata_mimetype, sizeof q.metadata_mimetype - 1);
  qkd004_key_stream_id id{};
  qkd004_stream* s = nullptr;
  must(qkd004_open_connect(c, "here", "there", &q, &id, 0, &s));
  CHECK(id.octets[0] == 42);
  CHECK(q.timeout_ms == 60'000);
  return s;
}

}  // namespace

TEST_CASE("exchange: a transport in C carries the three calls") {
  toy t;
  qkd004_client* c = t.make();
  qkd004_stream* s = open(c, "application/json");
  must(qkd004_client_close(c));
  for (std::uint8_t i = 0; i != 10; ++i) {
    const taken k = next(s);
    CHECK(k.result == QKD004_SUCCESS);
    CHECK(k.index == i);
    CHECK(k.octets[0] == i + 1);
  }
  key k{};
  std::size_t size = k.size();
  qkd004_metadata m = QKD004_METADATA_INIT;
  char text[QKD004_METADATA_SIZE];
  m.buffer = text;
  m.size = sizeof text;
  must(qkd004_get_key(s, 100, k.data(), &size, &m));
  CHECK(k[31] == 101);
  CHECK(std::string(text, m.size) == R"({"age":5,"hops":2})");
  CHECK(t.metadata_size == QKD004_METADATA_SIZE);
  std::vector<std::uint8_t> several(5 * key_size);
  size = several.size();
  std::size_t count = 0;
  std::uint64_t first = 0;
  must(qkd004_get_keys(s, several.data(), &size, &first, &count));
  CHECK(first == 10);
  CHECK(count == 5);
  CHECK(several.back() == 15);
  CHECK(qkd004_wait_for_peer(s, 1) == -EOPNOTSUPP);
  must(qkd004_acknowledge(s));
  must(qkd004_prefetch(s, 3));
  CHECK(t.destroyed == 0);
  must(qkd004_close(s));
  CHECK(t.destroyed == 1);
  CHECK(t.log == std::vector<std::string>{"open here there", "close"});
}

TEST_CASE("exchange: what a transport fails with is the call's result, and the key stays due") {
  toy t;
  qkd004_client* c = t.make();
  qkd004_stream* s = open(c);
  CHECK(next(s).index == 0);
  for (const int error : {-ECONNREFUSED, -ECONNRESET, -ETIMEDOUT, -EIO}) {
    t.fails_with = error;
    CHECK(next(s).result == error);
  }
  t.fails_with = 0;
  for (const int status : {QKD004_TIMEOUT, QKD004_GET_KEY_PEER_NOT_CONNECTED, QKD004_NOT_AUTHORIZED}) {
    t.status = status;
    CHECK(next(s).result == status);
  }
  t.status = -4;
  CHECK(next(s).result == QKD004_PROTOCOL_ERROR);
  t.status = QKD004_SUCCESS;
  t.throws = true;
  CHECK(next(s).result == -EIO);
  t.throws = false;
  for (const std::size_t octets : {std::size_t{0}, key_size - 1, key_size + 1, std::size_t{1} << 40}) {
    t.key_octets = octets;
    CHECK(next(s).result == QKD004_PROTOCOL_ERROR);
  }
  t.key_octets = key_size;
  const taken k = next(s);
  CHECK(k.result == QKD004_SUCCESS);
  CHECK(k.index == 1);
  CHECK(k.octets[0] == 2);
  // CLOSE that could not be asked may be asked again
  t.fails_with = -ECONNREFUSED;
  CHECK(qkd004_close(s) == -ECONNREFUSED);
  t.fails_with = 0;
  CHECK(next(s).index == 2);
  t.status = QKD004_UNKNOWN_KEY_STREAM;
  CHECK(qkd004_close(s) == QKD004_UNKNOWN_KEY_STREAM);
  CHECK(qkd004_close(s) == -EBADF);
  must(qkd004_client_close(c));
  CHECK(t.destroyed == 1);
}

TEST_CASE("exchange: a CLOSE that was answered ends the handle whatever it says, else it is asked again") {
  for (const int status :
       {QKD004_TIMEOUT, QKD004_PROTOCOL_ERROR, QKD004_RESOURCE_LIMIT, QKD004_NOT_AUTHORIZED}) {
    toy t;
    qkd004_client* c = t.make();
    qkd004_stream* s = open(c);
    t.fails_with = status;  // of the transport: nobody has answered
    CHECK(qkd004_close(s) == status);
    CHECK(qkd004_close(s) == status);
    t.fails_with = 0;
    CHECK(next(s).result == QKD004_SUCCESS);
    t.status = status;
    CHECK(qkd004_close(s) == status);
    CHECK(qkd004_close(s) == -EBADF);
    CHECK(t.log == std::vector<std::string>{"open here there", "close", "close", "close"});
    must(qkd004_client_close(c));
  }
}

TEST_CASE("exchange: a key comes into the caller's memory, also one that is larger than the client's own") {
  toy t;
  t.chunk = t.key_octets = std::size_t{16} << 20;
  qkd004_client* c = t.make();
  qkd004_qos q = QKD004_QOS_INIT;
  q.key_chunk_size = static_cast<std::uint32_t>(t.chunk);
  qkd004_stream* s = nullptr;
  must(qkd004_open_connect(c, "here", "there", &q, nullptr, 0, &s));
  std::vector<std::uint8_t> k(t.chunk);
  std::size_t size = k.size();
  must(qkd004_get_key(s, 0, k.data(), &size, nullptr));
  CHECK(k.back() == 1);
  qkd004_metadata m = QKD004_METADATA_INIT;
  must(qkd004_next_key(s, k.data(), &size, nullptr, &m));
  CHECK(m.hops == 2);
  must(qkd004_try_next_key(s, k.data(), &size, nullptr, nullptr));
  CHECK(k.back() == 2);
  must(qkd004_close(s));
  must(qkd004_client_close(c));
}

TEST_CASE("exchange: prefetch gets its turn though there is always somebody who reads") {
  toy t;
  t.overlaps = true;
  qkd004_client* c = t.make();
  qkd004_stream* s = open(c);
  std::atomic<bool> done{false};
  std::atomic<int> rounds{0};
  std::vector<std::thread> readers;
  for (int i = 0; i != 2; ++i) {
    readers.emplace_back([&] {
      while (!done.load() && ++rounds < 20'000) (void)next(s);
    });
  }
  while (rounds.load() < 4) std::this_thread::yield();
  must(qkd004_prefetch(s, 1));
  CHECK(rounds.load() < 20'000);
  done.store(true);
  for (auto& r : readers) r.join();
  must(qkd004_close(s));
  must(qkd004_client_close(c));
}

TEST_CASE("exchange: an OPEN_CONNECT that fails makes no stream") {
  toy t;
  qkd004_client* c = t.make();
  qkd004_stream* s = nullptr;
  const auto attempt = [&] { return qkd004_open_connect(c, "here", "there", nullptr, nullptr, 0, &s); };
  t.throws = true;
  CHECK(attempt() == -EIO);
  t.throws = false;
  t.fails_with = -EHOSTUNREACH;
  CHECK(attempt() == -EHOSTUNREACH);
  t.fails_with = 0;
  t.bad_text = true;
  CHECK(attempt() == QKD004_PROTOCOL_ERROR);
  t.bad_text = false;
  t.status = QKD004_KSID_IN_USE;
  CHECK(attempt() == QKD004_KSID_IN_USE);
  CHECK(s == nullptr);
  must(qkd004_client_close(c));
}

TEST_CASE("exchange: a call is called off where it waits, by stream_cancel, client_cancel and close") {
  toy t;
  qkd004_client* c = t.make();
  qkd004_stream* s = open(c);
  t.hold = true;
  int rounds = 0;
  const auto called_off = [&](auto&& off) {
    taken k;
    std::thread waits{[&] { k = next(s); }};
    ++rounds;
    {
      std::unique_lock lock{t.mutex};
      t.changed.wait(lock, [&] { return t.waiting.load() == rounds; });
    }
    off();
    waits.join();
    return k.result;
  };
  CHECK(called_off([&] { must(qkd004_stream_cancel(s)); }) == -ECANCELED);
  CHECK(called_off([&] { must(qkd004_client_cancel(c)); }) == -ECANCELED);
  t.hold = false;
  CHECK(next(s).index == 0);
  t.hold = true;
  CHECK(called_off([&] { must(qkd004_close(s)); }) == -ECANCELED);
  must(qkd004_client_close(c));
  CHECK(t.destroyed == 1);
}

TEST_CASE(
    "exchange: a callback that ends the stream it was called for, or has keys sent ahead, gets EDEADLK") {
  toy t;
  qkd004_client* c = t.make();
  qkd004_stream* s = open(c);
  for (const auto& call :
       std::vector<std::function<int()>>{[&] { return qkd004_close(s); }, [&] { return qkd004_detach(s); },
                                         [&] { return qkd004_prefetch(s, 1); }}) {
    t.meanwhile = call;
    CHECK(next(s).result == -ECONNREFUSED);
    CHECK(t.came_to == -EDEADLK);
  }
  t.meanwhile = nullptr;
  CHECK(next(s).index == 0);
  must(qkd004_close(s));
  must(qkd004_client_close(c));
}
