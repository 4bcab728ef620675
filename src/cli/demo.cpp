// SPDX-License-Identifier: Apache-2.0
#include "cli/demo.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "cli/certs.hpp"
#include "cli/demo_report.hpp"
#include "cli/print.hpp"
#include "cli/process.hpp"
#include "cli/secret.hpp"
#include "qkd004/seeded_source.hpp"

namespace qkd004::cli {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds start_time{10'000};    ///< for a site to listen
constexpr milliseconds quiet_time{40'000};    ///< without a word from an application
constexpr milliseconds get_key_time{30'000};  ///< QoS Timeout of the applications
constexpr milliseconds end_time{10'000};      ///< for a process to end when it should
constexpr milliseconds grace{300};            ///< for the news of an end to arrive
constexpr std::size_t shown_keys = 3;
constexpr std::size_t shown_log_lines = 10;

/// Why the demonstration cannot go on, in words for people. Never leaves this file.
struct failure : std::runtime_error {
  explicit failure(const std::string& why, exit_code as = exit_code::check_failed)
      : std::runtime_error{why}, code{as} {}
  exit_code code;
};

/// SIGINT, SIGTERM and SIGHUP become readable instead of ending this process, so that it can tidy up.
class held_signals {
 public:
  held_signals() {
    sigset_t ends;
    ::sigemptyset(&ends);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&ends, number);
    ::sigprocmask(SIG_BLOCK, &ends, &before_);
    descriptor_ = ::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  held_signals(const held_signals&) = delete;
  held_signals& operator=(const held_signals&) = delete;
  ~held_signals() {
    if (descriptor_ >= 0) ::close(descriptor_);
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] bool came() const {
    signalfd_siginfo what{};
    return ::read(descriptor_, &what, sizeof what) == static_cast<ssize_t>(sizeof what);
  }

 private:
  sigset_t before_{};
  int descriptor_ = -1;
};

/// A folder of this run's own, removed again unless it is to be kept.
class workspace {
 public:
  explicit workspace(const std::string& keep) : kept_{!keep.empty()} {
    if (kept_) {
      folder_ = keep;
      if (::mkdir(keep.c_str(), S_IRWXU) == 0) return;
    } else {
      folder_ = fs::temp_directory_path() / "qkd004-demo-XXXXXX";
      if (::mkdtemp(folder_.data()) != nullptr) return;
    }
    const std::string error = std::generic_category().message(errno);
    throw failure{fmt::format("cannot create the folder {}: {}", folder_, error), exit_code::usage};
  }
  workspace(const workspace&) = delete;
  workspace& operator=(const workspace&) = delete;
  ~workspace() {
    std::error_code ignored;
    if (!kept_) fs::remove_all(folder_, ignored);
  }
  [[nodiscard]] std::string path(std::string_view name) const { return fmt::format("{}/{}", folder_, name); }

 private:
  std::string folder_;
  bool kept_;
};

/// A process of the demonstration, and what it is called.
struct actor {
  std::string name;
  std::optional<process> child;
};

/// One end: a site, and an application there.
struct end {
  std::string site;
  std::string name;
  actor daemon;
  actor application;
  std::string address;
  credentials site_shows;  ///< without TLS nobody shows anything
  credentials application_shows;
  application_report report;

  end(const std::string& site_name, const std::string& application_name)
      : site{site_name}, name{application_name}, daemon{site_name, {}}, application{application_name, {}} {}
  [[nodiscard]] std::string uri() const { return fmt::format("qkd://{}@{}", name, site); }
};

class demonstration {
 public:
  explicit demonstration(const demo_options& o) : options_{o}, folder_{o.keep} {}

  exit_code run() {
    put(fmt::format("two sites and two applications, each a process of its own; {} keys of {} octets\n",
                    options_.count, options_.chunk));
    if (options_.tls) certify();
    start_sites();
    start_applications();
    collect();
    return conclude();
  }

 private:
  /// The authority is as short-lived as the folder that it is in.
  void certify() {
    certs_options o{folder_.path("certs")};
    o.node_a = a_.site;
    o.node_b = b_.site;
    o.applications = {a_.uri(), b_.uri()};
    o.hosts = {"127.0.0.1"};
    o.days = 1;
    std::string why;
    auto made = create_certs(o, &why);
    if (!made) throw failure{why};
    authority_ = made->at(0).certificate;
    a_.site_shows = std::move(made->at(1));
    b_.site_shows = std::move(made->at(2));
    a_.application_shows = std::move(made->at(3));
    b_.application_shows = std::move(made->at(4));
    put(fmt::format("TLS: an authority made for this certifies {}, {}, {} and {}\n", a_.site_shows.identity,
                    b_.site_shows.identity, a_.uri(), b_.uri()));
  }

  // --- Sites ---

  void start_sites() {
    std::string why;
    if (!create_secret(folder_.path("link.secret"), &why)) throw failure{why};
    key_source_ = describe_key_source();
    // site-a sorts first and dials, so it has to know where site-b listens
    start_site(b_, a_, "");
    start_site(a_, b_, fmt::format("address = \"{}\"\n", b_.address));
    // both have read it; it need not lie about
    std::error_code ignored;
    if (options_.keep.empty()) fs::remove(folder_.path("link.secret"), ignored);
  }

  std::string describe_key_source() const {
    std::string why;
    const secret_arena arena{{std::size_t{64} << 10, true}};
    auto secret = read_secret_file(folder_.path("link.secret"), arena, &why);
    if (!secret) throw failure{why};
    const auto source = make_seeded_source(std::move(*secret), {options_.rate_bps, 0});
    if (!source) throw failure{"seeded source: " + source.error().message()};
    const auto& c = (*source)->capabilities();
    return fmt::format(
        "{}, {}, {}", c.kind, to_string(c.security),
        c.rate_bps == 0 ? std::string{"as fast as asked"} : fmt::format("{} bit/s", c.rate_bps));
  }

  void start_site(end& here, const end& there, const std::string& address) {
    const std::string file = folder_.path(here.site + ".toml");
    std::string tls;
    std::string identity;
    if (options_.tls) {
      tls = fmt::format(
          "[tls]\n"
          "certificate = \"certs/{0}.pem\"\n"
          "key = \"certs/{0}.key\"\n"
          "authority = \"certs/authority.pem\"\n",
          here.site);
      identity = fmt::format("identity = \"{}\"\n", there.site_shows.identity);
    }
    std::ofstream out{file};
    out << fmt::format(
        "node = \"{}\"\n"
        "listen = [\"{}://127.0.0.1:0\"]\n"
        "{}"
        "[memory]\n"
        "allow_unlocked = true\n"
        "[[peer]]\n"
        "node = \"{}\"\n"
        "{}"
        "{}"
        "[peer.source]\n"
        "kind = \"seeded\"\n"
        "secret_file = \"link.secret\"\n"
        "rate_bps = {}\n",
        here.site, options_.tls ? "qkd004s" : "qkd004", tls, there.site, address, identity,
        options_.rate_bps);
    out.close();
    if (!out) throw failure{"cannot write " + file};

    start(here.daemon, {"serve", "--config", file, "--log-level", options_.log_level});
    const auto line = here.daemon.child->wait_line(start_time);
    constexpr std::string_view listening = "listening ";
    if (!line || !line->starts_with(listening)) throw failure{ended(here.daemon, "does not listen")};
    here.address = line->substr(listening.size());
    put(fmt::format("{} listens on {}, process {}\n", here.site, here.address, here.daemon.child->id()));
  }

  // --- Applications ---

  void start_applications() {
    start_application(a_, {});
    start_application(b_, {"--join"});
    put(fmt::format("{} (process {}) opens a key stream at {} ...\n", a_.name, a_.application.child->id(),
                    a_.site));
    while (!a_.report.stream) wait();
    const std::string id = a_.report.stream->to_string();
    b_.application.child->tell(id + "\n");
    put(fmt::format("... and tells {} (process {}) its KSID {}\n", b_.name, b_.application.child->id(), id));
  }

  void start_application(end& here, std::vector<std::string> more) {
    std::vector<std::string> arguments{"demo-application",
                                       "--uri",
                                       here.address,
                                       "--source",
                                       a_.uri(),
                                       "--destination",
                                       b_.uri(),
                                       "--keys",
                                       std::to_string(options_.count),
                                       "--chunk",
                                       std::to_string(options_.chunk),
                                       "--timeout",
                                       std::to_string(get_key_time.count()),
                                       "--allow-unlocked"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    if (options_.tls) {
      const credentials& shows = here.application_shows;
      arguments.insert(arguments.end(), {"--certificate", shows.certificate, "--key", shows.key,
                                         "--authority", authority_, "--server", here.site_shows.identity});
    }
    if (options_.show_keys) arguments.insert(arguments.end(), {"--show", std::to_string(shown_keys)});
    if (!options_.keep.empty())
      arguments.insert(arguments.end(), {"--out", folder_.path(here.name + ".keys")});
    start(here.application, std::move(arguments));
  }

  void collect() {
    using clock = std::chrono::steady_clock;
    auto next_progress = clock::now() + std::chrono::seconds{1};
    while (!a_.report.all || !b_.report.all) {
      wait();
      if (clock::now() < next_progress) continue;
      next_progress = clock::now() + std::chrono::seconds{1};
      put(fmt::format("{} has {} keys, {} has {}\n", a_.name, a_.report.keys.size(), b_.name,
                      b_.report.keys.size()));
    }
    for (end* e : ends_) expect_end(e->application);
    for (end* e : ends_) {
      e->daemon.child->signal(SIGTERM);
      expect_end(e->daemon);
    }
  }

  /// Takes in what the processes say.
  void wait() {
    const std::array<process*, 4> all{&*a_.daemon.child, &*b_.daemon.child, &*a_.application.child,
                                      &*b_.application.child};
    const auto before = a_.report.keys.size() + b_.report.keys.size();
    const auto began = std::chrono::steady_clock::now();
    process::wait_any(all, signals_.descriptor(), quiet_time);
    if (signals_.came()) throw failure{"interrupted"};
    for (end* e : ends_) {
      while (const auto line = e->application.child->take_line()) {
        if (!e->report.take(*line)) throw failure{fmt::format("{} says '{}'", e->name, printable(*line))};
      }
    }
    for (end* e : ends_) {
      static_cast<void>(e->daemon.child->take_line());
      if (e->daemon.child->at_end()) throw failure{ended(e->daemon, "ended")};
    }
    for (end* e : ends_) {
      if (e->report.all || !e->application.child->at_end()) continue;
      // an application may see that its site died before we do
      for (end* other : ends_) {
        if (other->daemon.child->wait_exit(grace)) throw failure{ended(other->daemon, "ended")};
      }
      throw failure{ended(e->application, "ended")};
    }
    const bool silent = before == a_.report.keys.size() + b_.report.keys.size();
    if (silent && std::chrono::steady_clock::now() - began >= quiet_time) {
      throw failure{fmt::format("no key came for {} s; {} has {} of {}, {} has {}\n{}{}",
                                quiet_time.count() / 1000, a_.name, a_.report.keys.size(), options_.count,
                                b_.name, b_.report.keys.size(), log_of(a_.daemon), log_of(b_.daemon))};
    }
  }

  // --- Processes ---

  void start(actor& who, std::vector<std::string> arguments) {
    auto child = process::start({"/proc/self/exe", std::move(arguments), folder_.path(who.name + ".log")});
    if (!child) throw failure{fmt::format("cannot start {}: {}", who.name, child.error().message())};
    who.child.emplace(std::move(*child));
  }

  static void expect_end(actor& who) {
    const auto code = who.child->wait_exit(end_time);
    if (code != 0) throw failure{ended(who, "does not end well")};
  }

  static std::string ended(actor& who, std::string_view what) {
    const auto code = who.child->wait_exit(grace);
    const std::string how = !code         ? "still runs"
                            : *code > 128 ? fmt::format("ended by signal {}", *code - 128)
                                          : fmt::format("exit code {}", *code);
    return fmt::format("{} {} (process {}, {})\n{}", who.name, what, who.child->id(), how, log_of(who));
  }

  static std::string log_of(const actor& who) {
    const std::string lines = tail_of(who.child->log(), shown_log_lines);
    return lines.empty() ? fmt::format("{} logged nothing\n", who.name)
                         : fmt::format("last lines of {}'s log:\n{}", who.name, lines);
  }

  // --- Result ---

  exit_code conclude() const {
    const comparison c = compare(a_.report, b_.report, options_.count);
    put("\n" +
        table({a_.site, a_.name, a_.report}, {b_.site, b_.name, b_.report}, key_source_,
              options_.tls ? "TLS 1.3, certificates at both ends" : "") +
        "\n");
    for (std::size_t i = 0; i < std::min(a_.report.shown.size(), b_.report.shown.size()); ++i) {
      for (const end* e : ends_) {
        const auto& [index, hex] = e->report.shown[i];
        put(fmt::format("  key {} at {}  {}\n", index, e->site, hex));
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
  held_signals signals_;
  workspace folder_;
  std::string key_source_;
  std::string authority_;  ///< path of its certificate
  end a_{"site-a", "alice"};
  end b_{"site-b", "bob"};
  std::array<end*, 2> ends_{&a_, &b_};
};

}  // namespace

exit_code demo(const demo_options& o) {
  try {
    return demonstration{o}.run();
  } catch (const failure& why) {
    std::string text = why.what();
    if (text.ends_with('\n')) text.pop_back();
    return complain(why.code, text);
  }
}

}  // namespace qkd004::cli
