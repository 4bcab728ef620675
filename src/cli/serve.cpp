// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <time.h>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "cli/config.hpp"
#include "cli/print.hpp"
#include "cli/tls_files.hpp"
#include "qkd004/net/site.hpp"

namespace qkd004::cli {

namespace {

constexpr std::size_t secrets_bytes = std::size_t{64} << 10;  ///< the arena's smallest mapping

constexpr std::array<std::string_view, 4> level_names{"debug", "info", "warning", "error"};

/// Writes log lines of a level and above to standard error: time in UTC, level, text.
class log_lines {
 public:
  explicit log_lines(net::log_level least) noexcept : least_{least} {}

  void operator()(net::log_level level, std::string_view text) const {
    if (level < least_) return;
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

/// Opens the key source of a link. A seeded one keeps its secret in memory of `arena`. `why` receives a sentence.
result<std::shared_ptr<key_source>> open_key_source(const key_source_settings& settings,
                                                    const secret_arena& arena, std::string* why) {
  if (const auto* file = std::get_if<file_source_options>(&settings))
    return shared(make_file_source(*file, why));

  const auto& seeded = std::get<seeded_settings>(settings);
  auto secret = read_secret_file(seeded.secret_file, arena, why);
  if (!secret) {
    if (why != nullptr && arena.lock_refused()) *why += std::string{"; "} + lock_refused_help;
    return secret.error();
  }
  auto opened = make_seeded_source(std::move(*secret), seeded.options);
  if (!opened && why != nullptr) *why = seeded.secret_file + ": " + opened.error().message();
  return shared(std::move(opened));
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
  log(net::log_level::info, totals_of(site.service().totals()));
  return exit_code::ok;
}

}  // namespace qkd004::cli
