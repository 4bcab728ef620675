// SPDX-License-Identifier: Apache-2.0
#include "software/link_channel.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "wire/octets.hpp"

namespace qkd004::software {

namespace {

enum class segment : std::uint8_t { resume = 1, content = 2 };

constexpr std::size_t head = 1 + 8 + 8;
constexpr std::size_t length_octets = 4;
/// Taken at the other end and not told so: more than this is told in a segment of its own.
constexpr std::uint64_t untold = link_channel::window / 8;

std::array<std::byte, length_octets> length_of(std::span<const std::byte> message) noexcept {
  std::array<std::byte, length_octets> out{};
  wire::octet_writer writer{out};
  writer.u32(static_cast<std::uint32_t>(message.size()));
  return out;
}

void write_head(octet_run& message, segment kind, std::uint64_t position, std::uint64_t taken) {
  message.resize(head);
  wire::octet_writer writer{message};
  writer.u8(static_cast<std::uint8_t>(kind));
  writer.u64(position);
  writer.u64(taken);
}

}  // namespace

/// Each octet is moved a bounded number of times.
void link_channel::run::drop(std::size_t count) {
  gone += count;
  if (gone < all.size() / 2) return;
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(gone));
  gone = 0;
}

void link_channel::reset() {
  const std::lock_guard lock{mutex_};
  out_ = in_ = run{};
  out_begin_ = in_end_ = taken_ = told_ = 0;
  sent_ = 0;
  greeted_ = resumed_ = false;
}

void link_channel::send(std::span<const std::byte> message) {
  const std::lock_guard lock{mutex_};
  out_.append(length_of(message));
  out_.append(message);
}

std::size_t link_channel::unsent() const {
  const std::lock_guard lock{mutex_};
  return out_.size() - sent_;
}

result<void> link_channel::take(std::deque<octet_run>& messages) {
  bool tell = false;
  {
    const std::lock_guard lock{mutex_};
    wire::octet_reader reader{in_.span()};
    std::size_t done = 0;
    while (reader.left() >= length_octets) {
      const std::size_t size = reader.u32();
      if (size > largest_content) return status::protocol_error;
      if (reader.left() < size) break;
      const auto content = reader.octets(size);
      messages.emplace_back(content.begin(), content.end());
      done = in_.size() - reader.left();
    }
    in_.drop(done);
    taken_ = in_end_;  // the rest of a message, too: it may be larger than the window
    tell = up_ && taken_ - told_ >= untold;
  }
  if (tell) wake();
  return {};
}

void link_channel::up() {
  const std::lock_guard lock{mutex_};
  up_ = true;
  greeted_ = resumed_ = false;
}

void link_channel::down() noexcept {
  const std::lock_guard lock{mutex_};
  up_ = false;
}

bool link_channel::next(octet_run& message) {
  const std::lock_guard lock{mutex_};
  if (!up_) return false;
  if (!greeted_) {
    greeted_ = true;
    write_head(message, segment::resume, in_end_, 0);
    return true;
  }
  if (!resumed_) return false;
  const std::size_t room = std::min(largest_message - head, window - std::min(window, sent_));
  const auto content = out_.span().subspan(sent_, std::min(room, out_.size() - sent_));
  if (content.empty() && taken_ - told_ < untold) return false;
  write_head(message, segment::content, out_begin_ + sent_, taken_);
  message.insert(message.end(), content.begin(), content.end());
  sent_ += content.size();
  told_ = taken_;
  return true;
}

result<void> link_channel::receive(std::span<const std::byte> message) {
  wire::octet_reader reader{message};
  const auto kind = static_cast<segment>(reader.u8());
  const std::uint64_t position = reader.u64();
  const std::uint64_t taken = reader.u64();
  if (!reader.ok()) return status::protocol_error;
  const auto content = reader.octets(reader.left());
  {
    const std::lock_guard lock{mutex_};
    if (!up_) return {};
    // what was taken may be less than what a new connection found to have arrived
    const std::uint64_t arrived = kind == segment::resume ? position : std::max(taken, out_begin_);
    if (arrived < out_begin_ || arrived - out_begin_ > out_.size()) return status::protocol_error;
    const auto gone = static_cast<std::size_t>(arrived - out_begin_);
    if (kind == segment::resume) {
      if (resumed_ || !content.empty()) return status::protocol_error;
      resumed_ = true;
      sent_ = gone;
    } else if (kind != segment::content || !resumed_ || gone > sent_ || position != in_end_) {
      return status::protocol_error;
    }
    out_.drop(gone);
    out_begin_ += gone;
    sent_ -= gone;
    // one window before a connection broke, another after
    if (in_end_ + content.size() - taken_ > 2 * window) return status::protocol_error;
    in_.append(content);
    in_end_ += content.size();
  }
  if (!content.empty()) arrived_();
  return {};
}

void link_channel::on_ready(std::function<void()> wake) {
  const std::lock_guard lock{wake_mutex_};
  wake_ = std::move(wake);
}

void link_channel::wake() {
  const std::lock_guard lock{wake_mutex_};
  if (wake_) wake_();
}

}  // namespace qkd004::software
