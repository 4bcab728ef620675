#include "qkd004/status.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace qkd004;

TEST_CASE("status: has a text of its own for every code") {
  std::set<std::string> texts;
  for (std::uint32_t s = 0; s <= 8; ++s) texts.emplace(to_string(static_cast<status>(s)));
  for (std::uint32_t s = 1024; s <= 1031; ++s) texts.emplace(to_string(static_cast<status>(s)));
  CHECK(texts.size() == 17);
  CHECK_FALSE(texts.contains("unknown status"));
  CHECK(to_string(static_cast<status>(500)) == "unknown status");
}

TEST_CASE("status: is an answer for 0, and for 1 and 7 of OPEN_CONNECT only") {
  CHECK(is_answer(status::success, operation::get_key));
  CHECK(is_answer(status::peer_not_connected, operation::open_connect));
  CHECK(is_answer(status::qos_not_met, operation::open_connect));
  CHECK_FALSE(is_answer(status::peer_not_connected, operation::get_key));
  CHECK_FALSE(is_answer(status::timeout, operation::open_connect));
}

TEST_CASE("status: narrows to the standard's codes by call") {  // D7
  CHECK(to_standard(status::unknown_key_stream, operation::open_connect) == status::ksid_in_use);
  CHECK(to_standard(status::not_authorized, operation::get_key) == status::get_key_peer_not_connected);
  CHECK(to_standard(status::unknown_key_stream, operation::close) == status::get_key_peer_not_connected);
  CHECK(to_standard(status::index_not_available, operation::get_key) == status::insufficient_key);
  CHECK(to_standard(status::stream_exhausted, operation::get_key) == status::insufficient_key);
  CHECK(to_standard(status::resource_limit, operation::open_connect) == status::no_qkd_connection);
  for (std::uint32_t s = 0; s <= 8; ++s) {
    CHECK(to_standard(static_cast<status>(s), operation::get_key) == static_cast<status>(s));
  }
}

TEST_CASE("status: travels as a std::error_code and compares with std::errc") {
  const std::error_code e = status::timeout;
  CHECK((e == std::errc::timed_out));
  CHECK(e.message() == "timed out");
  CHECK(std::string{e.category().name()} == "qkd004");
  CHECK(to_status(e) == status::timeout);
  CHECK(to_status(std::make_error_code(std::errc::broken_pipe)) == status::protocol_error);
  CHECK(to_status({}) == status::success);
}
