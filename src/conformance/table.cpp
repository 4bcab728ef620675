// SPDX-License-Identifier: Apache-2.0
#include "conformance/test_case.hpp"

namespace qkd004::conformance {

const std::vector<test_case>& all_cases() {
  static const std::vector<test_case> all = [] {
    std::vector<test_case> cases;
    for (const auto group :
         {sequence_cases(), status_cases(), qos_cases(), metadata_cases(), key_cases(), close_cases(),
          ends_cases(), principal_cases(), many_cases(), hostile_cases(), extension_cases(), link_cases()}) {
      cases.insert(cases.end(), group.begin(), group.end());
    }
    return cases;
  }();
  return all;
}

}  // namespace qkd004::conformance
