// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "qkd004/in_process.hpp"
#include "qkd004/v1.hpp"
#include "v1/lossy_exchange.hpp"
#include "v1/sequences.hpp"

namespace {

using namespace test;

/// Passes the standard's three calls on.
class plain_exchange final : public exchange {
 public:
  explicit plain_exchange(std::shared_ptr<exchange> via) : via_{std::move(via)} {}
  void start(std::span<call* const> calls) override {
    for (call* const c : calls) {
      if (!std::holds_alternative<wait_peer_request>(c->request)) {
        via_->start(std::span{&c, 1});
        continue;
      }
      c->error = std::make_error_code(std::errc::operation_not_supported);
      c->complete();
    }
  }
  void wait(call& c) override {
    if (!c.done()) via_->wait(c);
  }
  void cancel(call& c) noexcept override { via_->cancel(c); }

 private:
  std::shared_ptr<exchange> via_;
};

pair_options some_options() {
  pair_options o;
  o.memory.allow_unlocked = true;
  return o;
}

/// A server at A, which allocates, and a client at B.
struct sites {
  std::shared_ptr<in_process_exchange> way_to(std::size_t site) {
    return std::make_shared<in_process_exchange>(link, site, std::string{anonymous_principal});
  }
  void cut() {
    for (const std::size_t site : {0U, 1U})
      link->with_manager(site, [](key_manager& m) { m.link_down(0, boot_clock::now()); });
  }
  void mend() {
    for (const std::size_t site : {0U, 1U})
      link->with_manager(site, [](key_manager& m) { m.link_up(0, boot_clock::now()); });
    link->drive(boot_clock::now());
  }

  std::shared_ptr<in_process_link> link = std::make_shared<in_process_link>(some_options());
  std::shared_ptr<lossy_exchange> way = std::make_shared<lossy_exchange>(way_to(0));
  v1::session server{way, options_of_server("A", "B")};
  v1::session client{way_to(1), options_of_client("B", "A")};
};

/// A stream that both have opened.
v1::key_handle open_both(sites& s, const v1::qos& wanted = {}) {
  v1::key_handle handle;
  REQUIRE(s.server.open({}, wanted, handle) == v1::status::success);
  REQUIRE(s.client.open("192.0.2.1", wanted, handle) == v1::status::success);
  return handle;
}

}  // namespace

TEST_CASE("v1 in process: a handle goes to the client and both get the same keys") {
  sites s;
  ladder(s.server, s.client);
}

TEST_CASE("v1 in process: the client is done before the server begins") {
  sites s;
  client_first(s.server, s.client);
}

TEST_CASE("v1 in process: time-outs while the key managers are apart") {
  sites s;
  s.cut();
  time_out(s.server, s.client);
}

TEST_CASE("v1 in process: a predefined handle that the server opens first") {
  sites s;
  predefined_handle(s.server, {}, s.client, "192.0.2.1");
}

TEST_CASE("v1 in process: a predefined handle that the client opens first") {
  sites s;
  predefined_handle(s.client, "192.0.2.1", s.server, {});
}

TEST_CASE("v1 in process: a predefined handle that the server has closed when the client opens it") {
  sites s;
  closed_before_opened(s.server, s.client, "192.0.2.1");
}

TEST_CASE("v1 in process: a predefined handle whose peer comes late") {
  sites s;
  predefined_time_out(s.server, s.client);
}

TEST_CASE("v1 open: the URIs at both ends are of the nodes and in one order") {
  sites s;
  const auto handle = open_both(s);
  for (const std::size_t site : {0U, 1U}) {
    const auto reports = s.link->with_manager(site, [&](key_manager& m) {
      const auto who = m.connect(std::string{anonymous_principal});
      return m.report(who, v1::stream_of(handle), boot_clock::now()).streams;
    });
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].source == "qkd004-v1://v1@A");
    CHECK(reports[0].destination == "qkd004-v1://v1@B");
    CHECK(reports[0].strict_once);
  }
}

TEST_CASE("v1 open: a handle that is open here is in use") {
  sites s;
  auto handle = open_both(s);
  CHECK(s.server.open({}, {}, handle) == v1::status::key_handle_in_use);
  check_equal_keys(s.server, s.client, handle);  // and goes on
}

TEST_CASE("v1 open: a handle that another application holds is in use") {
  sites s;
  auto handle = open_both(s);
  v1::session other{s.way_to(0), options_of_server("A", "B")};
  CHECK(other.open({}, {}, handle) == v1::status::key_handle_in_use);
  CHECK(other.close(handle) == v1::status::no_qkd_connection);
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 open: a handle that was closed is in use for good") {
  sites s;
  auto handle = predefined(3);
  REQUIRE(s.server.open({}, {}, handle) == v1::status::success);
  CHECK(s.server.close(handle) == v1::status::success);
  CHECK(s.server.open({}, {}, handle) == v1::status::key_handle_in_use);
}

TEST_CASE("v1 open: fails for a destination that is not configured and can be tried again") {
  sites s;
  auto handle = predefined(4);
  CHECK(s.client.open("192.0.2.2", {}, handle) == v1::status::no_qkd_connection);
  CHECK(s.client.open({}, {}, handle) == v1::status::no_qkd_connection);  // no default destination
  v1::key_handle null;
  CHECK(s.client.open("192.0.2.2", {}, null) == v1::status::no_qkd_connection);
  CHECK(null.is_null());
  CHECK(s.client.open("192.0.2.1", {}, handle) == v1::status::success);
}

TEST_CASE("v1 open: fails for a node that no link leads to") {
  sites s;
  v1::session lost{s.way_to(0), {"qkd://server@A", {}, "qkd://client@C"}};
  auto handle = predefined(5);
  CHECK(lost.open({}, {}, handle) == v1::status::no_qkd_connection);
  v1::session nowhere{s.way_to(0), {"urn:server", {}, "qkd://client@B"}};
  CHECK(nowhere.open({}, {}, handle) == v1::status::invalid_argument);
}

TEST_CASE("v1 open: a length beyond what the key manager grants is an invalid argument") {
  sites s;
  v1::key_handle handle;
  CHECK(s.server.open({}, {.requested_length = 1U << 30}, handle) == v1::status::invalid_argument);
  CHECK(handle.is_null());
}

TEST_CASE("v1 open: asks for 32 octets where nothing is asked for") {
  sites s;
  const auto handle = open_both(s);
  CHECK(s.server.key_length(handle) == 32);
  CHECK(s.client.key_length(handle) == 32);
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 calls: a handle that is not open here has no connection") {
  sites s;
  const auto handle = open_both(s);
  key k(32);
  for (const auto& unknown : {predefined(6), v1::key_handle{},
                              v1::handle_of(key_stream_id::from_random(
                                  std::span<const std::byte, 16>{predefined(7).octets.data(), 16}))}) {
    CHECK(s.server.connect_nonblock(unknown) == v1::status::no_qkd_connection);
    CHECK(s.server.connect_blocking(unknown, 20s) == v1::status::no_qkd_connection);
    CHECK(s.server.get_key(unknown, k) == v1::status::no_qkd_connection);
    CHECK(s.server.close(unknown) == v1::status::no_qkd_connection);
    CHECK(s.server.key_length(unknown) == 0);
  }
  CHECK(k == key(32));
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 connect: without wait_peer only a peer that was there before is found") {
  sites s;
  v1::session first{std::make_shared<plain_exchange>(s.way_to(0)), options_of_server("A", "B")};
  v1::session second{std::make_shared<plain_exchange>(s.way_to(1)), options_of_client("B", "A")};
  v1::key_handle handle;
  REQUIRE(first.open({}, {}, handle) == v1::status::success);
  REQUIRE(second.open("192.0.2.1", {}, handle) == v1::status::success);
  CHECK(first.connect_blocking(handle, 20s) == v1::status::no_qkd_connection);
  CHECK(second.connect_blocking(handle, 20s) == v1::status::success);
  check_equal_keys(first, second, handle);
}

TEST_CASE("v1 connect: who asked for no length learns the peer's when their opens crossed") {
  sites s;
  s.cut();
  auto handle = predefined(8);
  REQUIRE(s.server.open({}, {.requested_length = 64}, handle) == v1::status::success);
  REQUIRE(s.client.open("192.0.2.1", {}, handle) == v1::status::success);
  CHECK(s.client.key_length(handle) == 32);
  s.mend();
  CHECK(s.client.connect_blocking(handle, 20s) == v1::status::success);
  CHECK(s.client.key_length(handle) == 64);
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 get_key: keys of another length than was asked for end the stream") {
  sites s;
  s.cut();
  auto handle = predefined(9);
  REQUIRE(s.server.open({}, {.requested_length = 16}, handle) == v1::status::success);
  REQUIRE(s.client.open("192.0.2.1", {.requested_length = 64}, handle) == v1::status::success);
  s.mend();
  key k(64);
  CHECK(s.client.get_key(handle, k) == v1::status::insufficient_key);
  CHECK(k == key(64));  // half a key is none
  CHECK(read_out(s.server, handle) < 1'000);
}

TEST_CASE("v1 get_key: a buffer of another length takes no key") {
  sites s;
  const auto handle = open_both(s, {.requested_length = 40});
  key small(39);
  key large(41);
  CHECK(s.server.get_key(handle, small) == v1::status::invalid_argument);
  CHECK(s.server.get_key(handle, large) == v1::status::invalid_argument);
  CHECK(small == key(39));
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 get_key: never gives the same octets twice") {
  sites s;
  const auto one = open_both(s);
  auto other = predefined(10);
  REQUIRE(s.server.open({}, {}, other) == v1::status::success);
  REQUIRE(s.client.open("192.0.2.1", {}, other) == v1::status::success);
  std::set<key> all;
  constexpr std::size_t rounds = 400;  // several times round the ring
  for (std::size_t i = 0; i < rounds; ++i) {
    for (const auto& handle : {one, other}) {
      const key k = next_key(s.server, handle);
      CHECK(next_key(s.client, handle) == k);
      all.insert(k);
    }
  }
  CHECK(all.size() == rounds * 2);
}

TEST_CASE("v1 get_key: a time-out loses nothing") {
  sites s;
  const auto handle = open_both(s, {.timeout_ms = 20});
  check_equal_keys(s.server, s.client, handle);
  s.cut();
  key k(32);
  std::size_t of_server = 0;
  while (s.server.get_key(handle, k) == v1::status::success) ++of_server;
  CHECK(s.server.get_key(handle, k) == v1::status::timeout);
  s.mend();
  for (std::size_t i = 0; i < of_server; ++i) next_key(s.client, handle);
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 get_key: threads on one handle get a key each") {
  sites s;
  const auto handle = open_both(s);
  const auto take = [&s, handle] {
    std::set<key> keys;
    for (int i = 0; i < 50; ++i) keys.insert(next_key(s.server, handle));
    return keys;
  };
  auto other = std::async(std::launch::async, take);
  std::set<key> all = take();
  all.merge(other.get());
  CHECK(all.size() == 100);
  std::set<key> at_client;
  for (int i = 0; i < 100; ++i) at_client.insert(next_key(s.client, handle));
  CHECK(at_client == all);
}

TEST_CASE("v1 get_key: returns when another thread closes the stream") {
  sites s;
  s.cut();
  v1::key_handle handle;
  REQUIRE(s.server.open({}, {.timeout_ms = 60'000}, handle) == v1::status::success);
  auto waiting = std::async(std::launch::async, [&] {
    key k(32);
    return s.server.get_key(handle, k);
  });
  const auto in_wait = [&] {
    return s.link->with_manager(0, [](key_manager& m) { return m.totals().waiting; }) == 1;
  };
  while (!in_wait()) std::this_thread::yield();
  CHECK(s.server.close(handle) == v1::status::success);
  CHECK(waiting.get() == v1::status::no_qkd_connection);
}

TEST_CASE("v1 strict once: a request that was lost is made again") {
  sites s;
  const auto handle = open_both(s);
  s.way->lost_requests = 1;
  check_equal_keys(s.server, s.client, handle);
}

TEST_CASE("v1 strict once: a reply that was lost ends the stream at both ends") {
  sites s;
  lost_reply(s.server, s.client, *s.way);
  CHECK(s.link->with_manager(0, [](key_manager& m) { return m.totals().burned_chunks; }) == 1);
}

TEST_CASE("v1 strict once: a reply that was lost twice fails and then ends the stream") {
  sites s;
  const auto handle = open_both(s);
  s.way->lost_requests = 2;
  next_key(s.server, handle, v1::status::no_qkd_connection);  // nothing is known to be lost yet
  s.way->lost_replies = 2;
  next_key(s.server, handle, v1::status::no_qkd_connection);
  next_key(s.server, handle, v1::status::insufficient_key);
  next_key(s.server, handle, v1::status::insufficient_key);
}

TEST_CASE("v1 strict once: a key that has expired ends the stream at both ends") {
  sites s;
  const auto handle = open_both(s);
  check_equal_keys(s.server, s.client, handle, 3);
  s.link->with_manager(0, [](key_manager& m) { m.advance(boot_clock::now() + 2h); });
  next_key(s.server, handle, v1::status::insufficient_key);
  next_key(s.server, handle, v1::status::insufficient_key);
  CHECK(read_out(s.client, handle) < 1'000);
}

TEST_CASE("v1 strict once: a session that comes after another gets no key that is not the first") {
  const auto link = std::make_shared<in_process_link>(some_options());
  const auto alice = [&] { return std::make_shared<in_process_exchange>(link, 0, "alice"); };
  v1::session client{std::make_shared<in_process_exchange>(link, 1, "bob"), options_of_client("B", "A")};
  v1::session former{alice(), options_of_server("A", "B")};
  v1::session later{alice(), options_of_server("A", "B")};
  v1::session last{alice(), options_of_server("A", "B")};
  v1::key_handle handle;
  REQUIRE(former.open({}, {}, handle) == v1::status::success);
  REQUIRE(client.open("192.0.2.1", {}, handle) == v1::status::success);
  REQUIRE(later.open({}, {}, handle) == v1::status::success);
  next_key(former, handle, v1::status::not_authorized);
  check_equal_keys(later, client, handle, 3);
  REQUIRE(last.open({}, {}, handle) == v1::status::success);
  next_key(last, handle, v1::status::insufficient_key);
}

TEST_CASE("v1 session: closes its streams when it goes") {
  sites s;
  v1::key_handle handle;
  {
    v1::session leaving{s.way_to(0), options_of_server("A", "B")};
    REQUIRE(leaving.open({}, {}, handle) == v1::status::success);
    REQUIRE(s.client.open("192.0.2.1", {}, handle) == v1::status::success);
    next_key(leaving, handle);
  }
  CHECK(s.link->with_manager(0, [](key_manager& m) { return m.totals().streams; }) == 0);
  CHECK(read_out(s.client, handle) >= 1);
}

TEST_CASE("v1 status: has the first edition's numbers and words for each") {
  const std::pair<v1::status, unsigned> numbers[] = {
      {v1::status::success, 0},           {v1::status::insufficient_key, 1},
      {v1::status::no_qkd_connection, 2}, {v1::status::key_handle_in_use, 3},
      {v1::status::timeout, 4},           {v1::status::invalid_argument, 1025},
      {v1::status::not_authorized, 1026}, {v1::status::resource_limit, 1027}};
  std::set<std::string_view> words;
  for (const auto& [s, number] : numbers) {
    CHECK(static_cast<unsigned>(s) == number);
    words.insert(to_string(s));
  }
  CHECK(words.size() == 8);
  CHECK(!words.contains(to_string(static_cast<v1::status>(5))));
}
