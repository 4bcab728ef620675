// key_stream_id, metadata, qos and routing: the small nouns.
#include <doctest/doctest.h>

#include <array>
#include <random>
#include <unordered_set>

#include "qkd004/key_stream_id.hpp"
#include "qkd004/metadata.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/routing.hpp"

using namespace qkd004;

TEST_CASE("key_stream_id: reads what it writes, and refuses the rest") {
  const std::string text = "00112233-4455-4677-8899-aabbccddeeff";
  const auto id = key_stream_id::parse(text).value();
  CHECK(id.to_string() == text);
  CHECK(id.octets()[0] == std::byte{0x00});
  CHECK(id.octets()[15] == std::byte{0xff});
  CHECK(key_stream_id::parse("00112233-4455-4677-8899-AABBCCDDEEFF") == id);
  for (const char* bad : {"", "00112233-4455-4677-8899-aabbccddeef", "00112233-4455-4677-8899-aabbccddeefff",
                          "0011223304455-4677-8899-aabbccddeeff", "g0112233-4455-4677-8899-aabbccddeeff",
                          "00112233-4455-4677-8899-aabbccddeef ", "001122334455467788990aabbccddeeff000"}) {
    CAPTURE(bad);
    CHECK_FALSE(key_stream_id::parse(bad));
  }
}

TEST_CASE("key_stream_id: is a version 4 UUID when made from random octets") {  // D1
  std::array<std::byte, 16> ones{};
  ones.fill(std::byte{0xff});
  CHECK(key_stream_id::from_random(ones).to_string() == "ffffffff-ffff-4fff-bfff-ffffffffffff");
  CHECK(key_stream_id::from_random(std::array<std::byte, 16>{}).to_string() ==
        "00000000-0000-4000-8000-000000000000");
  CHECK(key_stream_id{}.is_null());
  CHECK_FALSE(key_stream_id{ones}.is_null());
}

TEST_CASE("key_stream_id: hashes ids apart that differ in one octet only") {
  std::unordered_set<std::size_t> hashes;
  for (std::size_t at = 0; at < 16; ++at) {
    for (unsigned v = 0; v < 256; ++v) {
      std::array<std::byte, 16> octets{};
      octets[at] = static_cast<std::byte>(v);
      hashes.insert(std::hash<key_stream_id>{}(key_stream_id{octets}));
    }
  }
  CHECK(hashes.size() == 16 * 255 + 1);
}

TEST_CASE("metadata: never needs more than it says") {  // D14
  CHECK(to_json({12, 0}) == R"({"age":12,"hops":0})");
  CHECK(to_json({0xffff'ffff, 0xffff'ffff}).size() == metadata_json_size);
}

TEST_CASE("negotiate: fills in the defaults") {  // D3
  const auto n = negotiate({}, {});
  CHECK(n.outcome == status::success);
  CHECK(n.granted.key_chunk_size == 32);
  CHECK(n.granted.timeout_ms == 5'000);
  CHECK(n.granted.ttl_s == 3'600);
  CHECK(n.granted.min_bps == 0);
  CHECK(n.granted.metadata_mimetype.empty());
}

TEST_CASE("negotiate: refuses with a proposal that it accepts unchanged") {  // D5
  std::mt19937_64 random{20'240'004};
  CAPTURE("seed 20240004");
  const auto some = [&](std::uint64_t most) { return static_cast<std::uint32_t>(random() % (most + 1)); };
  int refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    qos asked;
    asked.key_chunk_size = some(1) ? some(0xffff'ffff) : some(100);
    asked.max_bps = some(1) ? some(0xffff'ffff) : some(2'000);
    asked.min_bps = some(1) ? some(0xffff'ffff) : some(2'000);
    asked.jitter = some(200);
    asked.priority = some(0xffff'ffff);
    asked.timeout_ms = some(0xffff'ffff);
    asked.ttl_s = some(0xffff'ffff);
    static const char* const types[] = {"", "application/json", "application/cbor", "x"};
    asked.metadata_mimetype = types[some(3)];
    qos_offer offer;
    offer.max_chunk = 1 + some(70'000);
    offer.link_bps = some(1) ? 0 : some(0xffff'ffff);
    offer.promisable_bps = some(1) ? some(3'000) : some(0xffff'ffff);
    offer.jitter_floor = some(150);
    const auto n = negotiate(asked, offer);
    if (n.outcome == status::success) {
      REQUIRE(n.granted.key_chunk_size >= 1);
      REQUIRE(n.granted.key_chunk_size <= offer.max_chunk);
      REQUIRE(n.granted.min_bps <= n.granted.max_bps);
      continue;
    }
    ++refused;
    REQUIRE(n.outcome == status::qos_not_met);
    REQUIRE(n.granted != asked);
    const auto again = negotiate(n.granted, offer);
    REQUIRE(again.outcome == status::success);
    REQUIRE(again.granted == n.granted);
  }
  CHECK(refused > 1'000);
}

TEST_CASE("negotiate: grants what can be met as it was asked") {
  qos asked;
  asked.key_chunk_size = 64'000;
  asked.max_bps = 1'000;
  asked.min_bps = 900;
  asked.jitter = 10;
  asked.priority = 4;
  asked.timeout_ms = 1;
  asked.ttl_s = 2;
  asked.metadata_mimetype = "application/json";
  CHECK(negotiate(asked, {}).outcome == status::success);
  CHECK(negotiate(asked, {}).granted == asked);
}

TEST_CASE("is_uri: accepts a scheme or app@node, and nothing that is neither") {  // D2
  for (const char* good : {"qkd://a@b", "server://localhost:25575", "urn:x", "a@b", "h323+x.y-z:1"}) {
    CAPTURE(good);
    CHECK(is_uri(good, 2'000));
  }
  for (const char* bad : {"", "a", ":x", "a:", "@b", "a@", "1a:b", "a b:c", "a:b c", "a:\n", "a:\x7f"}) {
    CAPTURE(bad);
    CHECK_FALSE(is_uri(bad, 2'000));
  }
  CHECK(is_uri("a:" + std::string(1'998, 'x'), 2'000));
  CHECK_FALSE(is_uri("a:" + std::string(1'999, 'x'), 2'000));
}

TEST_CASE("node_of: finds the node in the forms that name one") {  // D2
  CHECK(node_of("qkd://app@node") == "node");
  CHECK(node_of("qkd://app@node:12/x?y@z") == "node");
  CHECK(node_of("qkd://node/x") == "node");
  CHECK(node_of("qkd://app@[::1]:5/x") == "[::1]");
  CHECK(node_of("app@node") == "node");
  CHECK(node_of("mailto:app@node") == "node");
  CHECK(node_of("urn:x") == "");
}

TEST_CASE("matches_any: takes a pattern as a whole or as a beginning") {
  CHECK(matches_any({"x", "ab*"}, "abc"));
  CHECK(matches_any({"x", "ab*"}, "x"));
  CHECK(matches_any({"*"}, ""));
  CHECK_FALSE(matches_any({"x", "ab*"}, "xab"));
  CHECK_FALSE(matches_any({}, "x"));
}
