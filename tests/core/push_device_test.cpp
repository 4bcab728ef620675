// SPDX-License-Identifier: Apache-2.0
#include "qkd004/push_device.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace qkd004;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t ttl_s = 300;

key_stream_id id_of(unsigned char n) {
  std::array<std::byte, 16> o{};
  o[0] = std::byte{n};
  return key_stream_id{o};
}

/// A key manager that does nothing by itself: what the device asks of it is noted, and the test answers.
struct noting_service final : key_service {
  connection_id connect(std::string) override { return ++connections; }
  void disconnect(connection_id id, time_point) override { left.push_back(id); }
  void open_connect(caller who, const open_connect_request& r, time_point) override {
    opened.emplace_back(who, r);
  }
  void get_key(caller, const get_key_request&, time_point) override { FAIL("a device subscribes"); }
  void close(caller, const close_request& r, time_point) override { closed.push_back(r.stream); }
  void get_keys(caller, const get_keys_request&, time_point) override { FAIL("a device subscribes"); }
  void wait_peer(caller, const wait_peer_request&, time_point) override { waits += 1; }
  void acknowledge(caller, const acknowledge_request& r, time_point) override { below = r.below; }
  void subscribe(caller who, const subscribe_request& r, time_point) override {
    subscribed.emplace_back(who, r);
  }
  stream_reports report(connection_id, const key_stream_id&, time_point) override { return {}; }
  std::vector<link_report> links(time_point) override { return {}; }
  stream_reports report_all(time_point) override { return {}; }
  void advance(time_point) override {}
  time_point next_deadline(time_point) const override { return time_point::max(); }
  void shutdown(time_point) override {}
  counters totals() const override { return {}; }
  const std::string& node() const noexcept override { return name; }
  const instance_id& instance() const noexcept override { return self; }

  connection_id connections = 0;
  std::vector<connection_id> left;
  std::vector<std::pair<caller, open_connect_request>> opened;
  std::vector<key_stream_id> closed;
  std::vector<std::pair<caller, subscribe_request>> subscribed;
  int waits = 0;
  std::uint64_t below = 0;
  std::string name = "device";
  instance_id self{};
};

struct fixture final : push_device::events {
  explicit fixture(push_device_options o = {}, secret_options memory = {})
      : arena{memory}, device{o, service, arena, *this} {}

  void opened(std::uint64_t ticket, const open_connect_response& r) override { answers[ticket] = r.outcome; }
  void armed(std::uint64_t ticket, status s) override { answers[ticket] = s; }
  void closed(std::uint64_t ticket, status s) override { answers[ticket] = s; }
  void note(std::string_view text) override { notes.emplace_back(text); }

  std::uint64_t open(const key_stream_id& id) {
    device.open_connect(++tickets, "kms", {"qkd://a@A", "qkd://b@B", {}, id}, now);
    return tickets;
  }
  /// The key manager underneath says yes to the n-th OPEN_CONNECT, and the peer is there.
  void grant(std::size_t n, const key_stream_id& id) {
    open_connect_response yes;
    yes.stream = id;
    yes.quality.key_chunk_size = 32;
    yes.quality.ttl_s = ttl_s;
    yes.epoch = 1;
    device.answer(service.opened.at(n).first, yes);
    work();
  }
  status get_key(const key_stream_id& id) {
    device.get_key(++tickets, "kms", {id, {}, {}}, now);
    work();
    return answers.at(tickets);
  }
  /// Keys of the first stream, from that index on.
  void deliver(const key_stream_id& id, std::uint64_t first, std::size_t count) {
    const std::array<std::byte, 32> key{};
    const std::vector<served_key> keys(count, served_key{key, {}});
    get_keys_response r;
    r.first = first;
    r.chunk_size = 32;
    r.keys = keys;
    device.deliver(service.opened.at(0).first.connection, id, r);
    work();
  }
  /// All that is to be done now; the posts stay without an answer.
  void work() {
    device.pump(now);
    while (const auto p = device.next_post(now)) posts.push_back(p->attempt);
    device.pump(now);
  }
  /// As time goes by, until the device has no stream any more.
  boot_clock::duration run_until_empty() {
    const time_point began = now;
    for (int i = 0; !device.report().empty(); ++i) {
      REQUIRE(i < 1'000);
      REQUIRE(device.next_deadline() < time_point::max());
      now = std::max(now, device.next_deadline());
      work();
    }
    return now - began;
  }

  noting_service service;
  secret_arena arena;
  push_device device;
  time_point now{1000s};
  std::uint64_t tickets = 0;
  std::map<std::uint64_t, status> answers;
  std::vector<std::string> notes;
  std::vector<std::uint64_t> posts;
};

}  // namespace

TEST_CASE("push device core: one OPEN_CONNECT with an id at a time") {
  fixture f;
  const auto first = f.open(id_of(1));
  const auto second = f.open(id_of(1));
  CHECK(f.service.opened.size() == 1);
  CHECK_FALSE(f.answers.contains(first));
  CHECK(f.answers.at(second) == status::no_qkd_connection);  // 500: it is asked again
  const auto another = f.open(id_of(2));
  CHECK(f.service.opened.size() == 2);
  CHECK_FALSE(f.answers.contains(another));
  f.grant(0, id_of(1));
  CHECK(f.answers.at(first) == status::success);
  CHECK(f.answers.at(f.open(id_of(1))) == status::success);  // and is opened again
  CHECK(f.service.opened.size() == 2);
  CHECK(f.device.report().size() == 1);
}

TEST_CASE("push device core: streams that are registered at once have nothing to do with one another") {
  fixture f;
  const auto first = f.open({});
  const auto second = f.open({});
  f.grant(0, id_of(1));
  f.grant(1, id_of(2));
  CHECK(f.answers.at(first) == status::success);
  CHECK(f.answers.at(second) == status::success);
  CHECK(f.device.report().size() == 2);
}

TEST_CASE("push device core: a stream that nobody arms is closed after a minute") {
  fixture f;
  f.open(id_of(1));
  f.grant(0, id_of(1));
  CHECK(f.run_until_empty() == 60s);
  CHECK(f.service.closed == std::vector{id_of(1)});
  CHECK(f.service.left.size() == 1);
}

TEST_CASE("push device core: a stream that is opened again posts nothing until it is armed") {
  fixture f;
  f.open(id_of(1));
  f.grant(0, id_of(1));
  CHECK(f.get_key(id_of(1)) == status::success);
  REQUIRE(f.service.subscribed.size() == 1);
  CHECK(f.service.subscribed[0].second.credit == 16);
  f.deliver(id_of(1), 0, 4);
  CHECK(f.posts.size() == 4);
  CHECK(f.answers.at(f.open(id_of(1))) == status::success);
  for (const auto attempt : f.posts) f.device.failed(id_of(1), attempt, f.now, 0);
  f.posts.clear();
  f.now += 10s;
  f.work();
  CHECK(f.posts.empty());
  CHECK(f.get_key(id_of(1)) == status::success);
  CHECK(f.posts.size() == 4);
}

TEST_CASE(
    "push device core: a stream that is opened again and not armed is closed when its keys' life is over") {
  for (const std::size_t keys : {0U, 4U}) {
    CAPTURE(keys);
    fixture f;
    f.open(id_of(1));
    f.grant(0, id_of(1));
    CHECK(f.get_key(id_of(1)) == status::success);
    f.deliver(id_of(1), 0, keys);
    f.now += 10s;
    CHECK(f.answers.at(f.open(id_of(1))) == status::success);
    for (const auto attempt : f.posts) f.device.failed(id_of(1), attempt, f.now, 0);
    f.work();
    CHECK(f.run_until_empty() == std::chrono::seconds{ttl_s});
    CHECK(f.service.below == keys);
    CHECK(f.service.closed == std::vector{id_of(1)});
  }
}

TEST_CASE("push device core: a stream that lacked memory as it was opened again is closed all the same") {
  push_device_options o;
  o.sending.in_flight = 64;
  fixture f{o, secret_options{4'096}};  // for some sixty keys
  f.open(id_of(1));
  f.grant(0, id_of(1));
  CHECK(f.get_key(id_of(1)) == status::success);
  f.deliver(id_of(1), 0, 128);
  f.deliver(id_of(1), 128, 8);
  CHECK(f.notes == std::vector<std::string>{
                       "ALARM: there is no memory for all keys on their way: some wait (said once)"});
  CHECK(f.answers.at(f.open(id_of(1))) == status::success);
  for (const auto attempt : f.posts) f.device.failed(id_of(1), attempt, f.now, 0);
  f.work();
  CHECK(f.run_until_empty() == std::chrono::seconds{ttl_s});
}
