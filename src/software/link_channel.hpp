// link_channel: messages between the two ends of a link, in order and each once, over a classical_channel that loses what
// was on its way when a connection breaks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "qkd004/classical_channel.hpp"
#include "qkd004/result.hpp"

namespace qkd004::software {

using octet_run = std::vector<std::byte>;

/// The messages are laid end to end, each after its length, and octets of that sequence are numbered. Every segment says
/// where it stands in it and up to where the other's has been taken; with a new connection both say up to where theirs
/// came, and what did not arrive is sent again.
/// Threads: the classical_channel from the key manager's; send(), take() and reset() from any.
class link_channel final : public classical_channel {
 public:
  /// Octets that may be on their way, or wait at the other end, at a time.
  static constexpr std::size_t window = std::size_t{4} << 20;
  static constexpr std::size_t largest_content = std::size_t{64} << 20;  ///< octets of a message for send()

  /// `arrived` is called from inside receive() when there is something to take().
  explicit link_channel(std::function<void()> arrived) : arrived_{std::move(arrived)} {}

  /// A new session: what was said and heard before is forgotten.
  void reset();
  /// Whoever has sent says wake(), once for all that goes together: it shall cross in few segments.
  void send(std::span<const std::byte> message);
  /// Octets that were not taken from this end yet: whoever goes on producing should not let it grow.
  [[nodiscard]] std::size_t unsent() const;
  /// Appends what arrived completely, in order. Returns protocol_error for what is no sequence of messages.
  [[nodiscard]] result<void> take(std::deque<octet_run>& messages);

  /// Something is there for the key manager: messages, or a block.
  void wake();

  void up() override;
  void down() noexcept override;
  [[nodiscard]] bool next(octet_run& message) override;
  [[nodiscard]] result<void> receive(std::span<const std::byte> message) override;
  void on_ready(std::function<void()> wake) override;

 private:
  const std::function<void()> arrived_;
  mutable std::mutex mutex_;
  std::mutex wake_mutex_;  ///< held during a call of wake_
  std::function<void()> wake_;

  /// Octets that come and go like those of a queue, in one piece.
  struct run {
    octet_run all;
    std::size_t gone = 0;

    [[nodiscard]] std::size_t size() const noexcept { return all.size() - gone; }
    [[nodiscard]] std::span<const std::byte> span() const noexcept { return std::span{all}.subspan(gone); }
    void append(std::span<const std::byte> more) { all.insert(all.end(), more.begin(), more.end()); }
    void drop(std::size_t count);
  };

  bool up_ = false;
  bool greeted_ = false;         ///< this connection: said up to where the other's sequence came
  bool resumed_ = false;         ///< and heard it
  run out_;                      ///< the sequence from out_begin_ on
  std::uint64_t out_begin_ = 0;  ///< everything below arrived at the other end
  std::size_t sent_ = 0;         ///< octets of out_ that are on their way
  run in_;                       ///< arrived, and no complete message that was taken
  std::uint64_t in_end_ = 0;     ///< up to where the other's sequence came
  std::uint64_t taken_ = 0;      ///< up to where take() has looked at it
  std::uint64_t told_ = 0;       ///< as taken_, in the last segment
};

}  // namespace qkd004::software
