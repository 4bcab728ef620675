#include "qkd004/result.hpp"

#include <doctest/doctest.h>

#include <memory>

using namespace qkd004;

TEST_CASE("result: holds a value that may be move-only") {
  result<std::unique_ptr<int>> r{std::make_unique<int>(7)};
  REQUIRE(r);
  CHECK_FALSE(r.error());
  CHECK(**r == 7);
  const auto taken = *std::move(r);
  CHECK(*taken == 7);
}

TEST_CASE("result: holds an error, and throws it when the value is read") {
  const result<int> r{status::timeout};
  CHECK_FALSE(r);
  CHECK(r.error() == make_error_code(status::timeout));
  CHECK_THROWS_AS((void)r.value(), std::system_error);
  try {
    (void)*r;
    FAIL("no exception");
  } catch (const std::system_error& e) {
    CHECK(e.code() == make_error_code(status::timeout));
  }
}

TEST_CASE("result: of nothing is success or an error") {
  CHECK(result<void>{});
  const result<void> r{status::resource_limit};
  CHECK_FALSE(r);
  CHECK_THROWS_AS(r.value(), std::system_error);
}
