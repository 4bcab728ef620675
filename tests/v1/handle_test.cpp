// SPDX-License-Identifier: Apache-2.0
#include "qkd004/v1.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace {

using namespace qkd004;

v1::key_handle handle(std::string_view hex) {
  v1::key_handle h;
  REQUIRE(hex.size() == h.octets.size() * 2);
  for (std::size_t i = 0; i < h.octets.size(); ++i)
    h.octets[i] = static_cast<std::byte>(std::stoi(std::string{hex.substr(i * 2, 2)}, nullptr, 16));
  return h;
}

key_stream_id id(std::string_view text) { return key_stream_id::parse(text).value(); }

// computed with Python's hashlib
constexpr std::string_view made_of = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
constexpr std::string_view made =
    "3f2504e04f8941d39a0c0305e82c3301a371df16ec56a5aec1a9cad9cdbaa8d3"
    "527aa32d9a40561534d3c8eb703a47c7ec6cb5fc194d345e0dab6d3cd03acb18";
constexpr std::string_view counting =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
constexpr std::string_view counting_is = "810d4cff-fb29-8703-96bf-ae67ef10ea9f";
constexpr std::string_view zeros_made =
    "0000000000000000000000000000000074b5b690a84f10b9101e856892f4a3bf"
    "65a604b0347464a73e6c751169a9b5e2f440a6b348b2b4fc4f878d1245fb0385";
constexpr std::string_view zeros_is = "9559542b-9a07-8fa9-9aed-8ce3ffb51187";

}  // namespace

TEST_CASE("key handle: of a stream is its KSID and 48 octets of a SHA-512") {
  CHECK(v1::handle_of(id(made_of)) == handle(made));
}

TEST_CASE("key handle: that was made names the stream it was made of") {
  CHECK(v1::stream_of(handle(made)) == id(made_of));
}

TEST_CASE("key handle: that nobody made names a UUID of version 8") {
  CHECK(v1::stream_of(handle(counting)) == id(counting_is));
}

TEST_CASE("key handle: one octet beside a made one is a predefined one") {
  auto h = handle(made);
  h.octets.back() ^= std::byte{1};
  CHECK(v1::stream_of(h) != id(made_of));
  CHECK(v1::stream_of(h).to_string()[14] == '8');
}

TEST_CASE("key handle: NULL names NULL") {
  CHECK(v1::key_handle{}.is_null());
  CHECK(v1::stream_of({}).is_null());
  auto h = v1::key_handle{};
  h.octets.back() = std::byte{1};
  CHECK(!h.is_null());
  CHECK(!v1::stream_of(h).is_null());
}

TEST_CASE("key handle: made of NULL is a predefined one and not NULL") {
  CHECK(v1::stream_of(handle(zeros_made)) == id(zeros_is));
}
