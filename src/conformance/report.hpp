// report: what an examination came to, for people on a terminal, for programs and for a browser. Holds no key: cases
// never put one into their texts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "conformance/run.hpp"
#include "conformance/survey.hpp"

namespace qkd004::conformance {

/// The form of to_json(); another number for anything that a reader of the old one would misread.
inline constexpr int report_schema = 1;

struct report {
  survey_result server;
  run_options how;
  std::vector<case_result> results;
  milliseconds took{0};

  /// Whether something passed and nothing mandatory failed.
  [[nodiscard]] bool conforms() const;
};

/// \name Text, in the order in which it is printed; each with its line ends
///@{
[[nodiscard]] std::string heading(const report& r);
/// One line; below a failure what was expected and what came, below a skip why.
[[nodiscard]] std::string to_text(const case_result& r);
[[nodiscard]] std::string summary(const report& r);
///@}

/// The table: id, clause, level, dialects, needs, title.
[[nodiscard]] std::string list_of_cases();

/// One object, with its line end.
[[nodiscard]] std::string to_json(const report& r);

/// A page that needs nothing else: no script, no font, no picture.
[[nodiscard]] std::string to_html(const report& r);

}  // namespace qkd004::conformance
