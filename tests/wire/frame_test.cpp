// SPDX-License-Identifier: Apache-2.0
#include "wire/frame.hpp"

#include <doctest/doctest.h>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using test::exact;
using test::hex;

TEST_CASE("frame: parse_header needs eight octets and no more") {
  const auto frame = hex("020101 08 00000010");
  for (std::size_t n = 0; n < frame.size(); ++n) {
    CAPTURE(n);
    exact input{std::span{frame}.first(n)};
    CHECK(parse_header(input.span()).state == frame_state::incomplete);
  }
  const auto [state, header] = parse_header(frame);
  CHECK(state == frame_state::complete);
  CHECK(header.version == forge_version);
  CHECK(header.service == service::close_request);
  CHECK(header.length == 16);
}

TEST_CASE("frame: parse_header judges version, service and length") {
  struct {
    const char* header;
    frame_state state;
    std::string why;
  } const rows[] = {
      {"020101 00 00000000", frame_state::complete, "error"},
      {"020101 02 00010000", frame_state::complete, "the largest request"},
      {"020101 02 00010001", frame_state::too_long, "one octet more"},
      {"020101 02 ffffffff", frame_state::too_long, "the largest length"},
      {"020101 05 00011000", frame_state::complete, "the largest GET_KEY response"},
      {"020101 05 00011001", frame_state::too_long, "one octet more"},
      {"020101 47 00011000", frame_state::complete, "the largest GET_KEYS response"},
      {"020101 47 00011001", frame_state::too_long, "one octet more"},
      {"020101 4b 00011000", frame_state::complete, "the largest delivery"},
      {"020101 4b 00011001", frame_state::too_long, "one octet more"},
      {"020101 03 00011000", frame_state::too_long, "only what has keys is longer"},
      {"020101 4d 00010001", frame_state::too_long, "STATUS is not"},
      {"020101 01 00000000", frame_state::unknown_service, "never given"},
      {"020101 06 00000000", frame_state::unknown_service, "never given"},
      {"020101 40 00000000", frame_state::complete, "HELLO"},
      {"020101 43 00000000", frame_state::complete, "OPEN_CONNECT2 response"},
      {"020101 44 00000000", frame_state::complete, "WAIT_PEER"},
      {"020101 4d 00000000", frame_state::complete, "STATUS response"},
      {"020101 4e 00000000", frame_state::unknown_service, "above our extension"},
      {"020101 3f 00000000", frame_state::unknown_service, "below our extension"},
      {"020101 7f 00000000", frame_state::unknown_service, "below the peers' range"},
      {"020101 80 00000000", frame_state::complete, "the peers' first"},
      {"020101 9f 00000000", frame_state::complete, "the peers' last, known or not"},
      {"020101 9f 00010001", frame_state::too_long, "as long as anything else"},
      {"020101 a0 00000000", frame_state::unknown_service, "above the peers' range"},
      {"020101 ff 00000000", frame_state::stop_server, "stop"},
      {"020101 ff ffffffff", frame_state::stop_server, "stop, whatever its length"},
      {"010001 00 00000006", frame_state::complete, "QUBIP, error"},
      {"010001 02 00010000", frame_state::complete, "QUBIP, the largest request"},
      {"010001 02 00010001", frame_state::too_long, "QUBIP, one octet more"},
      {"010001 05 00011000", frame_state::complete, "QUBIP, the largest GET_KEY response"},
      {"010001 09 00000004", frame_state::complete, "QUBIP, CLOSE response"},
      {"010001 01 00000000", frame_state::unknown_service, "QUBIP, never given"},
      {"010001 40 00000010", frame_state::unknown_service, "QUBIP has no extension"},
      {"010001 4d 00000010", frame_state::unknown_service, "QUBIP has no extension"},
      {"010001 80 00000010", frame_state::unknown_service, "QUBIP is not between key managers"},
      {"010001 ff 00000000", frame_state::stop_server, "QUBIP, stop"},
      {"010101 04 00000018", frame_state::unknown_version, "nearly QUBIP"},
      {"030000 04 00000018", frame_state::unknown_version, "another version"},
      {"474554 20 2f204854", frame_state::unknown_version, "GET / HT"},
      {"160301 02 00010001", frame_state::unknown_version, "a TLS hello"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    CHECK(parse_header(hex(row.header)).state == row.state);
  }
}

TEST_CASE("frame: the length limit is that of the settings") {
  limits small;
  small.max_frame = 100;
  small.max_chunk = 50;
  CHECK(parse_header(hex("020101 02 00000064"), small).state == frame_state::complete);
  CHECK(parse_header(hex("020101 02 00000065"), small).state == frame_state::too_long);
  CHECK(parse_header(hex("020101 05 00001032"), small).state == frame_state::complete);
  CHECK(parse_header(hex("020101 05 00001033"), small).state == frame_state::too_long);
}

TEST_CASE("frame: a refused header tells its version and service") {
  const auto [state, header] = parse_header(hex("010002 04 00000018"));
  CHECK(state == frame_state::unknown_version);
  CHECK(header.version == frame_version{1, 0, 2});
  CHECK(header.service == service::get_key_request);
}

TEST_CASE("frame: read_frame is complete when the whole payload is there") {
  const auto input = hex("020101 09 00000004 00000006 020101");
  for (std::size_t n = 0; n < 12; ++n) {
    CAPTURE(n);
    exact part{std::span{input}.first(n)};
    const auto reading = read_frame(part.span());
    CHECK(reading.state == frame_state::incomplete);
    CHECK(reading.size == (n < 8 ? 8 : 12));
  }
  const auto reading = read_frame(input);
  CHECK(reading.state == frame_state::complete);
  CHECK(reading.size == 12);
  CHECK(test::to_hex(reading.payload) == "00000006");
}

TEST_CASE("frame: read_frame refuses a header before its payload is there") {
  CHECK(read_frame(hex("020101 02 00010001")).state == frame_state::too_long);
  CHECK(read_frame(hex("020101 ff 00000001")).state == frame_state::stop_server);
}

TEST_CASE("frame: every refusal has a code and words for the error frame") {
  for (const frame_state s :
       {frame_state::unknown_version, frame_state::unknown_service, frame_state::too_long}) {
    CHECK(to_status(s) == status::protocol_error);
    CHECK_FALSE(to_string(s).empty());
  }
  CHECK(to_status(frame_state::stop_server) == status::not_authorized);
}

TEST_CASE("frame: append_frame appends nothing when the buffer is full") {
  out_buffer out{test::arena(), 20};
  const auto put = [](auto& to) { to.u32(1); };
  CHECK(append_frame(out, service::close_response, put));
  CHECK(append_frame(out, service::close_response, put).error() == status::resource_limit);
  CHECK(test::to_hex(out.pending()) == "020101090000000400000001");
}
