// What a key_stream says of how its keys came to be, when it was told to ask.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "qkd004/in_process.hpp"

using namespace qkd004;

TEST_CASE("key_stream: has vendor metadata from when it was told to ask for them") {  // D14
  auto [a, b] = pair();
  auto at_a = a.open_connect({"qkd://alice@A", "qkd://bob@B"}).value();
  auto at_b = b.open_connect({"qkd://alice@A", "qkd://bob@B", {}, at_a.id()}).value();
  CHECK(at_a.next_key().value().vendor_metadata.empty());
  at_a.want_vendor_metadata();
  std::uint64_t next = 1;
  for (; next < 400; ++next) {
    auto k = at_a.next_key().value();
    REQUIRE(k.index == next);
    REQUIRE(k.vendor_metadata.find("\"x_") != std::string::npos);
    key_chunk other = at_b.next_key().value();
    while (other.index < next) other = at_b.next_key().value();
    REQUIRE(equal_in_constant_time(k.bytes(), other.bytes()));
    if (next % 3 == 0) {  // the short way in between
      std::array<std::byte, 32> key{};
      REQUIRE(at_a.next_key_into(key).value() == ++next);
    }
  }
  CHECK(at_a.get_key(next + 3).value().vendor_metadata.find("\"x_") != std::string::npos);
  CHECK(at_a.get_key(next + 3).error() == make_error_code(status::index_not_available));
  CHECK(at_a.next_key().value().index == next);
}
