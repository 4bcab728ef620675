// classical_channel: the seam through which a key source that distils speaks with its other end over the connection
// between the sites.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "qkd004/result.hpp"

namespace qkd004 {

/// One end. What it says is carried in order while the connection lasts; what was on its way when the connection broke
/// is lost, and up() says that there is another one: an end numbers what it says, and says again what did not arrive.
/// Nothing of it is secret, and nothing is believed: whoever carries it may have changed it.
/// Order of calls: within a session of the key source, `(up (next | receive)* down)*`.
/// Threads: one at a time (the key manager's strand); the callback is called from any.
class classical_channel {
 public:
  /// Octets that one message may have.
  static constexpr std::size_t largest_message = 60'000;

  virtual ~classical_channel() = default;

  virtual void up() = 0;
  virtual void down() noexcept = 0;

  /// Fills `message` with what is to be sent next; false: nothing now. Never blocks. An end holds back by itself: what
  /// it has said and was not told to have arrived stays within a bound.
  [[nodiscard]] virtual bool next(std::vector<std::byte>& message) = 0;

  /// From the other end. Never blocks.
  /// Returns protocol_error: that cannot be from the other end; the connection is given up.
  [[nodiscard]] virtual result<void> receive(std::span<const std::byte> message) = 0;

  /// Calls `wake` whenever next(), or the key source's poll(), may have something that it had not before. Empty: nobody
  /// listens any more; when it returns no call is under way.
  virtual void on_ready(std::function<void()> wake) = 0;

 protected:
  classical_channel() = default;
  classical_channel(const classical_channel&) = default;
  classical_channel& operator=(const classical_channel&) = default;
};

}  // namespace qkd004
