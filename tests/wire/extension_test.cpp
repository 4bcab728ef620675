// SPDX-License-Identifier: Apache-2.0
//
// What is refused, and what is bounded. The octets are in vectors/extension.
#include "wire/extension.hpp"

#include <doctest/doctest.h>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using namespace qkd004::wire::extension;
using test::encoded;
using test::exact;
using test::hex;
using test::octets;
using test::payload_of;
using test::to_hex;

namespace {

const std::string id = "00112233445566778899aabbccddeeff";

/// A run of `count` keys that are one and the same.
struct run_of {
  run_of(std::size_t count, std::uint32_t chunk_size)
      : key(chunk_size, std::byte{0xc5}), keys(count, served_key{key, {}}) {
    response.chunk_size = chunk_size;
    response.keys = keys;
  }
  octets key;
  std::vector<served_key> keys;
  get_keys_response response;
};

std::error_code error_of(const get_keys_response& r) {
  out_buffer out{test::arena(), std::size_t{1} << 20};
  const auto encoded_response = encode_get_keys_response(out, r);
  const auto encoded_delivery = encode_delivery(out, test::stream(), r);
  CHECK(encoded_response.error() == encoded_delivery.error());
  return encoded_response.error();
}

}  // namespace

TEST_CASE("GET_KEYS request: is refused when it is malformed or its content is") {
  const std::string epoch = "0000000000000001";
  struct {
    std::string payload;
    status expected;
    std::string why;
  } const rows[] = {
      {id + epoch + "00000000 0001 00000000 00000000", status::success, "nothing"},
      {id + epoch + "00000000 ffff 00000003 ffffffff", status::success, "the most of all"},
      {id + epoch + "ffffffff 0001 00000000 00000000", status::success, "judged by the key manager"},
      {id + "0000000000000000 00000000 0001 00000000 00000000", status::success, "epoch 0: judged there too"},
      {id + epoch + "00000000 0000 00000000 00000000", status::invalid_argument, "no key"},
      {id + epoch + "00000000 0001 00000004 00000000", status::invalid_argument, "a flag that is not known"},
      {id + epoch + "00000000 0001 80000000 00000000", status::invalid_argument, "another"},
      {id + epoch + "00000000 0000 00000000 00000000 00", status::protocol_error, "no key and malformed"},
      {id + epoch + "00000000 0001 00000000", status::protocol_error, "no acknowledgement"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_get_keys_request(payload.span()).error()) == row.expected);
  }
}

TEST_CASE("requests of the extension: are not encoded when their octets could not say them") {
  out_buffer out{test::arena(), 10'000};
  get_keys_request get;
  get.count = 0;
  CHECK(encode_get_keys_request(out, get).error() == status::invalid_argument);
  get.count = 1;
  get.first = last_index + 1;
  CHECK(encode_get_keys_request(out, get).error() == status::invalid_argument);
  CHECK(encode_subscribe_request(out, {{}, 1, last_index + 1, 1}).error() == status::invalid_argument);
  CHECK(out.empty());
}

TEST_CASE("requests of the extension: acknowledge everything when they are to acknowledge beyond 32 bits") {
  get_keys_request get;
  get.acknowledge_below = std::uint64_t{1} << 40;
  const octets got = payload_of(encoded([&](out_buffer& out) { return encode_get_keys_request(out, get); }));
  CHECK(decode_get_keys_request(got)->acknowledge_below == last_index + 1);
  const acknowledge_request ack{test::stream(), 1, std::uint64_t{1} << 40};
  const octets said =
      payload_of(encoded([&](out_buffer& out) { return encode_acknowledge_request(out, ack); }));
  CHECK(decode_acknowledge_request(said)->below == last_index + 1);
}

TEST_CASE("GET_KEYS response: is refused when it is malformed or contradicts itself") {
  struct {
    std::string payload;
    status expected;
    std::string why;
  } const rows[] = {
      {"00000000 00000000 0001 00000001 c0 0000000000000000 00000000", status::success, "nothing"},
      {"00000000 fffffffd 0002 00000001 c0c1 0000000000000000 0000000000000000 00000000", status::success,
       "up to the last index"},
      {"00000000 fffffffe 0002 00000001 c0c1 0000000000000000 0000000000000000 00000000",
       status::protocol_error, "an index past the last"},
      {"00000000 ffffffff 0001 00000001 c0 0000000000000000 00000000", status::protocol_error,
       "begins past the last index"},
      {"00000000 00000000 0000 00000000 00000000", status::protocol_error, "success without a key"},
      {"00000000 00000000 0000 00000020 00000000", status::protocol_error, "no key of 32 octets"},
      {"00000000 00000000 0001 00000000 0000000000000000 00000000", status::protocol_error,
       "a key of no octets"},
      {"00000000 00000000 ffff ffffffff c0 0000000000000000 00000000", status::protocol_error,
       "keys of 256 TiB"},
      {"00000000 00000000 0002 00000001 c0c1 0000000000000000 00000000", status::protocol_error,
       "metadata of one key too few"},
      {"00000000 00000000 0001 00000001 c0 0000000000000000 00000001", status::protocol_error,
       "vendor metadata past the payload"},
      {"00000000 00000000 0001 00000001 c0 0000000000000000 00000000 00", status::protocol_error,
       "an octet too many"},
      {"00000000 00000000 0001 00000001 c0 0000000000000000", status::protocol_error, "no vendor metadata"},
      {"00000006 ffffffff 0000 00000000 00000000", status::success, "a failure"},
      {"00000006 00000000 0001 00000001 c0 0000000000000000 00000000", status::protocol_error,
       "a failure with a key"},
      {"00000006 00000000 0000 00000020 00000000", status::protocol_error, "a failure with a chunk size"},
      {"00000006 00000000 0000 00000000 00000001 7b", status::protocol_error, "a failure with metadata"},
      {"00000009 00000000 0000 00000000 00000000", status::protocol_error, "status 9"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    exact payload{hex(row.payload)};
    CHECK(to_status(decode_get_keys_response(payload.span()).error()) == row.expected);
    exact delivered{hex(id + row.payload)};
    CHECK(to_status(decode_delivery(delivered.span()).error()) == row.expected);
  }
}

TEST_CASE("GET_KEYS response: is not encoded when it makes no sense") {
  CHECK_FALSE(error_of(run_of{2, 4}.response));
  CHECK(error_of(run_of{0, 4}.response) == status::invalid_argument);
  CHECK(error_of(run_of{2, 0}.response) == status::invalid_argument);
  CHECK(error_of(run_of{65'536, 1}.response) == status::invalid_argument);
  run_of past{2, 4};
  past.response.first = last_index;
  CHECK(error_of(past.response) == status::invalid_argument);
  past.response.first = ~std::uint64_t{0};
  CHECK(error_of(past.response) == status::invalid_argument);
  past.response.first = last_index - 1;
  CHECK_FALSE(error_of(past.response));
  run_of uneven{2, 4};
  uneven.keys[1].key = std::span{uneven.key}.first(3);
  CHECK(error_of(uneven.response) == status::invalid_argument);
  run_of talkative{1, 4};
  const std::string vendor(max_vendor_metadata + 1, 'x');
  talkative.response.vendor_metadata = vendor;
  CHECK(error_of(talkative.response) == status::invalid_argument);
}

TEST_CASE("GET_KEYS response: never carries a key or vendor metadata when it fails") {
  run_of r{3, 4};
  r.response.outcome = status::index_not_available;
  r.response.first = std::uint64_t{1} << 32;
  r.response.vendor_metadata = "{}";
  const octets frame = encoded([&](out_buffer& out) { return encode_get_keys_response(out, r.response); });
  CHECK(to_hex(frame) ==
        "0201014700000012"
        "00000405"
        "ffffffff"
        "0000"
        "00000000"
        "00000000");
}

TEST_CASE("GET_KEYS response: is decoded in place, and leaves no key behind when it was sent") {
  out_buffer out{test::arena(), 10'000};
  const run_of r{3, 32};
  REQUIRE(encode_get_keys_response(out, r.response));
  const std::span<const std::byte> memory = out.pending();
  const auto read = decode_get_keys_response(memory.subspan(frame_header::size));
  REQUIRE(read);
  CHECK(read->keys.data() == memory.data() + frame_header::size + 14);
  CHECK(to_hex(read->key(2)) == to_hex(r.key));
  out.consume(memory.size());
  CHECK(to_hex(memory) == std::string(2 * memory.size(), '0'));
}

TEST_CASE("GET_KEYS response: has the size that is foretold") {
  run_of r{5, 32};
  r.response.vendor_metadata = "{\"x_rate\":1}";
  const auto size_of = [](const octets& frame) { return frame.size() - frame_header::size; };
  CHECK(size_of(encoded([&](out_buffer& out) { return encode_get_keys_response(out, r.response); })) ==
        get_keys_response_size(5, 32, 12));
  CHECK(size_of(encoded([&](out_buffer& out) { return encode_delivery(out, test::stream(), r.response); })) ==
        get_keys_response_size(5, 32, 12) + key_stream_id::size);
}

TEST_CASE("GET_KEYS response: has at most as many keys as the frame takes, and one key always fits") {
  limits bounds;
  for (const std::uint32_t chunk_size : {1U, 16U, 32U, 1'000U, 20'000U, 64U * 1024U}) {
    for (const std::size_t vendor : {std::size_t{0}, max_vendor_metadata}) {
      CAPTURE(chunk_size);
      CAPTURE(vendor);
      const std::uint16_t most = most_keys(chunk_size, bounds, vendor);
      const auto size_with = [&](std::size_t count) {
        return key_stream_id::size +
               get_keys_response_size(static_cast<std::uint16_t>(count), chunk_size, vendor);
      };
      CHECK(size_with(most + 1U) > bounds.max_frame);
      if (most > 1) CHECK(size_with(most) <= bounds.max_frame);

      run_of r{most, chunk_size};
      const std::string text(vendor, 'x');
      r.response.vendor_metadata = text;
      const octets frame =
          encoded([&](out_buffer& out) { return encode_delivery(out, test::stream(), r.response); });
      CHECK(read_frame(frame, bounds).state == frame_state::complete);
    }
  }
  bounds.max_frame = 10;
  CHECK(most_keys(32, bounds) == 1);
  bounds.max_frame = std::size_t{1} << 30;
  CHECK(most_keys(32, bounds) == 65'535);
  CHECK(most_keys(0xffff'ffff, bounds) == 1);
}

TEST_CASE("STATUS response: has JSON with a success only") {
  const octets payload = payload_of(encoded([](out_buffer& out) {
    return encode_report_response(out, {status::unknown_key_stream, "{}"});
  }));
  CHECK(to_hex(payload) == "0000040000000000");
  CHECK(decode_report_response(hex("00000400 00000002 7b7d")).error() == status::protocol_error);
  CHECK(decode_report_response(hex("00000000 00000003 7b7d")).error() == status::protocol_error);
  CHECK(decode_report_response(hex("00000000 00000002 7b7d"))->json == "{}");
}
