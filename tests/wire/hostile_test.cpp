// SPDX-License-Identifier: Apache-2.0
//
// What holds for every message, whoever sends it. For ASan each input lies in memory of exactly its size.
#include <doctest/doctest.h>

#include <random>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using test::exact;
using test::octets;

namespace {

/// The decoder refuses with one of the two errors, or what it accepts encodes to the same octets again.
void check_outcome(const test::sample& s, std::span<const std::byte> payload) {
  const auto came_to = s.decode(payload);
  if (came_to.error) {
    const bool documented =
        came_to.error == status::protocol_error || came_to.error == status::invalid_argument;
    REQUIRE(documented);
    return;
  }
  REQUIRE_FALSE(came_to.again.empty());
  if (!s.canonical) return;
  const auto again = std::span{came_to.again}.subspan(frame_header::size);
  REQUIRE(std::equal(again.begin(), again.end(), payload.begin(), payload.end()));
}

}  // namespace

TEST_CASE("messages: decode to what was encoded") {
  for (const auto& s : test::samples()) {
    CAPTURE(s.name);
    exact payload{test::payload_of(s.frame)};
    const auto came_to = s.decode(payload.span());
    CHECK_FALSE(came_to.error);
    CHECK(test::to_hex(came_to.again) == test::to_hex(s.frame));
  }
}

TEST_CASE("messages: truncated anywhere are a protocol error") {
  for (const auto& s : test::samples()) {
    const octets payload = test::payload_of(s.frame);
    for (std::size_t n = 0; n < payload.size(); ++n) {
      CAPTURE(s.name);
      CAPTURE(n);
      exact input{std::span{payload}.first(n)};
      REQUIRE(s.decode(input.span()).error == status::protocol_error);
    }
  }
}

TEST_CASE("messages: followed by one octet more are a protocol error") {
  for (const auto& s : test::samples()) {
    for (const auto octet : {std::byte{0}, std::byte{0xff}}) {
      CAPTURE(s.name);
      octets payload = test::payload_of(s.frame);
      payload.push_back(octet);
      exact input{payload};
      REQUIRE(s.decode(input.span()).error == status::protocol_error);
    }
  }
}

TEST_CASE("messages: with any one octet changed are refused or encode to the same octets again") {
  for (const auto& s : test::samples()) {
    exact payload{test::payload_of(s.frame)};
    for (std::size_t at = 0; at < payload.span().size(); ++at) {
      std::byte& octet = payload.span()[at];
      const std::byte original = octet;
      for (unsigned value = 0; value < 256; ++value) {
        CAPTURE(s.name);
        CAPTURE(at);
        CAPTURE(value);
        octet = static_cast<std::byte>(value);
        check_outcome(s, payload.span());
      }
      octet = original;
    }
  }
}

TEST_CASE(
    "messages: with several octets changed and cut anywhere are refused or encode to the same octets again") {
  const std::uint64_t seed = test::seed();
  CAPTURE(seed);
  std::mt19937_64 random{seed};
  for (const auto& s : test::samples()) {
    const octets payload = test::payload_of(s.frame);
    for (int round = 0; round < 2'000; ++round) {
      CAPTURE(s.name);
      CAPTURE(round);
      octets changed = payload;
      for (auto changes = random() % 8; changes > 0; --changes) {
        changed[random() % changed.size()] = static_cast<std::byte>(random() % 4 == 0 ? 0 : random() & 0xff);
      }
      if (random() % 4 == 0) changed.resize(random() % (payload.size() + 8));
      exact input{changed};
      check_outcome(s, input.span());
    }
  }
}

TEST_CASE("frames: with any one octet of the header changed are read without looking past the input") {
  for (const auto& s : test::samples()) {
    exact frame{s.frame};
    for (std::size_t at = 0; at < frame_header::size; ++at) {
      std::byte& octet = frame.span()[at];
      const std::byte original = octet;
      for (unsigned value = 0; value < 256; ++value) {
        octet = static_cast<std::byte>(value);
        const auto reading = read_frame(frame.span());
        if (reading.state != frame_state::complete) continue;
        REQUIRE(reading.size <= s.frame.size());
        static_cast<void>(s.decode(reading.payload));
        if (is_peer_service(reading.header.service)) {
          static_cast<void>(decode_peer(reading.header.service, reading.payload));
        }
      }
      octet = original;
    }
  }
}
