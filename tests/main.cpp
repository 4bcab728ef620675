// The main function of every test executable; the tests themselves are in the rooms' folders.
// SPDX-License-Identifier: Apache-2.0
//
// Beyond what doctest does: a run in which no test case matched the filter fails (ctest runs each case by
// its name, and a name that matches nothing must not count as a pass), and a failing run repeats the seed
// it was given in QKD004_SEED.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>

namespace {

bool nothing_matched = false;

struct run_listener : doctest::IReporter {
  explicit run_listener(const doctest::ContextOptions&) {}

  void test_run_end(const doctest::TestRunStats& stats) override {
    nothing_matched = stats.numTestCasesPassingFilters == 0;
    const char* seed = std::getenv("QKD004_SEED");
    if (stats.numTestCasesFailed != 0 && seed != nullptr) {
      std::cout << "seed: run again with QKD004_SEED=" << seed << std::endl;
    }
  }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("run", 1, run_listener);

}  // namespace

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int result = context.run();
  if (nothing_matched) {
    std::cerr << "no test case matched\n";
    return EXIT_FAILURE;
  }
  return result;
}
