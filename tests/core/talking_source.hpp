// talking_source: a key source for tests, one end of two: speaks with its other end, and does what the test tells it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qkd004/key_source.hpp"
#include "qkd004/status.hpp"

namespace testing {

using namespace qkd004;  // NOLINT: tests only

/// Its words are numbered, and said again on a new connection until the other end has confirmed them. Both ends give
/// the same blocks of a session: as many as the test allows.
/// Threads: any.
class talking_source final : public key_source, public classical_channel {
 public:
  static constexpr std::size_t block_octets = 256;

  // --- What a test tells it ---

  void say(std::string text) {
    {
      const std::lock_guard lock{mutex_};
      said_.push_back(std::move(text));
    }
    wake();
  }
  /// Says octets that are no word.
  void say_nonsense() {
    {
      const std::lock_guard lock{mutex_};
      nonsense_ = true;
    }
    wake();
  }
  void allow_blocks(std::uint64_t count) {
    {
      const std::lock_guard lock{mutex_};
      allowed_ = count;
    }
    wake();
  }
  /// The next poll() fails so.
  void fail(status why) {
    {
      const std::lock_guard lock{mutex_};
      failure_ = why;
    }
    wake();
  }
  /// What there is to say of a block.
  std::function<std::shared_ptr<const key_provenance>(std::uint64_t number)> provenance;
  /// Of every session from now on: poll() fails at once.
  bool always_fails = false;
  bool has_channel = true;

  /// Tells whoever listens, on the calling thread.
  void wake() {
    const std::lock_guard lock{waking_};
    if (wake_) wake_();
  }

  // --- What it has seen ---

  [[nodiscard]] std::vector<std::string> heard() const {
    const std::lock_guard lock{mutex_};
    return heard_;
  }
  [[nodiscard]] std::vector<key_source_session> sessions() const {
    const std::lock_guard lock{mutex_};
    return sessions_;
  }
  /// The calls of its channel and its session, in order: start, up, down, stop.
  [[nodiscard]] std::string calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }
  [[nodiscard]] bool is_listened_to() const {
    const std::lock_guard lock{waking_};
    return static_cast<bool>(wake_);
  }
  [[nodiscard]] std::uint64_t polls() const {
    const std::lock_guard lock{mutex_};
    return polls_;
  }
  /// Waits until it has heard so many words; false: that takes too long.
  template <class Duration>
  [[nodiscard]] bool has_heard(std::size_t count, Duration patience) {
    std::unique_lock lock{mutex_};
    return arrived_.wait_for(lock, patience, [&] { return heard_.size() >= count; });
  }

  // --- key_source ---

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return 0; }
  [[nodiscard]] result<key_source_check> start(const key_source_session& s, time_point) override {
    const std::lock_guard lock{mutex_};
    calls_ += "start ";
    sessions_.push_back(s);
    number_ = 0;
    next_ = heard_confirmed_ = 0;
    said_.clear();
    heard_.clear();
    seed_ = 0;
    for (const auto* of : {&s.lower, &s.higher}) {
      for (const std::byte b : *of)
        seed_ = seed_ * 1'099'511'628'211U + std::to_integer<std::uint64_t>(b) + 1;
    }
    key_source_check check{};
    std::memcpy(check.data(), &seed_, sizeof seed_);
    return check;
  }
  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point) override {
    const std::lock_guard lock{mutex_};
    polls_ += 1;
    if (always_fails) return status::protocol_error;
    if (failure_) return *std::exchange(failure_, std::nullopt);
    if (number_ >= allowed_) return std::optional<key_block>{};
    auto bytes = arena.allocate(block_octets);
    if (!bytes) return bytes.error();
    std::uint64_t x = seed_ ^ (number_ * 0x9E3779B97F4A7C15U + 1);
    for (std::size_t i = 0; i < bytes->size(); ++i) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      bytes->data()[i] = static_cast<std::byte>(x >> 32);
    }
    key_block block{number_, std::move(*bytes)};
    if (provenance) block.provenance = provenance(number_);
    number_ += 1;
    return std::optional<key_block>{std::move(block)};
  }
  [[nodiscard]] time_point ready_at(time_point) const noexcept override { return time_point::max(); }
  void stop() noexcept override {
    const std::lock_guard lock{mutex_};
    calls_ += "stop ";
  }
  [[nodiscard]] classical_channel* channel() noexcept override { return has_channel ? this : nullptr; }

  // --- classical_channel ---

  void up() override {
    const std::lock_guard lock{mutex_};
    calls_ += "up ";
    next_ = heard_confirmed_;
    owes_ = false;
  }
  void down() noexcept override {
    const std::lock_guard lock{mutex_};
    calls_ += "down ";
  }
  [[nodiscard]] bool next(std::vector<std::byte>& message) override {
    const std::lock_guard lock{mutex_};
    if (std::exchange(nonsense_, false)) {
      message.assign(1, std::byte{'?'});
    } else if (std::exchange(owes_, false)) {
      message = numbered('c', heard_.size(), {});
    } else if (next_ < said_.size()) {
      message = numbered('w', next_, said_[next_]);
      next_ += 1;
    } else {
      return false;
    }
    return true;
  }
  [[nodiscard]] result<void> receive(std::span<const std::byte> message) override {
    const std::lock_guard lock{mutex_};
    if (message.size() < 9) return status::protocol_error;
    std::uint64_t number = 0;
    std::memcpy(&number, message.data() + 1, sizeof number);
    if (message[0] == std::byte{'c'}) {
      heard_confirmed_ = std::max(heard_confirmed_, number);
      return {};
    }
    if (message[0] != std::byte{'w'} || number > heard_.size()) return status::protocol_error;
    owes_ = true;
    if (number < heard_.size()) return {};  // said again
    heard_.emplace_back(reinterpret_cast<const char*>(message.data()) + 9, message.size() - 9);
    arrived_.notify_all();
    return {};
  }
  void on_ready(std::function<void()> wake) override {
    const std::lock_guard lock{waking_};
    wake_ = std::move(wake);
  }

 private:
  static std::vector<std::byte> numbered(char kind, std::uint64_t number, std::string_view text) {
    std::vector<std::byte> m(9 + text.size());
    m[0] = static_cast<std::byte>(kind);
    std::memcpy(m.data() + 1, &number, sizeof number);
    if (!text.empty()) std::memcpy(m.data() + 9, text.data(), text.size());
    return m;
  }

  const key_source_capabilities capabilities_{.kind = "talking",
                                              .security = security_class::simulated_insecure};
  mutable std::mutex mutex_;
  mutable std::mutex waking_;
  std::condition_variable arrived_;
  std::function<void()> wake_;
  std::vector<key_source_session> sessions_;
  std::string calls_;
  std::uint64_t polls_ = 0;
  std::uint64_t seed_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t allowed_ = std::numeric_limits<std::uint64_t>::max();
  std::optional<status> failure_;
  std::vector<std::string> said_;
  std::vector<std::string> heard_;
  std::uint64_t next_ = 0;             ///< of said_
  std::uint64_t heard_confirmed_ = 0;  ///< words of this end that the other has
  bool owes_ = false;                  ///< a confirmation
  bool nonsense_ = false;
};

}  // namespace testing
