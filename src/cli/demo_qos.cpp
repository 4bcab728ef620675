// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_qos.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/demo_qos_report.hpp"
#include "cli/demo_report.hpp"
#include "cli/demo_stage.hpp"
#include "cli/print.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/status.hpp"

namespace qkd004::cli {

namespace {

using clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Of a seeded link: what is shown is how a known rate is shared, second by second, and one that distils has none that is
/// so exact; its key comes in blocks.
constexpr std::uint32_t link_bps = 120'000;
constexpr std::uint32_t chunk = 64;       ///< octets of every key
constexpr milliseconds settling{1'000};   ///< reserves that gathered before are read
constexpr milliseconds patience{30'000};  ///< with applications that have something to say
constexpr milliseconds lateness{3'000};   ///< of the keys of a second; after that its row is shown as it is

/// What the applications ask for. By Priority alone voice would get 2/7 of the link, less than its Min_bps.
std::vector<std::pair<std::string, qos>> demands() {
  qos voice;
  voice.min_bps = link_bps / 3;
  voice.jitter = 8'000;
  voice.priority = 1;
  qos vpn;
  vpn.priority = 3;
  const qos backup;
  return {{"voice", voice}, {"vpn", vpn}, {"backup", backup}};
}

/// More than is left when voice was promised its own.
constexpr std::uint32_t bulk_min_bps = link_bps / 6 * 5;

std::vector<std::string> arguments_of(const qos& q) {
  return {"--accept-counter",        "--chunk",  std::to_string(chunk),    "--min-bps",
          std::to_string(q.min_bps), "--jitter", std::to_string(q.jitter), "--priority",
          std::to_string(q.priority)};
}

std::string text_of(const qos& q) {
  std::string text = fmt::format("Priority {}", q.priority);
  if (q.min_bps != 0) text += fmt::format(", Min_bps {}", q.min_bps);
  if (q.jitter != 0) text += fmt::format(", Jitter {}", q.jitter);
  return text;
}

class qos_demonstration {
 public:
  explicit qos_demonstration(const demo_qos_options& o)
      : options_{o}, stage_{{link_bps, 0, o.tls, o.keep, o.log_level}} {
    for (auto& [name, asked] : demands()) {
      parts_.push_back(
          {{name, asked}, {stage_.a().name + "-" + name, {}}, {stage_.b().name + "-" + name, {}}});
    }
  }

  exit_code run() {
    put(fmt::format(
        "three key streams share a simulated link of {} bit/s, which is too little for them; two sites\n"
        "and their applications, each a process of its own\n",
        link_bps));
    stage_.set_up();
    open();
    join();
    ask_too_much();
    measure();
    end();
    return conclude();
  }

 private:
  /// A stream, and an application at either end of it.
  struct part {
    qos_stream stream;
    actor at_a;
    actor at_b;
  };

  void open() {
    put(fmt::format("\n{} opens three key streams at {}:\n", stage_.a().name, stage_.a().site));
    for (part& p : parts_) {
      auto arguments = arguments_of(p.stream.asked);
      arguments.emplace_back("--until-told");
      start(p.at_a, p.stream.at_a, stage_.a(), std::move(arguments));
      await([&] { return p.stream.at_a.stream.has_value(); }, p.at_a.name + " opens no stream");
      say_opened(p.stream.name, p.stream.asked, p.stream.at_a);
    }
  }

  void join() {
    for (part& p : parts_) {
      start(p.at_b, p.stream.at_b, stage_.b(), {"--until-told", "--join"});
      p.at_b.child->tell(p.stream.at_a.stream->to_string() + "\n");
    }
    for (part& p : parts_) {
      await([&] { return !p.stream.at_a.keys.empty() && !p.stream.at_b.keys.empty(); },
            "no key came of " + p.stream.name);
    }
    put(fmt::format("{} joins them at {}, and all take keys as fast as these come\n", stage_.b().name,
                    stage_.b().site));
  }

  /// An OPEN_CONNECT that cannot be granted, and its counter-proposal, which can. Clause: D5.
  void ask_too_much() {
    qos asked;
    asked.min_bps = bulk_min_bps;
    auto arguments = arguments_of(asked);
    arguments.insert(arguments.end(), {"--keys", "0"});
    put("one more asks for what the link has not left:\n");
    start(bulk_, bulk_report_, stage_.a(), std::move(arguments));
    await([&] { return bulk_report_.all.has_value(); }, bulk_.name + " does not end");
    demo_stage::expect_end(bulk_);
    say_opened("bulk", asked, bulk_report_);
    if (!bulk_report_.counter) {
      throw demo_failure{fmt::format("bulk was granted Min_bps {}, which the link of {} has not left",
                                     bulk_min_bps, link_bps)};
    }
    put("  bulk    closed again: what it was promised is free\n");
  }

  static void say_opened(const std::string& name, const qos& asked, const application_report& r) {
    if (r.counter) {
      put(fmt::format("  {:<8}{}: {}; counter-proposal {}\n", name, text_of(asked),
                      describe(status::qos_not_met), text_of(*r.counter)));
      put(fmt::format("  {:<8}{}: sent back as it came, and granted\n", name, text_of(*r.promised)));
    } else {
      put(fmt::format("  {:<8}{}: granted\n", name, text_of(asked)));
    }
  }

  void measure() {
    const auto start = clock::now() + settling;
    begin_ = std::chrono::duration_cast<microseconds>(start.time_since_epoch());
    std::vector<qos_stream*> streams;
    put("\nbit/s, of keys that have come to both ends:\n" + seconds_head(streams_now()));
    for (std::size_t second = 1; second <= options_.seconds; ++second) {
      const auto over = start + seconds{second};
      const auto over_at = begin_ + seconds{second};
      while (clock::now() < over || (clock::now() < over + lateness && !are_told_until(over_at))) wait();
      std::vector<std::uint64_t> bps;
      for (const part& p : parts_) bps.push_back(delivered_bps(p.stream, begin_, second).back());
      put(seconds_row(second, bps));
    }
  }

  [[nodiscard]] bool are_told_until(microseconds time) const {
    for (const part& p : parts_) {
      if (!is_told_until(p.stream, time)) return false;
    }
    return true;
  }

  /// First nobody reads any more, then they close: a CLOSE leaves the other end without its next key (D16).
  void end() {
    tell("stop\n");
    for (part& p : parts_) {
      await([&] { return p.stream.at_a.all && p.stream.at_b.all; }, p.stream.name + " does not stop");
    }
    tell("close\n");
    for (part& p : parts_) {
      demo_stage::expect_end(p.at_a);
      demo_stage::expect_end(p.at_b);
    }
    stage_.tear_down();
  }

  void tell(std::string_view what) {
    for (part& p : parts_) {
      p.at_a.child->tell(what);
      p.at_b.child->tell(what);
    }
  }

  exit_code conclude() const {
    const auto rows = rows_of(streams_now(), link_bps, begin_, options_.seconds);
    put("\n  key source  " + stage_.key_source() + "\n");
    if (!stage_.transport().empty()) put("  transport   " + stage_.transport() + "\n");
    put("\n" + table(rows) + "\n");
    const auto faults = faults_of(rows);
    if (!faults.empty()) {
      return complain(exit_code::check_failed, fmt::format("{}", fmt::join(faults, "\n        ")));
    }
    std::size_t keys = 0;
    for (const qos_row& r : rows) keys += r.keys.equal;
    put(
        fmt::format("every Min_bps was kept, the rest was shared by 1 + Priority, and nobody starved\n"
                    "{} keys are equal at both ends\n",
                    keys));
    return exit_code::ok;
  }

  [[nodiscard]] std::vector<qos_stream> streams_now() const {
    std::vector<qos_stream> streams;
    for (const part& p : parts_) streams.push_back(p.stream);
    return streams;
  }

  // --- Applications ---

  void start(actor& who, application_report& report, const demo_end& at, std::vector<std::string> arguments) {
    stage_.start(who, at, std::move(arguments));
    running_.push_back(&who);
    reports_.push_back(&report);
  }

  void wait() {
    stage_.wait(running_, milliseconds{50});
    for (std::size_t i = 0; i < running_.size(); ++i) stage_.read(*running_[i], *reports_[i]);
  }

  void await(const std::function<bool()>& there, const std::string& otherwise) {
    const auto deadline = clock::now() + patience;
    while (!there()) {
      if (clock::now() >= deadline) {
        throw demo_failure{
            fmt::format("{} within {} s\n{}", otherwise, patience / seconds{1}, stage_.logs())};
      }
      wait();
    }
  }

  const demo_qos_options& options_;
  demo_stage stage_;
  std::vector<part> parts_;
  actor bulk_{"alice-bulk", {}};
  application_report bulk_report_;
  std::vector<actor*> running_;  ///< with reports_, one for one
  std::vector<application_report*> reports_;
  microseconds begin_{};
};

}  // namespace

exit_code demo_qos(const demo_qos_options& o) {
  return perform([&o] { return qos_demonstration{o}.run(); });
}

}  // namespace qkd004::cli
