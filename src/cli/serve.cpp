// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "cli/print.hpp"
#include "net/log_line.hpp"
#include "serve/config.hpp"
#include "serve/link_report.hpp"
#include "serve/log_lines.hpp"
#include "serve/server.hpp"
#include "serve/service_environment.hpp"
#include "serve/service_notice.hpp"

namespace qkd004::cli {

namespace {

/// How often software links are looked at; closely: each block may have its line.
constexpr std::chrono::milliseconds watch{1'000};
constexpr std::chrono::milliseconds watch_closely{50};

}  // namespace

exit_code serve(const serve_options& o) {
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

  const auto level = o.log_level.empty() ? config->log.level.value_or(net::log_level::info)
                                         : serve::log_level_of(o.log_level);
  const auto format = o.log_format.empty() ? config->log.format.value_or(serve::log_format::automatic)
                                           : serve::log_format_of(o.log_format);
  if (!level) return complain(exit_code::usage, o.log_level + " is no log level");
  if (!format) return complain(exit_code::usage, o.log_format + " is no log format");
  const serve::log_lines log{*level, *format};
  auto environment = serve::service_environment::take(&why);
  if (!environment) return complain(exit_code::usage, why);
  config->site.sockets = std::move(environment->sockets);

  serve::server_options settings;
  settings.log = log;
  settings.notice = [log](std::string_view text) { log.always(net::log_level::warning, text); };
  settings.watch = *level == net::log_level::debug ? watch_closely : watch;
  settings.report = o.link_report;
  settings.on_report = [](const serve::link_sample& sample) { put(serve::to_json(sample) + "\n"); };
  asio::io_context context{1};
  serve::server site{context, std::move(*config), std::move(settings)};
  if (!site.open_sources(&why)) return complain(exit_code::usage, why);
  serve::service_notice::options notices;
  notices.socket = environment->notify_socket;
  notices.watchdog = environment->watchdog;
  notices.ask = [&site](auto tell) { site.standing(std::move(tell)); };
  notices.lost = [&log](std::string_view reason) {
    log(net::log_level::warning,
        net::log_line{"cannot tell the service manager anything"}.with("why", reason).text());
  };
  serve::service_notice service{context, std::move(notices)};
  asio::signal_set signals{context, SIGINT, SIGTERM};
  signals.async_wait([&](const std::error_code& error, int number) {
    if (error) return;
    log(net::log_level::notice,
        net::log_line{"ending; again to end at once"}.with("signal", static_cast<unsigned>(number)).text());
    service.stopping();
    std::error_code ignored;
    signals.clear(ignored);  // the default action is back
    site.stop();
  });
  if (const auto started = site.start(&why); !started) {
    const bool ours = started.error().category() == status_category();
    return complain(ours ? exit_code::usage : exit_code::transport, why);
  }
  for (const auto& uri : site.addresses()) put("listening " + uri + "\n");
  service.ready();
  context.run();
  site.conclude();
  return exit_code::ok;
}

}  // namespace qkd004::cli
