// key_pool: the distilled key of one link that still waits for its stream, addressed by octet position.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <utility>

#include "qkd004/key_provenance.hpp"
#include "qkd004/secret.hpp"

namespace qkd004 {

/// Blocks laid end to end. Position 0 is the first octet of the session's first block; both sites of a link count
/// alike, as their key sources deliver equal blocks in equal order.
/// Threads: one at a time.
class key_pool {
 public:
  /// Lowest position still held, and the first that did not arrive yet.
  [[nodiscard]] std::uint64_t begin() const noexcept { return begin_; }
  [[nodiscard]] std::uint64_t end() const noexcept { return end_; }

  /// `how` it came to be; null: nobody knows.
  void append(secret_bytes bytes, std::shared_ptr<const key_provenance> how = nullptr) {
    const std::uint64_t size = bytes.size();
    has_provenance_ = has_provenance_ || how != nullptr;
    blocks_.push_back({end_, std::move(bytes), std::move(how)});
    end_ += size;
  }

  /// How [position, position + length) came to be, at the worst; null if that is not known of all of it.
  /// Requires: begin() <= position, position + length <= end(), length above 0.
  [[nodiscard]] std::shared_ptr<const key_provenance> provenance(std::uint64_t position,
                                                                 std::uint64_t length) const {
    if (!has_provenance_) return nullptr;
    assert(begin_ <= position && length > 0 && position + length <= end_);
    auto at = find(position);
    std::shared_ptr<const key_provenance> worst = at->provenance;
    for (++at; worst && at != blocks_.end() && at->position < position + length; ++at) {
      if (at->provenance == worst) continue;
      worst =
          at->provenance ? std::make_shared<const key_provenance>(merge(*worst, *at->provenance)) : nullptr;
    }
    return worst;
  }

  /// Hands [position, position + length) to `use` in order, as spans that hold whole units of `unit` octets; a unit
  /// that lies across blocks is put together in `scratch`, which is wiped again.
  /// Requires: begin() <= position, position + length <= end(), length a multiple of unit, scratch of a unit.
  template <class Use>
  void for_each_run(std::uint64_t position, std::uint64_t length, std::span<std::byte> scratch,
                    Use&& use) const {
    assert(begin_ <= position && position + length <= end_);
    const std::uint64_t unit = scratch.size();
    auto at = find(position);
    while (length > 0) {
      const std::uint64_t offset = position - at->position;
      const std::uint64_t here = std::min(length, at->bytes.size() - offset);
      if (const std::uint64_t whole = here / unit * unit; whole > 0) {
        use(at->bytes.span().subspan(offset, whole));
        position += whole;
        length -= whole;
      } else {
        for (std::uint64_t filled = 0; filled < unit;) {
          const std::uint64_t from = position - at->position;
          const std::uint64_t some = std::min(unit - filled, at->bytes.size() - from);
          std::memcpy(scratch.data() + filled, at->bytes.data() + from, some);
          filled += some;
          position += some;
          if (filled < unit) ++at;
        }
        use(std::span<const std::byte>{scratch});
        wipe(scratch.data(), scratch.size());
        length -= unit;
      }
      if (length > 0 && position == at->position + at->bytes.size()) ++at;
    }
  }

  /// Wipes everything below `position` (at most end()).
  void discard_below(std::uint64_t position) noexcept {
    position = std::min(position, end_);
    while (!blocks_.empty() && blocks_.front().position + blocks_.front().bytes.size() <= position) {
      blocks_.pop_front();
    }
    if (!blocks_.empty() && position > begin_) {
      auto& front = blocks_.front();
      const std::uint64_t from = std::max(begin_, front.position) - front.position;
      if (position > front.position) wipe(front.bytes.data() + from, position - front.position - from);
    }
    begin_ = std::max(begin_, position);
  }

  /// Wipes everything and counts from 0 again.
  void clear() noexcept {
    blocks_.clear();
    begin_ = end_ = 0;
    has_provenance_ = false;
  }

 private:
  struct block {
    std::uint64_t position;
    secret_bytes bytes;
    std::shared_ptr<const key_provenance> provenance;
  };

  [[nodiscard]] std::deque<block>::const_iterator find(std::uint64_t position) const noexcept {
    const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), position,
                                        [](std::uint64_t p, const block& b) { return p < b.position; });
    return after == blocks_.begin() ? after : std::prev(after);
  }

  std::deque<block> blocks_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  bool has_provenance_ = false;  ///< of some block since the session began
};

}  // namespace qkd004
