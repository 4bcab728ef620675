// distiller: one end of the link without a thread, a clock or a connection: messages of the other end go in, messages and
// distilled blocks come out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/clock.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/result.hpp"
#include "qkd004/software_link.hpp"
#include "software/auth_pool.hpp"
#include "software/block.hpp"

namespace qkd004::software {

/// Alice begins blocks, some at a time, and both take them through the stages. What one end accepts the other does too,
/// in the same order: Alice accepts when Bob's tag was right, and Bob when she shows a pad that says so. Whatever cannot
/// be ends the session: after it nobody can tell what the other end believes.
/// Order of calls: `(start (receive | work | take)* stop)*`. Threads: one at a time.
class distiller {
 public:
  struct options {
    software_link_options link;
    side which = side::alice;
    /// The system's, outside of tests. Throws std::system_error when it has none to give; asked for nothing, it says
    /// whether it would.
    std::function<void(std::span<std::byte>)> random;
    std::function<time_point()> clock;
  };

  distiller(options o, auth_pool pool);
  distiller(const distiller&) = delete;
  distiller& operator=(const distiller&) = delete;
  ~distiller();

  /// Octets of pads that were used: no session begins below what either end has used.
  [[nodiscard]] std::uint64_t position() const noexcept { return pool_.position(); }

  /// Returns a value that is equal at both ends if their options and pads are. Returns resource_limit: too few pads are
  /// left, or there is no randomness.
  [[nodiscard]] result<key_source_check> start(const key_source_session& session);
  void stop() noexcept;

  /// A message of the other end's.
  void receive(std::span<const std::byte> message);
  /// Does one piece of what is to be done without being told, some milliseconds long; false: there is nothing. `unsent`:
  /// octets of messages that wait to be sent: with many it does not produce more.
  [[nodiscard]] bool work(std::size_t unsent);
  /// When there may be work, after there was none.
  [[nodiscard]] time_point work_at() const noexcept { return photons_due_; }

  [[nodiscard]] std::deque<std::vector<std::byte>>& messages() noexcept { return messages_; }
  /// The next block that both ends accept.
  [[nodiscard]] std::optional<secret_block> take();
  [[nodiscard]] std::size_t ready() const noexcept { return ready_.size(); }

  /// Why the session is over: protocol_error, or no_qkd_connection when the pads are used up or the randomness failed. Not
  /// resource_limit: that would say that there was no memory for a block, and be tried again.
  [[nodiscard]] std::error_code failure() const noexcept { return failure_; }
  [[nodiscard]] software_link_report report() const;

 private:
  void hear(std::span<const std::byte> message);
  void on_hello(const link_message& m);
  [[nodiscard]] std::vector<std::byte>& hello_of(side s) {
    return s == side::alice ? host_->hello_alice : host_->hello_bob;
  }
  [[nodiscard]] bool greeted() { return !hello_of(other(options_.which)).empty(); }
  [[nodiscard]] bool may_begin();
  void begin();
  void settle(std::uint32_t id, block_fate fate);
  void fail(std::error_code why, std::string_view text);
  void fail_without_random();

  const options options_;
  auth_pool pool_;
  software_link_report report_;
  std::optional<block_host> host_;                          ///< during a session
  std::map<std::uint32_t, std::unique_ptr<block>> blocks_;  ///< in work
  std::uint64_t pads_from_ = 0;                             ///< where this session's pads begin, at both ends
  std::uint32_t next_ = 0;                                  ///< id of the next
  std::deque<std::vector<std::byte>> messages_;
  std::deque<secret_block> ready_;
  time_point photons_due_ =
      time_point::max();   ///< Bob: when light will have come; max: whenever it is wanted
  time_point light_at_{};  ///< Bob: up to when pulses were detected
  std::error_code failure_;
};

}  // namespace qkd004::software
