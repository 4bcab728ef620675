// SPDX-License-Identifier: Apache-2.0
#include "in_c.h"

#include <doctest/doctest.h>

TEST_CASE("in_c: a strict C11 program gets the same key at both ends") { CHECK(in_c_pair() == 0); }

TEST_CASE("in_c: every initializer of the header is one") { CHECK(in_c_initializers() == 0); }
