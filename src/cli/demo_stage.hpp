// demo_stage: what every demonstration needs: two sites on one simulated link, the processes of their applications, and
// a folder for all of it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/certs.hpp"
#include "cli/demo_report.hpp"
#include "cli/exit_code.hpp"
#include "cli/process.hpp"
#include "serve/link_report.hpp"

namespace qkd004::cli {

/// Why a demonstration cannot go on, in words for people.
struct demo_failure : std::runtime_error {
  explicit demo_failure(const std::string& why, exit_code as = exit_code::check_failed)
      : std::runtime_error{why}, code{as} {}
  exit_code code;
};

/// SIGINT, SIGTERM and SIGHUP become readable instead of ending this process, so that it can tidy up.
class held_signals {
 public:
  held_signals();
  held_signals(const held_signals&) = delete;
  held_signals& operator=(const held_signals&) = delete;
  ~held_signals();
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] bool came() const;

 private:
  sigset_t before_{};
  int descriptor_ = -1;
};

/// A folder of this run's own, removed again unless it is to be kept.
class workspace {
 public:
  explicit workspace(const std::string& keep);
  workspace(const workspace&) = delete;
  workspace& operator=(const workspace&) = delete;
  ~workspace();
  [[nodiscard]] std::string path(std::string_view name) const;

 private:
  std::string folder_;
  bool kept_;
};

/// A process of a demonstration, and what it is called.
struct actor {
  std::string name;
  std::optional<process> child;
};

/// One end of the link: a site, and whoever runs applications there.
struct demo_end {
  std::string site;
  std::string name;
  actor daemon{site, {}};
  std::string address{};
  credentials site_shows{};  ///< without TLS nobody shows anything
  credentials application_shows{};
  serve::link_history link{};  ///< of a software link

  [[nodiscard]] std::string uri() const { return "qkd://" + name + "@" + site; }
};

/// A seeded link, or one that distils.
struct demo_stage_options {
  std::uint64_t rate_bps = 0;     ///< seeded: bit/s of the link; 0: as fast as asked
  std::uint32_t block_bytes = 0;  ///< seeded: octets the link distils at a time; 0: it chooses
  bool tls = false;  ///< certificates of an authority made for this, instead of plain TCP on loopback
  std::string keep;  ///< a new folder for everything; empty: nothing stays
  std::string log_level = "info";
  std::optional<software_link_options> software{};  ///< instead of the seeded one; site-a is Alice
};

/// Every function throws demo_failure when something is not as it has to be.
/// Order of calls: `set_up (start | wait | expect_end)* tear_down`.
/// Threads: one.
class demo_stage {
 public:
  explicit demo_stage(demo_stage_options o) : options_{std::move(o)}, folder_{options_.keep} {}

  /// Starts both sites, and says so on standard output.
  void set_up();
  /// Ends them.
  void tear_down();

  [[nodiscard]] const demo_end& a() const noexcept { return a_; }
  [[nodiscard]] const demo_end& b() const noexcept { return b_; }
  /// What the key is drawn from, for people.
  [[nodiscard]] const std::string& key_source() const noexcept { return key_source_; }
  /// For people; empty without TLS.
  [[nodiscard]] std::string transport() const {
    return options_.tls ? "TLS 1.3, certificates at both ends" : "";
  }
  [[nodiscard]] bool keeps() const noexcept { return !options_.keep.empty(); }
  [[nodiscard]] std::string path(std::string_view name) const { return folder_.path(name); }

  /// Starts an application of that end, for a stream from alice to bob.
  void start(actor& application, const demo_end& at, std::vector<std::string> more);
  /// Waits until one of the applications says something or ended, or for so long. Throws also if a site ended.
  void wait(std::span<actor* const> applications, std::chrono::milliseconds most);
  /// Takes in what the application has said. Throws also if it ended before its report.
  void read(actor& application, application_report& report);
  static void expect_end(actor& who);
  /// The last lines of both sites' logs.
  [[nodiscard]] std::string logs() const;

 private:
  void certify();
  void create_secrets();
  [[nodiscard]] std::string describe_key_source() const;
  [[nodiscard]] std::string source_of(const demo_end& here) const;
  void start_site(demo_end& here, const demo_end& there, const std::string& address);
  static void take_reports(demo_end& of);
  void start_process(actor& who, std::vector<std::string> arguments);

  demo_stage_options options_;
  held_signals signals_;
  workspace folder_;
  std::string key_source_;
  std::string authority_;  ///< path of its certificate
  demo_end a_{"site-a", "alice"};
  demo_end b_{"site-b", "bob"};
  std::array<demo_end*, 2> ends_{&a_, &b_};
};

/// Runs a demonstration; says on standard error why it could not go on.
exit_code perform(const std::function<exit_code()>& demonstration);

}  // namespace qkd004::cli
