// SPDX-License-Identifier: Apache-2.0
#include "qkd004/push_source.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

using namespace qkd004;
using namespace std::chrono_literals;

namespace {

std::vector<std::byte> octets(std::uint64_t of) {
  std::vector<std::byte> all(32);
  for (std::size_t i = 0; i < 8; ++i) all[i] = static_cast<std::byte>(of >> (8 * i));
  all[31] = std::byte{7};
  return all;
}

key_stream_id stream_of(unsigned char n) {
  std::array<std::byte, 16> o{};
  o[0] = std::byte{n};
  return key_stream_id{o};
}

/// An end of two with the test as its device and its key manager.
struct end {
  using change = std::function<void(push_source_options&)>;

  end(push_source_options::end which, std::uint64_t first, const change& changes)
      : source{[&] {
          push_source_options o{"qkd://a@A", "qkd://b@B", which, security_class::hardware};
          o.first_index = first;
          o.bounds = {16, 8};
          o.note = [this](std::string_view text) { notes.emplace_back(text); };
          if (changes) changes(o);
          return o;
        }()} {}

  push_call call() {
    const auto c = source.next_call(now);
    REQUIRE(c);
    return *c;
  }
  void reply(unsigned code, status s = status::success, key_stream_id id = {}) {
    push_reply r{true, code, s, id, {}};
    r.quality.key_chunk_size = 32;
    source.replied(r, now);
  }
  push_source::verdict take(std::uint64_t index, std::uint64_t of, const key_stream_id& id) {
    const auto key = octets(of);
    push_key_material m;
    m.index = push_wire_index(index);
    m.key = key;
    m.has_metadata = true;
    m.stream = id;
    return source.take(m, now);
  }
  push_source::verdict take(std::uint64_t index) { return take(index, index, source.stream()); }
  std::vector<std::uint64_t> handed_on() {
    std::vector<std::uint64_t> all;
    for (;;) {
      auto b = source.poll(arena, now);
      REQUIRE(b);
      if (!b->has_value()) return all;
      CHECK((*b)->number == blocks++);
      std::uint64_t of = 0;
      std::memcpy(&of, (*b)->bytes.data(), 8);
      all.push_back(of);
    }
  }

  std::vector<std::string> notes;
  push_source source;
  secret_arena arena;
  std::uint64_t blocks = 0;
  time_point now{1000s};
};

struct two_ends {
  explicit two_ends(std::uint64_t first = 0, const end::change& changes = {})
      : a{push_source_options::end::begins, first, changes},
        b{push_source_options::end::follows, first, changes} {}

  void session(unsigned char n) {
    key_source_session s;
    s.link = "l";
    s.lower[0] = std::byte{n};
    s.higher[0] = std::byte{2};
    const auto ca = a.source.start(s, a.now);
    const auto cb = b.source.start(s, b.now);
    REQUIRE(ca);
    REQUIRE(cb);
    CHECK(*ca == *cb);
    a.blocks = b.blocks = 0;
    a.source.channel()->up();
    b.source.channel()->up();
    talk();
  }
  void talk() {
    for (bool more = true; more;) more = pass(a, b) || pass(b, a);
  }
  static bool pass(end& from, end& to) {
    std::vector<std::byte> m;
    if (!from.source.channel()->next(m)) return false;
    REQUIRE(to.source.channel()->receive(m));
    return true;
  }
  /// Both ends have the stream, armed.
  void open(const key_stream_id& id) {
    CHECK(a.call().open.stream.is_null());
    a.reply(201, status::peer_not_connected, id);
    talk();
    CHECK(b.call().open.stream == id);
    b.reply(201);
    for (end* const e : {&a, &b}) {
      CHECK(e->call().what == push_call::kind::get_key);
      e->reply(205);
    }
    talk();
  }
  void let_pass(boot_clock::duration d) {
    a.now += d;
    b.now += d;
  }

  end a;
  end b;
};

using indices = std::vector<std::uint64_t>;
using verdict = push_source::verdict;

}  // namespace

TEST_CASE("push index: the nearest one of those that travel alike") {
  constexpr std::uint64_t turn = std::uint64_t{1} << 32;
  CHECK(push_unwrap(5, 0) == 5);
  CHECK(push_unwrap(0xffff'ffff, 0) == 0xffff'ffff);  // there is nothing below 0
  CHECK(push_unwrap(0, turn - 1) == turn);
  CHECK(push_unwrap(0xffff'ffff, turn) == turn - 1);
  CHECK(push_unwrap(3, 7 * turn + 9) == 7 * turn + 3);
  CHECK(push_unwrap(0x8000'0000, turn) == turn + 0x8000'0000);
  CHECK(push_wire_index(3 * turn + 17) == 17);
}

TEST_CASE("push status: the codes of the specification") {
  CHECK(push_http_status(status::success) == 200);
  CHECK(push_http_status(status::peer_not_connected) == 200);
  for (const unsigned s : {3U, 5U, 8U}) CHECK(push_http_status(static_cast<status>(s)) == 400);
  for (const unsigned s : {2U, 4U, 6U, 7U}) CHECK(push_http_status(static_cast<status>(s)) == 500);
}

TEST_CASE("push source: one end opens the stream, the other learns its id, and both hand on the same keys") {
  two_ends w;
  CHECK_FALSE(w.a.source.next_call(w.a.now));  // not before the other end was heard: it may have a stream yet
  w.session(1);
  CHECK_FALSE(w.b.source.next_call(w.b.now));
  w.open(stream_of(9));
  CHECK(w.b.source.stream() == stream_of(9));
  for (const std::uint64_t i : {2U, 0U, 1U}) CHECK(w.a.take(i) == verdict::stored);
  w.talk();
  CHECK(w.a.handed_on().empty());  // the other end has none of them yet
  for (const std::uint64_t i : {0U, 1U, 3U}) CHECK(w.b.take(i) == verdict::stored);
  w.talk();
  CHECK(w.a.handed_on() == indices{0, 1});
  CHECK(w.b.handed_on() == indices{0, 1});
}

TEST_CASE("push source: a key that comes again is told from another one with its index") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  CHECK(w.a.take(0) == verdict::stored);
  CHECK(w.a.take(0) == verdict::repeated);
  CHECK(w.a.take(0, 77, stream_of(9)) == verdict::different);
  CHECK(w.a.take(0, 0, stream_of(8)) == verdict::unknown_stream);
  CHECK(w.b.take(0) == verdict::stored);
  w.talk();
  CHECK(w.a.handed_on() == indices{0});
  CHECK(w.a.take(0) == verdict::repeated);                    // gone, and not taken again
  CHECK(w.a.take(0, 77, stream_of(9)) == verdict::repeated);  // nothing is left to compare with
  w.talk();
  CHECK(w.a.handed_on().empty());
  const auto r = w.a.source.report();
  CHECK(r.received == 1);
  CHECK(r.repeated == 3);
  CHECK(r.different == 1);
}

TEST_CASE("push source: a key of another size is no key of the stream") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  const auto key = octets(1);
  push_key_material m;
  m.key = std::span{key}.first(31);
  CHECK(w.a.source.take(m, w.a.now) == verdict::different);
  m.key = {};
  CHECK(w.a.source.take(m, w.a.now) == verdict::different);
}

TEST_CASE("push source: what lies a window behind a key never comes, and neither end hands it on") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  for (std::uint64_t i = 0; i < 12; ++i) CHECK(w.a.take(i) == verdict::stored);
  for (const std::uint64_t i : {0U, 1U, 4U, 5U, 6U, 7U, 8U, 9U}) CHECK(w.b.take(i) == verdict::stored);
  w.talk();
  CHECK(w.a.handed_on() == indices{0, 1});  // window 8: 2 and 3 may come still
  CHECK(w.b.take(10) == verdict::stored);
  w.talk();
  CHECK(w.a.handed_on().empty());  // 3 may
  CHECK(w.b.take(11) == verdict::stored);
  w.talk();
  CHECK(w.a.handed_on() == indices{4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(w.b.handed_on() == indices{0, 1, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(w.b.source.report().given_up == 2);
  CHECK(w.a.source.report().lost_here == 2);
  CHECK(w.b.take(3) == verdict::repeated);
  CHECK(w.b.source.report().late == 0);  // below what was handed on: nobody can tell
}

TEST_CASE("push source: a gap is asked about, and left out when the device says that it is gone") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  for (const std::uint64_t i : {0U, 1U, 2U}) CHECK(w.a.take(i) == verdict::stored);
  for (const std::uint64_t i : {0U, 2U}) CHECK(w.b.take(i) == verdict::stored);
  CHECK_FALSE(w.b.source.next_call(w.b.now));
  w.let_pass(1s);
  CHECK(w.b.source.next_deadline() <= w.b.now);
  const auto c = w.b.call();
  CHECK(c.what == push_call::kind::get_key);
  CHECK(c.get.index == 1);
  w.b.reply(400, status::insufficient_key);
  w.talk();
  CHECK(w.a.handed_on() == indices{0, 2});
  CHECK(w.b.handed_on() == indices{0, 2});
}

TEST_CASE("push source: a gap that is filled while the device is asked stays filled") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  for (const std::uint64_t i : {0U, 2U}) CHECK(w.b.take(i) == verdict::stored);
  w.let_pass(1s);
  CHECK(w.b.call().get.index == 1);
  CHECK(w.b.take(1) == verdict::stored);
  w.b.reply(400, status::insufficient_key);  // it was acknowledged in the meantime
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(w.a.take(i) == verdict::stored);
  w.talk();
  CHECK(w.b.handed_on() == indices{0, 1, 2});
}

TEST_CASE("push source: the index wraps") {
  constexpr std::uint64_t first = (std::uint64_t{1} << 32) - 2;
  two_ends w{first};
  w.session(1);
  w.open(stream_of(9));
  for (std::uint64_t i = first; i < first + 5; ++i) {
    CHECK(w.a.take(i) == verdict::stored);
    CHECK(w.b.take(i) == verdict::stored);
  }
  CHECK(w.a.take(first) == verdict::repeated);
  w.talk();
  CHECK(w.a.handed_on() == indices{first, first + 1, first + 2, first + 3, first + 4});
}

TEST_CASE("push source: takes no more than it may hold, but what fills a gap") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  for (std::uint64_t i = 1; i < 8; ++i) CHECK(w.a.take(i) == verdict::stored);
  CHECK(w.a.take(0) == verdict::stored);
  for (std::uint64_t i = 9; i < 17; ++i) CHECK(w.a.take(i) == verdict::stored);
  CHECK_FALSE(w.a.source.has_room());
  CHECK(w.a.take(17) == verdict::no_room);
  CHECK(w.a.take(8) == verdict::repeated);  // was given up as 16 came
  int woken = 0;
  w.a.source.on_call([&] { woken += 1; });
  for (std::uint64_t i = 0; i < 8; ++i) CHECK(w.b.take(i) == verdict::stored);
  w.talk();
  woken = 0;
  CHECK(w.a.handed_on().size() == 8);
  CHECK(woken == 1);  // there is room again
  CHECK(w.a.take(17) == verdict::stored);
}

TEST_CASE("push source: without memory for a key there is no room, until one has left") {
  two_ends w{0, [](push_source_options& o) {
               o.bounds = {4'096, 8};
               o.memory = secret_options{std::size_t{64} << 10};  // some thousand keys
             }};
  w.session(1);
  w.open(stream_of(9));
  std::uint64_t next = 0;
  while (w.a.take(next) == verdict::stored) REQUIRE(++next < 4'096);
  CHECK(w.a.take(next) == verdict::no_room);
  CHECK_FALSE(w.a.source.has_room());
  int woken = 0;
  w.a.source.on_call([&] { woken += 1; });
  CHECK(w.a.handed_on().empty());
  CHECK_FALSE(w.a.source.has_room());
  CHECK(w.b.take(0) == verdict::stored);
  w.talk();
  woken = 0;
  CHECK(w.a.handed_on() == indices{0});
  CHECK(w.a.source.has_room());
  CHECK(woken == 1);
  CHECK(w.a.take(next) == verdict::stored);
}

TEST_CASE("push source: has no room before its device has said how large keys are") {
  two_ends w;
  w.session(1);
  CHECK(w.a.call().open.stream.is_null());
  w.a.reply(201, status::peer_not_connected, stream_of(9));
  w.talk();
  CHECK(w.b.call().open.stream == stream_of(9));
  CHECK(w.b.take(0) == verdict::no_room);
  CHECK_FALSE(w.b.source.has_room());
  w.b.reply(201);
  CHECK(w.b.source.has_room());
  CHECK(w.b.take(0) == verdict::stored);
}

TEST_CASE("push source: a device that has no key just now loses none, and is asked again ever more seldom") {
  for (const bool armed : {false, true}) {
    CAPTURE(armed);
    two_ends w;
    w.session(1);
    if (armed) {
      w.open(stream_of(9));
      w.let_pass(5s);
    } else {
      CHECK(w.a.call().open.stream.is_null());
      w.a.reply(201, status::peer_not_connected, stream_of(9));
    }
    for (const auto pause : {100ms, 200ms, 400ms}) {
      const auto c = w.a.call();
      CHECK(c.what == push_call::kind::get_key);
      CHECK(c.get.index == 0);
      w.a.reply(500, status::insufficient_key);
      CHECK(w.a.source.report().given_up == 0);
      CHECK(w.a.source.next_deadline() == w.a.now + pause);
      w.a.now += pause;
    }
  }
}

TEST_CASE(
    "push source: a device that is asked for the next key, whatever it is, and says that it is gone, is "
    "asked later") {
  two_ends w;
  w.session(1);
  CHECK(w.a.call().open.stream.is_null());
  w.a.reply(201, status::peer_not_connected, stream_of(9));
  CHECK(w.a.call().get.index == 0);
  w.a.reply(400, status::insufficient_key);
  CHECK_FALSE(w.a.call().get.index);
  w.a.reply(400, status::insufficient_key);
  CHECK_FALSE(w.a.source.next_call(w.a.now));
  CHECK(w.a.source.next_deadline() == w.a.now + 100ms);
}

TEST_CASE("push source: a stream that a device opens without a name is none") {
  two_ends w;
  w.session(1);
  for (const auto pause : {100ms, 200ms}) {
    CHECK(w.a.call().what == push_call::kind::open_connect);
    w.a.reply(201);
    CHECK(w.a.source.stream().is_null());
    CHECK_FALSE(w.a.source.next_call(w.a.now));
    CHECK(w.a.source.next_deadline() == w.a.now + pause);
    w.a.now += pause;
  }
}

TEST_CASE("push source: a device that knows the stream no more ends it at both ends, and another follows") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(w.a.take(i) == verdict::stored);
  for (std::uint64_t i = 0; i < 2; ++i) CHECK(w.b.take(i) == verdict::stored);
  w.talk();
  w.let_pass(5s);
  CHECK(w.a.call().what == push_call::kind::get_key);
  w.a.reply(400, status::get_key_peer_not_connected);
  CHECK(w.a.take(3, 3, stream_of(9)) == verdict::unknown_stream);
  w.talk();
  CHECK(w.b.take(2, 2, stream_of(9)) == verdict::unknown_stream);
  for (end* const e : {&w.a, &w.b}) {
    e->now += 1s;
    CHECK(e->call().what == push_call::kind::close);
    e->reply(204);
  }
  w.open(stream_of(10));
  for (end* const e : {&w.a, &w.b}) CHECK(e->take(0, 100, stream_of(10)) == verdict::stored);
  w.talk();
  CHECK(w.a.handed_on() == indices{0, 1, 100});
  CHECK(w.b.handed_on() == indices{0, 1, 100});
  CHECK(w.a.source.report().lost_here == 1);
}

TEST_CASE(
    "push source: a status in place of a key is the device's word, and it is asked whether it has the "
    "stream") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  push_key_material m;
  m.outcome = status::no_qkd_connection;
  const auto key = octets(0);
  m.key = key;
  CHECK(w.a.source.take(m, w.a.now) == verdict::device_speaks);
  CHECK(w.a.source.report().received == 0);
  CHECK(w.a.call().what == push_call::kind::get_key);
  CHECK(w.a.notes.back().find("status 4") != std::string::npos);
}

TEST_CASE("push source: in a new session both ends go on with the lowest key that both may still hand on") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  for (std::uint64_t i = 0; i < 6; ++i) {
    CHECK(w.a.take(i) == verdict::stored);
    CHECK(w.b.take(i) == verdict::stored);
  }
  w.talk();
  for (int i = 0; i < 3; ++i) REQUIRE(w.a.source.poll(w.a.arena, w.a.now)->has_value());
  for (int i = 0; i < 4; ++i) REQUIRE(w.b.source.poll(w.b.arena, w.b.now)->has_value());
  w.session(3);
  CHECK(w.a.handed_on() == indices{4, 5});
  CHECK(w.b.handed_on() == indices{4, 5});
  CHECK(w.a.source.report().lost_here == 1);
}

TEST_CASE("push source: an end that begins anew learns the stream from the other, whichever began it") {
  for (const bool first : {true, false}) {
    CAPTURE(first);
    two_ends w;
    w.session(1);
    w.open(stream_of(9));
    for (std::uint64_t i = 0; i < 6; ++i) {
      CHECK(w.a.take(i) == verdict::stored);
      CHECK(w.b.take(i) == verdict::stored);
    }
    w.talk();
    CHECK(w.a.handed_on().size() == 6);
    CHECK(w.b.handed_on().size() == 6);
    two_ends fresh;
    two_ends& t = w;
    end& anew = first ? fresh.a : fresh.b;
    end& old = first ? t.b : t.a;
    key_source_session s;
    s.lower[0] = std::byte{5};
    REQUIRE(old.source.start(s, old.now));
    REQUIRE(anew.source.start(s, anew.now));
    old.blocks = 0;
    old.source.channel()->up();
    anew.source.channel()->up();
    const auto talk = [&] {
      while (two_ends::pass(old, anew) || two_ends::pass(anew, old)) {}
    };
    talk();
    CHECK(anew.call().open.stream == stream_of(9));
    anew.reply(201);
    const auto c = anew.call();
    CHECK(c.get.index == 6);
    anew.reply(205);
    CHECK_FALSE(old.source.next_call(old.now));
    CHECK(anew.take(6) == verdict::stored);
    CHECK(old.take(6) == verdict::stored);
    talk();
    CHECK(anew.handed_on() == indices{6});
    CHECK(old.handed_on() == indices{6});
  }
}

TEST_CASE("push source: the first that is missing is gone at a device, and the next one is asked for") {
  two_ends w;
  w.session(1);
  CHECK(w.a.call().open.stream.is_null());
  w.a.reply(201, status::peer_not_connected, stream_of(9));
  CHECK(w.a.call().get.index == 0);
  w.a.reply(400, status::insufficient_key);
  const auto c = w.a.call();
  CHECK(c.what == push_call::kind::get_key);
  CHECK_FALSE(c.get.index);
  w.a.reply(205);
  CHECK(w.a.source.report().armed);
  CHECK(w.a.source.report().given_up == 1);
}

TEST_CASE("push source: a device that does not answer is asked again, ever more seldom") {
  two_ends w;
  w.session(1);
  auto pause = 100ms;
  for (int i = 0; i < 9; ++i) {
    CHECK(w.a.call().what == push_call::kind::open_connect);
    CHECK_FALSE(w.a.source.next_call(w.a.now));  // one at a time
    if (i % 2 == 0) {
      w.a.source.replied({}, w.a.now);
    } else {
      w.a.reply(500, status::no_qkd_connection);
    }
    CHECK_FALSE(w.a.source.next_call(w.a.now));
    CHECK(w.a.source.next_deadline() == w.a.now + pause);
    w.a.now += pause;
    pause = std::min<std::chrono::milliseconds>(pause * 2, 5s);
  }
}

TEST_CASE("push source: asks for the stream's CLOSE in the end, and for nothing after it") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  w.a.source.finish();
  const auto c = w.a.call();
  CHECK(c.what == push_call::kind::close);
  CHECK(c.close.stream == stream_of(9));
  w.a.reply(204);
  w.let_pass(100s);
  CHECK_FALSE(w.a.source.next_call(w.a.now));
}

TEST_CASE("push source: a stream that is opened while it ends is closed") {
  two_ends w;
  w.session(1);
  CHECK(w.a.call().open.stream.is_null());
  w.a.reply(201, status::peer_not_connected, stream_of(9));
  w.talk();
  CHECK(w.b.call().open.stream == stream_of(9));
  w.b.source.finish();
  CHECK_FALSE(w.b.source.next_call(w.b.now));
  w.b.reply(201);
  const auto c = w.b.call();
  CHECK(c.what == push_call::kind::close);
  CHECK(c.close.stream == stream_of(9));
  w.b.reply(204);
  CHECK_FALSE(w.b.source.next_call(w.b.now));

  two_ends v;
  v.session(1);
  CHECK(v.a.call().open.stream.is_null());
  v.a.source.finish();
  v.a.reply(201, status::peer_not_connected, stream_of(9));
  CHECK(v.a.call().close.stream == stream_of(9));
}

TEST_CASE("push standing: comes out as it went in, and nothing else is one") {
  push_standing s;
  s.generation = 3;
  s.stream = stream_of(4);
  s.first = 5;
  s.resolved = (std::uint64_t{1} << 40) + 1;
  s.heard = 77;
  s.chunk = 32;
  s.heard_ended = true;
  s.lost = {{6, 8}, {100, s.resolved}};
  std::vector<std::byte> out;
  encode(s, out);
  const auto back = decode_push_standing(out);
  REQUIRE(back);
  CHECK(*back == s);
  for (std::size_t n = 0; n < out.size(); ++n) CHECK_FALSE(decode_push_standing(std::span{out}.first(n)));
  auto longer = out;
  longer.push_back(std::byte{0});
  CHECK_FALSE(decode_push_standing(longer));
  auto other = out;
  other[0] = std::byte{2};
  CHECK_FALSE(decode_push_standing(other));
  for (const auto& bad : std::vector<std::vector<push_range>>{
           {{8, 8}}, {{9, 8}}, {{6, 9}, {8, 10}}, {{s.resolved, s.resolved + 1}}}) {
    s.lost = bad;
    encode(s, out);
    CHECK_FALSE(decode_push_standing(out));
  }
}

TEST_CASE("push source: what cannot be from the other end breaks the connection") {
  const auto said = [](push_standing s) {
    two_ends w;
    w.session(1);
    w.open(stream_of(9));
    CHECK(w.a.take(0) == verdict::stored);
    std::vector<std::byte> out;
    encode(s, out);
    return w.a.source.channel()->receive(out).has_value();
  };
  push_standing s;
  s.stream = stream_of(9);
  s.chunk = 32;
  CHECK(said(s));
  s.heard = 2;  // of what is not here
  CHECK_FALSE(said(s));
  s.heard = 0;
  s.generation = 1;  // this stream has not ended
  CHECK_FALSE(said(s));
  s.generation = 2;
  CHECK_FALSE(said(s));
}

TEST_CASE("push source: what the other end has lost is remembered up to a bound") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  push_standing s;
  s.stream = stream_of(9);
  s.chunk = 32;
  std::size_t runs = 0;
  for (bool heard = true; heard;) {
    s.lost.clear();
    for (std::size_t i = 0; i < push_standing::most_ranges; ++i, s.resolved += 2)
      s.lost.push_back({s.resolved, s.resolved + 1});
    std::vector<std::byte> out;
    encode(s, out);
    heard = w.a.source.channel()->receive(out).has_value();
    if (heard) runs += s.lost.size();
    REQUIRE(runs < 100'000);
  }
  CHECK(runs > 60'000);  // many are nothing strange
}

TEST_CASE("push source: devices whose keys differ in size are found out") {
  two_ends w;
  w.session(1);
  w.open(stream_of(9));
  push_standing s;
  s.stream = stream_of(9);
  s.chunk = 16;
  std::vector<std::byte> out;
  encode(s, out);
  CHECK(w.a.source.channel()->receive(out));
  const auto block = w.a.source.poll(w.a.arena, w.a.now);
  CHECK(block.error() == make_error_code(status::invalid_argument));
}

TEST_CASE("push source: another configuration at the other end gives another check value") {
  const auto check = [](push_source_options o) {
    push_source s{std::move(o)};
    return s.start({}, {}).value();
  };
  using end = push_source_options::end;
  const push_source_options o{"a@A", "b@B", end::begins, security_class::hardware};
  auto other = o;
  CHECK(check(o) == check(other));
  other.which = end::follows;
  CHECK(check(o) == check(other));
  other.destination = "c@B";
  CHECK_FALSE(check(o) == check(other));
  other = o;
  other.first_index = 1;
  CHECK_FALSE(check(o) == check(other));
}
