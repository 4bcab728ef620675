// SPDX-License-Identifier: Apache-2.0
#include "wire/push_body.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace qkd004;
namespace push = qkd004::wire::push;

namespace {

std::span<const std::byte> octets(std::string_view text) { return std::as_bytes(std::span{text}); }

constexpr char id_text[] = "0123abcd-4567-4890-8bcd-0123456789ab";

}  // namespace

TEST_CASE("push body: key material comes out as it went in") {
  const secret_arena arena{{std::size_t{1} << 20, true}};
  push::reader reader{arena};
  for (const std::size_t size : {0U, 1U, 2U, 3U, 32U, 1000U, 65'536U}) {
    CAPTURE(size);
    std::vector<std::byte> key(size);
    for (std::size_t i = 0; i < size; ++i) key[i] = static_cast<std::byte>(i * 7 + size);
    push_key_material m;
    m.index = 0xffff'ffff;
    m.key = key;
    m.has_metadata = true;
    m.stream = *key_stream_id::parse(id_text);
    std::vector<std::byte> text(push::size_of(m));
    push::write(text, m);
    const auto back = reader.key_material(text);
    REQUIRE(back);
    CHECK(back->index == m.index);
    CHECK(back->has_metadata);
    CHECK(back->stream == m.stream);
    REQUIRE(back->key.size() == size);
    CHECK(std::equal(key.begin(), key.end(), back->key.begin()));
  }
}

TEST_CASE("push body: key material as others write it") {
  const secret_arena arena{{std::size_t{1} << 20, true}};
  push::reader reader{arena};
  const auto bare = reader.key_material(octets(R"( {"key_buffer" : "AQI=", "index":7, "status":0} )"));
  REQUIRE(bare);
  CHECK_FALSE(bare->has_metadata);
  CHECK(bare->key.size() == 2);
  const auto empty = reader.key_material(octets(R"({"status":0,"index":1,"key_buffer":"","metadata":null})"));
  REQUIRE(empty);
  CHECK_FALSE(empty->has_metadata);
  const auto word = reader.key_material(octets(R"({"status":4,"index":1,"key_buffer":null})"));
  REQUIRE(word);
  CHECK(word->outcome == status::no_qkd_connection);
  CHECK(word->key.empty());
}

TEST_CASE("push body: what is no key material is refused") {
  const secret_arena arena{{std::size_t{1} << 20, true}};
  push::reader reader{arena};
  const std::string id = id_text;
  for (const std::string& bad : {
           std::string{},
           std::string{"{}"},
           std::string{"[]"},
           std::string{R"({"status":0,"index":1})"},
           std::string{R"({"index":1,"key_buffer":"AQI="})"},
           std::string{R"({"status":0,"key_buffer":"AQI="})"},
           std::string{R"({"status":9,"index":1,"key_buffer":"AQI="})"},
           std::string{R"({"status":"0","index":1,"key_buffer":"AQI="})"},
           std::string{R"({"status":0,"index":4294967296,"key_buffer":"AQI="})"},
           std::string{R"({"status":0,"index":1.5,"key_buffer":"AQI="})"},
           std::string{R"({"status":0,"index":1,"key_buffer":"AQI"})"},
           std::string{R"({"status":0,"index":1,"key_buffer":"AQJ="})"},
           std::string{R"({"status":0,"index":1,"key_buffer":"AQ==AQ=="})"},
           std::string{R"({"status":0,"index":1,"key_buffer":"A Q="})"},
           std::string{R"({"status":0,"index":1,"index":1,"key_buffer":"AQI="})"},
           std::string{R"({"status":0,"index":1,"key_buffer":"AQI=","metadata":{}})"},
           std::string{R"({"status":0,"index":1,"key_buffer":"AQI=","metadata":{"size":1}})"},
           std::string{R"({"status":0,"index":1,"key_buffer":"AQI=","metadata":{"buffer":"x"}})"},
           R"({"status":0,"index":1,"key_buffer":"AQI=","metadata":{"size":-1,"buffer":{"key_stream_id":")" +
               id + "\"}}}",
           std::string{
               R"({"status":0,"index":1,"key_buffer":"AQI=","metadata":{"buffer":{"key_stream_id":"x"}}})"},
           R"({"status":0,"index":1,"key_buffer":"AQI=","metadata":{"buffer":{"key_stream_id":")" + id +
               R"(","key_stream_id":")" + id + "\"}}}",
       }) {
    CAPTURE(bad);
    CHECK(reader.key_material(octets(bad)).error() == make_error_code(status::protocol_error));
  }
}

TEST_CASE("push body: calls come out as they went in") {
  const secret_arena arena{{std::size_t{1} << 20, true}};
  push::reader reader{arena};
  open_connect_request open{"qkd://a@A", "qkd://\"b\"@B", {}, {}};
  open.quality.ttl_s = 7;
  open.quality.metadata_mimetype = "application/json";
  auto back = reader.open_connect(octets(push::open_connect_text(open)));
  REQUIRE(back);
  CHECK(back->source == open.source);
  CHECK(back->destination == open.destination);
  CHECK(back->quality == open.quality);
  CHECK(back->stream.is_null());
  open.stream = *key_stream_id::parse(id_text);
  CHECK(reader.open_connect(octets(push::open_connect_text(open)))->stream == open.stream);

  push_get_key get;
  get.stream = open.stream;
  CHECK_FALSE(reader.get_key(octets(push::get_key_text(get)))->index);
  get.index = 0xffff'ffff;
  get.metadata = "{}";
  const auto got = reader.get_key(octets(push::get_key_text(get)));
  CHECK(got->index == 0xffff'ffff);
  CHECK(got->metadata == "{}");
  CHECK(reader.close(octets(push::close_text({open.stream})))->stream == open.stream);

  open_connect_response opened;
  opened.outcome = status::peer_not_connected;
  opened.stream = open.stream;
  opened.quality.key_chunk_size = 32;
  const auto answer = reader.answer(octets(push::opened_text(opened, open)));
  REQUIRE(answer);
  CHECK(answer->outcome == opened.outcome);
  CHECK(answer->stream == open.stream);
  CHECK(answer->quality.key_chunk_size == 32);
  opened.outcome = status::qos_not_met;
  CHECK(reader.answer(octets(push::counter_text(opened)))->quality.key_chunk_size == 32);
  CHECK(reader.answer({})->outcome == status::success);
  CHECK(reader.answer(octets(push::status_text(status::timeout)))->outcome == status::timeout);
  CHECK_FALSE(reader.answer(octets("<html>")));
}
