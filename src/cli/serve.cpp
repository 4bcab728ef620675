// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <time.h>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cli/config.hpp"
#include "cli/link_report.hpp"
#include "cli/link_watch.hpp"
#include "cli/print.hpp"
#include "cli/tls_files.hpp"
#include "qkd004/net/site.hpp"

namespace qkd004::cli {

namespace {

constexpr std::size_t secrets_bytes = std::size_t{64} << 10;  ///< the arena's smallest mapping

/// How often software links are looked at; closely: each block may have its line.
constexpr std::chrono::milliseconds watch{1'000};
constexpr std::chrono::milliseconds watch_closely{50};

constexpr std::array<std::string_view, 4> level_names{"debug", "info", "warning", "error"};

/// Writes log lines of a level and above to standard error: time in UTC, level, text.
class log_lines {
 public:
  explicit log_lines(net::log_level least) noexcept : least_{least} {}

  void operator()(net::log_level level, std::string_view text) const {
    if (level >= least_) always(level, text);
  }

  /// What nobody can switch off.
  static void always(net::log_level level, std::string_view text) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    tm utc{};
    ::gmtime_r(&now.tv_sec, &utc);
    put_error(fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z {:7} {}\n", utc.tm_year + 1900,
                          utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                          now.tv_nsec / 1'000'000, level_names.at(static_cast<std::size_t>(level)),
                          printable(text)));
  }

 private:
  net::log_level least_;
};

result<std::shared_ptr<key_source>> shared(result<std::unique_ptr<key_source>> opened) {
  if (!opened) return opened.error();
  return std::shared_ptr<key_source>{std::move(*opened)};
}

/// A software link that this site has an end of.
struct software_link {
  std::string name;
  std::shared_ptr<software_link_end> end;
  link_watch watch;
};

/// The key sources of a site, as its configuration says.
class key_sources {
 public:
  key_sources(const secret_options& memory, const log_lines& log)
      : log_{log}, arena_{{secrets_bytes, memory.allow_unlocked}} {}

  /// Opens one. A seeded one keeps its secret in memory of ours. `why` receives a sentence.
  result<std::shared_ptr<key_source>> open(const key_source_settings& settings, const std::string& link,
                                           std::string* why) {
    if (const auto* file = std::get_if<file_source_options>(&settings))
      return shared(make_file_source(*file, why));
    if (const auto* software = std::get_if<software_settings>(&settings))
      return open_software(*software, link, why);

    const auto& seeded = std::get<seeded_settings>(settings);
    auto secret = read_secret_file(seeded.secret_file, arena_, why);
    if (!secret) {
      if (why != nullptr && arena_.lock_refused()) *why += std::string{"; "} + lock_refused_help;
      return secret.error();
    }
    auto opened = make_seeded_source(std::move(*secret), seeded.options);
    if (!opened && why != nullptr) *why = seeded.secret_file + ": " + opened.error().message();
    return shared(std::move(opened));
  }

  [[nodiscard]] std::vector<software_link>& software() noexcept { return software_; }

 private:
  result<std::shared_ptr<key_source>> open_software(const software_settings& settings,
                                                    const std::string& link, std::string* why) {
    auto opened = make_software_link_end(settings.link, settings.end, why);
    if (!opened) return opened.error();
    const std::shared_ptr<software_link_end> end{std::move(*opened)};
    log_lines::always(
        net::log_level::warning,
        fmt::format("link {}: {}; {} of {}", link, not_quantum_secure(settings.end.security),
                    settings.end.which == software_link_end_options::role::alice ? "Alice" : "Bob",
                    text_of(settings.link)));
    software_.push_back({link, end, {link, settings.link.qber_limit, log_, link_watch::clock::now()}});
    return std::shared_ptr<key_source>{end};
  }

  const log_lines& log_;
  secret_arena arena_;
  std::vector<software_link> software_;
};

/// Calls a function again and again on an io_context.
class every {
 public:
  every(asio::io_context& context, std::chrono::milliseconds period, std::function<void()> call)
      : timer_{context}, period_{period}, call_{std::move(call)} {
    wait();
  }
  void stop() {
    stopped_ = true;  // a call that is due already must not be followed by another
    timer_.cancel();
  }

 private:
  void wait() {
    timer_.expires_after(period_);
    timer_.async_wait([this](const std::error_code& error) {
      if (error || stopped_) return;
      call_();
      wait();
    });
  }

  asio::steady_timer timer_;
  const std::chrono::milliseconds period_;
  const std::function<void()> call_;
  bool stopped_ = false;
};

void look_at(std::vector<software_link>& links) {
  for (auto& l : links) l.watch.look(l.end->report(), link_watch::clock::now());
}

void put_reports(const std::vector<software_link>& links) {
  using std::chrono::milliseconds;
  const auto at = std::chrono::duration_cast<milliseconds>(link_watch::clock::now().time_since_epoch());
  for (const auto& l : links) put(to_json({l.name, at, l.end->report()}) + "\n");
}

std::string totals_of(const key_manager::counters& c) {
  return fmt::format(
      "delivered {} keys; burned {} keys and {} octets; lost {} keys and {} octets; {} link sessions",
      c.delivered, c.burned_chunks, c.burned_octets, c.lost_chunks, c.lost_octets, c.sessions);
}

}  // namespace

exit_code serve(const serve_options& o) {
  const auto* const name = std::find(level_names.begin(), level_names.end(), o.log_level);
  if (name == level_names.end()) return complain(exit_code::usage, o.log_level + " is no log level");
  const log_lines log{static_cast<net::log_level>(name - level_names.begin())};
  std::string why;
  auto config = read_config(o.config, &why);
  if (!config) return complain(exit_code::usage, why);
  if (o.check) {
    put(fmt::format("{}: site {}, {} to listen on, {} to peer with\n", o.config, config->site.manager.node,
                    config->site.listen.size(), config->site.peers.size()));
    return exit_code::ok;
  }

  if (config->site.tls && !check_tls_files(*config->site.tls, &why)) return complain(exit_code::usage, why);

  key_sources sources{config->site.memory, log};
  for (std::size_t i = 0; i < config->key_sources.size(); ++i) {
    auto& peer = config->site.peers[i];
    auto opened = sources.open(config->key_sources[i], peer.link.name, &why);
    if (!opened) {
      return complain(exit_code::usage, fmt::format("key source of peer {}: {}", peer.link.peer, why));
    }
    peer.source = std::move(*opened);
  }
  config->site.log = log;

  asio::io_context context{1};
  net::site site{context, std::move(config->site)};
  std::vector<std::unique_ptr<every>> timers;
  asio::signal_set signals{context, SIGINT, SIGTERM};
  signals.async_wait([&](const std::error_code& error, int number) {
    if (error) return;
    log(net::log_level::info, fmt::format("signal {}: ending; again to end at once", number));
    std::error_code ignored;
    signals.clear(ignored);  // the default action is back
    for (const auto& timer : timers) timer->stop();
    site.stop();
  });
  if (const auto started = site.start(&why); !started) {
    const bool ours = started.error().category() == status_category();
    return complain(ours ? exit_code::usage : exit_code::transport, why);
  }
  for (const auto& uri : site.addresses()) put("listening " + uri + "\n");
  auto& links = sources.software();
  if (!links.empty()) {
    const auto period = o.log_level == "debug" ? watch_closely : watch;
    timers.push_back(std::make_unique<every>(context, period, [&links] { look_at(links); }));
  }
  if (!links.empty() && o.link_report.count() > 0) {
    timers.push_back(std::make_unique<every>(context, o.link_report, [&links] { put_reports(links); }));
  }
  context.run();
  look_at(links);
  if (o.link_report.count() > 0) put_reports(links);
  log(net::log_level::info, totals_of(site.service().totals()));
  return exit_code::ok;
}

}  // namespace qkd004::cli
