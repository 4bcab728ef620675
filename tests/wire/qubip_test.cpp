// SPDX-License-Identifier: Apache-2.0
//
// What is peculiar to the dialect. Its octets are in vectors/qubip.
#include "wire/qubip.hpp"

#include <doctest/doctest.h>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using namespace qkd004::wire::qubip;
using test::encoded;
using test::exact;
using test::hex;
using test::octets;
using test::payload_of;
using test::to_hex;

namespace {

std::string repeated(std::string_view piece, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

const std::string numbers = repeated("00000000", 7);
const std::string id = repeated("00", 16);

}  // namespace

TEST_CASE("QUBIP OPEN_CONNECT request: is refused when it is malformed or its content is") {
  const std::string empty = repeated("00", 256);
  struct {
    std::string payload;
    status expected;
    std::string why;
  } const rows[] = {
      {"6100 6200" + numbers + empty + id, status::success, "nothing"},
      {"", status::protocol_error, "empty"},
      {"6100 6262", status::protocol_error, "destination without a NUL"},
      {"6100 6200" + numbers + "00" + id, status::protocol_error, "the mimetype of the other dialect"},
      {"6100 6200" + numbers + repeated("6d", 255) + "00" + id, status::success, "mimetype of 255"},
      {"6100 6200" + numbers + repeated("6d", 256) + id, status::protocol_error, "mimetype without a NUL"},
      {"6100 6200" + numbers + "6d00" + repeated("ff", 254) + id, status::success, "no zeros behind the NUL"},
      {"6100 6200" + numbers + empty + id + "00", status::protocol_error, "an octet too many"},
      {"6100 6200" + numbers + empty + repeated("00", 15), status::protocol_error, "an octet too few"},
      {"6100" + repeated("61", 2001) + "00" + numbers + empty + id, status::invalid_argument,
       "destination of 2001"},
      {"6100" + repeated("61", 2001) + "00" + numbers + empty + id + "00", status::protocol_error,
       "too long and malformed"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_open_connect_request(payload.span()).error()) == row.expected);
  }
  CHECK(decode_open_connect_request(hex("6100 6200" + numbers + "6d00" + repeated("ff", 254) + id))
            ->quality.metadata_mimetype == "m");
}

TEST_CASE("QUBIP requests: are not encoded when their octets could not say them") {
  out_buffer out{test::arena(), 10'000};
  const open_connect_request plain{"a", "b"};
  auto open = plain;
  open.no_wait = true;
  CHECK(encode_open_connect_request(out, open).error() == status::invalid_argument);
  open = plain;
  open.strict_once = true;
  CHECK(encode_open_connect_request(out, open).error() == status::invalid_argument);
  open = plain;
  open.destination = std::string{"a\0b", 3};
  CHECK(encode_open_connect_request(out, open).error() == status::invalid_argument);
  open = plain;
  open.quality.metadata_mimetype.assign(256, 'm');
  CHECK(encode_open_connect_request(out, open).error() == status::invalid_argument);
  get_key_request get;
  get.no_wait = true;
  CHECK(encode_get_key_request(out, get).error() == status::invalid_argument);
  get.no_wait = false;
  get.index = last_index + 1;
  CHECK(encode_get_key_request(out, get).error() == status::invalid_argument);
  open_connect_response opened;
  opened.quality.metadata_mimetype.assign(256, 'm');
  CHECK(encode_open_connect_response(out, opened).error() == status::invalid_argument);
  CHECK(encode_get_key_response(out, get_key_response{}, 0).error() == status::invalid_argument);
  CHECK(out.empty());
}

TEST_CASE("QUBIP OPEN_CONNECT response: has a body with 0 and 7 only, and 1 is sent as 0") {
  for (const status s :
       {status::success, status::peer_not_connected, status::no_qkd_connection, status::ksid_in_use,
        status::timeout, status::qos_not_met, status::not_authorized, status::resource_limit}) {
    CAPTURE(to_string(s));
    const auto sent = test::open_connect_answer(s);
    const octets payload =
        payload_of(encoded([&](out_buffer& out) { return encode_open_connect_response(out, sent); }));
    const status expected =
        s == status::peer_not_connected ? status::success : to_standard(s, operation::open_connect);
    const bool body = expected == status::success || expected == status::qos_not_met;
    CHECK(payload.size() == (body ? 4 + 28 + 256 + 16 : 4));
    const auto read = decode_open_connect_response(payload);
    REQUIRE(read);
    CHECK(read->outcome == expected);
    CHECK(read->quality == (body ? test::quality() : qos{}));
    CHECK(read->stream == (body ? test::stream() : key_stream_id{}));
  }
}

TEST_CASE("QUBIP responses: are refused when they are malformed or contradict themselves") {
  struct {
    std::string payload;
    status expected;
    std::string why;
  } const opened[] = {
      {"00000000" + numbers + repeated("00", 256) + id, status::success, "nothing"},
      {"00000000", status::protocol_error, "success without a body"},
      {"00000007", status::protocol_error, "a counter-proposal without a body"},
      {"00000005", status::success, "a failure without a body"},
      {"00000005" + numbers + repeated("00", 256) + id, status::protocol_error, "a failure with a body"},
      {"00000001", status::protocol_error, "a status that is sent as 0"},
      {"00000009", status::protocol_error, "a status that is not of this call"},
      {"00000402", status::protocol_error, "a status of ours"},
  };
  for (const auto& row : opened) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_open_connect_response(payload.span()).error()) == row.expected);
  }
  struct {
    const char* payload;
    status expected;
    std::string why;
  } const got[] = {
      {"00000000 00000000 00000001 c0 00000000", status::success, "nothing"},
      {"00000000 fffffffe 00000001 c0 00000000", status::success, "the last index"},
      {"00000000 ffffffff 00000001 c0 00000000", status::protocol_error, "an index past the last"},
      {"00000000 00000000 00000000 00000000", status::protocol_error, "success without a key"},
      {"00000000 00000000 ffffffff c0 00000000", status::protocol_error, "key length past the payload"},
      {"00000000 00000000 00000001 c0 00000001", status::protocol_error, "metadata length past the payload"},
      {"00000000", status::protocol_error, "success without a body"},
      {"00000006", status::success, "a failure without a body"},
      {"00000006 00000000 00000000 00000000", status::protocol_error, "a failure with a body"},
      {"00000008 00000024", status::success, "the size that is needed"},
      {"00000008", status::protocol_error, "no size that is needed"},
      {"00000008 00000024 00", status::protocol_error, "an octet too many"},
      {"00000405", status::protocol_error, "a status of ours"},
  };
  for (const auto& row : got) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_get_key_response(payload.span()).error()) == row.expected);
  }
}

TEST_CASE("QUBIP responses: narrow every status, and never carry a key when they fail") {
  const octets key = hex("c0c1c2c3c4c5c6c7");
  get_key_response sent;
  sent.key = key;
  sent.index = 3;
  for (const status s : {status::unknown_key_stream, status::index_not_available, status::shutting_down}) {
    sent.outcome = s;
    const octets payload =
        payload_of(encoded([&](out_buffer& out) { return encode_get_key_response(out, sent, 100); }));
    CHECK(payload.size() == 4);
    CHECK(decode_get_key_response(payload)->response.outcome == to_standard(s, operation::get_key));
    const octets closed =
        payload_of(encoded([&](out_buffer& out) { return encode_close_response(out, close_response{s}); }));
    CHECK(decode_close_response(closed)->outcome == to_standard(s, operation::close));
  }
}

TEST_CASE("QUBIP CLOSE response: 9 is read as 3, and nothing above it is read") {
  CHECK(decode_close_response(hex("00000008"))->outcome == status::metadata_size_insufficient);
  CHECK(decode_close_response(hex("00000009"))->outcome == status::get_key_peer_not_connected);
  CHECK(decode_close_response(hex("0000000a")).error() == status::protocol_error);
  CHECK(decode_close_response(hex("00000400")).error() == status::protocol_error);
}
