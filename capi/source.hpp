// source: what a qkd004_source stands for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "gate.hpp"
#include "handle.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/software_link.hpp"

namespace qkd004::capi {

/// A key source that calls functions of the application.
class called_source : public key_source {
 public:
  /// Who may not be called meanwhile.
  virtual void used_by(domain managers) noexcept = 0;
};

class source_object final : public object {
 public:
  explicit source_object(std::shared_ptr<key_source> s) : source_{std::move(s)} {}
  explicit source_object(std::shared_ptr<software_link_end> s) : source_{s}, software{s} {}
  explicit source_object(std::shared_ptr<called_source> s) : source_{s}, called_{std::move(s)} {}

  /// For its one user. Throws refusal (invalid_argument): it has one.
  [[nodiscard]] std::shared_ptr<key_source> taken_by(const domain& managers) {
    if (taken_.exchange(true)) throw refusal{QKD004_INVALID_ARGUMENT, "the key source is in use, or was"};
    if (called_) called_->used_by(managers);
    return source_;
  }
  /// Its user did not come about, and has not touched it.
  void give_back() noexcept { taken_.store(false); }

 private:
  const std::shared_ptr<key_source> source_;

 public:
  const std::shared_ptr<software_link_end> software;  ///< null: it is not one

 private:
  const std::shared_ptr<called_source> called_;
  std::atomic<bool> taken_{false};
};

}  // namespace qkd004::capi
