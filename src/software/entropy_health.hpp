// entropy_health: the health tests of NIST SP 800-90B, 4.4, on the octets of an entropy source: whether it is stuck or
// has become coarse. They see a source that is broken, not one that is predictable.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <system_error>

namespace qkd004::software {

/// Sound sources fail either test with a probability of 2^-false_alarm_bits per octet (repetition) or window of 512
/// (proportion). The document recommends 20 to 40 for sources of some octets per second; a link that draws a hundred
/// megabytes per second would then end its sessions every few hours for nothing.
inline constexpr unsigned false_alarm_bits = 64;

inline constexpr std::size_t health_window = 512;      ///< octets, 4.4.2
inline constexpr std::size_t health_at_start = 1'024;  ///< octets that are tested and thrown away first, 4.3

/// So many equal octets in a row are a failure (4.4.1). The entropy is that of an octet, in whole bits.
[[nodiscard]] std::size_t repetition_cutoff(unsigned entropy_bits, unsigned alarm_bits) noexcept;
/// So many octets of a window equal to its first are a failure (4.4.2).
[[nodiscard]] std::size_t proportion_cutoff(unsigned entropy_bits, unsigned alarm_bits) noexcept;

/// Both tests, over a sequence that comes in pieces of any size. Full entropy is claimed: 8 bits per octet.
/// Threads: one at a time.
class entropy_health {
 public:
  entropy_health() noexcept;

  /// The next octets of the source. False: a test has failed, now or before; it stays so.
  [[nodiscard]] bool accepts(std::span<const std::byte> octets) noexcept;
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  [[nodiscard]] bool repeats(std::span<const std::byte> octets) noexcept;
  [[nodiscard]] bool is_too_frequent(std::span<const std::byte> octets) noexcept;

  std::size_t repetition_cutoff_;
  std::size_t proportion_cutoff_;
  bool failed_ = false;
  std::byte last_{};
  std::size_t run_ = 0;  ///< octets up to here that are equal to last_
  std::byte first_{};    ///< of the window
  std::size_t equal_ = 0;
  std::size_t window_left_ = 0;
};

/// The source failed a test, or there is none.
class entropy_failure final : public std::system_error {
 public:
  entropy_failure();
};

using random_source = std::function<void(std::span<std::byte>)>;

/// `source` under test: octets go out once they passed. Throws entropy_failure when a test fails, and from then on for
/// every request, an empty one as well; the octets asked for are wiped. The test at the start is made here: throws too.
[[nodiscard]] random_source tested(random_source source);

}  // namespace qkd004::software
