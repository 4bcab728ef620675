// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <time.h>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "cli/print.hpp"
#include "serve/config.hpp"
#include "serve/link_report.hpp"
#include "serve/server.hpp"

namespace qkd004::cli {

namespace {

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

}  // namespace

exit_code serve(const serve_options& o) {
  const auto* const name = std::find(level_names.begin(), level_names.end(), o.log_level);
  if (name == level_names.end()) return complain(exit_code::usage, o.log_level + " is no log level");
  const log_lines log{static_cast<net::log_level>(name - level_names.begin())};
  std::string why;
  auto config = serve::read_config(o.config, &why);
  if (!config) return complain(exit_code::usage, why);
  for (std::size_t i = 0; i < config->key_sources.size(); ++i) {
    if (!std::holds_alternative<serve::given_settings>(config->key_sources[i])) continue;
    return complain(
        exit_code::usage,
        fmt::format("{}: peer {}: kind = \"given\" is for programs that run a site: this one has no key "
                    "source to give",
                    o.config, config->site.peers[i].link.peer));
  }
  if (o.check) {
    put(fmt::format("{}: site {}, {} to listen on, {} to peer with\n", o.config, config->site.manager.node,
                    config->site.listen.size(), config->site.peers.size()));
    return exit_code::ok;
  }

  serve::server_options settings;
  settings.log = log;
  settings.notice = [](std::string_view text) { log_lines::always(net::log_level::warning, text); };
  settings.watch = o.log_level == "debug" ? watch_closely : watch;
  settings.report = o.link_report;
  settings.on_report = [](const serve::link_sample& sample) { put(serve::to_json(sample) + "\n"); };
  asio::io_context context{1};
  serve::server site{context, std::move(*config), std::move(settings)};
  if (!site.open_sources(&why)) return complain(exit_code::usage, why);
  asio::signal_set signals{context, SIGINT, SIGTERM};
  signals.async_wait([&](const std::error_code& error, int number) {
    if (error) return;
    log(net::log_level::info, fmt::format("signal {}: ending; again to end at once", number));
    std::error_code ignored;
    signals.clear(ignored);  // the default action is back
    site.stop();
  });
  if (const auto started = site.start(&why); !started) {
    const bool ours = started.error().category() == status_category();
    return complain(ours ? exit_code::usage : exit_code::transport, why);
  }
  for (const auto& uri : site.addresses()) put("listening " + uri + "\n");
  context.run();
  site.conclude();
  return exit_code::ok;
}

}  // namespace qkd004::cli
