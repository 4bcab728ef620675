// key_provenance: how a run of key came to be, as far as its source knows, in plain numbers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace qkd004 {

/// Of one block of a QKD link. A run of key from several blocks has the worst of each number, see merge().
struct key_provenance {
  std::uint64_t first_block = 0;
  std::uint64_t last_block = 0;
  double qber = 0;               ///< errors over sifted bits, in the basis the key is from
  double phase_error = 0;        ///< upper bound
  double eps_sec = 0;            ///< secrecy of a block
  double eps_cor = 0;            ///< correctness of a block
  double eps_auth = 0;           ///< probability that a forged message of a block is believed
  std::uint64_t sifted = 0;      ///< bits of a block before reconciliation (n_X)
  double efficiency = 0;         ///< bits disclosed for reconciliation over sifted x h(qber)
  std::uint64_t leak_alice = 0;  ///< bits of a block that the one side has disclosed
  std::uint64_t leak_bob = 0;    ///< and the other
  std::string model;             ///< whose proof: "lim14" or "w24"
  std::string reconciliation;    ///< "cascade"
  std::string amplification;     ///< "toeplitz"
  std::string authentication;    ///< "its" or "computational"
  std::int64_t created_ms =
      0;  ///< when the block was done, milliseconds since 1970 UTC; of several the first

  friend bool operator==(const key_provenance&, const key_provenance&) = default;
};

}  // namespace qkd004
