// test_case: one check of a 004 server, as data and a function; and the table of all of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qkd004::conformance {

class bench;

/// Whose word it is that is checked. What the standard fixes binds everybody; our decisions, where the standard is
/// silent, bind our servers and are advice to others.
enum class level : std::uint8_t { standard, decision };

/// What a case cannot do without; bits.
namespace need {
inline constexpr unsigned both_ends = 1;      ///< a way to either end of a stream
inline constexpr unsigned hello = 2;          ///< a server that answers HELLO
inline constexpr unsigned cut_link = 4;       ///< control: break the link between two sites, and mend it
inline constexpr unsigned restart = 8;        ///< control: restart the site of the other end
inline constexpr unsigned destructive = 16;   ///< leave to send what stops some servers
inline constexpr unsigned stranger = 32;      ///< a second application, that the servers tell from the first
inline constexpr unsigned frames = 1U << 31;  ///< octets of frames as they are, which HTTP does not carry
// A feature that HELLO announces: its bit there, times 64.
inline constexpr unsigned wait_peer = 1U << 6;
inline constexpr unsigned get_keys = 2U << 6;
inline constexpr unsigned acknowledge = 4U << 6;
inline constexpr unsigned subscribe = 8U << 6;
inline constexpr unsigned report = 16U << 6;
[[nodiscard]] constexpr unsigned features_of(unsigned needs) noexcept { return (needs & ~frames) >> 6; }
}  // namespace need

/// Dialects, as bits.
inline constexpr unsigned in_forge = 1;
inline constexpr unsigned in_qubip = 2;
inline constexpr unsigned in_both = in_forge | in_qubip;

struct test_case {
  std::string_view id;  ///< `group.name`, never used for anything else again
  std::string_view
      clause;  ///< of GS QKD 004 V2.1.1, a decision D1 to D17, a delivery rule R1 to R8, or `wire`
  level rule;
  unsigned dialects;
  unsigned needs;
  std::string_view title;  ///< what a server that passes does
  void (*run)(bench&);     ///< returns, or throws `failure` or `skipped`

  [[nodiscard]] std::string_view group() const { return id.substr(0, id.find('.')); }
};

/// What was expected and what came instead; never an octet of key.
struct failure {
  std::string expected;
  std::string got;
  std::string refusal{};  ///< why the server wants nothing to do with this end, if that is what came
};

/// The case turned out to have nothing to look at.
struct skipped {
  std::string why;
};

/// Throws failure{expected, got} unless `holds`.
inline void expect(bool holds, std::string_view expected, std::string_view got) {
  if (!holds) throw failure{std::string{expected}, std::string{got}};
}

/// \name The table, group by group
///@{
[[nodiscard]] std::span<const test_case> sequence_cases();
[[nodiscard]] std::span<const test_case> status_cases();
[[nodiscard]] std::span<const test_case> qos_cases();
[[nodiscard]] std::span<const test_case> metadata_cases();
[[nodiscard]] std::span<const test_case> key_cases();
[[nodiscard]] std::span<const test_case> close_cases();
[[nodiscard]] std::span<const test_case> ends_cases();
[[nodiscard]] std::span<const test_case> principal_cases();
[[nodiscard]] std::span<const test_case> many_cases();
[[nodiscard]] std::span<const test_case> hostile_cases();
[[nodiscard]] std::span<const test_case> extension_cases();
[[nodiscard]] std::span<const test_case> link_cases();
///@}

/// All of them, in the order in which they run.
[[nodiscard]] const std::vector<test_case>& all_cases();

}  // namespace qkd004::conformance
