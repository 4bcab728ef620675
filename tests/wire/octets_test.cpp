// SPDX-License-Identifier: Apache-2.0
#include "wire/octets.hpp"

#include <doctest/doctest.h>

#include "samples.hpp"

using namespace qkd004;
using namespace qkd004::wire;
using test::exact;
using test::hex;

TEST_CASE("octets: integers are read big-endian") {
  const auto input = hex("01 0203 04050607 08090a0b0c0d0e0f");
  octet_reader in{input};
  CHECK(in.u8() == 0x01);
  CHECK(in.u16() == 0x0203);
  CHECK(in.u32() == 0x04050607);
  CHECK(in.u64() == 0x08090a0b0c0d0e0f);
  CHECK(in.at_end());
}

TEST_CASE("octets: integers are written big-endian") {
  std::vector<std::byte> output(15);
  octet_writer out{output};
  out.u8(0x01);
  out.u16(0x0203);
  out.u32(0x04050607);
  out.u64(0x08090a0b0c0d0e0f);
  CHECK(out.left() == 0);
  CHECK(test::to_hex(output) == "0102030405060708090a0b0c0d0e0f");
}

TEST_CASE("octets: the reader fails for good when it was asked for more than there is") {
  exact input{hex("010203")};
  octet_reader in{input.span()};
  CHECK(in.u32() == 0);
  CHECK_FALSE(in.ok());
  CHECK(in.u8() == 0);
  CHECK(in.octets(1).empty());
  CHECK(in.stream().is_null());
  CHECK_FALSE(in.at_end());
}

TEST_CASE("octets: the reader is not at the end when octets are left") {
  const auto input = hex("0102");
  octet_reader in{input};
  CHECK(in.u8() == 1);
  CHECK(in.ok());
  CHECK_FALSE(in.at_end());
}

TEST_CASE("octets: until_nul takes the text and its NUL, and fails when there is none near enough") {
  exact input{hex("616200 6364 00 6566")};
  octet_reader in{input.span()};
  CHECK(in.until_nul(3) == "ab");
  CHECK(in.until_nul(100) == "cd");
  octet_reader none = in;
  CHECK(none.until_nul(100).empty());
  CHECK_FALSE(none.ok());

  octet_reader too_far{input.span()};
  CHECK(too_far.until_nul(2).empty());
  CHECK_FALSE(too_far.ok());
}

TEST_CASE(
    "octets: padded takes the whole field and gives the text before its first NUL, and fails when there is "
    "none") {
  exact input{hex("6162 00 ff 6364")};
  octet_reader in{input.span()};
  CHECK(in.padded(4) == "ab");
  CHECK(in.left() == 2);
  octet_reader none = in;
  CHECK(none.padded(2).empty());
  CHECK_FALSE(none.ok());
  octet_reader too_far = in;
  CHECK(too_far.padded(3).empty());
  CHECK_FALSE(too_far.ok());
}

TEST_CASE("octets: a string longer than what is left fails") {
  exact input{hex("0003 6162")};
  octet_reader in{input.span()};
  CHECK(in.string().empty());
  CHECK_FALSE(in.ok());
}
