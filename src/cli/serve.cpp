// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <signal.h>
#include <CLI/CLI.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "cli/commands.hpp"
#include "cli/config.hpp"
#include "cli/open_key_source.hpp"
#include "cli/print.hpp"
#include "qkd004/net/site.hpp"

namespace qkd004::cli {

namespace {

constexpr std::size_t secrets_bytes = std::size_t{64} << 10;  ///< the arena's smallest mapping

struct serve_options {
  std::string config;
  net::log_level least = net::log_level::info;
  bool check = false;
};

std::string totals_of(const key_manager::counters& c) {
  return fmt::format(
      "delivered {} keys; burned {} keys and {} octets; lost {} keys and {} octets; {} link sessions",
      c.delivered, c.burned_chunks, c.burned_octets, c.lost_chunks, c.lost_octets, c.sessions);
}

exit_code serve(const serve_options& o) {
  const log_lines log{o.least};
  std::string why;
  auto config = read_config(o.config, &why);
  if (!config) return complain(exit_code::usage, why);
  if (o.check) {
    put(fmt::format("{}: site {}, {} to listen on, {} to peer with\n", o.config, config->site.manager.node,
                    config->site.listen.size(), config->site.peers.size()));
    return exit_code::ok;
  }

  const secret_arena secrets{{secrets_bytes, config->site.memory.allow_unlocked}};
  for (std::size_t i = 0; i < config->key_sources.size(); ++i) {
    auto opened = open_key_source(config->key_sources[i], secrets, &why);
    if (!opened) {
      return complain(exit_code::usage,
                      fmt::format("key source of peer {}: {}", config->site.peers[i].link.peer, why));
    }
    config->site.peers[i].source = std::move(*opened);
  }
  config->site.log = log;

  asio::io_context context{1};
  net::site site{context, std::move(config->site)};
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
  log(net::log_level::info, totals_of(site.manager().totals()));
  return exit_code::ok;
}

}  // namespace

void add_serve(CLI::App& app, action& chosen) {
  auto* const command = app.add_subcommand("serve", "Run one site's key manager until SIGINT or SIGTERM");
  const auto o = std::make_shared<serve_options>();
  const std::map<std::string, net::log_level> levels{{"debug", net::log_level::debug},
                                                     {"info", net::log_level::info},
                                                     {"warning", net::log_level::warning},
                                                     {"error", net::log_level::error}};
  command->add_option("--config", o->config, "the site's TOML file")->required()->type_name("FILE");
  command->add_flag("--check", o->check, "only check the file; opens nothing");
  command
      ->add_option("--log-level", o->least,
                   "least level logged to standard error: debug, info, warning, error")
      ->transform(CLI::CheckedTransformer{levels}.description(""))
      ->type_name("LEVEL")
      ->default_str("info");
  command->footer(std::string{"Prints 'listening URI' for each listener once it accepts connections.\n\n"
                              "Example:\n  qkd004 serve --config examples/site-a.toml\n\n"} +
                  exit_codes_help);
  command->callback([o, &chosen] { chosen = [o] { return serve(*o); }; });
}

}  // namespace qkd004::cli
