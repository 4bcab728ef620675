// fibre: a key source for simulated sites: both ends make the same blocks of a session, each at its own pace.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "qkd004/key_source.hpp"
#include "time_line.hpp"

namespace simulation {

struct fibre_options {
  std::uint64_t secret = 0;  ///< equal at both ends
  std::size_t block_bytes = 4096;
  std::uint64_t rate_bps = 0;  ///< bit/s; 0: as fast as asked
  bool halting = false;        ///< now and then an end has its next block late
};

/// One end at one site.
class fibre final : public key_source {
 public:
  explicit fibre(fibre_options o, std::uint64_t end) : options_{o}, end_{end} {
    capabilities_.rate_bps = o.rate_bps;
  }

  [[nodiscard]] const key_source_capabilities& capabilities() const noexcept override {
    return capabilities_;
  }
  [[nodiscard]] std::uint64_t position() const noexcept override { return 0; }

  [[nodiscard]] result<key_source_check> start(const key_source_session& s, time_point now) override {
    std::uint64_t of_session = mixed(options_.secret + 1);
    for (const auto& instance : {s.lower, s.higher}) {
      std::array<std::uint64_t, 2> halves{};
      std::memcpy(halves.data(), instance.data(), sizeof halves);
      for (const auto h : halves) of_session = mixed(of_session ^ h) + h;
    }
    if (of_session == session_ && number_ > 0)
      return status::invalid_argument;  // those octets must not come again
    session_ = of_session;
    number_ = 0;
    next_ = now;
    key_source_check check{};
    std::memcpy(check.data(), &session_, sizeof session_);
    return check;
  }

  [[nodiscard]] result<std::optional<key_block>> poll(const secret_arena& arena, time_point now) override {
    if (session_ == 0 || now < next_) return std::optional<key_block>{};
    auto bytes = arena.allocate(options_.block_bytes);
    if (!bytes) return bytes.error();
    chance octets{session_ ^ mixed(number_)};
    for (std::size_t at = 0; at < bytes->size(); at += 8) {
      const std::uint64_t eight = octets.next();
      std::memcpy(bytes->data() + at, &eight, std::min<std::size_t>(8, bytes->size() - at));
    }
    if (options_.rate_bps != 0) {
      // what was not asked for during more than a second is not made up for
      next_ = std::max(next_, now - 1s) +
              std::chrono::nanoseconds{options_.block_bytes * 8 * 1'000'000'000 / options_.rate_bps};
    }
    if (const auto halt = mixed(session_ + 2 * number_ + end_); options_.halting && halt % 8 == 0) {
      next_ = std::max(next_, now) + std::chrono::milliseconds{halt / 8 % 300};
    }
    return std::optional<key_block>{key_block{number_++, std::move(*bytes)}};
  }

  [[nodiscard]] time_point ready_at(time_point now) const noexcept override { return std::max(now, next_); }
  void stop() noexcept override { session_ = 0; }

 private:
  key_source_capabilities capabilities_{.kind = "fibre", .security = security_class::simulated_insecure};
  const fibre_options options_;
  const std::uint64_t end_;
  std::uint64_t session_ = 0;  ///< 0: none
  std::uint64_t number_ = 0;
  time_point next_{};
};

}  // namespace simulation
