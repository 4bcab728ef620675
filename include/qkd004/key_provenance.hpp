// key_provenance: how a run of key came to be, as far as its source knows, in plain numbers.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

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

/// Of two runs together: the worst of each number. A word in which they differ says so, but for the authentication,
/// where it is the weaker.
[[nodiscard]] inline key_provenance merge(const key_provenance& a, const key_provenance& b) {
  const auto word = [](const std::string& one, const std::string& other, std::string_view otherwise) {
    return one == other ? one : std::string{otherwise};
  };
  key_provenance m;
  m.first_block = std::min(a.first_block, b.first_block);
  m.last_block = std::max(a.last_block, b.last_block);
  m.qber = std::max(a.qber, b.qber);
  m.phase_error = std::max(a.phase_error, b.phase_error);
  m.eps_sec = std::max(a.eps_sec, b.eps_sec);
  m.eps_cor = std::max(a.eps_cor, b.eps_cor);
  m.eps_auth = std::max(a.eps_auth, b.eps_auth);
  m.sifted = std::min(a.sifted, b.sifted);  // a small block's bounds are the wider ones
  m.efficiency = std::max(a.efficiency, b.efficiency);
  m.leak_alice = std::max(a.leak_alice, b.leak_alice);
  m.leak_bob = std::max(a.leak_bob, b.leak_bob);
  m.model = word(a.model, b.model, "mixed");
  m.reconciliation = word(a.reconciliation, b.reconciliation, "mixed");
  m.amplification = word(a.amplification, b.amplification, "mixed");
  m.authentication = word(a.authentication, b.authentication, "computational");
  m.created_ms = std::min(a.created_ms, b.created_ms);
  return m;
}

}  // namespace qkd004
