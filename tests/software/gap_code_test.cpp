// SPDX-License-Identifier: Apache-2.0
#include "software/gap_code.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace qkd004::software;

namespace {

struct where {
  std::vector<std::uint32_t> gaps;
  std::vector<std::uint64_t> bases;
};

where drawn(std::size_t count, double p, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  where w{std::vector<std::uint32_t>(count), std::vector<std::uint64_t>((count + 63) / 64)};
  for (auto& gap : w.gaps) {
    const double u = (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
    gap = static_cast<std::uint32_t>(1 + std::min(std::floor(std::log(u) / std::log1p(-p)), 4e9));
  }
  for (auto& word : w.bases) word = random();
  if (count % 64 != 0) w.bases.back() &= (std::uint64_t{1} << (count % 64)) - 1;
  return w;
}

std::vector<std::byte> message_of(const where& w, double p) {
  std::vector<std::byte> message;
  encode_gaps(w.gaps, w.bases, p, message);
  return message;
}

}  // namespace

TEST_CASE("gap code: gives back what went in whatever the gaps are") {
  for (const double p : {1.0, 0.9, 0.5, 0.0265, 2.7e-3, 2.8e-5, 1e-9, 0.0}) {
    for (const std::size_t count : {0UL, 1UL, 63UL, 64UL, 65UL, 5000UL}) {
      CAPTURE(p);
      CAPTURE(count);
      const where w = drawn(count, p == 0 || p == 1 ? 0.01 : p, 1);
      std::vector<std::byte> message{std::byte{7}};
      encode_gaps(w.gaps, w.bases, p, message);
      CHECK(message.front() == std::byte{7});
      decoded_gaps out;
      REQUIRE(decode_gaps(std::span{message}.subspan(1), count, out));
      CHECK(out.gaps == w.gaps);
      CHECK(out.bases == w.bases);
    }
  }
}

TEST_CASE("gap code: carries gaps far longer than expected") {
  const where w{{1, 0xffffffff, 2, 0xfffffffe, 1u << 20, 21, 20, 19}, {0b10110101}};
  for (const double p : {0.99, 0.3, 1e-6}) {
    decoded_gaps out;
    REQUIRE(decode_gaps(message_of(w, p), 8, out));
    CHECK(out.gaps == w.gaps);
    CHECK(out.bases == w.bases);
  }
}

TEST_CASE("gap code: takes log2 of 1 over P and 2.6 bits for each detection") {
  constexpr std::size_t count = 200'000;
  for (const double p : {0.2, 0.0265, 0.02, 0.015, 2.7e-3, 2.8e-5, 1e-7}) {
    const double bits = 8.0 * static_cast<double>(message_of(drawn(count, p, 2), p).size()) / count;
    CAPTURE(p);
    CHECK(bits < std::log2(1 / p) + 2.6);
    CHECK(bits >
          std::log2(1 / p) + 2.2);  // the entropy of a gap is 1.44 above log2(1/P), and the basis has a bit
  }
}

TEST_CASE(
    "gap code: refuses more detections than the caller takes and takes no memory for what cannot be there") {
  const where w = drawn(1000, 0.01, 3);
  auto message = message_of(w, 0.01);
  decoded_gaps out;
  CHECK(decode_gaps(message, 1000, out));
  decoded_gaps fresh;
  CHECK_FALSE(decode_gaps(message, 999, fresh));
  for (std::size_t i = 0; i < 4; ++i) message[i] = std::byte{0xff};
  CHECK_FALSE(decode_gaps(message, 0xffffffff, fresh));
  CHECK(fresh.gaps.capacity() == 0);
  CHECK(fresh.bases.capacity() == 0);
}

TEST_CASE("gap code: refuses a message that is cut off or goes on or has another form") {
  const where w = drawn(100, 0.01, 4);
  const auto message = message_of(w, 0.01);
  decoded_gaps out;
  for (std::size_t size = 0; size < message.size(); ++size) {
    CHECK_FALSE(decode_gaps(std::span{message}.first(size), 100, out));
  }
  auto longer = message;
  longer.push_back(std::byte{0});
  CHECK_FALSE(decode_gaps(longer, 100, out));

  const auto refused = [&](std::vector<std::byte> bad) { return !decode_gaps(bad, 100, out); };
  const auto octets = [](std::initializer_list<unsigned> values) {
    std::vector<std::byte> made;
    for (const unsigned v : values) made.push_back(std::byte(v));
    return made;
  };
  CHECK_FALSE(refused(octets({0, 0, 0, 1, 0, 1, 1})));
  CHECK(refused(octets({0, 0, 0, 1, 0, 0b11, 1})));  // a second basis
  CHECK(refused(octets({0, 0, 0, 1, 0, 1, 0b11})));  // a second gap
  CHECK_FALSE(refused(octets({0, 0, 0, 1, 2, 1, 0b11, 1})));
  CHECK(refused(octets({0, 0, 0, 1, 2, 1, 0b111, 1})));                 // low bits of a second
  CHECK(refused(octets({0, 0, 0, 1, 32, 1, 0, 0, 0, 0, 1})));           // no such parameter
  CHECK(refused(octets({0, 0, 0, 1, 0, 1, 0, 0, 0x20, 0, 0, 0, 21})));  // 21 zeros
  // An escape of a gap that needs none, and one of a gap of 2^32, and none where one is due.
  CHECK(refused(octets({0, 0, 0, 1, 0, 1, 0, 0, 0x10, 0, 0, 0, 19})));
  CHECK_FALSE(refused(octets({0, 0, 0, 1, 0, 1, 0, 0, 0x10, 0, 0, 0, 20})));
  CHECK(refused(octets({0, 0, 0, 1, 0, 1, 0, 0, 0x10, 0xff, 0xff, 0xff, 0xff})));
  CHECK_FALSE(refused(octets({0, 0, 0, 1, 0, 1, 0, 0, 0x10, 0xff, 0xff, 0xff, 0xfe})));
  CHECK(refused(octets({0, 0, 0, 1, 0, 1, 0, 0, 0x10})));
  // gaps that are too large without an escape
  CHECK(refused(octets({0, 0, 0, 1, 31, 0, 0, 0, 0, 0, 0b100})));
  CHECK_FALSE(refused(octets({0, 0, 0, 1, 31, 0, 0, 0, 0, 0, 0b10})));
}

TEST_CASE("gap code: refuses 100000 damaged messages or reads them as the message of something") {
  std::mt19937_64 random{5};
  decoded_gaps out;
  int read = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double p = std::exp(-10.0 * static_cast<double>(random() >> 11) * 0x1p-53);
    auto message = message_of(drawn(random() % 40, p, random()), p);
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      switch (random() % 4) {
        case 0: message[random() % message.size()] ^= std::byte(1U << random() % 8); break;
        case 1: message[random() % message.size()] = std::byte(random()); break;
        case 2:
          message.resize(message.size() - std::min<std::size_t>(message.size() - 1, random() % 4));
          break;
        default: message.insert(message.end(), random() % 9, std::byte(random()));
      }
    }
    const std::size_t most = random() % 50;
    // A copy of its own size, so that a sanitizer sees a read past its end.
    const std::vector<std::byte> exact{message.begin(), message.end()};
    if (!decode_gaps(exact, most, out)) continue;
    ++read;
    REQUIRE(out.gaps.size() <= most);
    REQUIRE(std::find(out.gaps.begin(), out.gaps.end(), 0U) == out.gaps.end());
    std::vector<std::byte> again;
    encode_gaps(out.gaps, out.bases, p, again);
    if (again[4] == exact[4]) REQUIRE(again == exact);
  }
  CHECK(read > 1000);
  CHECK(read < 90'000);
}
