// SPDX-License-Identifier: Apache-2.0
#include "cli/print.hpp"

#include <doctest/doctest.h>

#include "cli/digest.hpp"

using namespace qkd004;
using namespace qkd004::cli;

TEST_CASE("print: writes control characters as escapes when text comes from elsewhere") {
  CHECK(printable("a\tb\x1b[0m\x7f\nä") == "a\\x09b\\x1b[0m\\x7f\\x0aä");
}

TEST_CASE("print: names a status by number and words") {
  CHECK(describe(status::qos_not_met) == "status 7: the requested QoS cannot be met");
}

TEST_CASE("print: gives OPEN_CONNECT's answer as JSON with every QoS field") {
  qos q;
  q.key_chunk_size = 1;
  q.max_bps = 2;
  q.min_bps = 3;
  q.jitter = 4;
  q.priority = 5;
  q.timeout_ms = 6;
  q.ttl_s = 7;
  q.metadata_mimetype = "a\"\\\n";
  const auto id = key_stream_id::parse("01234567-89ab-4cde-8f01-23456789abcd");
  CHECK(
      to_json(status::success, *id, q) ==
      R"({"status":0,"text":"success","key_stream_id":"01234567-89ab-4cde-8f01-23456789abcd","qos":{"key_chunk_size":1,)"
      R"("max_bps":2,"min_bps":3,"jitter":4,"priority":5,"timeout_ms":6,"ttl_s":7,"metadata_mimetype":"a\"\\\u000a"}})");
  CHECK(to_json(status::qos_not_met, {}, {}).find("\"key_stream_id\":null") != std::string::npos);
  CHECK(to_json(status::ksid_in_use) == R"({"status":5,"text":"the key stream id is in use or was closed"})");
}

TEST_CASE("print: tells a refusal from a failed transport by the exit code") {
  CHECK(complain("a test", make_error_code(status::ksid_in_use)) == exit_code::refused);
  CHECK(complain("a test", make_error_code(std::errc::connection_refused)) == exit_code::transport);
  CHECK(complain("a test", make_error_code(status::protocol_error)) == exit_code::transport);
}

TEST_CASE("digest: is SHA-256 of the pieces together") {
  // FIPS 180-4's example "abc"
  const std::string_view text = "abc";
  sha256 pieces;
  pieces.add(std::as_bytes(std::span{text.substr(0, 1)}));
  pieces.add(std::as_bytes(std::span{text.substr(1)}));
  const auto digest = pieces.finish();
  const std::string hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  CHECK(to_hex(digest) == hex);
  CHECK(digest == sha256::of(std::as_bytes(std::span{text})));
  CHECK(parse_digest(hex) == digest);
  CHECK(fingerprint(digest) == "ba7816bf8f01cfea");
  CHECK_FALSE(parse_digest(hex.substr(1)));
  CHECK_FALSE(parse_digest(hex.substr(1) + "g"));
}
