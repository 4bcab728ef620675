// run: goes through the table against one target and keeps what came out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "conformance/bench.hpp"
#include "conformance/test_case.hpp"

namespace qkd004::conformance {

enum class verdict : std::uint8_t { pass, fail, skip };

struct case_result {
  const test_case* what = nullptr;
  verdict is = verdict::skip;
  bool mandatory = false;
  std::string expected;  ///< of a failure
  std::string got;       ///< of a failure
  std::string why;       ///< of a skip
  milliseconds took{0};
};

struct run_options {
  bool ours = false;         ///< our decisions are mandatory
  bool destructive = false;  ///< send what stops some servers
  std::uint64_t seed = 1;    ///< of fresh names and noise; what fails with one fails with it again
  std::function<bool(const test_case&)> chosen;  ///< empty: all
  std::function<void(const case_result&)> done;  ///< after each
};

/// One case. Never throws for what the server does.
[[nodiscard]] case_result run_case(const test_case& c, const target& t, const run_options& o);

/// Those of the table that were chosen, one after another.
[[nodiscard]] std::vector<case_result> run_cases(const target& t, const run_options& o);

struct tally {
  std::size_t passed = 0;
  std::size_t failed = 0;  ///< mandatory ones
  std::size_t advisory_failed = 0;
  std::size_t skipped = 0;
};

[[nodiscard]] tally tally_of(const std::vector<case_result>& results);

}  // namespace qkd004::conformance
