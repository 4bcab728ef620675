// SPDX-License-Identifier: Apache-2.0
//
// Objects that are ended, or whose calls are called off, while another thread waits in one.
#include <doctest/doctest.h>
#include <errno.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ends.hpp"
#include "qkd004.h"

using namespace capi_test;

namespace {

/// Two sites whose key sources give nothing until they are told to, and count how often they are asked: a thread that
/// waits for key asks.
class dry_manager {
 public:
  dry_manager() {
    qkd004_manager_options o = QKD004_MANAGER_OPTIONS_INIT;
    o.first = make(first_);
    o.second = make(second_);
    must(qkd004_manager_open(&o, &manager));
    must(qkd004_source_close(o.first));
    must(qkd004_source_close(o.second));
  }
  dry_manager(const dry_manager&) = delete;
  dry_manager& operator=(const dry_manager&) = delete;
  ~dry_manager() { (void)qkd004_manager_close(manager); }

  [[nodiscard]] ends::clients clients() const {
    ends::clients c{};
    must(qkd004_manager_connect(manager, 0, nullptr, &c.a));
    must(qkd004_manager_connect(manager, 1, nullptr, &c.b));
    return c;
  }
  /// Returns when that many threads wait.
  void wait_for_waiting(std::size_t threads) {
    const auto waiting = [&] {
      const std::lock_guard lock{asking_mutex_};
      return std::ranges::count_if(asked_, [](const auto& a) { return a.second >= 4; });
    };
    {
      const std::lock_guard lock{asking_mutex_};
      asked_.clear();
    }
    while (std::cmp_less(waiting(), threads)) std::this_thread::yield();
  }

  std::atomic<bool> flows{false};
  qkd004_manager* manager = nullptr;

 private:
  struct end {
    dry_manager* of = nullptr;
    std::uint8_t block = 0;
  };
  void count_this_thread() {
    const std::lock_guard lock{asking_mutex_};
    ++asked_[std::this_thread::get_id()];
  }
  static int start(void*, const qkd004_source_session* s, std::uint8_t* check) {
    std::memcpy(check, s->lower, 16);
    std::memcpy(check + 16, s->higher, 16);
    return 0;
  }
  static int poll(void* context, std::uint8_t* block, std::size_t* size) {
    auto& e = *static_cast<end*>(context);
    e.of->count_this_thread();
    if (!e.of->flows.load()) {
      *size = 0;
      return 0;
    }
    e.block += 1;
    std::memset(block, e.block, *size);
    return 0;
  }
  static std::uint32_t at_once(void*) { return 0; }
  qkd004_source* make(end& e) {
    e.of = this;
    qkd004_source_ops ops = QKD004_SOURCE_OPS_INIT;
    ops.kind = "dry";
    ops.block_bytes = 128;
    ops.start = start;
    ops.poll = poll;
    ops.ready_in_ms = at_once;
    qkd004_source* s = nullptr;
    must(qkd004_source_from_ops(&ops, &e, &s));
    return s;
  }

  std::mutex asking_mutex_;
  std::map<std::thread::id, int> asked_;
  end first_;
  end second_;
};

/// Runs `call` on another thread, `meanwhile` on this one once the other waits and `others` do, and returns what the call
/// came to.
int interrupted(dry_manager& m, const std::function<int()>& call, const std::function<void()>& meanwhile,
                std::size_t others = 0) {
  int result = 0;
  std::thread waits{[&] { result = call(); }};
  m.wait_for_waiting(1 + others);
  meanwhile();
  waits.join();
  return result;
}

/// Every call of a stream that waits for key.
std::vector<std::function<int(qkd004_stream*)>> waiting_calls() {
  return {[](qkd004_stream* s) { return next(s).result; },
          [](qkd004_stream* s) {
            key k{};
            std::size_t size = k.size();
            return qkd004_get_key(s, 0, k.data(), &size, nullptr);
          },
          [](qkd004_stream* s) {
            key k{};
            std::size_t size = k.size();
            return qkd004_get_keys(s, k.data(), &size, nullptr, nullptr);
          },
          [](qkd004_stream* s) {
            key k{};
            std::size_t size = k.size();
            qkd004_metadata m = QKD004_METADATA_INIT;
            return qkd004_next_key(s, k.data(), &size, nullptr, &m);
          }};
}

}  // namespace

TEST_CASE("ending: close from another thread ends every call that waits for key") {
  for (const auto& call : waiting_calls()) {
    dry_manager m;
    ends e{m.clients(), {60'000}};
    CHECK(interrupted(
              m, [&] { return call(e.a); }, [&] { CHECK(qkd004_close(e.a) == QKD004_SUCCESS); }) ==
          -ECANCELED);
    CHECK(next(e.a).result == -EBADF);
  }
}

TEST_CASE("ending: detach from another thread ends every call that waits, and the stream has its keys") {
  for (const auto& call : waiting_calls()) {
    dry_manager m;
    const ends::clients c = m.clients();
    ends e{c, {60'000}};
    CHECK(interrupted(
              m, [&] { return call(e.a); }, [&] { CHECK(qkd004_detach(e.a) == QKD004_SUCCESS); }) ==
          -ECANCELED);
    must(qkd004_open_connect(c.a, c.source, c.destination, nullptr, &e.id, 0, &e.a));
    m.flows.store(true);
    for (std::uint64_t i = 0; i != 10; ++i) e.due(i);
  }
}

TEST_CASE("ending: cancel ends every call that waits, and no key is lost") {
  dry_manager m;
  ends e{m.clients(), {60'000}};
  for (const auto& call : waiting_calls()) {
    CHECK(interrupted(
              m, [&] { return call(e.a); }, [&] { must(qkd004_stream_cancel(e.a)); }) == -ECANCELED);
    CHECK(interrupted(
              m, [&] { return call(e.a); }, [&] { must(qkd004_client_cancel(e.client_a)); }) == -ECANCELED);
  }
  m.flows.store(true);
  for (std::uint64_t i = 0; i != 10; ++i) e.due(i);
}

TEST_CASE("ending: a client that is closed ends its own calls and not those of its streams") {
  dry_manager m;
  const ends::clients c = m.clients();
  ends e{c, {60'000}};
  qkd004_qos patient = QKD004_QOS_INIT;
  patient.timeout_ms = 60'000;
  qkd004_key_stream_id id{{1}};
  qkd004_stream* s = nullptr;
  taken t;
  std::thread reads{[&] { t = next(e.a); }};
  m.wait_for_waiting(1);
  // waits for the peer application
  CHECK(interrupted(
            m, [&] { return qkd004_open_connect(c.a, c.source, c.destination, &patient, &id, 0, &s); },
            [&] { must(qkd004_client_close(c.a)); }, 1) == -ECANCELED);
  CHECK(s == nullptr);
  m.flows.store(true);
  reads.join();
  CHECK(t.result == QKD004_SUCCESS);
  CHECK(next(e.b) == t);
}

TEST_CASE("ending: client_cancel ends an OPEN_CONNECT that waits") {
  dry_manager m;
  const ends e{m.clients()};
  qkd004_qos patient = QKD004_QOS_INIT;
  patient.timeout_ms = 60'000;
  qkd004_key_stream_id id{{1}};
  qkd004_stream* s = nullptr;
  CHECK(interrupted(
            m,
            [&] { return qkd004_open_connect(e.client_a, "qkd://a@A", "qkd://b@B", &patient, &id, 0, &s); },
            [&] { must(qkd004_client_cancel(e.client_a)); }) == -ECANCELED);
  CHECK(s == nullptr);
}

TEST_CASE("ending: close and cancel end a wait for the peer") {
  dry_manager m;
  const ends e{m.clients()};
  const auto alone = [&] {
    qkd004_stream* s = nullptr;
    CHECK(qkd004_open_connect(e.client_a, "qkd://a@A", "qkd://b@B", nullptr, nullptr, QKD004_NO_WAIT, &s) ==
          QKD004_PEER_NOT_CONNECTED);
    return s;
  };
  qkd004_stream* s = alone();
  CHECK(interrupted(
            m, [&] { return qkd004_wait_for_peer(s, 60'000); }, [&] { must(qkd004_stream_cancel(s)); }) ==
        -ECANCELED);
  CHECK(interrupted(
            m, [&] { return qkd004_wait_for_peer(s, 60'000); }, [&] { must(qkd004_close(s)); }) ==
        -ECANCELED);
}

TEST_CASE("ending: close and cancel end calls over a wire, and no key is lost") {
  const served site;
  qkd004_client* c = site.connect();
  qkd004_stream* s = nullptr;
  qkd004_qos q = QKD004_QOS_INIT;
  q.timeout_ms = 60'000;
  CHECK(qkd004_open_connect(c, "qkd://alice@site", "qkd://bob@site", &q, nullptr, QKD004_NO_WAIT, &s) ==
        QKD004_PEER_NOT_CONNECTED);
  std::atomic<int> result{1};
  const auto call_off = [&](const std::function<int()>& call, const std::function<int()>& off) {
    result.store(1);
    std::thread waits{[&] { result.store(call()); }};
    // when it begins to wait cannot be seen from here: again until it has ended
    while (result.load() == 1) CHECK(off() == QKD004_SUCCESS);
    waits.join();
    CHECK(result.load() == -ECANCELED);
  };
  call_off([&] { return qkd004_wait_for_peer(s, 60'000); }, [&] { return qkd004_stream_cancel(s); });
  call_off([&] { return qkd004_wait_for_peer(s, 60'000); }, [&] { return qkd004_client_cancel(c); });
  std::thread waits{[&] { result.store(qkd004_wait_for_peer(s, 60'000)); }};
  CHECK(qkd004_close(s) == QKD004_SUCCESS);
  waits.join();
  // it came too late, or was called off
  CHECK((result.load() == -ECANCELED || result.load() == -EBADF));
  must(qkd004_client_close(c));
}

TEST_CASE("ending: reading over a wire goes on with the key that is due, however often it is called off") {
  const served site;
  ends e{site.clients(), {60'000}};
  std::atomic<bool> stop{false};
  std::atomic<int> cancelled{0};
  std::thread disturbs{[&] {
    while (!stop.load()) {
      (void)qkd004_stream_cancel(e.a);
      std::this_thread::yield();
    }
  }};
  for (std::uint64_t due = 0; due != 300;) {
    const taken t = next(e.a);
    if (t.result == -ECANCELED) {
      ++cancelled;
      continue;
    }
    REQUIRE(t.result == QKD004_SUCCESS);
    CHECK(t.index == due);
    CHECK(next(e.b) == t);
    ++due;
  }
  stop.store(true);
  disturbs.join();
  MESSAGE(cancelled.load() << " calls were called off");
}

TEST_CASE("ending: a session of the first edition that is closed ends its calls") {
  dry_manager m;
  const ends::clients c = m.clients();
  const ends e{c};
  qkd004_v1_qos q = QKD004_V1_QOS_INIT;
  q.timeout_ms = 60'000;
  const auto session = [&](qkd004_v1_key_handle& h) {
    qkd004_v1_session* s = nullptr;
    must(qkd004_v1_session_open(c.a, "qkd://a@A", "qkd://b@B", &s));
    must(qkd004_v1_open(s, nullptr, &q, &h));
    return s;
  };
  qkd004_v1_key_handle h{};
  qkd004_v1_session* s = session(h);
  CHECK(interrupted(
            m,
            [&] {
              key k{};
              std::size_t size = k.size();
              return qkd004_v1_get_key(s, &h, k.data(), &size);
            },
            [&] { must(qkd004_v1_session_close(s)); }) == -ECANCELED);
  CHECK(qkd004_v1_session_close(s) == -EBADF);
  qkd004_v1_key_handle other{};
  s = session(other);
  CHECK(interrupted(
            m, [&] { return qkd004_v1_connect_blocking(s, &other, 60'000); },
            [&] { must(qkd004_v1_session_close(s)); }) == -ECANCELED);
}

TEST_CASE("ending: objects end in any order, and what is left works") {
  dry_manager m;
  m.flows.store(true);
  const ends::clients c = m.clients();
  ends e{c};
  qkd004_v1_session* s = nullptr;
  must(qkd004_v1_session_open(c.a, "qkd://a@A", "qkd://b@B", &s));
  must(qkd004_manager_close(m.manager));
  must(qkd004_client_close(c.a));
  must(qkd004_client_close(c.b));
  qkd004_v1_key_handle h{};
  must(qkd004_v1_open(s, nullptr, nullptr, &h));
  must(qkd004_v1_session_close(s));
  for (std::uint64_t i = 0; i != 300; ++i) e.due(i);
}
