// software_link: a QKD link in software: simulated photons, a real post-processing stack; two key sources that distil the
// same key. Its key is no more secret than the seeds of its photons, which cross in the clear unless TLS carries them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "qkd004/decoy_bb84.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/result.hpp"

namespace qkd004 {

/// How the simulated detections are drawn.
enum class photon_sampling : std::uint8_t {
  events,  ///< one by one, with dead time and after-pulses
  blocks   ///< only how many of each kind there are: for loads
};

/// What the disclosure of reconciliation is counted as.
enum class leak_account : std::uint8_t {
  alice_only,      ///< the parities that Alice sends
  both_directions  ///< and what Bob's messages tell, after arXiv:2307.00576
};

/// Equal at both ends.
struct software_link_options {
  decoy_bb84 system;
  photon_sampling sampling = photon_sampling::events;
  std::uint32_t block_bits = 1'048'576;  ///< sifted bits of a block (n_X): 65,536 to 2^27
  double qber_limit = 0.08;              ///< a block above it is discarded; at most 0.11
  leak_account leak = leak_account::alice_only;
  double intercept_resend = 0;   ///< fraction of the pulses that an eavesdropper measures and sends again
  std::uint64_t pulse_rate = 0;  ///< pulses per second of Alice's laser; 0: as many as the processors can do
  std::uint32_t blocks_in_flight = 4;  ///< distilled at a time, 1 to 16
};

/// What one end is and where it keeps what has to outlive it.
struct software_link_end_options {
  enum class role : std::uint8_t { alice, bob };

  role which;               ///< one end is Alice, the other Bob
  security_class security;  ///< what the connection between the sites makes of it; never hardware
  std::string auth_key;     ///< file of 512 octets or more that both ends have and nothing else has ever used
  std::string auth_state;   ///< file that this end makes from it, and keeps: what of it is used up
};

/// Counts of one end since it was made. Durations are histograms: element i counts those of at least 2^i microseconds
/// and less than 2^(i+1), the first and the last what is below and above.
struct software_link_report {
  using histogram = std::array<std::uint64_t, 24>;

  enum class stage : std::uint8_t {
    photons,
    sifting,
    reconciliation,
    verification,
    amplification,
    authentication
  };
  static constexpr std::size_t stages = 6;

  std::uint64_t sessions = 0;
  std::uint64_t pulses = 0;  ///< simulated
  std::uint64_t detections = 0;
  std::uint64_t sifted = 0;      ///< bits
  std::uint64_t secret = 0;      ///< bits of accepted blocks, without those for authentication
  std::uint64_t errors = 0;      ///< bits that reconciliation flipped
  std::uint64_t leak_alice = 0;  ///< bits
  std::uint64_t leak_bob = 0;    ///< bits
  std::uint64_t rounds = 0;      ///< of reconciliation
  std::uint64_t accepted = 0;    ///< blocks
  std::uint64_t over_limit = 0;  ///< blocks discarded: QBER above the limit
  std::uint64_t no_key = 0;      ///< blocks discarded: nothing secret is left
  std::uint64_t unequal = 0;     ///< blocks discarded: verification failed
  std::uint64_t cut_off = 0;     ///< blocks discarded: their session ended
  std::uint64_t forged = 0;      ///< sessions ended by a wrong tag, or a message that cannot be
  std::uint64_t auth_used = 0;   ///< bits of pads
  std::uint64_t auth_returned = 0;
  std::uint64_t auth_left = 0;
  std::array<histogram, stages> duration{};  ///< of each stage of a block at this end

  double qber = 0;            ///< of the last block that came so far, discarded or not
  double efficiency = 0;      ///< of the last block accepted
  std::string failure;        ///< why the last session that failed did; never an octet of key
  stage at = stage::photons;  ///< where the oldest block in work is
  double progress = 0;        ///< how much of it is done, 0 to 1
};

/// One end of a software link.
/// Threads: as key_source; report() from any.
class software_link_end : public key_source {
 public:
  [[nodiscard]] virtual software_link_report report() const = 0;
};

/// Both ends, in one process; authentication draws on a key that is made for them. A thread of their own distils, and
/// ends with the last of them.
///
///     auto link = make_software_link({});
///     if (!link) return link.error();
///     auto [a, b] = pair({.first_source = link->first, .second_source = link->second});
///
/// Returns invalid_argument, resource_limit (memory, or the system's random generator fails its health test); `why` says
/// what.
[[nodiscard]] result<std::pair<std::shared_ptr<software_link_end>, std::shared_ptr<software_link_end>>>
make_software_link(const software_link_options& o, std::string* why = nullptr);

/// One end, for a site; what it has to say to the other goes by way of channel(). A thread of its own distils.
/// Returns invalid_argument, errno of the files, permission_denied if others may read them; `why` says which;
/// resource_limit as above.
[[nodiscard]] result<std::unique_ptr<software_link_end>> make_software_link_end(
    const software_link_options& o, const software_link_end_options& end, std::string* why = nullptr);

}  // namespace qkd004
