// What can go wrong, and what the program sees: a result that holds an error, never a key that is silently wrong.
// SPDX-License-Identifier: Apache-2.0
#include <qkd004/qkd004.hpp>

#include <array>
#include <cstdio>

namespace {

/// Says what happened; true if it is what we came to see.
bool shows(const char* what, std::error_code error, qkd004::status expected) {
  std::printf("%s: status %d, %s\n", what, error.value(), error.message().c_str());
  return error == expected;
}

}  // namespace

int main() {
  using qkd004::status;
  auto [a, b] = qkd004::pair();
  bool as_expected = true;

  // nobody there: no link leads to that site
  const auto nowhere = a.open_connect({"qkd://alice@A", "qkd://bob@C"});
  as_expected &= shows("no link", nowhere.error(), status::no_qkd_connection);

  qkd004::open_connect_request request{"qkd://alice@A", "qkd://bob@B"};
  request.quality.timeout_ms = 100;
  auto at_a = a.open_connect(request).value();
  as_expected &= at_a.outcome() == status::peer_not_connected;  // a success: bob is not there yet
  request.stream = at_a.id();
  auto at_b = b.open_connect(request).value();

  // too small a buffer: nothing is consumed, the key is still the next one
  std::array<std::byte, 16> small{};
  as_expected &= shows("small buffer", at_a.next_key_into(small).error(), status::invalid_argument);
  auto first = at_a.next_key().value();
  as_expected &= first.index == 0;

  // the same index again: taking it was the acknowledgement, and the key is gone from here
  as_expected &= shows("again", at_a.get_key(0).error(), status::index_not_available);
  as_expected &= at_b.get_key(0).has_value();  // the other end's copy is untouched

  // no key in time: B reads nothing more, so A may run ahead by one window of keys and no further
  qkd004::result<qkd004::key_chunk> key = at_a.next_key();
  while (key) key = at_a.next_key();
  as_expected &= shows("too far ahead", key.error(), status::timeout);
  as_expected &= shows("not waiting", at_a.try_next_key().error(), status::insufficient_key);
  as_expected &= at_b.next_key().has_value();  // B reads, and A can go on
  as_expected &= at_a.next_key().has_value();

  // closed: a Key_stream_ID is never used twice
  const bool closed = at_a.close().has_value() && at_b.close().has_value();
  as_expected &= closed && shows("closed", a.open_connect(request).error(), status::ksid_in_use);

  // value() of a result without one throws: for programs that prefer it so
  try {
    (void)a.open_connect(request).value();
    as_expected = false;
  } catch (const std::system_error& error) {
    std::printf("thrown: %s\n", error.what());
  }
  return as_expected ? 0 : 1;
}
