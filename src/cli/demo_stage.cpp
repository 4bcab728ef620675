// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_stage.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "cli/print.hpp"
#include "cli/secret.hpp"
#include "qkd004/seeded_source.hpp"

namespace qkd004::cli {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds start_time{10'000};    ///< for a site to listen
constexpr milliseconds get_key_time{30'000};  ///< QoS Timeout of the applications
constexpr milliseconds distil_time{600'000};  ///< the same where the first block has to be distilled before
constexpr milliseconds report_every{50};      ///< of a software link: what goes on there is shown as it goes
constexpr milliseconds end_time{10'000};      ///< for a process to end when it should
constexpr milliseconds grace{300};            ///< for the news of an end to arrive
constexpr std::size_t shown_log_lines = 10;

std::string log_of(const actor& who) {
  const std::string lines = tail_of(who.child->log(), shown_log_lines);
  return lines.empty() ? fmt::format("{} logged nothing\n", who.name)
                       : fmt::format("last lines of {}'s log:\n{}", who.name, lines);
}

std::string ended(actor& who, std::string_view what) {
  const auto code = who.child->wait_exit(grace);
  const std::string how = !code         ? "still runs"
                          : *code > 128 ? fmt::format("ended by signal {}", *code - 128)
                                        : fmt::format("exit code {}", *code);
  return fmt::format("{} {} (process {}, {})\n{}", who.name, what, who.child->id(), how, log_of(who));
}

}  // namespace

// --- Signals and folder ---

held_signals::held_signals() {
  sigset_t ends;
  ::sigemptyset(&ends);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&ends, number);
  ::sigprocmask(SIG_BLOCK, &ends, &before_);
  descriptor_ = ::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

held_signals::~held_signals() {
  if (descriptor_ >= 0) ::close(descriptor_);
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

bool held_signals::came() const {
  signalfd_siginfo what{};
  return ::read(descriptor_, &what, sizeof what) == static_cast<ssize_t>(sizeof what);
}

workspace::workspace(const std::string& keep) : kept_{!keep.empty()} {
  if (kept_) {
    folder_ = keep;
    if (::mkdir(keep.c_str(), S_IRWXU) == 0) return;
  } else {
    folder_ = fs::temp_directory_path() / "qkd004-demo-XXXXXX";
    if (::mkdtemp(folder_.data()) != nullptr) return;
  }
  const std::string error = std::generic_category().message(errno);
  throw demo_failure{fmt::format("cannot create the folder {}: {}", folder_, error), exit_code::usage};
}

workspace::~workspace() {
  std::error_code ignored;
  if (!kept_) fs::remove_all(folder_, ignored);
}

std::string workspace::path(std::string_view name) const { return fmt::format("{}/{}", folder_, name); }

// --- Sites ---

void demo_stage::set_up() {
  if (options_.tls) certify();
  create_secrets();
  key_source_ = describe_key_source();
  // site-a sorts first and dials, so it has to know where site-b listens
  start_site(b_, a_, "");
  start_site(a_, b_, fmt::format("address = \"{}\"\n", b_.address));
  // both have read it; it need not lie about
  std::error_code ignored;
  if (!keeps()) fs::remove(path("link.secret"), ignored);
}

void demo_stage::tear_down() {
  for (demo_end* e : ends_) {
    e->daemon.child->signal(SIGTERM);
    expect_end(e->daemon);
    take_reports(*e);
  }
}

/// The authority is as short-lived as the folder that it is in.
void demo_stage::certify() {
  certs_options o{path("certs")};
  o.node_a = a_.site;
  o.node_b = b_.site;
  o.applications = {a_.uri(), b_.uri()};
  o.hosts = {"127.0.0.1"};
  o.days = 1;
  std::string why;
  auto made = create_certs(o, &why);
  if (!made) throw demo_failure{why};
  authority_ = made->at(0).certificate;
  a_.site_shows = std::move(made->at(1));
  b_.site_shows = std::move(made->at(2));
  a_.application_shows = std::move(made->at(3));
  b_.application_shows = std::move(made->at(4));
  put(fmt::format("TLS: an authority made for this certifies {}, {}, {} and {}\n", a_.site_shows.identity,
                  b_.site_shows.identity, a_.uri(), b_.uri()));
}

void demo_stage::create_secrets() {
  std::string why;
  const std::string file = path("link.secret");
  const auto made =
      options_.software ? create_auth_key(file, usual_auth_key, &why) : create_secret(file, &why);
  if (!made) throw demo_failure{why};
}

std::string demo_stage::describe_key_source() const {
  if (options_.software) {
    const auto security =
        options_.tls ? security_class::simulated_over_tls : security_class::simulated_insecure;
    return fmt::format("BB84 with decoy states in software, {}", to_string(security));
  }
  std::string why;
  const secret_arena arena{{std::size_t{64} << 10, true}};
  auto secret = read_secret_file(path("link.secret"), arena, &why);
  if (!secret) throw demo_failure{why};
  const auto source = make_seeded_source(std::move(*secret), {options_.rate_bps, options_.block_bytes});
  if (!source) throw demo_failure{"seeded source: " + source.error().message()};
  const auto& c = (*source)->capabilities();
  return fmt::format("{}, {}, {}", c.kind, to_string(c.security),
                     c.rate_bps == 0 ? std::string{"as fast as asked"} : fmt::format("{} bit/s", c.rate_bps));
}

/// The table [peer.source] of that site.
std::string demo_stage::source_of(const demo_end& here) const {
  if (!options_.software) {
    return fmt::format(
        "kind = \"seeded\"\n"
        "secret_file = \"link.secret\"\n"
        "rate_bps = {}\n"
        "block_bytes = {}\n",
        options_.rate_bps, options_.block_bytes);
  }
  const auto& o = *options_.software;
  return fmt::format(
      "kind = \"software\"\n"
      "role = \"{}\"\n"
      "auth_key_file = \"link.secret\"\n"
      "auth_state_file = \"{}.auth.secret\"\n"
      "km = {}\n"
      "block_bits = {}\n"
      "intercept_resend = {}\n",
      &here == &a_ ? "alice" : "bob", here.site, o.system.km, o.block_bits, o.intercept_resend);
}

void demo_stage::start_site(demo_end& here, const demo_end& there, const std::string& address) {
  const std::string file = path(here.site + ".toml");
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
      "{}",
      here.site, options_.tls ? "qkd004s" : "qkd004", tls, there.site, address, identity, source_of(here));
  out.close();
  if (!out) throw demo_failure{"cannot write " + file};

  std::vector<std::string> arguments{"serve", "--config", file, "--log-level", options_.log_level};
  if (options_.software) {
    arguments.insert(arguments.end(), {"--link-report", std::to_string(report_every.count())});
  }
  start_process(here.daemon, std::move(arguments));
  const auto line = here.daemon.child->wait_line(start_time);
  constexpr std::string_view listening = "listening ";
  if (!line || !line->starts_with(listening)) throw demo_failure{ended(here.daemon, "does not listen")};
  here.address = line->substr(listening.size());
  put(fmt::format("{} listens on {}, process {}\n", here.site, here.address, here.daemon.child->id()));
}

// --- Applications ---

void demo_stage::start(actor& application, const demo_end& at, std::vector<std::string> more) {
  const milliseconds timeout = options_.software ? distil_time : get_key_time;
  std::vector<std::string> arguments{"demo-application", "--uri",     at.address,
                                     "--source",         a_.uri(),    "--destination",
                                     b_.uri(),           "--timeout", std::to_string(timeout.count()),
                                     "--allow-unlocked"};
  if (options_.tls) {
    const credentials& shows = at.application_shows;
    arguments.insert(arguments.end(), {"--certificate", shows.certificate, "--key", shows.key, "--authority",
                                       authority_, "--server", at.site_shows.identity});
  }
  if (keeps()) arguments.insert(arguments.end(), {"--out", path(application.name + ".keys")});
  arguments.insert(arguments.end(), more.begin(), more.end());
  start_process(application, std::move(arguments));
}

void demo_stage::wait(std::span<actor* const> applications, milliseconds most) {
  std::vector<process*> all;
  for (demo_end* e : ends_) all.push_back(&*e->daemon.child);
  for (actor* application : applications) all.push_back(&*application->child);
  process::wait_any(all, signals_.descriptor(), most);
  if (signals_.came()) throw demo_failure{"interrupted"};
  for (demo_end* e : ends_) {
    take_reports(*e);
    if (e->daemon.child->at_end()) throw demo_failure{ended(e->daemon, "ended")};
  }
}

void demo_stage::take_reports(demo_end& of) {
  while (const auto line = of.daemon.child->take_line()) {
    if (const auto sample = serve::parse_link_sample(*line)) of.link.add(*sample);
  }
}

void demo_stage::read(actor& application, application_report& report) {
  while (const auto line = application.child->take_line()) {
    if (!report.take(*line))
      throw demo_failure{fmt::format("{} says '{}'", application.name, printable(*line))};
  }
  if (report.all || !application.child->at_end()) return;
  // an application may see that its site died before we do
  for (demo_end* e : ends_) {
    if (e->daemon.child->wait_exit(grace)) throw demo_failure{ended(e->daemon, "ended")};
  }
  throw demo_failure{ended(application, "ended")};
}

// --- Processes ---

void demo_stage::start_process(actor& who, std::vector<std::string> arguments) {
  auto child = process::start({"/proc/self/exe", std::move(arguments), path(who.name + ".log")});
  if (!child) throw demo_failure{fmt::format("cannot start {}: {}", who.name, child.error().message())};
  who.child.emplace(std::move(*child));
}

void demo_stage::expect_end(actor& who) {
  const auto code = who.child->wait_exit(end_time);
  if (code != 0) throw demo_failure{ended(who, "does not end well")};
}

std::string demo_stage::logs() const { return log_of(a_.daemon) + log_of(b_.daemon); }

exit_code perform(const std::function<exit_code()>& demonstration) {
  try {
    return demonstration();
  } catch (const demo_failure& why) {
    std::string text = why.what();
    if (text.ends_with('\n')) text.pop_back();
    return complain(why.code, text);
  }
}

}  // namespace qkd004::cli
