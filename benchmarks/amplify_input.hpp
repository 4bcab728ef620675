// amplify_input: a random key and the seed of a matrix that leaves 0.27 of it, as at 2 to 3 % of errors.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "software/amplify.hpp"
#include "software/expander.hpp"

namespace qkd004::bench {

struct amplify_input {
  explicit amplify_input(std::size_t n)
      : length{n / 100 * 27}, key{n / 64 * 64}, seed((software::toeplitz_seed_bits(n, length) + 63) / 64) {
    software::expander random{software::seed256{}, 0};
    random.fill(std::as_writable_bytes(key.words()));
    random.fill(std::as_writable_bytes(std::span{seed}));
  }

  std::size_t length;
  software::bits key;
  std::vector<std::uint64_t> seed;
};

}  // namespace qkd004::bench
