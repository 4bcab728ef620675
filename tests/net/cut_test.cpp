// Connections that break at every point of an exchange of keys: what the same caller gets afterwards, and others.
// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <set>

#include "net/certificates.hpp"
#include "net/proxy.hpp"
#include "qkd004/client.hpp"
#include "wire/extension.hpp"
#include "wire/forge.hpp"

using namespace test;

namespace {

namespace extension = wire::extension;
using key_octets = std::vector<std::byte>;

template <class Encode, class Message>
octets encoded(Encode encode, const Message& message) {
  wire::out_buffer out{secret_arena{some_memory()}, 4096};
  REQUIRE(encode(out, message));
  octets o;
  for (const std::byte b : std::as_const(out).pending()) o.push_back(std::to_integer<std::uint8_t>(b));
  return o;
}

const octets hello = frame_of(0x40, octets{0, 2} + zeros(4 + 8 + 2));

/// What an application may ask about a stream, as frames.
octets get_key_frame(const key_stream_id& id, std::uint32_t index) {
  return frame_of(0x04, id_octets(id) + u32(index) + u32(0));
}
octets get_keys_frame(const key_stream_id& id, std::uint64_t epoch, std::uint64_t first,
                      std::uint16_t count = 1) {
  get_keys_request r;
  r.stream = id;
  r.epoch = epoch;
  r.first = first;
  r.count = count;
  return encoded(extension::encode_get_keys_request, r);
}
octets subscribe_frame(const key_stream_id& id, std::uint64_t epoch, std::uint64_t first,
                       std::uint32_t credit) {
  return encoded(extension::encode_subscribe_request, subscribe_request{id, epoch, first, credit});
}
octets acknowledge_frame(const key_stream_id& id, std::uint64_t epoch, std::uint64_t below) {
  return encoded(extension::encode_acknowledge_request, acknowledge_request{id, epoch, below});
}

std::span<const std::byte> payload_of(const octets& frame) {
  REQUIRE(frame.size() >= 8);
  return std::as_bytes(std::span{frame}).subspan(8);
}

/// What an answer with keys says, whichever of the three it is.
struct said {
  status outcome = status::success;
  std::uint64_t first = 0;
  std::vector<key_octets> keys;
};
said read_answer(const octets& frame) {
  const auto payload = payload_of(frame);
  said s;
  const auto of_run = [&](const extension::get_keys_reply& r) {
    s.outcome = r.outcome;
    s.first = r.first;
    for (std::size_t i = 0; i < r.count; ++i) s.keys.emplace_back(r.key(i).begin(), r.key(i).end());
  };
  switch (frame[3]) {
    case 0x05: {
      const auto r = wire::forge::decode_get_key_response(payload);
      REQUIRE(r);
      s.outcome = r->response.outcome;
      s.first = r->response.index;
      if (!r->response.key.empty()) s.keys.emplace_back(r->response.key.begin(), r->response.key.end());
      break;
    }
    case 0x47: {
      const auto r = extension::decode_get_keys_response(payload);
      REQUIRE(r);
      of_run(*r);
      break;
    }
    case 0x4b: {
      const auto r = extension::decode_delivery(payload);
      REQUIRE(r);
      of_run(r->reply);
      break;
    }
    default: FAIL("an answer of another kind: " << int{frame[3]});
  }
  return s;
}

/// Two sites that applications reach over TLS only, so that each is somebody.
struct tls_sites {
  tls_sites() {
    auto sources = make_memory_sources();
    const auto options_of = [&](const std::string& node) {
      auto o = site_options_of(node);
      o.listen = {"qkd004s://127.0.0.1:0"};
      o.tls = ca.site(node);
      o.access = {{"*"}};  // whoever has a certificate: principals are told apart by what they opened
      return o;
    };
    auto of_b = options_of("b");
    of_b.peers.push_back(peer_of("a", "qkd004s:", std::move(sources.second)));
    b.emplace(std::move(of_b));
    auto of_a = options_of("a");
    of_a.peers.push_back(peer_of("b", b->address(), std::move(sources.first)));
    a.emplace(std::move(of_a));
    at_a = connect_as(*a, alice);
    at_b = connect_as(*b, bob);
  }
  static std::shared_ptr<exchange> connect_as(const running_site& at, const net::tls_options& who) {
    net::connect_options o;
    o.tls = who;
    return connect_to(at.address(), o);
  }
  open_connect_response open(bool strict = false) {
    call c;
    open_connect_request r{"qkd://alice@a", "qkd://bob@b"};
    r.strict_once = strict;
    c.request = r;
    ask(*at_a, c);
    REQUIRE_MESSAGE(!c.error, c.error.message());
    const auto opened = std::get<open_connect_response>(c.response);
    r.stream = opened.stream;
    c.rearm();
    c.request = r;
    ask(*at_b, c);
    REQUIRE_MESSAGE(!c.error, c.error.message());
    REQUIRE(std::get<open_connect_response>(c.response).outcome == status::success);
    return opened;
  }

  temporary_folder folder;
  authority ca{folder};
  net::tls_options alice = ca.application("qkd://alice@a");
  net::tls_options mallory = ca.application("qkd://mallory@a");
  net::tls_options bob = ca.application("qkd://bob@b");
  std::optional<running_site> b;
  std::optional<running_site> a;
  std::shared_ptr<exchange> at_a;
  std::shared_ptr<exchange> at_b;
};

std::uint64_t delivered(running_site& at) {
  return at.on_manager([](key_manager& m) { return m.totals().delivered; });
}

/// R7, on both sides of a stream.
void check_sums(running_site& at, const key_stream_id& id) {
  const auto t = at.on_manager([&](key_manager& m) { return m.stream_balance(id).value(); });
  REQUIRE(t.bound == t.acknowledged + t.expired + t.discarded + t.live);
  REQUIRE(t.expired == 0);
}

/// Where a connection breaks.
enum class moment { before_the_request, in_the_request, before_the_reply, in_the_reply, after_the_reply };
constexpr moment moments[]{moment::before_the_request, moment::in_the_request, moment::before_the_reply,
                           moment::in_the_reply, moment::after_the_reply};
bool is_served(moment m) { return m >= moment::before_the_reply; }

/// Sends a request whose answer has one key as that caller, and breaks the connection, with a reset, at that moment.
void ask_and_break(running_site& at, const net::tls_options& who, const octets& request, moment when) {
  raw_tls line{at.address(), {&who}};
  REQUIRE(line.is_connected());
  REQUIRE(line.exchange(hello).size() > 8);
  const std::uint64_t before = delivered(at);
  if (when == moment::in_the_request) {
    line.send(octets{request.begin(), request.begin() + static_cast<std::ptrdiff_t>(request.size() / 2)});
  }
  if (is_served(when)) {
    line.send(request);
    for (const auto end = boot_clock::now() + patience; delivered(at) == before;) {
      REQUIRE(boot_clock::now() < end);
    }
  }
  if (when == moment::in_the_reply) {
    octets part(20);
    std::size_t got = 0;
    REQUIRE(SSL_read_ex(line.ssl(), part.data(), part.size(), &got) == 1);
  }
  if (when == moment::after_the_reply) REQUIRE(line.read());
  const linger reset{1, 0};
  ::setsockopt(line.descriptor(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

/// A caller who has said HELLO.
raw_tls greeted(running_site& at, const net::tls_options& who) {
  raw_tls line{at.address(), {&who}};
  REQUIRE(line.is_connected());
  REQUIRE(line.exchange(hello).size() > 8);
  return line;
}

enum class method { get_key, get_keys, subscribe };

octets request_for(method how, const open_connect_response& s, std::uint64_t index) {
  if (how == method::get_key) return get_key_frame(s.stream, static_cast<std::uint32_t>(index));
  if (how == method::get_keys) return get_keys_frame(s.stream, s.epoch, index);
  return subscribe_frame(s.stream, s.epoch, index, 1);
}

}  // namespace

TEST_CASE("cut: the same caller gets the same key again wherever the connection broke") {  // R3, R4, R5, R7
  tls_sites sites;
  for (const method how : {method::get_key, method::get_keys, method::subscribe}) {
    const auto opened = sites.open();
    for (std::uint64_t index = 0; index < std::size(moments); ++index) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(index);
      const octets request = request_for(how, opened, index);
      ask_and_break(*sites.a, sites.alice, request, moments[index]);
      check_sums(*sites.a, opened.stream);

      const key_octets there = get_key(*sites.at_b, opened.stream, index);
      raw_tls again = greeted(*sites.a, sites.alice);
      const said once_more = read_answer(again.exchange(request));
      CHECK(once_more.outcome == status::success);
      CHECK(once_more.first == index);
      REQUIRE(once_more.keys.size() == 1);
      CHECK(once_more.keys[0] == there);
      // and by every other call
      CHECK(read_answer(again.exchange(request_for(method::get_key, opened, index))).keys == once_more.keys);
      CHECK(read_answer(again.exchange(request_for(method::get_keys, opened, index))).keys == once_more.keys);
      check_sums(*sites.a, opened.stream);

      const octets acknowledged = again.exchange(acknowledge_frame(opened.stream, opened.epoch, index + 1));
      CHECK(acknowledged == frame_of(0x49, u32(0)));
      CHECK(read_answer(again.exchange(request_for(method::get_key, opened, index))).outcome ==
            status::index_not_available);
      CHECK(read_answer(again.exchange(request_for(method::get_keys, opened, index))).outcome ==
            status::index_not_available);
      const auto t = sites.a->on_manager([&](key_manager& m) { return *m.stream_balance(opened.stream); });
      CHECK(t.acknowledged == index + 1);
      CHECK(t.bound == t.acknowledged + t.live);
      check_sums(*sites.b, opened.stream);  // R6: nothing of it happened there
      CHECK(get_key(*sites.at_b, opened.stream, index) == there);
    }
    const raw_tls::manner as_alice{&sites.alice};
    raw_tls plain{sites.a->address(), as_alice};  // says no HELLO: the standard's statuses
    CHECK(read_answer(plain.exchange(get_key_frame(opened.stream, 0))).outcome == status::insufficient_key);
  }
}

TEST_CASE("cut: another caller learns no more of a stream than of one that does not exist") {  // R3
  tls_sites sites;
  const auto opened = sites.open();
  const auto unknown = *key_stream_id::parse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee");
  ask_and_break(*sites.a, sites.alice, get_key_frame(opened.stream, 0), moment::before_the_reply);
  const auto before = sites.a->on_manager([&](key_manager& m) { return *m.stream_balance(opened.stream); });

  const auto ask_about = [](const key_stream_id& id) {
    return std::vector<octets>{get_key_frame(id, 0),
                               get_keys_frame(id, 1, 0),
                               acknowledge_frame(id, 1, 1),
                               subscribe_frame(id, 1, 0, 1),
                               encoded(extension::encode_wait_peer_request, wait_peer_request{id, 10}),
                               encoded(extension::encode_report_request, report_request{id}),
                               frame_of(0x08, id_octets(id))};
  };
  const auto of_it = ask_about(opened.stream);
  const auto of_none = ask_about(unknown);
  const octets id = id_octets(opened.stream);
  for (const bool says_hello : {true, false}) {
    raw_tls mallory{sites.a->address(), {&sites.mallory}};
    if (says_hello) REQUIRE(mallory.exchange(hello).size() > 8);
    for (std::size_t i = 0; i < of_it.size(); ++i) {
      if (!says_hello && i != 0 && i + 1 != of_it.size()) continue;
      CAPTURE(i);
      octets answer = mallory.exchange(of_it[i]);
      const octets expected = mallory.exchange(of_none[i]);
      REQUIRE(expected.size() > 8);
      // a delivery names the stream that was asked for
      const auto at = std::search(answer.begin(), answer.end(), id.begin(), id.end());
      if (at != answer.end()) {
        const octets other = id_octets(unknown);
        std::copy(other.begin(), other.end(), at);
      }
      CHECK(answer == expected);
    }
  }
  const auto after = sites.a->on_manager([&](key_manager& m) { return *m.stream_balance(opened.stream); });
  CHECK(after.live >= before.live);  // more may have come
  CHECK(after.acknowledged == 0);
  raw_tls alice = greeted(*sites.a, sites.alice);
  CHECK(read_answer(alice.exchange(get_key_frame(opened.stream, 0))).keys ==
        std::vector<key_octets>{get_key(*sites.at_b, opened.stream, 0)});
}

TEST_CASE("cut: a reader that resumed its stream fences off the connection that hangs") {  // R3
  tls_sites sites;
  const auto opened = sites.open();
  raw_tls hangs = greeted(*sites.a, sites.alice);
  const auto first = read_answer(hangs.exchange(get_keys_frame(opened.stream, 1, 0)));
  REQUIRE(first.keys.size() == 1);
  const auto again = tls_sites::connect_as(*sites.a, sites.alice);
  call c;
  c.request = open_connect_request{"qkd://alice@a", "qkd://bob@b", {}, opened.stream};
  ask(*again, c);
  const auto resumed = std::get<open_connect_response>(c.response);
  REQUIRE(resumed.epoch == 2);
  CHECK(resumed.lowest_live_index == 1);
  CHECK(read_answer(hangs.exchange(get_keys_frame(opened.stream, 1, 0))).outcome == status::not_authorized);
  CHECK(read_answer(hangs.exchange(get_key_frame(opened.stream, 0))).outcome == status::not_authorized);
  CHECK(hangs.exchange(acknowledge_frame(opened.stream, 1, 1)) == frame_of(0x49, u32(1026)));
  raw_tls fresh = greeted(*sites.a, sites.alice);
  CHECK(read_answer(fresh.exchange(get_keys_frame(opened.stream, 2, 0))).keys == first.keys);
}

TEST_CASE("cut: a lost reply burns one key of a strict-once stream and is counted") {  // R8
  tls_sites sites;
  for (const method how : {method::get_key, method::get_keys, method::subscribe}) {
    const auto opened = sites.open(true);
    for (std::uint64_t index = 0; index < std::size(moments); ++index) {
      CAPTURE(static_cast<int>(how));
      CAPTURE(index);
      const auto burned = [&] {
        return sites.a->on_manager([](key_manager& m) { return m.totals().burned_chunks; });
      };
      const std::uint64_t before = burned();
      ask_and_break(*sites.a, sites.alice, request_for(how, opened, index), moments[index]);
      CHECK(burned() == before);
      raw_tls again = greeted(*sites.a, sites.alice);
      const key_octets there = get_key(*sites.at_b, opened.stream, index);  // R6
      const auto r = read_answer(again.exchange(get_keys_frame(opened.stream, opened.epoch, index)));
      if (is_served(moments[index])) {
        CHECK(r.outcome == status::index_not_available);
        CHECK(r.first == index + 1);
        CHECK(burned() == before + 1);
        CHECK(read_answer(again.exchange(get_key_frame(opened.stream, static_cast<std::uint32_t>(index))))
                  .outcome == status::index_not_available);
        CHECK(burned() == before + 1);
      } else {
        CHECK(r.keys == std::vector<key_octets>{there});
        CHECK(burned() == before);
      }
      check_sums(*sites.a, opened.stream);
    }
  }
}

TEST_CASE("cut: gives our client every key once whichever octet the connection breaks before") {  // D13
  two_sites sites;
  proxy between;
  between.lead_to(sites.a->address());
  client alice{connect_to(between.address()), secret_arena{some_memory()}};
  auto opened = alice.open_connect({"qkd://app@a", "qkd://app@b"});
  REQUIRE(opened);
  const auto at_b = connect_to(sites.b->address());
  REQUIRE(open_connect(*at_b, opened->id()).outcome == status::success);
  std::set<key_octets> seen;
  std::uint64_t index = 0;
  int cuts = 0;
  for (const auto way : {proxy::way::to_target, proxy::way::from_target}) {
    for (std::size_t octet = 0; octet < 90; ++octet) {
      CAPTURE(octet);
      between.cut_after(way, octet);
      for (int more = 0; more < 2; ++more, ++index) {
        auto got = opened->next_key();
        for (int attempt = 0; !got && attempt < 3; ++attempt) got = opened->next_key();
        REQUIRE_MESSAGE(got, got.error().message());
        REQUIRE(got->index == index);
        const key_octets here{got->key.span().begin(), got->key.span().end()};
        REQUIRE(here == get_key(*at_b, opened->id(), index));
        REQUIRE(seen.insert(here).second);
      }
      cuts += between.has_cut() ? 1 : 0;
      between.stop_counting();
    }
  }
  CHECK(cuts > 90);
  CHECK(sites.a->on_manager([](key_manager& m) { return m.totals().lost_chunks; }) == 0);
}

TEST_CASE("cut: loses and repeats no key when the connection between sites breaks before any octet") {
  proxy between;
  auto sources = make_memory_sources();
  auto of_b = site_options_of("b");
  of_b.manager.limits.ring_chunks = 8;
  of_b.peers.push_back(peer_of("a", "", std::move(sources.second)));
  running_site b{std::move(of_b)};
  between.lead_to(b.address());
  auto of_a = site_options_of("a");
  of_a.manager.limits.ring_chunks = 8;
  of_a.peers.push_back(peer_of("b", between.address(), std::move(sources.first)));
  running_site a{std::move(of_a)};
  const auto at_a = connect_to(a.address());
  const auto at_b = connect_to(b.address());
  const auto id = open_connect(*at_a).stream;
  open_connect(*at_b, id);
  std::set<key_octets> seen;
  std::uint64_t index = 0;
  std::size_t cuts = 0;
  for (const auto way : {proxy::way::to_target, proxy::way::from_target}) {
    for (std::size_t octet = 0; octet < 130; octet += 13) {
      between.cut_after(way, octet);
      for (int more = 0; more < 40; ++more, ++index) {
        const key_octets here = get_key(*at_a, id, index);
        REQUIRE(get_key(*at_b, id, index) == here);
        REQUIRE(seen.insert(here).second);
      }
      cuts += between.has_cut() ? 1U : 0U;
    }
  }
  CHECK(cuts >= 19);
  check_sums(a, id);
  check_sums(b, id);
  CHECK(a.on_manager([](key_manager& m) { return m.totals().lost_chunks; }) == 0);
  CHECK(b.on_manager([](key_manager& m) { return m.totals().lost_chunks; }) == 0);
}
