// memory_source: both ends of a link inside one process, fed from the system's generator. No way to another
// process: nothing leaves the two objects.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "qkd004/clock.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/random.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"

namespace qkd004 {

/// How fast, and how far apart, the two ends deliver.
struct memory_source_options {
  std::size_t block_bytes = 4096;  ///< octets of one block, above 0
  std::uint64_t rate_bps = 0;      ///< bit/s at which blocks are drawn; 0: as fast as asked
  std::size_t max_ahead = 64;      ///< blocks one end may take before the other must follow, above 0

  /// Where the octets come from; a test may give a generator of its own. May throw std::system_error.
  std::function<void(std::span<std::byte>)> random = system_random;
};

/// The two ends; which site gets which does not matter. They may live and die apart.
struct memory_source_pair {
  std::unique_ptr<key_source> first;
  std::unique_ptr<key_source> second;
};

namespace detail {

/// What the two ends share: the session, and the blocks that one end has and the other has yet to take.
class memory_link {
 public:
  explicit memory_link(memory_source_options options) : options_{std::move(options)} {
    assert(options_.block_bytes > 0 && options_.max_ahead > 0 && options_.random);
    if (options_.rate_bps > 0) {
      const std::chrono::duration<double> interval{static_cast<double>(options_.block_bytes) * 8 /
                                                   static_cast<double>(options_.rate_bps)};
      interval_ = std::chrono::duration_cast<boot_clock::duration>(interval);
    }
  }

  [[nodiscard]] const memory_source_options& options() const noexcept { return options_; }

  result<key_source_check> start(std::size_t end, const key_source_session& session, time_point now) {
    const std::lock_guard lock{mutex_};
    if (!session_ || !same(*session_, session)) {
      key_source_check check{};
      if (const auto error = draw(check)) return error;
      session_ = session;
      check_ = check;
      waiting_.clear();
      ends_ = {};
      next_draw_ = now;
    }
    // an end that took blocks, or left, has lost its place: it may only come back in a new session
    if (ends_[end].taken > 0 || ends_[end].left) return status::invalid_argument;
    ends_[end].joined = true;
    return check_;
  }

  result<std::optional<key_block>> poll(std::size_t end, const secret_arena& arena, time_point now) {
    if (arena.forked()) return status::no_qkd_connection;
    const std::lock_guard lock{mutex_};
    if (!ends_[end].joined) return std::optional<key_block>{};  // the other end is in a new session already
    const bool behind = ends_[end].taken < ends_[1 - end].taken;
    if (!behind && (too_far_ahead(end) || now < next_draw_)) return std::optional<key_block>{};

    auto bytes = arena.allocate(options_.block_bytes);
    if (!bytes) return bytes.error();
    if (behind) {
      std::memcpy(bytes->data(), waiting_.front().data(), bytes->size());
      waiting_.pop_front();
    } else {
      auto copy = arena.allocate(options_.block_bytes);
      if (!copy) return copy.error();
      if (const auto error = draw(bytes->span())) return error;
      std::memcpy(copy->data(), bytes->data(), bytes->size());
      waiting_.push_back(std::move(*copy));
      // what was not asked for during more than a second is not made up for
      next_draw_ = std::max(next_draw_, now - std::chrono::seconds{1}) + interval_;
    }
    return std::optional<key_block>{key_block{session_->first_block + ends_[end].taken++, std::move(*bytes)}};
  }

  [[nodiscard]] time_point ready_at(std::size_t end, time_point now) const noexcept {
    const std::lock_guard lock{mutex_};
    if (ends_[end].taken < ends_[1 - end].taken) return now;
    // the other end does not call when it has followed, so look again
    if (too_far_ahead(end) || !ends_[end].joined) return now + std::chrono::milliseconds{1};
    return std::max(now, next_draw_);
  }

  void stop(std::size_t end) noexcept {
    const std::lock_guard lock{mutex_};
    if (!ends_[end].joined) return;
    ends_[end].joined = false;
    ends_[end].left = true;
    if (ends_[end].taken < ends_[1 - end].taken) waiting_.clear();  // they were for this end
  }

 private:
  struct place {
    std::uint64_t taken = 0;  ///< blocks of this session
    bool joined = false;
    bool left = false;
  };

  static bool same(const key_source_session& a, const key_source_session& b) noexcept {
    return a.link == b.link && a.lower == b.lower && a.higher == b.higher && a.first_block == b.first_block;
  }

  /// Whether another block would be one that the other end may never have.
  [[nodiscard]] bool too_far_ahead(std::size_t end) const noexcept {
    return waiting_.size() >= options_.max_ahead || ends_[1 - end].left;
  }

  std::error_code draw(std::span<std::byte> out) {
    try {
      options_.random(out);
      return {};
    } catch (const std::system_error& error) {
      return error.code();
    }
  }

  const memory_source_options options_;
  boot_clock::duration interval_{0};
  mutable std::mutex mutex_;
  std::optional<key_source_session> session_;
  key_source_check check_{};
  std::array<place, 2> ends_{};
  std::deque<secret_bytes> waiting_;  ///< for the end that is behind, in memory of the end that is ahead
  time_point next_draw_{};
};

class memory_source final : public key_source {
 public:
  memory_source(std::shared_ptr<memory_link> link, std::size_t end) : link_{std::move(link)}, end_{end} {
    capabilities_.rate_bps = link_->options().rate_bps;
  }
  memory_source(const memory_source&) = delete;
  memory_source& operator=(const memory_source&) = delete;
  ~memory_source() override { link_->stop(end_); }

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return 0; }
  [[nodiscard]] result<key_source_check> start(const key_source_session& session, time_point now) override {
    return link_->start(end_, session, now);
  }
  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) override {
    return link_->poll(end_, arena, now);
  }
  [[nodiscard]] time_point ready_at(time_point now) const noexcept override {
    return link_->ready_at(end_, now);
  }
  void stop() noexcept override { link_->stop(end_); }

 private:
  key_source_capabilities capabilities_{.kind = "memory", .security = security_class::simulated_insecure};
  const std::shared_ptr<memory_link> link_;
  const std::size_t end_;
};

}  // namespace detail

/// Two ends that deliver the same blocks. A block is drawn when the end that is ahead polls; the other end's
/// copy waits in the arena of the end that is ahead, `max_ahead` blocks at most, after which poll() gives
/// none. At a rate the first block is there at once, and after a pause at most a second's worth comes in a
/// burst.
///
/// start() with a session the other end is in joins it; any other session drops what was left of the old one,
/// and poll() gives none to an end that is still in it. Once one end stopped, the other gets what the first
/// had, and then none. start() returns invalid_argument for a session in which this end had blocks or
/// stopped, and what `random` throws. poll() returns resource_limit when the arena is full (no block is lost
/// by it), what `random` throws, and no_qkd_connection in a child of fork().
/// Requires: sizes above 0 in `options`.
/// Threads: each end one at a time, both ends at once.
[[nodiscard]] inline memory_source_pair make_memory_sources(memory_source_options options = {}) {
  const auto link = std::make_shared<detail::memory_link>(std::move(options));
  return {std::make_unique<detail::memory_source>(link, 0), std::make_unique<detail::memory_source>(link, 1)};
}

}  // namespace qkd004
