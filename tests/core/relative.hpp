// relative: a number of which so many digits have to agree, however small it is. doctest's own Approx adds 1 to what it takes a
// part of, and is content with any two numbers far below that.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

namespace qkd004::test {

[[nodiscard]] inline doctest::Approx relative(double value, double part) {
  return doctest::Approx(value).epsilon(part).scale(0);
}

}  // namespace qkd004::test
