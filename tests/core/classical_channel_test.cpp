// SPDX-License-Identifier: Apache-2.0
#include "qkd004/classical_channel.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/talking_source.hpp"
#include "core/two_sites.hpp"
#include "qkd004/in_process.hpp"

using namespace testing;

namespace {

using words = std::vector<std::string>;

/// Sites whose sources are talking ones.
struct talking_sites : two_sites {
  explicit talking_sites(bool channels = true) : two_sites{apart()} {
    end_a.has_channel = end_b.has_channel = channels;
    a->manager.shutdown(now);
    b->manager.shutdown(now);
    a = make(settings.a, "B", end_a, 1);
    b = make(settings.b, "A", end_b, 2);
    conn_a = a->manager.connect("alice");
    conn_b = b->manager.connect("bob");
    connect();
  }
  ~talking_sites() {  // before the sources
    a.reset();
    b.reset();
  }
  talking_sites(const talking_sites&) = delete;
  talking_sites& operator=(const talking_sites&) = delete;

  static options apart() {
    options o;
    o.up = false;
    return o;
  }
  void advance() {
    a->manager.advance(now);
    b->manager.advance(now);
    settle();
  }
  /// What a site does whose connection is given up.
  void reconnect() {
    cut();
    connect();
  }
  /// Site B dies and comes back as another instance, with the same source.
  void restart_b() {
    cut();
    b->manager.shutdown(now);
    b = make(settings.b, "A", end_b, 2);
    conn_b = b->manager.connect("bob");
  }
  [[nodiscard]] bool is_ready() const {
    return a->manager.link_ready(a->link) && b->manager.link_ready(b->link);
  }
  [[nodiscard]] std::vector<std::byte> key(site& at, connection_id who, const key_stream_id& id,
                                           std::uint64_t index) {
    return at.answers[get(at, who, id, index)].key;
  }

  talking_source end_a;
  talking_source end_b;
};

bool any_has(const std::vector<std::string>& lines, std::string_view text) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const auto& l) { return l.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("classical_channel: is up while the link is ready, and down once after each up") {
  talking_sites w;
  CHECK(w.end_a.calls() == "start up ");
  CHECK(w.end_b.calls() == "start up ");
  w.cut();
  w.a->manager.link_down(w.a->link, w.now);
  CHECK(w.end_a.calls() == "start up down ");
  w.connect();
  CHECK(w.end_a.calls() == "start up down up ");
  w.restart_b();
  w.connect();
  CHECK(w.end_a.calls() == "start up down up down start up ");
  w.cut();
  w.a->manager.shutdown(w.now);
  w.a->manager.link_down(w.a->link, w.now);
  CHECK(w.end_a.calls() == "start up down up down start up down stop ");
}

TEST_CASE("classical_channel: is not up before the sources agreed that they are in step") {
  talking_sites w;
  w.cut();
  w.up = true;
  w.a->manager.link_up(w.a->link, w.now);
  w.b->manager.link_up(w.b->link, w.now);
  REQUIRE(w.carry(*w.a, *w.b));
  REQUIRE(w.carry(*w.b, *w.a));
  w.end_a.say("early");
  w.advance();
  CHECK(w.is_ready());
  CHECK(w.end_b.heard() == words{"early"});
}

TEST_CASE("classical_channel: carries words both ways in order, and no others") {
  talking_sites w;
  for (const char* word : {"one", "two", "three"}) w.end_a.say(word);
  w.end_b.say("yes");
  w.end_b.say(std::string(classical_channel::largest_message - 9, 'x'));
  w.advance();
  CHECK(w.end_b.heard() == words{"one", "two", "three"});
  CHECK(w.end_a.heard() == words{"yes", std::string(classical_channel::largest_message - 9, 'x')});
}

TEST_CASE("classical_channel: has its answer sent by the message it answers") {
  talking_sites w;
  w.end_a.say("ping");
  w.a->manager.advance(w.now);
  REQUIRE(w.carry(*w.a, *w.b));
  REQUIRE(w.b->outbox.size() == 1);  // b was not advanced
  CHECK(std::holds_alternative<peer::classical>(w.b->outbox.front()));
}

TEST_CASE("classical_channel: has what was lost with a connection said again on the next") {
  talking_sites w;
  w.end_a.say("one");
  w.a->manager.advance(w.now);
  w.cut();
  w.end_a.say("two");
  w.advance();
  CHECK(w.end_b.heard().empty());
  w.connect();
  CHECK(w.end_b.heard() == words{"one", "two"});
}

TEST_CASE("classical_channel: has the connection given up for words that cannot be, and no more than that") {
  talking_sites w;
  const auto stream = w.open_both();
  CHECK(w.key(*w.a, w.conn_a, stream, 0).size() == 32);
  w.end_a.say_nonsense();
  w.advance();
  CHECK_FALSE(w.b->manager.link_ready(w.b->link));
  CHECK(any_has(w.b->failures, "cannot be"));
  CHECK(any_has(w.a->failures, "cannot be"));
  CHECK(w.end_b.calls() == "start up down ");
  w.reconnect();
  CHECK(w.is_ready());
  CHECK(w.end_a.calls() == "start up down up ");  // the session goes on
  CHECK(w.key(*w.a, w.conn_a, stream, 1) == w.key(*w.b, w.conn_b, stream, 1));
}

TEST_CASE("classical_channel: is not spoken to where the source has none") {
  talking_sites w{false};
  w.end_a.say("lost");
  w.advance();
  CHECK(w.end_a.calls() == "start ");
  CHECK(w.end_b.heard().empty());
  w.a->manager.receive(w.a->link, peer::classical{}, w.now);
  CHECK_FALSE(w.a->manager.link_ready(w.a->link));
  CHECK(any_has(w.a->failures, "has no channel"));
}

TEST_CASE(
    "classical_channel: a peer of an older protocol is refused where the source needs it, and only there") {
  for (const bool channels : {true, false}) {
    CAPTURE(channels);
    talking_sites w{channels};
    w.cut();
    w.a->manager.link_up(w.a->link, w.now);
    auto hello = std::get<peer::hello>(w.a->outbox.back());
    w.a->outbox.clear();
    hello.version = 2;
    hello.node = "B";
    hello.instance.fill(std::byte{9});
    w.a->manager.receive(w.a->link, hello, w.now);
    CHECK(any_has(w.a->failures, "a key source of kind talking needs version 3") == channels);
    REQUIRE_FALSE(w.a->outbox.empty());
    CHECK(std::holds_alternative<peer::fault>(w.a->outbox.back()) == channels);
  }
}

TEST_CASE("classical_channel: is carried within one process while somebody waits") {
  pair_options o;
  o.memory.allow_unlocked = true;
  const auto end_a = std::make_shared<talking_source>();
  const auto end_b = std::make_shared<talking_source>();
  o.first_source = end_a;
  o.second_source = end_b;
  end_a->allow_blocks(0);
  end_b->allow_blocks(0);
  auto link = std::make_shared<in_process_link>(std::move(o));
  CHECK(end_a->is_listened_to());
  {
    auto at_a = qkd004::connect(link, 0);
    auto at_b = qkd004::connect(link, 1);
    qos patient;
    patient.timeout_ms = 20'000;
    auto opened = at_a.open_connect({"qkd://alice@A", "qkd://bob@B", patient});
    REQUIRE(opened);
    auto joined = at_b.open_connect({"qkd://alice@A", "qkd://bob@B", patient, opened->id()});
    REQUIRE(joined);
    std::thread reader{[&] {
      const auto key = opened->get_key(0);
      CHECK(key.has_value());
    }};
    end_a->say("hear");
    CHECK(end_b->has_heard(1, 20s));
    end_b->allow_blocks(4);
    end_a->allow_blocks(4);
    reader.join();
    const auto other = joined->get_key(0);
    CHECK(other.has_value());
  }
  link.reset();
  CHECK_FALSE(end_a->is_listened_to());
  CHECK(end_b->calls() == "start up down stop ");
}

TEST_CASE("key_source: begins another session within one process, too") {
  pair_options o;
  o.memory.allow_unlocked = true;
  const auto end_a = std::make_shared<talking_source>();
  const auto end_b = std::make_shared<talking_source>();
  o.first_source = end_a;
  o.second_source = end_b;
  end_a->allow_blocks(0);
  end_b->allow_blocks(0);
  auto link = std::make_shared<in_process_link>(std::move(o));
  REQUIRE(link->with_manager(0, [](key_manager& m) { return m.link_ready(0); }));
  end_b->fail(status::protocol_error);
  const auto is_up = [&] {
    return link->with_manager(0, [](key_manager& m) { return m.link_ready(0); }) &&
           link->with_manager(1, [](key_manager& m) { return m.link_ready(0); });
  };
  const auto until = boot_clock::now() + 20s;
  while (!(end_a->sessions().size() == 2 && is_up()) && boot_clock::now() < until) {
    static_cast<void>(link->drive(boot_clock::now()));
  }
  CHECK(is_up());
  CHECK(end_b->sessions().size() == 2);
}

TEST_CASE("key_source: has a session given up and another begun when its ends are out of step") {
  talking_sites w;
  const auto stream = w.open_both();
  const auto key = w.key(*w.a, w.conn_a, stream, 0);
  CHECK(w.key(*w.b, w.conn_b, stream, 0) == key);
  const auto before = w.end_a.sessions().at(0);

  w.end_b.allow_blocks(0);
  w.end_a.allow_blocks(0);
  w.end_a.fail(status::protocol_error);
  while (w.a->manager.link_ready(w.a->link)) {  // once key is wanted, the source is asked
    w.get(*w.a, w.conn_a, stream, w.a->manager.totals().delivered);
    w.now += 1ms;
    w.advance();
  }
  CHECK(any_has(w.a->failures, "out of step"));
  CHECK(any_has(w.b->failures, "the peer gave up: the two ends of the key source are out of step"));
  CHECK(any_has(w.a->notes, "the session is given up, another begins"));
  CHECK(w.end_a.calls() == "start up down ");

  w.end_a.allow_blocks(100);
  w.end_b.allow_blocks(100);
  w.reconnect();
  REQUIRE(w.is_ready());
  CHECK(w.end_a.calls() == "start up down start up ");
  CHECK(w.end_b.calls() == "start up down start up ");
  const auto after = w.end_a.sessions().at(1);
  CHECK(after.lower != before.lower);  // the peer sees another instance, as after a restart
  CHECK(after.higher == before.higher);
  CHECK(w.end_b.sessions().at(1).lower == after.lower);
  CHECK(w.a->manager.totals().lost_octets + w.a->manager.totals().lost_chunks > 0);

  const auto gone = w.get(*w.a, w.conn_a, stream, 0);
  CHECK(w.outcome(*w.a, gone) == status::unknown_key_stream);
  const auto anew = w.open_both();
  const auto fresh = w.key(*w.a, w.conn_a, anew, 0);
  CHECK(fresh.size() == 32);
  CHECK(fresh != key);
  CHECK(w.key(*w.b, w.conn_b, anew, 0) == fresh);
}

TEST_CASE("key_source: counts the key that no stream had as lost when its session is given up") {
  talking_sites w;
  w.end_a.allow_blocks(3);
  w.end_b.allow_blocks(3);
  w.restart_b();
  w.connect();
  w.advance();
  REQUIRE(w.is_ready());
  const auto lost = w.b->manager.totals().lost_octets;
  w.end_b.fail(status::protocol_error);
  w.advance();
  REQUIRE_FALSE(w.b->manager.link_ready(w.b->link));
  w.reconnect();
  REQUIRE(w.is_ready());
  CHECK(w.b->manager.totals().lost_octets == lost + 3 * talking_source::block_octets);
}

TEST_CASE("key_source: has only the link given up that is out of step") {
  talking_source first;
  talking_source second;
  site a{{"A", {}, {}, false, {}}, {}, seeded_random{17}};
  const time_point now{1h};
  first.allow_blocks(0);
  const auto to_b = a.manager.add_link({"ab", "B", {}}, first).value();
  const auto to_c = a.manager.add_link({"ac", "C", {}}, second).value();
  const auto greet = [&](link_id link, const char* node, const char* name) {
    a.manager.link_up(link, now);
    const auto ours = std::get<peer::hello>(a.outbox.back());
    peer::hello theirs = ours;
    theirs.node = node;
    theirs.link = name;
    theirs.instance.fill(std::byte{static_cast<unsigned char>(node[0])});
    theirs.remembers = ours.instance;
    a.manager.receive(link, theirs, now);
    const auto check = std::get<peer::start>(a.outbox.back());
    a.manager.receive(link, check, now);
    return ours;
  };
  const auto old_b = greet(to_b, "B", "ab");
  const auto old_c = greet(to_c, "C", "ac");
  CHECK(old_b.instance == old_c.instance);
  const std::string calls = second.calls();
  first.fail(status::protocol_error);
  a.manager.advance(now);
  CHECK_FALSE(a.manager.link_ready(to_b));
  CHECK(a.manager.link_ready(to_c));
  CHECK(second.calls() == calls);
  a.manager.link_down(to_c, now);
  const auto again_c = greet(to_c, "C", "ac");
  CHECK(again_c.instance == old_c.instance);
  CHECK(again_c.remembers != instance_id{});
  const auto again_b = greet(to_b, "B", "ab");
  CHECK(again_b.instance != old_b.instance);
  CHECK(again_b.remembers == instance_id{});
}

TEST_CASE("key_source: is not promising while its sessions bring no key") {
  talking_sites w;
  CHECK(w.a->manager.link_promising(w.a->link));
  w.end_a.always_fails = true;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    w.restart_b();
    w.connect();
    CHECK_FALSE(w.a->manager.link_ready(w.a->link));
    CHECK(w.a->manager.link_promising(w.a->link) == (round == 0));
  }
  w.end_a.always_fails = false;
  w.reconnect();
  CHECK(w.is_ready());
  CHECK(w.a->manager.link_promising(w.a->link));
}

TEST_CASE("key_source: ends its session with any other error, and the link stays") {
  talking_sites w;
  w.end_a.allow_blocks(0);
  w.restart_b();
  w.end_a.fail(status::no_qkd_connection);
  w.connect();
  w.advance();
  CHECK(w.is_ready());
  CHECK(any_has(w.a->notes, "the key source ended"));
}
