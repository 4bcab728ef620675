// in_order: a queue in one piece of memory: what was taken off its front is cleared away now and then, all at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace qkd004::net {

/// T: cheap to move; what it holds is let go of before pop(), which only passes it.
template <class T>
class in_order {
 public:
  void push(T one) { all_.push_back(std::move(one)); }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size() - first_; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// Requires: index < size(). The oldest is 0.
  [[nodiscard]] T& operator[](std::size_t index) noexcept { return all_[first_ + index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return all_[first_ + index]; }
  [[nodiscard]] T& front() noexcept { return all_[first_]; }
  [[nodiscard]] const T& front() const noexcept { return all_[first_]; }
  [[nodiscard]] T& back() noexcept { return all_.back(); }

  /// Requires: !empty().
  void pop() noexcept {
    if (++first_ == all_.size()) {
      clear();
    } else if (first_ >= 64 && first_ >= all_.size() / 2) {
      all_.erase(all_.begin(), all_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
  }
  void clear() noexcept {
    all_.clear();
    first_ = 0;
  }

 private:
  std::vector<T> all_;
  std::size_t first_ = 0;  ///< those before are gone
};

}  // namespace qkd004::net
