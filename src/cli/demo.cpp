// SPDX-License-Identifier: Apache-2.0
#include "cli/demo.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "cli/demo_report.hpp"
#include "cli/demo_stage.hpp"
#include "cli/print.hpp"

namespace qkd004::cli {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds quiet_time{40'000};  ///< without a word from an application
constexpr std::size_t shown_keys = 3;

/// One of the two applications.
struct part {
  const demo_end& at;
  actor application{at.name, {}};
  application_report report{};
};

class demonstration {
 public:
  explicit demonstration(const demo_options& o)
      : options_{o}, stage_{{o.rate_bps, 0, o.tls, o.keep, o.log_level}} {}

  exit_code run() {
    put(fmt::format("two sites and two applications, each a process of its own; {} keys of {} octets\n",
                    options_.count, options_.chunk));
    stage_.set_up();
    start_applications();
    collect();
    return conclude();
  }

 private:
  void start_applications() {
    start(a_, {});
    start(b_, {"--join"});
    put(fmt::format("{} (process {}) opens a key stream at {} ...\n", a_.at.name, a_.application.child->id(),
                    a_.at.site));
    while (!a_.report.stream) wait();
    const std::string id = a_.report.stream->to_string();
    b_.application.child->tell(id + "\n");
    put(fmt::format("... and tells {} (process {}) its KSID {}\n", b_.at.name, b_.application.child->id(),
                    id));
  }

  void start(part& p, std::vector<std::string> more) {
    more.insert(more.end(),
                {"--keys", std::to_string(options_.count), "--chunk", std::to_string(options_.chunk)});
    if (options_.show_keys) more.insert(more.end(), {"--show", std::to_string(shown_keys)});
    stage_.start(p.application, p.at, std::move(more));
  }

  void collect() {
    using clock = std::chrono::steady_clock;
    auto next_progress = clock::now() + std::chrono::seconds{1};
    while (!a_.report.all || !b_.report.all) {
      wait();
      if (clock::now() < next_progress) continue;
      next_progress = clock::now() + std::chrono::seconds{1};
      put(fmt::format("{} has {} keys, {} has {}\n", a_.at.name, a_.report.keys.size(), b_.at.name,
                      b_.report.keys.size()));
    }
    for (part* p : parts_) demo_stage::expect_end(p->application);
    stage_.tear_down();
  }

  /// Takes in what the processes say.
  void wait() {
    const std::array<actor*, 2> applications{&a_.application, &b_.application};
    const auto before = a_.report.keys.size() + b_.report.keys.size();
    const auto began = std::chrono::steady_clock::now();
    stage_.wait(applications, quiet_time);
    for (part* p : parts_) stage_.read(p->application, p->report);
    const bool silent = before == a_.report.keys.size() + b_.report.keys.size();
    if (silent && std::chrono::steady_clock::now() - began >= quiet_time) {
      throw demo_failure{fmt::format("no key came for {} s; {} has {} of {}, {} has {}\n{}",
                                     quiet_time.count() / 1000, a_.at.name, a_.report.keys.size(),
                                     options_.count, b_.at.name, b_.report.keys.size(), stage_.logs())};
    }
  }

  exit_code conclude() const {
    const comparison c = compare(a_.report, b_.report, options_.count);
    put("\n" +
        table({a_.at.site, a_.at.name, a_.report}, {b_.at.site, b_.at.name, b_.report}, stage_.key_source(),
              stage_.transport()) +
        "\n");
    for (std::size_t i = 0; i < std::min(a_.report.shown.size(), b_.report.shown.size()); ++i) {
      for (const part* p : parts_) {
        const auto& [index, hex] = p->report.shown[i];
        put(fmt::format("  key {} at {}  {}\n", index, p->at.site, hex));
      }
    }
    if (!c.difference.empty()) {
      return complain(exit_code::check_failed, fmt::format("{} of {} keys are equal at both ends: {}",
                                                           c.equal, options_.count, c.difference));
    }
    put(fmt::format("{} of {} keys are equal at both ends\n", c.equal, options_.count));
    return exit_code::ok;
  }

  const demo_options& options_;
  demo_stage stage_;
  part a_{stage_.a()};
  part b_{stage_.b()};
  std::array<part*, 2> parts_{&a_, &b_};
};

}  // namespace

exit_code demo(const demo_options& o) {
  return perform([&o] { return demonstration{o}.run(); });
}

}  // namespace qkd004::cli
