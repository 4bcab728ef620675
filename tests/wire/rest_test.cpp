// SPDX-License-Identifier: Apache-2.0
#include "wire/rest.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qkd004/vendor_metadata.hpp"

namespace {

using namespace qkd004;
namespace rest = wire::rest;

const key_stream_id some_id = *key_stream_id::parse("01234567-89ab-4def-8123-456789abcdef");

std::span<const std::byte> octets(std::string_view text) { return std::as_bytes(std::span{text}); }

template <class... Said>
std::string written(std::size_t size, const Said&... what) {
  std::vector<std::byte> to(size);
  rest::write(to, what...);
  return {reinterpret_cast<const char*>(to.data()), to.size()};
}

/// The body in which a client says a request.
std::string body_of(const any_request& r) {
  const auto said = rest::say(r);
  REQUIRE(said);
  return said->body;
}

struct reading_call : call {
  explicit reading_call(any_request r, std::size_t room = 64) : key(room), metadata(4) {
    request = std::move(r);
    key_buffer = key;
    metadata_buffer = metadata;
  }
  std::vector<std::byte> key;
  std::vector<key_metadata> metadata;
};

}  // namespace

TEST_CASE("rest: a request is read as it was said") {
  rest::reader in;
  open_connect_request open{"qkd://\"a\\b\"@x/\xc3\xa4", "qkd://b@y", {}, some_id};
  open.quality = {0xffff'ffff, 1, 2, 3, 4, 5, 6, "application/json"};
  open.no_wait = true;
  open.strict_once = true;
  const auto opened = in.open_connect(octets(body_of(open)), {});
  REQUIRE(opened);
  CHECK(opened->source == open.source);
  CHECK(opened->destination == open.destination);
  CHECK(opened->quality == open.quality);
  CHECK(opened->stream == some_id);
  CHECK(opened->no_wait);
  CHECK(opened->strict_once);

  get_key_request one;
  one.stream = some_id;
  one.index = 0xffff'ffff;
  one.metadata_size = 36;
  one.no_wait = true;
  const auto got = in.get_key(octets(body_of(one)));
  REQUIRE(got);
  CHECK_FALSE(got->several);
  CHECK(got->one.stream == some_id);
  CHECK(got->one.index == 0xffff'ffff);
  CHECK(got->one.metadata_size == 36);
  CHECK(got->one.no_wait);

  get_keys_request many;
  many.stream = some_id;
  many.epoch = 77;
  many.first = 5;
  many.count = 65'535;
  many.acknowledge_below = std::uint64_t{1} << 40;
  many.vendor_metadata = true;
  const auto several = in.get_key(octets(body_of(many)));
  REQUIRE(several);
  CHECK(several->several);
  CHECK(several->names_epoch);
  CHECK(several->many.epoch == 77);
  CHECK(several->many.first == 5);
  CHECK(several->many.count == 65'535);
  CHECK(several->many.acknowledge_below == 0xffff'ffff);
  CHECK(several->many.vendor_metadata);
  CHECK_FALSE(several->many.no_wait);

  CHECK(in.close(octets(body_of(close_request{some_id})))->stream == some_id);
  CHECK(in.wait_peer(octets(body_of(wait_peer_request{some_id, 9})))->timeout_ms == 9);
  const auto had = in.acknowledge(octets(body_of(acknowledge_request{some_id, 3, 4})));
  REQUIRE(had);
  CHECK(had->epoch == 3);
  CHECK(had->below == 4);
  CHECK(rest::say(report_request{some_id})->path ==
        "/qkd004/v2/streams?key_stream_id=" + some_id.to_string());
}

TEST_CASE("rest: what is left out or null is chosen by the key manager") {
  rest::reader in;
  const auto r = in.open_connect(
      octets(R"({"destination":"d","source":"s","qos":{"ttl":null},"key_stream_id":null})"), {});
  REQUIRE(r);
  CHECK(r->quality == qos{});
  CHECK(r->stream.is_null());
  CHECK(in.open_connect(octets(R"({"destination":"d","source":"s","qos":null})"), {}));
  CHECK(in.open_connect(octets(R"({"source":"","destination":""})"), {}));  // the key manager's to judge
}

TEST_CASE("rest: a URI that is too long is refused as an argument, and what is no request as such") {
  rest::reader in;
  limits bounds;
  bounds.max_uri = 3;
  CHECK(in.open_connect(octets(R"({"source":"abcd","destination":"d"})"), bounds).error() ==
        make_error_code(status::invalid_argument));
  CHECK(in.open_connect(octets(R"({"source":"abc"})"), bounds).error() ==
        make_error_code(status::protocol_error));
  CHECK(std::string_view{in.why()} == "no source or no destination");
  CHECK(in.get_key(octets("{")).error() == make_error_code(status::protocol_error));
  CHECK(std::string_view{in.why()} == "not JSON");
}

TEST_CASE("rest: a client says nothing that would be another text at the other end") {
  for (const std::string bad : {"\xff", "a\nb", "\x7f", "\xc0\xaf"}) {
    CAPTURE(bad);
    CHECK(rest::say(open_connect_request{bad, "d"}).error() == make_error_code(status::invalid_argument));
  }
  for (const std::string good : {R"(a\u0041)", "\u20ac"}) {
    const auto said = rest::say(open_connect_request{good, "d"});
    REQUIRE(said);
    rest::reader in;
    CHECK(in.open_connect(octets(said->body), {}).value().source == good);
  }
  get_key_request past;
  past.index = std::uint64_t{1} << 32;
  CHECK_FALSE(rest::say(past));
  get_keys_request none;
  none.count = 0;
  CHECK_FALSE(rest::say(none));
}

TEST_CASE("rest: an answer is read as it was written, and has the size that was measured") {
  rest::reader in;
  open_connect_response opened;
  opened.outcome = status::qos_not_met;
  opened.quality = {32, 1, 2, 3, 4, 5, 6, "application/json"};
  opened.stream = some_id;
  opened.epoch = 12;
  opened.lowest_live_index = 7;
  reading_call open{open_connect_request{"s", "d"}};
  CHECK_FALSE(in.answer(octets(written(rest::size_of(opened), opened)), open));
  const auto& back = std::get<open_connect_response>(open.response);
  CHECK(back.outcome == status::qos_not_met);
  CHECK(back.quality == opened.quality);
  CHECK(back.stream == some_id);
  CHECK(back.epoch == 12);
  CHECK(back.lowest_live_index == 7);

  const std::string newer =
      R"({"status":0,"key_stream_id":")" + some_id.to_string() +
      R"(","qos":{"ttl":7,"more":[1,{"ttl":8}]},"epoch":1,"lowest_live_index":0,"more":{}})";
  CHECK_FALSE(in.answer(octets(newer), open));
  CHECK(std::get<open_connect_response>(open.response).quality.ttl_s == 7);

  const std::vector<std::byte> octets_of_key(33, std::byte{0xfe});
  get_key_response key;
  key.index = 0xffff'fffe;
  key.key = octets_of_key;
  key.has_metadata = true;
  key.metadata = {0xffff'ffff, 3};
  reading_call get{get_key_request{}};
  CHECK_FALSE(in.answer(octets(written(rest::size_of(key, 36), key, std::uint32_t{36})), get));
  const auto& got = std::get<get_key_response>(get.response);
  CHECK(got.index == 0xffff'fffe);
  CHECK(std::vector<std::byte>(got.key.begin(), got.key.end()) == octets_of_key);
  CHECK(got.has_metadata);
  CHECK(got.metadata == key.metadata);
  CHECK(written(rest::size_of(key, 35), key, std::uint32_t{35}).find("metadata") == std::string::npos);

  get_key_response small;
  small.outcome = status::metadata_size_insufficient;
  small.metadata_needed = 36;
  reading_call cramped{get_key_request{}};
  CHECK_FALSE(in.answer(octets(written(rest::size_of(small, 9), small, std::uint32_t{9})), cramped));
  CHECK(std::get<get_key_response>(cramped.response).metadata_needed == 36);

  const std::vector<served_key> keys = {{octets_of_key, {1, 0}}, {octets_of_key, {2, 1}}};
  get_keys_response run;
  run.first = 9;
  run.chunk_size = 33;
  run.keys = keys;
  run.vendor_metadata = R"({"x_security":"simulated"})";
  get_keys_request asked;
  asked.count = 2;
  reading_call several{asked, 66};
  CHECK_FALSE(in.answer(octets(written(rest::size_of(run), run)), several));
  CHECK(several.keys == 2);
  CHECK(std::get<get_keys_response>(several.response).first == 9);
  CHECK(std::get<get_keys_response>(several.response).chunk_size == 33);
  CHECK(several.vendor_metadata == run.vendor_metadata);
  CHECK(several.metadata[1] == key_metadata{2, 1});
  CHECK(several.key == std::vector<std::byte>(66, std::byte{0xfe}));
}

TEST_CASE("rest: an answer that is none, or a key that does not fit, gives no key") {
  rest::reader in;
  const std::vector<std::string> bad = {
      "",
      "{}",
      "[]",
      R"({"status":0})",
      R"({"status":0,"index":0})",
      R"({"status":9,"index":0})",
      R"({"status":0,"index":-1,"key_buffer":"AAAA"})",
      R"({"status":0,"index":0,"key_buffer":""})",
      R"({"status":0,"index":0,"key_buffer":"AAB="})",
      R"({"status":0,"index":0,"key_buffer":"AAA"})",
      R"({"status":0,"index":0,"key_buffer":"AA AA=="})",
      R"({"status":0,"index":0,"key_buffer":7})",
      R"({"status":0,"index":0,"key_buffer":"AAAA","metadata":7})",
      R"({"status":8,"index":0})",
  };
  for (const std::string& text : bad) {
    CAPTURE(text);
    reading_call c{get_key_request{}};
    CHECK(in.answer(octets(text), c) == make_error_code(status::protocol_error));
  }
  reading_call small{get_key_request{}, 2};
  CHECK(in.answer(octets(R"({"status":0,"index":0,"key_buffer":"AAAA"})"), small) ==
        make_error_code(status::invalid_argument));
  get_keys_request one;
  reading_call more{one};
  const std::string two = R"({"key_buffer":"AAAA","metadata":{"age":1,"hops":0}})";
  CHECK(in.answer(octets(R"({"status":0,"index":0,"keys":[)" + two + "," + two + "]}"), more) ==
        make_error_code(status::protocol_error));
}

TEST_CASE("rest: capabilities and problem details say what they say, and nothing else") {
  rest::reader in;
  const auto found = in.read_capabilities(octets(rest::capabilities_text("n\"ode", "00", {})));
  REQUIRE(found);
  CHECK(found->node == "n\"ode");
  CHECK(found->served == extensions{true, true, true, false, true});
  CHECK_FALSE(in.read_capabilities(octets("{}")));
  CHECK(in.code_of_problem(octets(R"({"status":403,"code":1026})")) == status::not_authorized);
  CHECK_FALSE(in.code_of_problem(octets(R"({"status":403})")));
  CHECK_FALSE(in.code_of_problem(octets(R"({"status":403,"code":9})")));
}
