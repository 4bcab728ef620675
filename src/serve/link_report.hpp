// link_report: what one end of a software link has counted, as a line of JSON for programs and in words for people. Knows
// no key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "qkd004/software_link.hpp"

namespace qkd004::serve {

/// An end's report, and when it was made.
struct link_sample {
  std::string link;                ///< its name
  std::chrono::milliseconds at{};  ///< on the machine's steady clock
  software_link_report counts;
};

/// What an end's samples come to: how it stands, and how fast it was while it distilled.
class link_history {
 public:
  void add(const link_sample& sample);

  /// The last; nothing was ever distilled in a report that nobody gave.
  [[nodiscard]] const software_link_report& now() const noexcept { return last_.counts; }
  /// bit/s from the first sample with a session to the last in which a block was accepted: afterwards it may have rested,
  /// because nobody took its key. 0: unknown.
  [[nodiscard]] double sifted_bps() const { return rate(&software_link_report::sifted); }
  [[nodiscard]] double secret_bps() const { return rate(&software_link_report::secret); }

 private:
  [[nodiscard]] double rate(std::uint64_t software_link_report::*count) const;

  std::optional<link_sample> first_;
  link_sample accepted_;
  link_sample last_;
};

/// All of it as one JSON object, without a line end.
[[nodiscard]] std::string to_json(const link_sample& sample);

/// Reads what to_json() writes; nothing if it is something else.
[[nodiscard]] std::optional<link_sample> parse_link_sample(std::string_view line);

/// `reconciliation`
[[nodiscard]] std::string_view to_string(software_link_report::stage stage) noexcept;

/// Blocks that came to nothing, for whatever reason.
[[nodiscard]] std::uint64_t discarded(const software_link_report& r) noexcept;

/// The reasons, with how many there are of each: `3 over the QBER limit, 1 cut off`; empty without any.
[[nodiscard]] std::string reasons(const software_link_report& r);

/// `12.3 Mbit/s`
[[nodiscard]] std::string text_of_rate(double bps);
/// `1,048,576`
[[nodiscard]] std::string grouped(std::uint64_t number);
/// `2.31 %`
[[nodiscard]] std::string percent(double fraction);

/// What has to be known about a link's key wherever it begins to be made.
[[nodiscard]] std::string not_quantum_secure(security_class security);

/// The system and its settings: `25 km, proof lim14, 1,048,576 sifted bits a block`.
[[nodiscard]] std::string text_of(const software_link_options& o);

}  // namespace qkd004::serve
