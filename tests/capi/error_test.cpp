// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <errno.h>

#include <string>
#include <thread>

#include "ends.hpp"
#include "qkd004.h"
#include "qkd004/status.hpp"
#include "qkd004/version.hpp"

using namespace capi_test;

TEST_CASE("error: every status of the header has the number and the words of C++") {
  for (int s = -1; s != 2'000; ++s) {
    const std::string words = qkd004_status_text(s);
    CHECK_FALSE(words.empty());
    if (s >= 0) CHECK(words == qkd004::to_string(static_cast<qkd004::status>(s)));
  }
  CHECK(QKD004_SHUTTING_DOWN == static_cast<int>(qkd004::status::shutting_down));
  CHECK(QKD004_METADATA_SIZE_INSUFFICIENT == static_cast<int>(qkd004::status::metadata_size_insufficient));
  CHECK(std::string{qkd004_status_text(-ECONNREFUSED)} == "Connection refused");
  CHECK(std::string{qkd004_status_text(-EBADF)} == "the handle is not one, or was ended");
}

TEST_CASE("error: a failure leaves a sentence with the function, what happened, and why") {
  qkd004_client* c = nullptr;
  CHECK(qkd004_connect("gopher://x", nullptr, &c) == QKD004_INVALID_ARGUMENT);
  const std::string text = qkd004_last_error();
  CHECK(text.starts_with("qkd004_connect: invalid argument: "));
  CHECK(text.find("gopher") != std::string::npos);
}

TEST_CASE("error: is the thread's own, and success leaves it") {
  CHECK(qkd004_client_close(nullptr) == -EBADF);
  const std::string mine = qkd004_last_error();
  std::thread{[] {
    CHECK(std::string{qkd004_last_error()}.empty());
    CHECK(qkd004_detach(nullptr) == -EBADF);
    CHECK(std::string{qkd004_last_error()}.starts_with("qkd004_detach: "));
  }}.join();
  const ends e;
  CHECK(qkd004_last_error() == mine);
  // a record is used again by another thread, without what the last one left
  for (int i = 0; i != 3; ++i) {
    std::thread{[] {
      CHECK(std::string{qkd004_last_error()}.empty());
      CHECK(qkd004_close(nullptr) == -EBADF);
    }}.join();
  }
}

TEST_CASE("error: a very long reason is cut at a character") {
  std::string path = "/";
  while (path.size() < 2'000) path += "\xe2\x82\xac";
  qkd004_source* s = nullptr;
  CHECK(qkd004_source_seeded(path.c_str(), 0, &s) != QKD004_SUCCESS);
  const std::string text = qkd004_last_error();
  CHECK(text.size() < 512);
  CHECK(text.size() > 500);
  CHECK(text.ends_with("\xe2\x82\xac"));
}

TEST_CASE("error: no sentence holds key") {
  ends e;
  const taken t = next(e.a);
  const std::string octets{reinterpret_cast<const char*>(t.octets.data()), t.octets.size()};
  std::size_t size = 1;
  key k = t.octets;
  CHECK(qkd004_next_key(e.a, k.data(), &size, nullptr, nullptr) != QKD004_SUCCESS);
  CHECK(std::string{qkd004_last_error()}.find(octets.substr(0, 4)) == std::string::npos);
}

TEST_CASE("version: that of the library") {
  CHECK(qkd004_version() ==
        QKD004_VERSION_NUMBER(QKD004_VERSION_MAJOR, QKD004_VERSION_MINOR, QKD004_VERSION_PATCH));
  CHECK(std::string{qkd004_version_text()} == QKD004_VERSION_STRING);
}
