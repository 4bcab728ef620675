// SPDX-License-Identifier: Apache-2.0
#include "wire/forge.hpp"

#include <doctest/doctest.h>

#include <random>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using namespace qkd004::wire::forge;
using test::encoded;
using test::exact;
using test::hex;
using test::octets;
using test::payload_of;
using test::to_hex;

namespace {

constexpr auto standard = statuses::standard;
constexpr auto all = statuses::all;

/// The QoS of test::quality().
const char* const quality_octets =
    "01020304"                              // Key_chunk_size
    "11121314"                              // Max_bps
    "21222324"                              // Min_bps
    "31323334"                              // Jitter
    "41424344"                              // Priority
    "51525354"                              // Timeout
    "61626364"                              // TTL
    "6170706c69636174696f6e2f6a736f6e 00";  // "application/json"

const char* const stream_octets = "00112233445566778899aabbccddeeff";

octets hex_of(std::initializer_list<std::string_view> pieces) {
  std::string text;
  for (const auto piece : pieces) text += piece;
  return hex(text);
}

std::string repeated(std::string_view piece, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

octets encoded_get_key(const get_key_response& r, std::uint32_t metadata_size, statuses which = standard) {
  return encoded([&](out_buffer& out) { return encode_get_key_response(out, r, metadata_size, which); });
}

}  // namespace

// --- OPEN_CONNECT ---

TEST_CASE("OPEN_CONNECT request: has these octets") {
  const octets frame = hex_of({"020101 02 0000004a",  // version, service, length 74
                               "713a2f2f61 00",       // source "q://a"
                               "713a2f2f6262 00",     // destination "q://bb"
                               quality_octets, stream_octets});
  const open_connect_request sent{"q://a", "q://bb", test::quality(), test::stream()};
  CHECK(to_hex(encoded([&](out_buffer& out) { return encode_open_connect_request(out, sent); })) ==
        to_hex(frame));

  const auto read = decode_open_connect_request(payload_of(frame));
  REQUIRE(read);
  CHECK(read->source == "q://a");
  CHECK(read->destination == "q://bb");
  CHECK(read->quality == test::quality());
  CHECK(read->stream == test::stream());
  CHECK_FALSE(read->no_wait);
  CHECK_FALSE(read->strict_once);
}

TEST_CASE("OPEN_CONNECT request: has these octets when the key manager chooses everything") {
  const octets frame = hex_of({"020101 02 00000031",     // version, service, length 49
                               "61 00",                  // source "a"
                               "62 00",                  // destination "b"
                               repeated("00000000", 7),  // QoS
                               "00",                     // no mimetype
                               repeated("00", 16)});     // NULL
  const open_connect_request sent{"a", "b"};
  CHECK(to_hex(encoded([&](out_buffer& out) { return encode_open_connect_request(out, sent); })) ==
        to_hex(frame));
  const auto read = decode_open_connect_request(payload_of(frame));
  REQUIRE(read);
  CHECK(read->quality == qos{});
  CHECK(read->stream.is_null());
}

TEST_CASE("OPEN_CONNECT request: is refused when it is malformed or its content is") {
  const std::string numbers = repeated("00000000", 7);
  const std::string id = repeated("00", 16);
  const std::string uri_2000 = repeated("61", 2000);
  const std::string mimetype_255 = repeated("6d", 255);
  struct {
    std::string payload;
    status expected;
    std::string why;
  } const rows[] = {
      {"6100 6200" + numbers + "00" + id, status::success, "nothing"},
      {"", status::protocol_error, "empty"},
      {"6161616161", status::protocol_error, "source without a NUL"},
      {"6100 6262", status::protocol_error, "destination without a NUL"},
      {"6100 6200" + numbers + "6d6d", status::protocol_error, "mimetype without a NUL"},
      {"6100 6200" + numbers + id, status::protocol_error, "no mimetype"},
      {"6100 6200" + numbers + "00" + id + "00", status::protocol_error, "an octet too many"},
      {"6100 6200" + numbers + mimetype_255 + "00" + id, status::success, "mimetype of 256 with its NUL"},
      {"6100 6200" + numbers + mimetype_255 + "6d00" + id, status::protocol_error, "mimetype of 257"},
      {uri_2000 + "00" + uri_2000 + "00" + numbers + "00" + id, status::success, "2000 octets each"},
      {uri_2000 + "6100" + "6200" + numbers + "00" + id, status::invalid_argument, "source of 2001"},
      {"6100" + uri_2000 + "6100" + numbers + "00" + id, status::invalid_argument, "destination of 2001"},
      {uri_2000 + "6100" + "6200" + numbers + "00" + id + "00", status::protocol_error,
       "too long and malformed"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_open_connect_request(payload.span()).error()) == row.expected);
  }
}

TEST_CASE("OPEN_CONNECT request: the longest source is that of the settings") {
  limits bounds;
  bounds.max_uri = 5;
  const auto payload_with = [](std::string source) {
    const open_connect_request sent{std::move(source), "b"};
    return payload_of(encoded([&](out_buffer& out) { return encode_open_connect_request(out, sent); }));
  };
  CHECK(decode_open_connect_request(payload_with("12345"), bounds));
  CHECK(decode_open_connect_request(payload_with("123456"), bounds).error() == status::invalid_argument);
}

TEST_CASE("OPEN_CONNECT request: is not encoded when its octets could not say it") {
  out_buffer out{test::arena(), 10'000};
  const open_connect_request plain{"a", "b"};
  auto r = plain;
  r.no_wait = true;
  CHECK(encode_open_connect_request(out, r).error() == status::invalid_argument);
  r = plain;
  r.strict_once = true;
  CHECK(encode_open_connect_request(out, r).error() == status::invalid_argument);
  r = plain;
  r.source = std::string{"a\0b", 3};
  CHECK(encode_open_connect_request(out, r).error() == status::invalid_argument);
  r = plain;
  r.quality.metadata_mimetype.assign(256, 'm');
  CHECK(encode_open_connect_request(out, r).error() == status::invalid_argument);
  CHECK(encode_open_connect2_request(out, r).error() == status::invalid_argument);
  CHECK(out.empty());
}

TEST_CASE("OPEN_CONNECT response: has these octets whatever its status") {
  struct {
    status sent;
    std::string code;
    status read;
  } const rows[] = {
      {status::success, "00000000", status::success},
      {status::peer_not_connected, "00000001", status::peer_not_connected},
      {status::qos_not_met, "00000007", status::qos_not_met},
      {status::not_authorized, "00000005", status::ksid_in_use},        // narrowed
      {status::resource_limit, "00000004", status::no_qkd_connection},  // narrowed
  };
  for (const auto& row : rows) {
    CAPTURE(row.code);
    const octets frame = hex_of({"020101 03 00000041",  // version, service, length 65
                                 row.code, quality_octets, stream_octets});
    const auto sent = test::open_connect_answer(row.sent);
    CHECK(to_hex(encoded([&](out_buffer& out) {
            return encode_open_connect_response(out, sent, standard);
          })) == to_hex(frame));
    const auto read = decode_open_connect_response(payload_of(frame));
    REQUIRE(read);
    CHECK(read->outcome == row.read);
    CHECK(read->quality == test::quality());
    CHECK(read->stream == test::stream());
  }
}

TEST_CASE("OPEN_CONNECT2 request: has these octets, flags last") {
  struct {
    std::string flags;
    bool no_wait;
    bool strict_once;
  } const rows[] = {{"00000000", false, false},
                    {"00000001", true, false},
                    {"00000002", false, true},
                    {"00000003", true, true}};
  for (const auto& row : rows) {
    CAPTURE(row.flags);
    const octets frame = hex_of({"020101 42 00000049",  // version, service, length 73
                                 "713a2f2f61 00",       // source "q://a"
                                 "62 00",               // destination "b"
                                 quality_octets, stream_octets, row.flags});
    open_connect_request sent{"q://a", "b", test::quality(), test::stream()};
    sent.no_wait = row.no_wait;
    sent.strict_once = row.strict_once;
    CHECK(to_hex(encoded([&](out_buffer& out) { return encode_open_connect2_request(out, sent); })) ==
          to_hex(frame));
    const auto read = decode_open_connect2_request(payload_of(frame));
    REQUIRE(read);
    CHECK(read->source == "q://a");
    CHECK(read->stream == test::stream());
    CHECK(read->no_wait == row.no_wait);
    CHECK(read->strict_once == row.strict_once);
  }
}

TEST_CASE("OPEN_CONNECT2 request: is refused when it has a flag that is not known") {
  const std::string body = "6100 6200" + repeated("00000000", 7) + "00" + repeated("00", 16);
  CHECK(decode_open_connect2_request(hex(body + "00000003")));
  CHECK(decode_open_connect2_request(hex(body + "00000004")).error() == status::invalid_argument);
  CHECK(decode_open_connect2_request(hex(body + "80000000")).error() == status::invalid_argument);
  CHECK(decode_open_connect2_request(hex(body)).error() == status::protocol_error);
  const std::string long_source = repeated("61", 2001) + body.substr(2);
  CHECK(decode_open_connect2_request(hex(long_source + "00000000")).error() == status::invalid_argument);
  CHECK(decode_open_connect2_request(hex(long_source)).error() == status::protocol_error);
}

TEST_CASE("OPEN_CONNECT2 response: has these octets, statuses of all kinds") {
  const octets frame = hex_of({"020101 43 0000004d",  // version, service, length 77
                               "00000402",            // status 1026
                               quality_octets, stream_octets,
                               "0102030405060708",  // epoch
                               "0a0b0c0d"});        // lowest live index
  const auto sent = test::open_connect_answer(status::not_authorized);
  CHECK(to_hex(encoded([&](out_buffer& out) { return encode_open_connect2_response(out, sent); })) ==
        to_hex(frame));
  const auto read = decode_open_connect2_response(payload_of(frame));
  REQUIRE(read);
  CHECK(read->outcome == status::not_authorized);
  CHECK(read->quality == test::quality());
  CHECK(read->stream == test::stream());
  CHECK(read->epoch == 0x0102030405060708);
  CHECK(read->lowest_live_index == 0x0a0b0c0d);
}

TEST_CASE("OPEN_CONNECT2 response: a lowest live index past 32 bits is the largest of them") {
  auto sent = test::open_connect_answer(status::success);
  sent.lowest_live_index = std::uint64_t{1} << 40;
  const auto frame = encoded([&](out_buffer& out) { return encode_open_connect2_response(out, sent); });
  CHECK(decode_open_connect2_response(payload_of(frame))->lowest_live_index == 0xffffffff);
}

// --- GET_KEY ---

TEST_CASE("GET_KEY request: has these octets") {
  const octets frame = hex_of({"020101 04 0000001b",  // version, service, length 27
                               stream_octets,
                               "00000102",  // index
                               "00000003",  // metadata length: the caller's Metadata_size
                               "000000"});
  get_key_request sent;
  sent.stream = test::stream();
  sent.index = 0x0102;
  sent.metadata_size = 3;
  CHECK(to_hex(encoded([&](out_buffer& out) { return encode_get_key_request(out, sent); })) == to_hex(frame));
  const auto read = decode_get_key_request(payload_of(frame));
  REQUIRE(read);
  CHECK(read->stream == test::stream());
  CHECK(read->index == 0x0102);
  CHECK(read->metadata_size == 3);
  CHECK_FALSE(read->no_wait);
}

TEST_CASE("GET_KEY request: is refused when it is malformed or asks for another type of key") {
  const std::string id = stream_octets;
  struct {
    std::string payload;
    status expected;
    std::string why;
  } const rows[] = {
      {id + "00000000 00000000", status::success, "no metadata"},
      {id + "ffffffff 00000000", status::success, "the largest index: judged by the key manager"},
      {id + "00000000 00000001 ff", status::success, "one octet is not looked at"},
      {id + "00000000 00000003 ffffff", status::success, "nor are three"},
      {id + "00000000 00000002 0000", status::success, "{key_type 0, role 0}"},
      {id + "00000000 00000002 0001", status::success, "{key_type 0, role 1}"},
      {id + "00000000 00000002 0100", status::invalid_argument, "{key_type 1, role 0}"},
      {id + "00000000 00000002 00", status::protocol_error, "less metadata than it says"},
      {id + "00000000 ffffffff", status::protocol_error, "far less"},
      {id + "00000000 00000000 00", status::protocol_error, "more than it says"},
      {id + "00000000", status::protocol_error, "no metadata length"},
      {id.substr(2), status::protocol_error, "15 octets"},
      {"", status::protocol_error, "empty"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_get_key_request(payload.span()).error()) == row.expected);
  }
}

TEST_CASE("GET_KEY request: is not encoded when its octets could not say it") {
  out_buffer out{test::arena(), 100'000};
  get_key_request r;
  r.no_wait = true;
  CHECK(encode_get_key_request(out, r).error() == status::invalid_argument);
  r.no_wait = false;
  r.index = last_index + 1;
  CHECK(encode_get_key_request(out, r).error() == status::invalid_argument);
  CHECK(out.empty());
}

TEST_CASE("GET_KEY request: asks for no more metadata than fits when the caller has room for anything") {
  get_key_request r;
  r.metadata_size = 0xffffffff;
  const auto frame = encoded([&](out_buffer& out) { return encode_get_key_request(out, r); });
  CHECK(decode_get_key_request(payload_of(frame))->metadata_size == max_metadata_asked);
}

TEST_CASE("GET_KEY response: has these octets when it succeeds without metadata") {
  const octets frame = hex_of({"020101 05 00000014",  // version, service, length 20
                               "00000000",            // status
                               "00000102",            // index
                               "00000004",            // key length
                               "c0c1c2c3",            // key
                               "00000000"});          // metadata length
  const octets key = hex("c0c1c2c3");
  get_key_response sent;
  sent.index = 0x0102;
  sent.key = key;
  sent.has_metadata = true;
  sent.metadata = {5, 1};
  CHECK(to_hex(encoded_get_key(sent, 0)) == to_hex(frame));

  const octets payload = payload_of(frame);
  const auto read = decode_get_key_response(payload);
  REQUIRE(read);
  CHECK(read->response.outcome == status::success);
  CHECK(read->response.index == 0x0102);
  CHECK(to_hex(read->response.key) == "c0c1c2c3");
  CHECK(read->response.key.data() == payload.data() + 12);  // no copy
  CHECK(read->metadata.empty());
}

TEST_CASE("GET_KEY response: has these octets when it succeeds with metadata") {
  const octets frame = hex_of({"020101 05 00000028",                          // version, service, length 40
                               "00000000",                                    // status
                               "00000000",                                    // index
                               "00000004",                                    // key length
                               "c0c1c2c3",                                    // key
                               "00000014",                                    // metadata length
                               "7b22616765223a3132332c22686f7073223a307d"});  // {"age":123,"hops":0}
  const octets key = hex("c0c1c2c3");
  get_key_response sent;
  sent.key = key;
  sent.has_metadata = true;
  sent.metadata = {123, 0};
  CHECK(to_hex(encoded_get_key(sent, 36)) == to_hex(frame));
  CHECK(to_hex(encoded_get_key(sent, 20)) == to_hex(frame));
  CHECK(payload_of(encoded_get_key(sent, 19)).size() == 20);  // does not fit: none
  sent.has_metadata = false;
  CHECK(payload_of(encoded_get_key(sent, 36)).size() == 20);  // the stream has none

  const octets payload = payload_of(frame);
  const auto read = decode_get_key_response(payload);
  REQUIRE(read);
  CHECK(read->response.has_metadata);
  CHECK(read->response.metadata == key_metadata{123, 0});
  CHECK(read->metadata.size() == 20);
}

TEST_CASE("GET_KEY response: its metadata is what to_json says") {
  const octets key = hex("c0");
  for (const key_metadata m :
       {key_metadata{0, 0}, key_metadata{1, 10}, key_metadata{0xffffffff, 0xffffffff}}) {
    get_key_response sent;
    sent.key = key;
    sent.has_metadata = true;
    sent.metadata = m;
    const octets payload = payload_of(encoded_get_key(sent, metadata_json_size));
    const auto read = decode_get_key_response(payload);
    REQUIRE(read);
    CHECK(std::string(reinterpret_cast<const char*>(read->metadata.data()), read->metadata.size()) ==
          to_json(m));
    CHECK(read->response.metadata == m);
  }
}

TEST_CASE("GET_KEY response: metadata of another form is handed on as it is") {
  const std::string other = "7b226167655f6d73223a317d";  // {"age_ms":1}
  const octets payload = hex_of({"00000000 00000000 00000001 c0 0000000c", other});
  const auto read = decode_get_key_response(payload);
  REQUIRE(read);
  CHECK_FALSE(read->response.has_metadata);
  CHECK(to_hex(read->metadata) == other);
}

TEST_CASE("GET_KEY response: has these octets when it fails") {
  struct {
    status sent;
    std::uint64_t index;
    statuses which;
    std::string code;
    const char* lowest;
    status read;
  } const rows[] = {
      {status::timeout, 7, standard, "00000006", "00000007", status::timeout},
      {status::insufficient_key, 7, standard, "00000002", "00000007", status::insufficient_key},
      {status::unknown_key_stream, 0, standard, "00000003", "00000000", status::get_key_peer_not_connected},
      {status::unknown_key_stream, 0, all, "00000400", "00000000", status::unknown_key_stream},
      {status::index_not_available, 9, standard, "00000002", "00000009", status::insufficient_key},
      {status::index_not_available, 9, all, "00000405", "00000009", status::index_not_available},
      {status::invalid_argument, 0, standard, "00000004", "00000000", status::no_qkd_connection},
      {status::stream_exhausted, std::uint64_t{1} << 32, all, "00000406", "ffffffff",
       status::stream_exhausted},
  };
  for (const auto& row : rows) {
    CAPTURE(row.code);
    const octets frame = hex_of({"020101 05 00000010",  // version, service, length 16
                                 row.code,
                                 row.lowest,    // lowest live index
                                 "00000000",    // key length
                                 "00000000"});  // metadata length
    get_key_response sent;
    sent.outcome = row.sent;
    sent.index = row.index;
    sent.metadata_needed = 36;  // means something with status 8 only
    CHECK(to_hex(encoded_get_key(sent, 100, row.which)) == to_hex(frame));
    const auto read = decode_get_key_response(payload_of(frame));
    REQUIRE(read);
    CHECK(read->response.outcome == row.read);
    CHECK(read->response.index == std::min<std::uint64_t>(row.index, 0xffffffff));
    CHECK(read->response.key.empty());
    CHECK(read->metadata.empty());
  }
}

TEST_CASE("GET_KEY response: has these octets when the metadata does not fit") {
  const octets frame = hex_of({"020101 05 00000034",  // version, service, length 52
                               "00000008",            // status
                               "00000007",            // lowest live index
                               "00000000",            // key length
                               "00000024",            // metadata length: what is needed
                               repeated("00", 36)});
  get_key_response sent;
  sent.outcome = status::metadata_size_insufficient;
  sent.index = 7;
  sent.metadata_needed = 36;
  CHECK(to_hex(encoded_get_key(sent, 10)) == to_hex(frame));
  const auto read = decode_get_key_response(payload_of(frame));
  REQUIRE(read);
  CHECK(read->response.outcome == status::metadata_size_insufficient);
  CHECK(read->response.metadata_needed == 36);
  CHECK(read->response.index == 7);
  CHECK(read->metadata.empty());
}

TEST_CASE("GET_KEY response: never carries a key when it fails") {
  const octets key = hex("c0c1c2c3c4c5c6c7");
  get_key_response sent;
  sent.outcome = status::timeout;
  sent.key = key;
  const auto frame = encoded_get_key(sent, 0);
  CHECK(frame.size() == 24);
  CHECK(to_hex(frame).find("c0c1") == std::string::npos);
}

TEST_CASE("GET_KEY response: is refused when it is malformed or contradicts itself") {
  struct {
    const char* payload;
    status expected;
    std::string why;
  } const rows[] = {
      {"00000000 00000000 00000001 c0 00000000", status::success, "nothing"},
      {"00000000 fffffffe 00000001 c0 00000000", status::success, "the last index"},
      {"00000000 ffffffff 00000001 c0 00000000", status::protocol_error, "an index past the last"},
      {"00000000 00000000 00000000 00000000", status::protocol_error, "success without a key"},
      {"00000006 00000000 00000001 c0 00000000", status::protocol_error, "failure with a key"},
      {"00000006 00000000 00000000 00000001 00", status::protocol_error, "failure with metadata"},
      {"00000000 00000000 00000002 c0 00000000", status::protocol_error, "key length into the next field"},
      {"00000000 00000000 ffffffff c0 00000000", status::protocol_error, "key length past the payload"},
      {"00000000 00000000 00000001 c0 00000001", status::protocol_error, "metadata length past the payload"},
      {"00000000 00000000 00000001 c0 00000000 00", status::protocol_error, "an octet too many"},
      {"00000008 00000000 00000000 ffffffff", status::protocol_error, "needs more than it brings"},
      {"00000009 00000000 00000000 00000000", status::protocol_error, "status 9"},
      {"000003ff 00000000 00000000 00000000", status::protocol_error, "status 1023"},
      {"00000408 00000000 00000000 00000000", status::protocol_error, "status 1032"},
      {"ffffffff 00000000 00000000 00000000", status::protocol_error, "status 4294967295"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_get_key_response(payload.span()).error()) == row.expected);
  }
}

TEST_CASE("GET_KEY response: is not encoded when a success has no key or no index") {
  out_buffer out{test::arena(), 1000};
  const octets key = hex("c0");
  get_key_response r;
  CHECK(encode_get_key_response(out, r, 0, all).error() == status::invalid_argument);
  r.key = key;
  r.index = last_index + 1;
  CHECK(encode_get_key_response(out, r, 0, all).error() == status::invalid_argument);
  CHECK(out.empty());
}

TEST_CASE("GET_KEY response: leaves no key behind when it was sent") {
  out_buffer out{test::arena(), 1000};
  const octets key = hex("c0c1c2c3c4c5c6c7");
  get_key_response sent;
  sent.key = key;
  REQUIRE(encode_get_key_response(out, sent, 36, all));
  const std::span<const std::byte> memory = out.pending();
  out.consume(memory.size());
  CHECK(to_hex(memory) == repeated("00", memory.size()));
}

// --- CLOSE ---

TEST_CASE("CLOSE request: has these octets") {
  const octets frame = hex_of({"020101 08 00000010", stream_octets});
  const close_request sent{test::stream()};
  CHECK(to_hex(encoded([&](out_buffer& out) { return encode_close_request(out, sent); })) == to_hex(frame));
  const auto read = decode_close_request(payload_of(frame));
  REQUIRE(read);
  CHECK(read->stream == test::stream());
}

TEST_CASE("CLOSE response: has these octets") {
  struct {
    status sent;
    statuses which;
    std::string frame;
  } const rows[] = {
      {status::success, standard, "020101 09 00000004 00000000"},
      {status::timeout, standard, "020101 09 00000004 00000006"},
      {status::unknown_key_stream, standard, "020101 09 00000004 00000003"},
      {status::unknown_key_stream, all, "020101 09 00000004 00000400"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.frame);
    const close_response sent{row.sent};
    const octets frame = hex(row.frame);
    CHECK(to_hex(encoded([&](out_buffer& out) { return encode_close_response(out, sent, row.which); })) ==
          to_hex(frame));
    const auto read = decode_close_response(payload_of(frame));
    REQUIRE(read);
    CHECK(read->outcome == (row.which == all ? row.sent : to_standard(row.sent, operation::close)));
  }
  CHECK(decode_close_response(hex("00000009")).error() == status::protocol_error);
}

// --- Error frame ---

TEST_CASE("error frame: has these octets") {
  const octets frame = hex_of({"020101 00 00000009",  // version, service, length 9
                               "00000404",            // code 1028
                               "0003 6f6f70"});       // "oop"
  CHECK(to_hex(encoded([](out_buffer& out) {
          return encode_error(out, {status::protocol_error, "oop"});
        })) == to_hex(frame));
  const octets payload = payload_of(frame);
  const auto read = decode_error(payload);
  REQUIRE(read);
  CHECK(read->code == status::protocol_error);
  CHECK(read->text == "oop");
}

TEST_CASE("error frame: carries the version of the frame it answers") {
  const auto frame = encoded([](out_buffer& out) {
    return encode_error(out, {status::protocol_error, ""}, frame_version{1, 0, 1});
  });
  CHECK(to_hex(frame) == "0100010000000006000004040000");
}

TEST_CASE("error frame: cuts a text that is too long") {
  const std::string text(100'000, 'x');
  const octets payload = payload_of(encoded([&](out_buffer& out) {
    return encode_error(out, {status::invalid_argument, text});
  }));
  CHECK(decode_error(payload)->text == text.substr(0, max_error_text));
}

TEST_CASE("error frame: is refused when it has no error or is malformed") {
  for (const char* payload :
       {"00000000 0000", "00000009 0000", "00000404 0001", "00000404 0000 00", "00000404 00", ""}) {
    CAPTURE(payload);
    exact input{hex(payload)};
    CHECK(decode_error(input.span()).error() == status::protocol_error);
  }
  out_buffer out{test::arena(), 100};
  CHECK(encode_error(out, {status::success, ""}).error() == status::invalid_argument);
}

// --- HELLO ---

TEST_CASE("HELLO: has these octets") {
  const char* const payload =
      "0002"              // minor
      "80000001"          // feature bits
      "1122334455667788"  // instance
      "0005 6b6d652d61";  // name "kme-a"
  hello sent;
  sent.features = 0x80000001;
  sent.instance = 0x1122334455667788;
  sent.name = "kme-a";
  CHECK(to_hex(encoded([&](out_buffer& out) { return encode_hello_request(out, sent); })) ==
        to_hex(hex_of({"020101 40 00000015", payload})));
  CHECK(to_hex(encoded([&](out_buffer& out) { return encode_hello_response(out, sent); })) ==
        to_hex(hex_of({"020101 41 00000015", payload})));
  const auto read = decode_hello(hex(payload));
  REQUIRE(read);
  CHECK(*read == sent);
}

TEST_CASE("HELLO: may be longer when its minor is above ours, and only then") {
  CHECK(decode_hello(hex("0002 00000000 0000000000000000 0000 ff")).error() == status::protocol_error);
  const auto newer = decode_hello(hex("0003 00000000 0000000000000000 0001 61 ffff"));
  REQUIRE(newer);
  CHECK(newer->minor == 3);
  CHECK(newer->name == "a");
  CHECK(decode_hello(hex("0003 00000000 0000000000000000 0002 61")).error() == status::protocol_error);
}

TEST_CASE("HELLO: is refused when its name is too long") {
  const std::string head = "0001 00000000 0000000000000000";
  CHECK(decode_hello(hex(head + "00ff" + repeated("61", 255))));
  CHECK(decode_hello(hex(head + "0100" + repeated("61", 256))).error() == status::invalid_argument);
  out_buffer out{test::arena(), 1000};
  hello h;
  h.name.assign(256, 'a');
  CHECK(encode_hello_request(out, h).error() == status::invalid_argument);
}

// --- Any content ---

namespace {

class random_messages {
 public:
  explicit random_messages(std::uint64_t seed) : random_{seed} {}

  std::uint64_t number(std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>{0, most}(random_);
  }
  std::uint32_t u32() {
    return static_cast<std::uint32_t>(number(1) == 0 ? number(0xffffffff) : number(100));
  }
  std::string text(std::size_t most) {
    std::string t(number(most), ' ');
    for (char& c : t) c = static_cast<char>(number(254) + 1);
    return t;
  }
  octets bytes(std::size_t most) {
    octets o(1 + number(most - 1));
    for (auto& b : o) b = static_cast<std::byte>(number(255));
    return o;
  }
  key_stream_id stream() {
    std::array<std::byte, 16> a{};
    for (auto& b : a) b = static_cast<std::byte>(number(255));
    return key_stream_id{a};
  }
  qos quality() {
    qos q;
    for (auto* field :
         {&q.key_chunk_size, &q.max_bps, &q.min_bps, &q.jitter, &q.priority, &q.timeout_ms, &q.ttl_s}) {
      *field = u32();
    }
    q.metadata_mimetype = text(255);
    return q;
  }
  status outcome() {
    const auto n = static_cast<std::uint32_t>(number(16));
    return static_cast<status>(n <= 8 ? n : 1024 + n - 9);
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("messages of applications: come back as they were sent when they are random") {
  const std::uint64_t seed = test::seed();
  CAPTURE(seed);
  random_messages random{seed};
  out_buffer out{test::arena(), std::size_t{1} << 20};
  const auto payload = [&out] {
    const auto reading = read_frame(out.pending());
    REQUIRE(reading.state == frame_state::complete);
    REQUIRE(reading.size == out.size());
    return reading.payload;
  };
  for (int round = 0; round < 2'000; ++round) {
    CAPTURE(round);
    open_connect_request open{random.text(2000), random.text(2000), random.quality(), random.stream()};
    open.no_wait = random.number(1) != 0;
    open.strict_once = random.number(1) != 0;
    REQUIRE(encode_open_connect2_request(out, open));
    const auto open_read = decode_open_connect2_request(payload());
    REQUIRE(open_read);
    REQUIRE(open_read->source == open.source);
    REQUIRE(open_read->destination == open.destination);
    REQUIRE(open_read->quality == open.quality);
    REQUIRE(open_read->stream == open.stream);
    REQUIRE(open_read->no_wait == open.no_wait);
    REQUIRE(open_read->strict_once == open.strict_once);
    out.clear();

    open_connect_response opened;
    opened.outcome = random.outcome();
    opened.quality = random.quality();
    opened.stream = random.stream();
    opened.epoch = random.number(~std::uint64_t{0});
    opened.lowest_live_index = random.u32();
    REQUIRE(encode_open_connect2_response(out, opened));
    const auto opened_read = decode_open_connect2_response(payload());
    REQUIRE(opened_read);
    REQUIRE(opened_read->outcome == opened.outcome);
    REQUIRE(opened_read->quality == opened.quality);
    REQUIRE(opened_read->stream == opened.stream);
    REQUIRE(opened_read->epoch == opened.epoch);
    REQUIRE(opened_read->lowest_live_index == opened.lowest_live_index);
    out.clear();

    get_key_request get;
    get.stream = random.stream();
    get.index = random.number(last_index);
    get.metadata_size = static_cast<std::uint32_t>(random.number(1000));
    REQUIRE(encode_get_key_request(out, get));
    const auto get_read = decode_get_key_request(payload());
    REQUIRE(get_read);
    REQUIRE(get_read->stream == get.stream);
    REQUIRE(get_read->index == get.index);
    REQUIRE(get_read->metadata_size == get.metadata_size);
    out.clear();

    const octets key = random.bytes(2000);
    get_key_response got;
    got.outcome = random.outcome();
    got.index = random.number(last_index);
    got.has_metadata = true;
    got.metadata = {random.u32(), random.u32()};
    got.metadata_needed = got.outcome == status::metadata_size_insufficient ? 36 : 0;
    if (got.outcome == status::success) got.key = key;
    REQUIRE(encode_get_key_response(out, got, metadata_json_size, all));
    const auto got_read = decode_get_key_response(payload());
    REQUIRE(got_read);
    REQUIRE(got_read->response.outcome == got.outcome);
    REQUIRE(got_read->response.index == got.index);
    REQUIRE(to_hex(got_read->response.key) == to_hex(got.key));
    REQUIRE(got_read->response.metadata_needed == got.metadata_needed);
    if (got.outcome == status::success) REQUIRE(got_read->response.metadata == got.metadata);
    out.clear();
  }
}
