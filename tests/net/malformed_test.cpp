// SPDX-License-Identifier: Apache-2.0
#include "net/sites.hpp"

using namespace test;

namespace {

const octets empty_hello{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

octets open_connect_body() {
  return text0("qkd://app@a") + text0("qkd://app@b") + zeros(28) + text0("") + zeros(16);
}

octets without_last(octets o) {
  o.pop_back();
  return o;
}

/// What a client sends that no connection survives, and how many answers come before the error frame.
struct sample {
  const char* what;
  octets sent;
  std::uint32_t code = 1028;
  int answers = 0;
};

std::vector<sample> samples() {
  return {
      {"an unknown version", frame_of(0x08, zeros(16), {3, 0, 0})},
      {"nearly the QUBIP version", frame_of(0x08, zeros(16), {1, 0, 2})},
      {"no frame at all", octets{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P', '/', '1', '.', '1'}},
      {"an unknown service", frame_of(0x33)},
      {"an unknown service of our extension", frame_of(0x4c, zeros(16))},
      {"stop server", frame_of(0xff), 1026},
      {"a length over the limit", octets{2, 1, 1, 0x04, 0, 1, 0, 1}},
      {"a length of 4 GiB", octets{2, 1, 1, 0x04, 0xff, 0xff, 0xff, 0xff}},
      {"a length over the limit behind a good request",
       frame_of(0x08, zeros(16)) + octets{2, 1, 1, 8, 9, 0, 0, 0}, 1028, 1},
      {"OPEN_CONNECT without a body", frame_of(0x02)},
      {"OPEN_CONNECT without its last octet", frame_of(0x02, without_last(open_connect_body()))},
      {"OPEN_CONNECT with an octet too many", frame_of(0x02, open_connect_body() + zeros(1))},
      {"OPEN_CONNECT without a NUL", frame_of(0x02, octets(300, 'x'))},
      {"GET_KEY without its last octet", frame_of(0x04, zeros(23))},
      {"GET_KEY with an octet too many", frame_of(0x04, zeros(25))},
      {"GET_KEY with metadata past the payload", frame_of(0x04, zeros(20) + u32(100) + zeros(99))},
      {"GET_KEY with metadata of 4 GiB", frame_of(0x04, zeros(20) + u32(0xffffffff))},
      {"CLOSE without its last octet", frame_of(0x08, zeros(15))},
      {"CLOSE with an octet too many", frame_of(0x08, zeros(17))},
      {"a response", frame_of(0x09, zeros(4))},
      {"an error frame", frame_of(0x00, u32(4) + zeros(2))},
      {"HELLO without a body", frame_of(0x40)},
      {"HELLO twice", frame_of(0x40, empty_hello) + frame_of(0x40, empty_hello), 1028, 1},
      {"garbage behind HELLO", frame_of(0x40, empty_hello) + octets{9, 9, 9, 9, 9, 9, 9, 9, 9}, 1028, 1},
      {"OPEN_CONNECT2 before HELLO", frame_of(0x42, open_connect_body() + zeros(4))},
      {"a message between key managers", frame_of(0x81, zeros(32)), 1026},
      {"a message between key managers behind a request",
       frame_of(0x08, zeros(16)) + hello_of_peer("b", "link"), 1026, 1},
      {"hello of a peer that nobody knows", hello_of_peer("z", "link"), 1026},
      {"hello of a peer for another link", hello_of_peer("b", "other"), 1026},
      {"hello of a peer that should not dial", hello_of_peer("b", "link"), 1026},
      {"hello of a peer, malformed", frame_of(0x80, zeros(5))},
      {"an unknown message between key managers", frame_of(0x8b), 1026},
  };
}

}  // namespace

TEST_CASE("malformed: gets one error frame and the end of the connection, and nobody else notices") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto stream = open_connect(*at_a).stream;
  std::uint64_t index = 0;
  const auto all = samples();
  for (const sample& s : all) {
    CAPTURE(std::string{s.what});
    raw_socket client{sites.a->address()};
    client.send(s.sent);
    for (int i = 0; i < s.answers; ++i) {
      const auto answer = client.read();
      REQUIRE(answer);
      REQUIRE(answer->service != 0x00);
    }
    const auto error = client.read();
    REQUIRE(error);
    CHECK(error->service == 0x00);
    REQUIRE(error->payload.size() >= 6);
    CHECK(error->u32(0) == s.code);
    CHECK(client.is_closed_by_peer());
    CHECK(get_key(*at_a, stream, index++).size() == 32);
  }
  CHECK(sites.a->log.has("refused remote=qkd004://127.0.0.1:", std::min(all.size(), limits{}.max_log_lines)));
}

TEST_CASE(
    "malformed: sees the error frame and an orderly end when it has sent much more behind the bad frame") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  client.send(frame_of(0x33) + zeros(300'000));
  const auto error = client.read();
  REQUIRE(error);
  CHECK(error->service == 0x00);
  CHECK(client.is_closed_by_peer());
  CHECK(client.was_closed_in_order());
}

TEST_CASE("malformed: loses the answers that still wait when a request behind them is malformed") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto id = id_octets(open_connect(*at_a).stream);
  raw_socket client{sites.a->address()};
  client.send(frame_of(0x04, id + u32(1000) + u32(0)) + frame_of(0x33));
  const auto error = client.read();
  REQUIRE(error);
  CHECK(error->service == 0x00);
  CHECK(client.is_closed_by_peer());
  CHECK(sites.a->on_manager([](key_manager& m) { return m.totals().waiting; }) == 0);
}

TEST_CASE("malformed: goes on after a request whose content is refused") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  client.send(frame_of(0x02, text0("no-uri") + text0("qkd://app@b") + zeros(28) + text0("") + zeros(16)) +
              frame_of(0x02, text0("") + text0("") + zeros(28) + text0("") + zeros(16)) +
              frame_of(0x02, text0("qkd://" + std::string(5000, 'x')) + text0("b:b") + zeros(28) + text0("") +
                                 zeros(16)) +
              frame_of(0x04, zeros(20) + u32(2) + octets{1, 0}) +  // key_type other than 0
              frame_of(0x02, open_connect_body()));
  for (int i = 0; i < 3; ++i) {
    const auto refused = client.read();
    REQUIRE(refused);
    CHECK(refused->service == 0x03);
    CHECK(refused->u32(0) == 4);  // 1025 on a plain wire
  }
  const auto no_key = client.read();
  REQUIRE(no_key);
  CHECK(no_key->service == 0x05);
  CHECK(no_key->u32(0) == 4);
  const auto opened = client.read();
  REQUIRE(opened);
  CHECK(opened->service == 0x03);
  CHECK(opened->u32(0) == 1);
}

TEST_CASE("malformed: leaves the site alive when clients hang up in the middle of everything") {
  two_sites sites;
  const auto at_a = connect_to(sites.a->address());
  const auto stream = open_connect(*at_a).stream;
  const octets all = frame_of(0x40, empty_hello) + frame_of(0x04, id_octets(stream) + u32(500) + u32(0)) +
                     frame_of(0x42, open_connect_body() + zeros(4)) + frame_of(0x08, id_octets(stream));
  for (std::size_t length = 1; length < all.size(); length += 3) {
    raw_socket client{sites.a->address()};
    client.send(std::span{all}.first(length));
    client.close();
  }
  raw_socket last{sites.a->address()};
  last.send(frame_of(0x40, empty_hello));
  CHECK(last.read().has_value());
}
