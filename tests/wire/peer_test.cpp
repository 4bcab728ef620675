// SPDX-License-Identifier: Apache-2.0
#include "wire/peer.hpp"

#include <doctest/doctest.h>

#include <random>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using test::encoded;
using test::exact;
using test::hex;
using test::octets;
using test::to_hex;

namespace {

const std::string stream_octets = "00112233445566778899aabbccddeeff";
const std::string numbers = "01020304 11121314 21222324 31323334 41424344 51525354 61626364";

/// The message of that type in test::peer_messages().
template <class Message>
Message sample() {
  for (const peer::message& m : test::peer_messages()) {
    if (const auto* found = std::get_if<Message>(&m)) return *found;
  }
  REQUIRE(false);
  return {};
}

octets encoded_peer(const peer::message& m) {
  return encoded([&](out_buffer& out) { return encode_peer(out, m); });
}

status encode_error_of(const peer::message& m) {
  out_buffer out{test::arena(), std::size_t{1} << 20};
  const auto done = encode_peer(out, m);
  CHECK(out.empty() == !done);
  return to_status(done.error());
}

/// Checks the octets of the sample of that type, and returns what they decode to.
template <class Message>
Message checked(const std::string& golden) {
  const octets frame = hex(golden);
  CHECK(to_hex(encoded_peer(sample<Message>())) == to_hex(frame));
  const auto reading = read_frame(frame);
  REQUIRE(reading.state == frame_state::complete);
  auto read = decode_peer(reading.header.service, reading.payload);
  REQUIRE(read);
  REQUIRE(read->has_value());
  REQUIRE(std::holds_alternative<Message>(**read));
  return std::get<Message>(**read);
}

status decode_error_of(service s, const std::string& payload) {
  exact input{hex(payload)};
  return to_status(decode_peer(s, input.span()).error());
}

}  // namespace

TEST_CASE("peer hello: has these octets") {
  const auto m = checked<peer::hello>(
      "020101 80 00000038"                // version, service, length 56
      "0003"                              // version
      "0001 61"                           // node "a"
      "0003 612d62"                       // link "a-b"
      "101112131415161718191a1b1c1d1e1f"  // instance
      "202122232425262728292a2b2c2d2e2f"  // remembers
      "0004 66696c65"                     // source_kind "file"
      "0102030405060708");                // position
  CHECK(m.version == 3);
  CHECK(m.node == "a");
  CHECK(m.link == "a-b");
  CHECK(m.instance == sample<peer::hello>().instance);
  CHECK(m.remembers == sample<peer::hello>().remembers);
  CHECK(m.source_kind == "file");
  CHECK(m.position == 0x0102030405060708);
}

TEST_CASE("peer start: has these octets") {
  const auto m = checked<peer::start>(
      "020101 81 00000020"
      "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f");
  CHECK(m.check == sample<peer::start>().check);
}

TEST_CASE("peer announce: has these octets") {
  const auto m = checked<peer::announce>("020101 82 00000067" +  // version, service, length 103
                                         stream_octets +
                                         "0807060504030201"                       // serial
                                         "000d 716b643a2f2f616c6963654061"        // source "qkd://alice@a"
                                         "000b 716b643a2f2f626f624062" +          // destination "qkd://bob@b"
                                         numbers +                                // QoS
                                         "0010 6170706c69636174696f6e2f6a736f6e"  // "application/json"
                                         "00000080"                               // window
                                         "01");                                   // opened, not strict once
  CHECK(m.stream == test::stream());
  CHECK(m.serial == 0x0807060504030201);
  CHECK(m.source == "qkd://alice@a");
  CHECK(m.destination == "qkd://bob@b");
  CHECK(m.quality == test::quality());
  CHECK(m.window == 128);
  CHECK(m.opened);
  CHECK_FALSE(m.strict_once);
}

TEST_CASE("peer accept: has these octets") {
  const auto m = checked<peer::accept>("020101 83 00000033" + stream_octets + numbers +
                                       "0000"      // no mimetype
                                       "00000040"  // window
                                       "02");      // strict once, not opened
  CHECK(m.stream == test::stream());
  CHECK(m.quality == test::quality(""));
  CHECK(m.window == 64);
  CHECK_FALSE(m.opened);
  CHECK(m.strict_once);
}

TEST_CASE("peer refuse: has these octets") {
  const auto m = checked<peer::refuse>("020101 84 0000001c" + stream_octets + "0807060504030201 00000005");
  CHECK(m.stream == test::stream());
  CHECK(m.serial == 0x0807060504030201);
  CHECK(m.why == status::ksid_in_use);
}

TEST_CASE("peer bind: has these octets") {
  const auto m = checked<peer::bind>("020101 85 00000034" + stream_octets +
                                     "0000000000000100"    // first
                                     "00000010"            // count
                                     "0000000000010000"    // position
                                     "0000000000000200"    // length
                                     "000000000000ffff");  // settled_below
  CHECK(m == sample<peer::bind>());
}

TEST_CASE("peer confirm: has these octets") {
  const auto m = checked<peer::confirm>("020101 86 00000009 0102030405060708 01");
  CHECK(m.position == 0x0102030405060708);
  CHECK(m.stored);
  CHECK(to_hex(encoded_peer(peer::confirm{1, false})) == "0201018600000009000000000000000100");
}

TEST_CASE("peer mark: has these octets") {
  const auto m = checked<peer::mark>("020101 87 00000019" + stream_octets + "00000000ffffffff 01");
  CHECK(m.stream == test::stream());
  CHECK(m.lowest_held == 0xffffffff);
  CHECK(m.wanted);
}

TEST_CASE("peer close: has these octets") {
  CHECK(checked<peer::close>("020101 88 00000010" + stream_octets).stream == test::stream());
}

TEST_CASE("peer closed: has these octets") {
  CHECK(checked<peer::closed>("020101 89 00000010" + stream_octets).stream == test::stream());
}

TEST_CASE("peer borrow and lend: have these octets") {
  const auto asked = checked<peer::borrow>("020101 8b 00000010 0102030405060708 1112131415161718");
  CHECK(asked.serial == 0x0102030405060708);
  CHECK(asked.total_bps == 0x1112131415161718);
  const auto lent = checked<peer::lend>("020101 8c 00000010 2122232425262728 3132333435363738");
  CHECK(lent.serial == 0x2122232425262728);
  CHECK(lent.total_bps == 0x3132333435363738);
}

TEST_CASE("peer classical: has these octets") {
  const auto m = checked<peer::classical>("020101 8d 00000007 00000003 a0a1a2");
  CHECK(m.octets == sample<peer::classical>().octets);
}

TEST_CASE("peer classical: is taken up to its bound, whatever the frames' limit is") {
  peer::classical m;
  m.octets.assign(classical_channel::largest_message, std::byte{0x5a});
  const octets frame = encoded_peer(m);
  limits small;
  small.max_frame = 4'096;
  const auto reading = read_frame(frame, small);
  REQUIRE(reading.state == frame_state::complete);
  const auto read = decode_peer(reading.header.service, reading.payload);
  REQUIRE(read);
  CHECK(std::get<peer::classical>(**read).octets == m.octets);
  CHECK(parse_header(hex("020101 8d 0000ea65"), small).state == frame_state::too_long);
  CHECK(parse_header(hex("020101 8c 00001001"), small).state == frame_state::too_long);
}

TEST_CASE("peer fault: has these octets") {
  const auto m = checked<peer::fault>("020101 8a 00000010 00000407 000a 676f696e6720646f776e");
  CHECK(m.why == status::shutting_down);
  CHECK(m.text == "going down");
}

TEST_CASE("peer fault: cuts a text that is too long") {
  const auto frame = encoded_peer(peer::fault{status::protocol_error, std::string(100'000, 'x')});
  const auto reading = read_frame(frame);
  const auto read = decode_peer(reading.header.service, reading.payload);
  REQUIRE(read);
  CHECK(std::get<peer::fault>(**read).text == std::string(peer_bounds::fault_text, 'x'));
}

TEST_CASE("peer hello: of a newer version may be longer, and only that") {
  const std::string rest =
      "0001 61 0001 62 00000000000000000000000000000000 00000000000000000000000000000000 0000 "
      "0000000000000000";
  CHECK(decode_error_of(service::peer_hello, "0001" + rest) == status::success);
  CHECK(decode_error_of(service::peer_hello, "0001" + rest + "ff") == status::protocol_error);
  CHECK(decode_error_of(service::peer_hello, "0003" + rest + "ff") == status::protocol_error);
  CHECK(decode_error_of(service::peer_hello, "0004" + rest + "ffffff") == status::success);
  CHECK(decode_error_of(service::peer_hello, "0000" + rest) == status::invalid_argument);
}

TEST_CASE("peer messages: an unknown service of the range is no error and no message") {
  for (unsigned s = 0x8e; s <= 0x9f; ++s) {
    CAPTURE(s);
    const auto read = decode_peer(static_cast<service>(s), hex("0102"));
    REQUIRE(read);
    CHECK_FALSE(read->has_value());
  }
}

TEST_CASE("peer messages: flags with an unknown bit and statuses that do not exist are protocol errors") {
  const std::string registration = numbers + "0000 00000040";
  CHECK(decode_error_of(service::peer_accept, stream_octets + registration + "03") == status::success);
  CHECK(decode_error_of(service::peer_accept, stream_octets + registration + "04") == status::protocol_error);
  CHECK(decode_error_of(service::peer_confirm, "0000000000000000 02") == status::protocol_error);
  CHECK(decode_error_of(service::peer_mark, stream_octets + "0000000000000000 80") == status::protocol_error);
  CHECK(decode_error_of(service::peer_refuse, stream_octets + "0000000000000000 00000009") ==
        status::protocol_error);
  CHECK(decode_error_of(service::peer_fault, "00000408 0000") == status::protocol_error);
}

TEST_CASE("peer messages: content that makes no sense is refused at both ends") {
  struct row {
    std::string why;
    peer::message m;
    status expected = status::invalid_argument;
  };
  std::vector<row> rows;
  const auto changed = [&rows](const char* why, auto message, auto change,
                               status expected = status::invalid_argument) {
    change(message);
    rows.push_back({why, std::move(message), expected});
  };
  const auto hello = sample<peer::hello>();
  changed("hello: version 0", hello, [](auto& m) { m.version = 0; });
  changed("hello: no node", hello, [](auto& m) { m.node = ""; });
  changed(
      "hello: node of 255", hello, [](auto& m) { m.node.assign(255, 'n'); }, status::success);
  changed("hello: node of 256", hello, [](auto& m) { m.node.assign(256, 'n'); });
  changed("hello: no link", hello, [](auto& m) { m.link = ""; });
  changed("hello: link of 256", hello, [](auto& m) { m.link.assign(256, 'n'); });
  changed("hello: source_kind of 256", hello, [](auto& m) { m.source_kind.assign(256, 'n'); });
  const auto announce = sample<peer::announce>();
  changed("announce: NULL", announce, [](auto& m) { m.stream = {}; });
  changed("announce: chunk 0", announce, [](auto& m) { m.quality.key_chunk_size = 0; });
  changed("announce: window 0", announce, [](auto& m) { m.window = 0; });
  changed(
      "announce: the largest window", announce, [](auto& m) { m.window = peer_bounds::window; },
      status::success);
  changed("announce: window too large", announce, [](auto& m) { m.window = peer_bounds::window + 1; });
  changed(
      "announce: source of 2000", announce, [](auto& m) { m.source.assign(2000, 's'); }, status::success);
  changed("announce: source of 2001", announce, [](auto& m) { m.source.assign(2001, 's'); });
  changed("announce: destination of 2001", announce, [](auto& m) { m.destination.assign(2001, 's'); });
  changed("announce: mimetype of 256", announce,
          [](auto& m) { m.quality.metadata_mimetype.assign(256, 'm'); });
  const auto accept = sample<peer::accept>();
  changed("accept: NULL", accept, [](auto& m) { m.stream = {}; });
  changed("accept: chunk 0", accept, [](auto& m) { m.quality.key_chunk_size = 0; });
  changed("accept: window 0", accept, [](auto& m) { m.window = 0; });
  changed("refuse: NULL", sample<peer::refuse>(), [](auto& m) { m.stream = {}; });
  changed("refuse: status 0", sample<peer::refuse>(), [](auto& m) { m.why = status::success; });
  const auto bind = sample<peer::bind>();
  changed("bind: NULL", bind, [](auto& m) { m.stream = {}; });
  changed("bind: count 0", bind, [](auto& m) { m.count = 0; });
  changed("bind: count too large", bind, [](auto& m) {
    m.count = peer_bounds::window + 1;
    m.length = m.count;
  });
  changed(
      "bind: the last index", bind, [](auto& m) { m.first = last_index - 15; }, status::success);
  changed("bind: past the last index", bind, [](auto& m) { m.first = last_index - 14; });
  changed("bind: far past the last index", bind, [](auto& m) { m.first = ~std::uint64_t{0}; });
  changed("bind: length 0", bind, [](auto& m) { m.length = 0; });
  changed("bind: length not count x chunk", bind, [](auto& m) { m.length += 1; });
  changed("bind: chunks over 32 bits", bind, [](auto& m) { m.length = std::uint64_t{16} << 32; });
  changed("bind: past the end of 64 bits", bind, [](auto& m) { m.position = ~std::uint64_t{0} - 511; });
  changed(
      "bind: up to the end of 64 bits", bind, [](auto& m) { m.position = ~std::uint64_t{0} - 512; },
      status::success);
  changed(
      "bind: settled up to itself", bind, [](auto& m) { m.settled_below = m.position; }, status::success);
  changed("bind: settled past itself", bind, [](auto& m) { m.settled_below = m.position + 1; });
  changed("mark: NULL", sample<peer::mark>(), [](auto& m) { m.stream = {}; });
  changed("mark: past the end", sample<peer::mark>(), [](auto& m) { m.lowest_held = last_index + 2; });
  changed("close: NULL", sample<peer::close>(), [](auto& m) { m.stream = {}; });
  changed("closed: NULL", sample<peer::closed>(), [](auto& m) { m.stream = {}; });
  changed("fault: status 0", sample<peer::fault>(), [](auto& m) { m.why = status::success; });
  changed(
      "classical: nothing", sample<peer::classical>(), [](auto& m) { m.octets.clear(); }, status::success);
  changed("classical: too long", sample<peer::classical>(),
          [](auto& m) { m.octets.resize(classical_channel::largest_message + 1); });
  for (const auto& r : rows) {
    CAPTURE(r.why);
    CHECK(encode_error_of(r.m) == r.expected);
  }

  // The encoder refuses these, so a peer's octets are made by hand.
  const std::string null(32, '0');
  const std::string chunk_0 = "00000000" + numbers.substr(8);
  const std::string bind_head = stream_octets + "0000000000000100";
  struct {
    std::string why;
    service s;
    std::string payload;
  } const octet_rows[] = {
      {"announce: chunk 0", service::peer_announce,
       stream_octets + "0000000000000000 0000 0000" + chunk_0 + "0000 00000040 00"},
      {"announce: window 0", service::peer_announce,
       stream_octets + "0000000000000000 0000 0000" + numbers + "0000 00000000 00"},
      {"accept: window ffffffff", service::peer_accept, stream_octets + numbers + "0000 ffffffff 00"},
      {"refuse: status 0", service::peer_refuse, stream_octets + "0000000000000000 00000000"},
      {"bind: count 0", service::peer_bind,
       bind_head + "00000000 0000000000000000 0000000000000200 0000000000000000"},
      {"bind: count ffffffff", service::peer_bind,
       bind_head + "ffffffff 0000000000000000 00000000ffffffff 0000000000000000"},
      {"bind: length 0", service::peer_bind,
       bind_head + "00000010 0000000000000000 0000000000000000 0000000000000000"},
      {"bind: end past 64 bits", service::peer_bind,
       bind_head + "00000010 fffffffffffffff0 0000000000000200 0000000000000000"},
      {"mark: past the end", service::peer_mark, stream_octets + "0000000100000000 00"},
      {"close: NULL", service::peer_close, null},
      {"closed: NULL", service::peer_closed, null},
      {"classical: too long", service::peer_classical, "0000ea61" + std::string(2 * 60'001, '0')},
      {"fault: status 0", service::peer_fault, "00000000 0000"},
  };
  for (const auto& r : octet_rows) {
    CAPTURE(r.why);
    CHECK(decode_error_of(r.s, r.payload) == status::invalid_argument);
  }
}

TEST_CASE("peer messages: are not encoded when the buffer is full") {
  for (const peer::message& m : test::peer_messages()) {
    out_buffer out{test::arena(), 10};
    CHECK(encode_peer(out, m).error() == status::resource_limit);
    CHECK(out.empty());
  }
}

TEST_CASE("peer messages: come back as they were sent when they are random") {
  const std::uint64_t seed = test::seed();
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  const auto text = [&random](std::size_t least, std::size_t most) {
    std::string t(least + random() % (most - least + 1), ' ');
    for (char& c : t) c = static_cast<char>(random() & 0xff);
    return t;
  };
  for (int round = 0; round < 2'000; ++round) {
    CAPTURE(round);
    peer::announce announce = sample<peer::announce>();
    announce.source = text(0, 2000);
    announce.destination = text(0, 2000);
    announce.quality.metadata_mimetype = text(0, 255);
    announce.window = 1 + static_cast<std::uint32_t>(random() % peer_bounds::window);
    announce.opened = random() % 2 != 0;
    announce.strict_once = random() % 2 != 0;
    const octets frame = encoded_peer(announce);
    const auto reading = read_frame(frame);
    REQUIRE(reading.state == frame_state::complete);
    const auto read = decode_peer(reading.header.service, reading.payload);
    REQUIRE(read);
    const auto& m = std::get<peer::announce>(**read);
    REQUIRE(m.source == announce.source);
    REQUIRE(m.destination == announce.destination);
    REQUIRE(m.quality == announce.quality);
    REQUIRE(m.window == announce.window);
    REQUIRE(m.opened == announce.opened);
    REQUIRE(m.strict_once == announce.strict_once);

    peer::bind bind = sample<peer::bind>();
    bind.count = 1 + static_cast<std::uint32_t>(random() % 1000);
    bind.first = random() % (last_index - 1000);
    bind.length = std::uint64_t{bind.count} * (1 + random() % 65'536);
    bind.position = random() >> 1;
    bind.settled_below = random() % (bind.position + 1);
    const octets bind_frame = encoded_peer(bind);
    const auto bind_reading = read_frame(bind_frame);
    REQUIRE(bind_reading.state == frame_state::complete);
    const auto bind_read = decode_peer(bind_reading.header.service, bind_reading.payload);
    REQUIRE(bind_read);
    REQUIRE(std::get<peer::bind>(**bind_read) == bind);
  }
}
