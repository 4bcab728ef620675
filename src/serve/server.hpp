// server: a site from its configuration, with its key sources: on an io_context of its owner's, or on a thread of its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "operations/readiness.hpp"
#include "operations/service.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/push/device.hpp"
#include "qkd004/push/receiver.hpp"
#include "qkd004/result.hpp"
#include "serve/config.hpp"
#include "serve/key_sources.hpp"
#include "serve/link_report.hpp"

namespace qkd004::serve {

struct server_options {
  /// By the name of their link: in place of the key sources that the configuration says.
  std::map<std::string, std::shared_ptr<key_source>, std::less<>> sources;
  /// One line each, never a key octet; empty: silent. Must not call the server.
  std::function<void(net::log_level, std::string_view)> log;
  /// What has to be known wherever simulated key is made; empty: it goes to `log`, as a warning.
  std::function<void(std::string_view)> notice;
  std::chrono::milliseconds watch{1'000};  ///< how often software links are looked at
  std::chrono::milliseconds report{0};  ///< how often `on_report` is called for each software link; 0: never
  std::function<void(const link_sample&)> on_report;
};

/// Order of calls: `open_sources start stop conclude`. The destructor does not stop: the io_context may not run any more.
/// Threads: one at a time, which is the io_context's once that runs; addresses() any, after start().
/// Lifetime: the io_context outlives the server.
class server {
 public:
  server(asio::io_context& context, site_config config, server_options o);
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Looks for the files of TLS, and opens the key sources. `why` receives a sentence.
  /// Returns invalid_argument (also for a link whose source is to be given and was not, or that there is not),
  /// permission_denied, resource_limit, and errno of the files.
  [[nodiscard]] result<void> open_sources(std::string* why);

  /// Binds the listeners and begins to dial peers. As net::site::start().
  [[nodiscard]] result<void> start(std::string* why);

  /// Answers what waits, closes every connection and wipes all key. The io_context runs out of work afterwards.
  void stop();

  /// The last lines of the log, once the io_context has run out of work.
  void conclude();

  /// The listeners as URIs, with the ports they really have.
  [[nodiscard]] std::vector<std::string> addresses() const;

  /// Has `tell` called with how the site stands, as /readyz says it, whoever may see that: soon, on the io_context, in a
  /// turn of the site; it must not call the server. Requires: start() was called.
  void readiness(std::function<void(const operations::readiness&)> tell);
  /// Gives `tell` a line on how it stands, in a turn of the site; for whoever looks after the process.
  /// Requires: start() has succeeded.
  void standing(std::function<void(std::string)> tell);

 private:
  class every;
  [[nodiscard]] std::vector<std::pair<std::string, software_link_report>> distilled() const;

  void warn_of_locked_memory() const;

  asio::io_context& context_;
  site_config config_;
  server_options options_;
  key_sources sources_;
  std::optional<net::site> site_;
  std::optional<push::device> device_;      ///< the site is the QKD device of key managers
  std::optional<push::receiver> receiver_;  ///< the site is a key manager that devices post to
  std::optional<operations::service> operations_;
  std::vector<std::unique_ptr<every>> timers_;
  std::size_t peers_ = 0;
  bool is_own_peer_ = false;
};

/// A server on a thread of its own.
/// Threads: any. In a child of fork() it is nobody's: nothing runs, and stop() does nothing.
class server_thread {
 public:
  /// As server::open_sources() and start(); the thread runs when this returns.
  [[nodiscard]] static result<std::unique_ptr<server_thread>> start(site_config config, server_options o,
                                                                    std::string* why);
  ~server_thread();
  server_thread(const server_thread&) = delete;
  server_thread& operator=(const server_thread&) = delete;

  /// Returns when the thread has ended. Not from inside `log`.
  void stop();

  [[nodiscard]] std::vector<std::string> addresses() const;

 private:
  struct state;
  explicit server_thread(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

}  // namespace qkd004::serve
