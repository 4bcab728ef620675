// block: one block of key on its way through the stages, at one side: a state machine that takes the other side's messages
// and says its own. What both sides share is here; alice_block and bob_block are the two.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/key_provenance.hpp"
#include "qkd004/software_link.hpp"
#include "software/auth_pool.hpp"
#include "software/authenticator.hpp"
#include "software/bits.hpp"
#include "software/cascade.hpp"
#include "software/quantum_pipe.hpp"
#include "software/sifter.hpp"

namespace qkd004::software {

/// Messages between the sides. All but hello belong to a block, and are part of what its tags authenticate.
enum class message_kind : std::uint8_t {
  hello = 1,      ///< both: version, side, end of the pads
  photons = 2,    ///< Alice: the seed of the simulated photons. In a real system light, here the whole secret
  detected = 3,   ///< Bob: a batch of detections
  sifted = 4,     ///< Alice: which of them count
  drawn = 5,      ///< Bob, photon_sampling::blocks: counts of his detections
  reconcile = 6,  ///< Alice: errors in Z, Cascade's seed and first parities; without these: over the limit
  ask = 7,        ///< Bob: Cascade
  parities = 8,   ///< Alice: Cascade
  corrected = 9,  ///< Bob: what he has flipped, and both accounts of disclosed bits
  verify = 10,    ///< Alice: key and tag of the comparison
  verified = 11,  ///< Bob: whether they are equal
  amplify = 12,   ///< Alice: length of the key and the Toeplitz matrix, nothing if no key is left
  tag_alice = 13,  ///< Alice: over all of the above
  tag_bob = 14,    ///< Bob: over all of the above
  accepted = 15    ///< Alice: a pad, shown once Bob's tag was right
};

/// A message, taken apart.
struct link_message {
  message_kind kind = message_kind::hello;
  std::uint32_t block = 0;
  std::span<const std::byte> content;
  std::span<const std::byte> all;  ///< with kind and block, as it crossed

  static constexpr std::size_t head = 1 + 4;
};

/// In hello.
inline constexpr std::uint32_t no_block = 0xffffffff;

[[nodiscard]] std::vector<std::byte> compose(message_kind kind, std::uint32_t block,
                                             std::span<const std::byte> content);
/// False: that is too short for a message.
[[nodiscard]] bool parse_message(std::span<const std::byte> octets, link_message& out) noexcept;

/// What blocks need of their link. Set up by the distiller and the same for all of a session.
struct block_host {
  const software_link_options& options;
  software_link_report& report;
  std::function<void(std::span<std::byte>)> random;  ///< unpredictable
  std::function<time_point()> clock;
  std::function<void(std::vector<std::byte>&& message)> send;
  auth_pool& pool;
  block128 hash_alice{};  ///< secret: point of the hash of what Alice says
  block128 hash_bob{};
  std::vector<std::byte> hello_alice{};  ///< said before all blocks, and authenticated with each
  std::vector<std::byte> hello_bob{};
};

/// Pads of one block, in the order in which the pool gives them out.
struct block_pads {
  block128 alice{};
  block128 bob{};
  std::array<std::byte, 8> accepted{};

  static constexpr std::size_t size = 16 + 16 + 8;
  block_pads() = default;
  block_pads(const block_pads&) = delete;
  block_pads& operator=(const block_pads&) = delete;
  ~block_pads();
  [[nodiscard]] result<void> take(auth_pool& pool);
};

enum class block_fate : std::uint8_t {
  in_work,
  accepted,
  over_limit,  ///< discarded: QBER
  no_key,      ///< discarded: nothing secret is left
  unequal,     ///< discarded: verification
  impossible   ///< a message that cannot be the other side's, or a wrong tag: the session is over
};

struct secret_block {
  bits key;
  key_provenance provenance;
};

/// Threads: one at a time.
class block {
 public:
  block(block_host& host, std::uint32_t id, side which);
  block(const block&) = delete;
  block& operator=(const block&) = delete;
  virtual ~block() = default;

  /// A message of the other side's.
  virtual block_fate receive(const link_message& m) = 0;

  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
  [[nodiscard]] software_link_report::stage stage() const noexcept { return stage_; }
  [[nodiscard]] double progress() const noexcept { return progress_; }
  /// The key, for the caller to keep. Requires: accepted.
  [[nodiscard]] secret_block take() { return std::move(secret_); }

 protected:
  using stage_type = software_link_report::stage;

  /// Sends it; tags are no part of what they authenticate.
  void say(message_kind kind, std::span<const std::byte> content);
  void say_tag(message_kind kind, std::span<const std::byte> content);
  /// Ends a stage, and takes note of how long it took; the last one leave() ends.
  void enter(stage_type next);
  void leave();
  /// Of a stage that goes on beside others: note_part() adds what it has taken since `begun` and returns the time,
  /// note_parts() takes note of all of it.
  time_point note_part(stage_type of, time_point begun);
  void note_parts(stage_type of);
  /// The QBER in Z, for block sizes and the first look at the limit.
  [[nodiscard]] double qber_z() const;
  [[nodiscard]] bool is_over_limit(std::uint64_t errors, std::uint64_t of) const;
  /// Bits that the block has disclosed, as they are accounted for.
  [[nodiscard]] std::uint64_t leak() const;
  /// Octets of key that the pads are refilled with once the block is accepted. The same at both ends, as both take and
  /// give pads in the order of Alice's messages.
  [[nodiscard]] std::size_t refill() const;
  /// Amplifies; what the pads get is taken off and goes there. Returns resource_limit when the pads cannot be stored.
  [[nodiscard]] result<void> finish(std::span<const std::uint64_t> toeplitz, std::size_t length);

  block_host& host_;
  const std::uint32_t id_;
  const side side_;
  transcript said_;
  transcript heard_;
  sifter sifter_;
  cascade_tally tally_;
  std::uint64_t errors_ = 0;  ///< flipped by Bob
  double phase_error_ = 0;
  block_pads pads_;
  secret_block secret_;
  stage_type stage_ = stage_type::photons;
  double progress_ = 0;

 private:
  void note(stage_type of, boot_clock::duration d);

  time_point since_;
  std::array<boot_clock::duration, software_link_report::stages> parts_{};
};

/// Pads are refilled above what a block takes until so many octets are left.
inline constexpr std::uint64_t enough_pads = 4096;

[[nodiscard]] std::unique_ptr<block> make_alice_block(block_host& host, std::uint32_t id);

/// Bob's has something to do of its own: his detector clicks.
class detecting_block : public block {
 public:
  using block::block;
  /// Whether there are photons to be detected, as far as messages were answered.
  [[nodiscard]] virtual bool wants_photons() const = 0;
  /// Detects some. Returns how many pulses that took.
  virtual std::uint64_t detect() = 0;
};
[[nodiscard]] std::unique_ptr<detecting_block> make_bob_block(block_host& host, std::uint32_t id);

/// Detections that cross in one message.
[[nodiscard]] std::size_t batch_of(const software_link_options& o) noexcept;

}  // namespace qkd004::software
