// SPDX-License-Identifier: Apache-2.0
#include "cli/demo.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/demo_progress.hpp"
#include "cli/demo_report.hpp"
#include "cli/demo_stage.hpp"
#include "cli/print.hpp"
#include "serve/link_report.hpp"

namespace qkd004::cli {

namespace {

using std::chrono::milliseconds;

using clock = std::chrono::steady_clock;

constexpr milliseconds quiet_time{40'000};  ///< without a word from an application, or news of the link
constexpr milliseconds distilling_time{
    300'000};  ///< the same while the first block is reconciled: it may be a large one
constexpr milliseconds progress_every{100};
constexpr milliseconds measuring_time{3'000};  ///< for as many blocks as follow, if not enough came
constexpr std::uint64_t enough_blocks = 6;     ///< fewer than a site keeps before it lets the link rest
constexpr std::size_t shown_keys = 3;
constexpr std::uint64_t enough_discarded = 3;  ///< blocks in a row at both ends: no key will come

/// Of those that an eavesdropper sends again, so many come with the wrong bit: half of the photons are measured in the
/// wrong basis, and half of these come out wrong.
constexpr double errors_of_eve = 0.25;

std::string blocks(std::uint64_t n) { return serve::grouped(n) + (n == 1 ? " block" : " blocks"); }

std::optional<software_link_options> link_of(const demo_options& o) {
  if (o.rate_bps) return std::nullopt;
  software_link_options link;
  link.system.km = o.km;
  link.block_bits = o.block_bits;
  link.intercept_resend = o.eve;
  return link;
}

/// One of the two applications.
struct part {
  const demo_end& at;
  actor application{at.name, {}};
  application_report report{};
};

class demonstration {
 public:
  explicit demonstration(const demo_options& o)
      : options_{o},
        link_{link_of(o)},
        stage_{{o.rate_bps.value_or(0), 0, o.tls, o.keep, o.log_level, link_}} {}

  exit_code run() {
    put(fmt::format("two sites and two applications, each a process of its own; {} keys of {} octets\n",
                    options_.count, options_.chunk));
    if (link_) {
      put(fmt::format("the sites distil them: BB84 with decoy states over simulated photons, {}\n",
                      serve::text_of(*link_)));
    }
    stage_.set_up();
    start_applications();
    const bool have_key = collect();
    return have_key ? conclude() : conclude_without_key();
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
    progress_.say(fmt::format("... and tells {} (process {}) its KSID {}\n", b_.at.name,
                              b_.application.child->id(), id));
  }

  void start(part& p, std::vector<std::string> more) {
    more.insert(more.end(),
                {"--keys", std::to_string(options_.count), "--chunk", std::to_string(options_.chunk)});
    if (options_.show_keys) more.insert(more.end(), {"--show", std::to_string(shown_keys)});
    stage_.start(p.application, p.at, std::move(more));
  }

  /// False: no key came, and none will.
  bool collect() {
    while (!a_.report.all || !b_.report.all) {
      wait();
      if (link_) note_first_block();
      if (is_hopeless()) {
        progress_.say("");
        for (part* p : parts_) p->application.child->signal(SIGKILL);
        stage_.tear_down();
        return false;
      }
      progress_.show(progress_line());
    }
    for (part* p : parts_) demo_stage::expect_end(p->application);
    if (link_) measure();
    progress_.say("");
    stage_.tear_down();
    return true;
  }

  /// Lets the link go on for a little: rates of the first block alone would say how long it was on its way.
  void measure() {
    const auto until = clock::now() + measuring_time;
    while (stage_.a().link.now().accepted < enough_blocks && clock::now() < until) {
      stage_.wait({}, progress_every);
      progress_.show(fmt::format("both have their keys; the link goes on: {} of {} blocks",
                                 stage_.a().link.now().accepted, enough_blocks));
    }
  }

  void note_first_block() {
    const auto& alice = stage_.a().link.now();
    if (has_block_ || alice.accepted == 0) return;
    has_block_ = true;
    progress_.say(fmt::format("the first block is distilled: {} secret bits of {} sifted ones\n",
                              serve::grouped(alice.secret / alice.accepted),
                              serve::grouped(link_->block_bits)));
  }

  /// Both ends discard one block after the other.
  [[nodiscard]] bool is_hopeless() const {
    if (!link_) return false;
    const auto no_way = [](const software_link_report& r) {
      return r.accepted == 0 && r.over_limit + r.no_key >= enough_discarded;
    };
    return no_way(stage_.a().link.now()) && no_way(stage_.b().link.now());
  }

  [[nodiscard]] std::string progress_line() const {
    if (!link_ || has_block_) {
      std::string line =
          fmt::format("{} has {} keys, {} has {}", a_.at.name, serve::grouped(a_.report.keys.size()),
                      b_.at.name, serve::grouped(b_.report.keys.size()));
      if (link_) line += "; " + blocks(stage_.a().link.now().accepted) + " distilled";
      return line;
    }
    // he detects, and so has something to do at every stage
    const auto& bob = stage_.b().link.now();
    if (bob.sessions == 0) return "the sites meet ...";
    std::string line = fmt::format("distilling for {} s: {}",
                                   (clock::now() - began_) / std::chrono::seconds{1}, serve::to_string(bob.at));
    // of the other stages it is not known
    if (bob.at == software_link_report::stage::photons) line += fmt::format(", {:.0f} %", 100 * bob.progress);
    return serve::discarded(bob) > 0 ? line + "; " + blocks(serve::discarded(bob)) + " discarded"
                                     : line + " of the first block";
  }

  /// Takes in what the processes say.
  void wait() {
    const std::array<actor*, 2> applications{&a_.application, &b_.application};
    stage_.wait(applications, link_ ? progress_every : milliseconds{1'000});
    for (part* p : parts_) stage_.read(p->application, p->report);
    const auto now = clock::now();
    const std::uint64_t said = a_.report.keys.size() + b_.report.keys.size() + stage_.a().link.now().rounds +
                               stage_.b().link.now().detections;
    if (said != said_) {
      said_ = said;
      said_at_ = now;
    }
    const bool distils = stage_.b().link.now().sessions > 0 && !has_block_;
    const milliseconds quiet = distils ? distilling_time : quiet_time;
    if (now - said_at_ < quiet) return;
    progress_.say("");
    throw demo_failure{fmt::format("no key came for {} s; {} has {} of {}, {} has {}\n{}",
                                   quiet / std::chrono::seconds{1}, a_.at.name, a_.report.keys.size(),
                                   options_.count, b_.at.name, b_.report.keys.size(), stage_.logs())};
  }

  [[nodiscard]] std::string table_of_all() const {
    std::string text = "\n" + table({a_.at.site, a_.at.name, a_.report}, {b_.at.site, b_.at.name, b_.report},
                                    stage_.key_source(), stage_.transport());
    if (link_) text += link_table({a_.report, stage_.a().link}, {b_.report, stage_.b().link}, *link_);
    return text + "\n";
  }

  exit_code conclude() const {
    const comparison c = compare(a_.report, b_.report, options_.count);
    put(table_of_all());
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
    if (must_abort()) {
      return complain(exit_code::check_failed,
                      "keys came, although the errors that an eavesdropper makes are above the QBER limit");
    }
    put(fmt::format("{} of {} keys are equal at both ends\n", c.equal, options_.count));
    if (link_) put("NOT QUANTUM-SECURE: the photons are simulated, all that follows them is real\n");
    return exit_code::ok;
  }

  /// Whether the eavesdropper alone makes more errors than a block may have.
  [[nodiscard]] bool must_abort() const {
    return link_ && errors_of_eve * link_->intercept_resend > link_->qber_limit;
  }

  exit_code conclude_without_key() const {
    put(table_of_all());
    const auto& r = stage_.a().link.now();
    const bool over = r.over_limit > 0;
    const std::string why =
        over ? fmt::format("QBER {} is above the limit of {}", serve::percent(r.qber),
                           serve::percent(link_->qber_limit))
             : fmt::format("at a QBER of {} nothing secret is left of a block", serve::percent(r.qber));
    const std::string what =
        fmt::format("no key: {}, and both ends discarded every block ({})", why, serve::reasons(r));
    if (options_.eve == 0) {
      return complain(
          exit_code::check_failed,
          fmt::format("{}\n        {:g} km with {} sifted bits a block is too much for this system; see "
                      "'qkd004 rate'",
                      what, options_.km, serve::grouped(link_->block_bits)));
    }
    if (must_abort() && !over) return complain(exit_code::check_failed, what);
    put(fmt::format(
        "{}\n"
        "the eavesdropper measured {:g} % of the photons and sent them again: {} errors more, and they "
        "gave it away; this is as it must be\n",
        what, 100 * options_.eve, serve::percent(errors_of_eve * options_.eve)));
    return exit_code::ok;
  }

  const demo_options& options_;
  const std::optional<software_link_options> link_;
  demo_stage stage_;
  demo_progress progress_;
  bool has_block_ = false;
  std::uint64_t said_ = 0;
  const clock::time_point began_ = clock::now();
  clock::time_point said_at_ = began_;
  part a_{stage_.a()};
  part b_{stage_.b()};
  std::array<part*, 2> parts_{&a_, &b_};
};

}  // namespace

exit_code demo(const demo_options& o) {
  return perform([&o] { return demonstration{o}.run(); });
}

}  // namespace qkd004::cli
