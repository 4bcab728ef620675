// What TLS does of which OpenSSL finds no memory.
// SPDX-License-Identifier: Apache-2.0
#include <openssl/crypto.h>

#include <sys/socket.h>

#include <cstdlib>

#include "net/certificates.hpp"
#include "net/channel.hpp"

using namespace test;

namespace {

/// Allocations of OpenSSL's on this thread until one fails; below 0: none does.
thread_local int until_failure = -1;

bool fails() { return until_failure >= 0 && until_failure-- == 0; }

void* allocate(std::size_t size, const char*, int) { return fails() ? nullptr : std::malloc(size); }
void* reallocate(void* p, std::size_t size, const char*, int) {
  return fails() ? nullptr : std::realloc(p, size);
}
void release(void* p, const char*, int) { std::free(p); }

// OpenSSL takes them only before it has allocated anything
const bool taken = CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;

/// `attempt` with the first allocation failing, then the second, until it does without another one. Returns how many
/// times it ended with not_enough_memory.
template <class Attempt>
int count_refusals(const Attempt& attempt) {
  int refusals = 0;
  for (int n = 0;; ++n) {
    CAPTURE(n);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    net::channel mine{ends[0], net::scheme::tls};
    const net::channel other{ends[1], net::scheme::tls};
    result<void> made;
    until_failure = n;
    CHECK_NOTHROW(made = attempt(mine));
    const bool all_given = std::exchange(until_failure, -1) >= 0;
    CHECK(mine.is_tls() == made.has_value());
    if (!made) {
      CHECK(made.error() == std::errc::not_enough_memory);
      ++refusals;
    }
    if (all_given) {
      CHECK(made);
      return refusals;
    }
  }
}

}  // namespace

TEST_CASE("tls: is refused and does not throw when OpenSSL has no memory for a connection") {
  REQUIRE(taken);
  temporary_folder folder;
  authority ca{folder};
  const auto context = net::tls_context::make(ca.site("a"), nullptr);
  REQUIRE(context);
  CHECK(count_refusals([&](net::channel& c) { return c.accept(**context); }) > 3);
  CHECK(count_refusals([&](net::channel& c) { return c.dial(**context, {"qkd://a", "localhost"}); }) > 5);
}
