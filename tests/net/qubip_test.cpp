// SPDX-License-Identifier: Apache-2.0
#include "net/sites.hpp"

using namespace test;

namespace {

constexpr std::size_t opened_size = 4 + 28 + 256 + 16;
const std::array<std::uint8_t, 3> forge{2, 1, 1};
const std::array<std::uint8_t, 3> qubip{1, 0, 1};

octets qubip_frame(std::uint8_t service, const octets& payload = {}) {
  return frame_of(service, payload, {1, 0, 1});
}

octets padded(std::string_view text) {
  octets o{text.begin(), text.end()};
  o.resize(256);
  return o;
}

octets open_request(const octets& id = zeros(16), std::uint32_t key_chunk_size = 0,
                    std::string_view mimetype = "", std::string_view destination = "qkd://app@b") {
  return qubip_frame(0x02, text0("qkd://app@a") + text0(destination) + u32(key_chunk_size) + zeros(24) +
                               padded(mimetype) + id);
}

octets get_request(const octets& id, std::uint32_t index, std::uint32_t metadata_size = 0) {
  return qubip_frame(0x04, id + u32(index) + u32(metadata_size));
}

octets close_request_of(const octets& id) { return qubip_frame(0x08, id); }

/// The payload of the reply, which is the one that is expected.
octets ask(raw_socket& client, const octets& request, std::uint8_t service) {
  client.send(request);
  const auto reply = client.read();
  REQUIRE(reply);
  CHECK(reply->version == qubip);
  REQUIRE(reply->service == service);
  return reply->payload;
}

octets part(const octets& from, std::size_t at, std::size_t size) {
  REQUIRE(from.size() >= at + size);
  const auto begin = from.begin() + static_cast<std::ptrdiff_t>(at);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

/// Opens, and returns the KSID.
octets open_stream(raw_socket& client, const octets& request) {
  const octets opened = ask(client, request, 0x03);
  REQUIRE(opened.size() == opened_size);
  CHECK(part(opened, 0, 4) == u32(0));
  return part(opened, opened_size - 16, 16);
}

/// The key at an index, of a reply without metadata.
octets key_at(raw_socket& client, const octets& id, std::uint32_t index) {
  const octets got = ask(client, get_request(id, index), 0x05);
  REQUIRE(got.size() == 4 + 4 + 4 + 32 + 4);
  CHECK(part(got, 0, 12) == u32(0) + u32(index) + u32(32));
  CHECK(part(got, 44, 4) == u32(0));
  return part(got, 12, 32);
}

octets octets_of(const std::vector<std::byte>& key) {
  octets o;
  for (const std::byte b : key) o.push_back(std::to_integer<std::uint8_t>(b));
  return o;
}

}  // namespace

TEST_CASE(
    "QUBIP: opens with 0 though the peer application is not there yet, and keys are equal at both ends") {
  two_sites sites;
  raw_socket at_a{sites.a->address()};
  raw_socket at_b{sites.b->address()};
  // the frame of tests/wire/vectors/qubip/open_connect_response_1.hex, with the QoS that was chosen
  const octets opened = ask(at_a, open_request(), 0x03);
  REQUIRE(opened.size() == opened_size);
  CHECK(part(opened, 0, 8) == u32(0) + u32(32));          // status, Key_chunk_size
  CHECK(part(opened, 24, 8) == u32(5'000) + u32(3'600));  // Timeout, TTL
  CHECK(part(opened, 32, 256) == padded(""));
  const octets id = part(opened, 288, 16);
  CHECK(id != zeros(16));
  CHECK(open_stream(at_b, open_request(id)) == id);

  for (std::uint32_t index = 0; index < 5; ++index) {
    const octets key = key_at(at_a, id, index);
    CHECK(key != zeros(32));
    CHECK(key == key_at(at_b, id, index));
  }
  CHECK(ask(at_a, close_request_of(id), 0x09) == u32(0));
  CHECK(ask(at_b, close_request_of(id), 0x09) == u32(0));
  CHECK(ask(at_a, get_request(id, 5), 0x05) == u32(3));
}

TEST_CASE("QUBIP: serves a client that makes a connection for every call") {
  two_sites sites;
  const auto at_a = [&] { return raw_socket{sites.a->address()}; };
  auto opener = at_a();
  const octets id = open_stream(opener, open_request());
  opener.close();
  auto first = at_a();
  const octets key = key_at(first, id, 0);
  first.close();
  auto second = at_a();
  CHECK(key_at(second, id, 1) != key);
  second.close();
  auto closer = at_a();
  CHECK(ask(closer, close_request_of(id), 0x09) == u32(0));
}

TEST_CASE("QUBIP: answers a failure with its status alone, narrowed") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  const octets id = open_stream(client, open_request());
  const octets unknown(16, 0xab);
  CHECK(ask(client, get_request(unknown, 0), 0x05) == u32(3));       // 1024
  CHECK(ask(client, close_request_of(unknown), 0x09) == u32(3));     // 1024
  CHECK(ask(client, get_request(id, 0xffff'ffff), 0x05) == u32(2));  // 1030
  const octets nowhere = open_request(zeros(16), 0, "", "qkd://app@nowhere");
  CHECK(ask(client, nowhere, 0x03) == u32(4));
  const octets malformed_uri = open_request(zeros(16), 0, "", "");
  CHECK(ask(client, malformed_uri, 0x03) == u32(4));  // 1025
  raw_socket other{sites.a->address()};
  CHECK(ask(other, open_request(id), 0x03) == u32(5));
  CHECK(key_at(client, id, 0).size() == 32);  // nothing of this ended the connection
}

TEST_CASE("QUBIP: answers 7 with a counter-proposal that is taken when it comes back") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  const octets countered = ask(client, open_request(zeros(16), 0x7fff'ffff), 0x03);
  REQUIRE(countered.size() == opened_size);
  CHECK(part(countered, 0, 8) == u32(7) + u32(64 * 1024));
  const octets again =
      qubip_frame(0x02, text0("qkd://app@a") + text0("qkd://app@b") + part(countered, 4, 28 + 256 + 16));
  CHECK(open_stream(client, again) != zeros(16));
}

TEST_CASE("QUBIP: answers 8 with the size that is needed, and then the same key with its metadata") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  const octets id = open_stream(client, open_request(zeros(16), 0, "application/json"));
  CHECK(ask(client, get_request(id, 0, 10), 0x05) == u32(8) + u32(36));
  const octets with = ask(client, get_request(id, 0, 1'024), 0x05);
  const octets metadata = part(with, 48, with.size() - 48);
  CHECK(part(with, 44, 4) == u32(static_cast<std::uint32_t>(metadata.size())));
  CHECK(std::string(metadata.begin(), metadata.end()).starts_with("{\"age\":"));
  CHECK(part(with, 12, 32) == key_at(client, id, 0));
}

TEST_CASE("QUBIP: is spoken beside forge on one port, and gives the keys of a stream that forge opened") {
  two_sites sites;
  const auto forge_at_a = connect_to(sites.a->address());
  const auto stream = open_connect(*forge_at_a).stream;
  const octets id = id_octets(stream);
  raw_socket qubip_at_b{sites.b->address()};
  CHECK(open_stream(qubip_at_b, open_request(id)) == id);
  raw_socket qubip_at_a{sites.a->address()};
  raw_socket plain_forge_at_a{sites.a->address()};
  for (std::uint32_t index = 0; index < 3; ++index) {
    const octets key = octets_of(get_key(*forge_at_a, stream, index));
    CHECK(key == key_at(qubip_at_b, id, index));
    CHECK(key == key_at(qubip_at_a, id, index));  // the same side: told again
    plain_forge_at_a.send(frame_of(0x04, id + u32(index) + u32(0)));
    const auto told = plain_forge_at_a.read();
    REQUIRE(told);
    CHECK(told->version == forge);
    CHECK(part(told->payload, 12, 32) == key);
  }
}

TEST_CASE("QUBIP: answers in the order of requests, also when a later one is done first") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  const octets id = open_stream(client, open_request(zeros(16), 0, "application/json"));
  key_at(client, id, 0);  // now there is key
  key_at(client, id, 1);
  // the first waits until the CLOSE
  client.send(get_request(id, 1'000) + get_request(id, 0) + get_request(id, 1, 10) +
              open_request(zeros(16), 0x7fff'ffff) + close_request_of(id));
  const auto reply = [&client](std::uint8_t service) {
    const auto r = client.read();
    REQUIRE(r);
    CHECK(r->version == qubip);
    REQUIRE(r->service == service);
    return r->payload;
  };
  CHECK(reply(0x05) == u32(3));
  CHECK(reply(0x05).size() == 48);
  CHECK(reply(0x05) == u32(8) + u32(36));
  CHECK(reply(0x03).size() == opened_size);
  CHECK(reply(0x09) == u32(0));
}

TEST_CASE("QUBIP: gets one error frame in its own version and the end for what no client of it says") {
  two_sites sites;
  const octets id = zeros(16);
  octets no_nul = open_request();
  std::fill_n(no_nul.end() - 16 - 256, 256, std::uint8_t{'m'});
  octets short_open = open_request();
  short_open.pop_back();
  short_open[7] -= 1;
  struct {
    const char* what;
    octets sent;
    std::uint32_t code = 1028;
    int answers = 0;
  } const rows[] = {
      {"HELLO", qubip_frame(0x40, octets{0, 1} + zeros(14))},
      {"HELLO behind a request", close_request_of(id) + qubip_frame(0x40, octets{0, 1} + zeros(14)), 1028, 1},
      {"OPEN_CONNECT2", qubip_frame(0x42, zeros(20))},
      {"GET_KEYS", qubip_frame(0x46, zeros(38))},
      {"STATUS", qubip_frame(0x4c, id)},
      {"hello of a peer", qubip_frame(0x80, zeros(40))},
      {"stop server", qubip_frame(0xff), 1026},
      {"a response", qubip_frame(0x09, zeros(4))},
      {"an error frame", qubip_frame(0x00, u32(4) + zeros(2))},
      {"a frame of forge behind a request", close_request_of(id) + frame_of(0x08, id), 1028, 1},
      {"an unknown version behind a request", close_request_of(id) + frame_of(0x08, id, {9, 9, 9}), 1028, 1},
      {"OPEN_CONNECT without its last octet", short_open},
      {"OPEN_CONNECT with a mimetype without a NUL", no_nul},
      {"OPEN_CONNECT as forge has it",
       qubip_frame(0x02, text0("qkd://app@a") + text0("qkd://app@b") + zeros(28) + text0("") + id)},
      {"GET_KEY with metadata octets", qubip_frame(0x04, id + u32(0) + u32(2) + zeros(2))},
      {"CLOSE with an octet too many", qubip_frame(0x08, zeros(17))},
  };
  for (const auto& row : rows) {
    CAPTURE(std::string{row.what});
    raw_socket client{sites.a->address()};
    client.send(row.sent);
    for (int i = 0; i < row.answers; ++i) {
      const auto answer = client.read();
      REQUIRE(answer);
      REQUIRE(answer->service == 0x09);
    }
    const auto error = client.read();
    REQUIRE(error);
    CHECK(error->version == qubip);
    CHECK(error->service == 0x00);
    REQUIRE(error->payload.size() >= 6);
    CHECK(error->u32(0) == row.code);
    CHECK(client.is_closed_by_peer());
  }
}

TEST_CASE("QUBIP: is refused on a connection that began in forge, with an error frame of forge") {
  two_sites sites;
  raw_socket client{sites.a->address()};
  client.send(frame_of(0x08, zeros(16)) + close_request_of(zeros(16)));
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->version == forge);
  CHECK(answer->service == 0x09);
  const auto error = client.read();
  REQUIRE(error);
  CHECK(error->version == forge);
  CHECK(error->service == 0x00);
  CHECK(error->u32(0) == 1028);
  CHECK(client.is_closed_by_peer());
}
