// push::device: a site as the QKD device of push mode: it answers OPEN_CONNECT, GET_KEY and CLOSE of key managers over
// HTTP, and posts their keys to them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/net/site.hpp"
#include "qkd004/net/tls.hpp"
#include "qkd004/push_device.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::push {

/// Where the key manager of a stream is.
struct key_manager_address {
  std::string uri;       ///< `http://host:port` or `https://host:port`
  std::string identity;  ///< SAN URI that its certificate must have; empty: it must name the host
};

/// Where keys are posted, and how.
struct device_options {
  push_device_options core;
  /// By the source of the OPEN_CONNECT, else by its destination. A stream of neither is posted to the authority of that of
  /// the two that is this site's: over HTTPS if `tls` is given, else over HTTP.
  std::map<std::string, key_manager_address, std::less<>> key_managers;
  /// GET_KEY and CLOSE are answered with 200 and a body, not with 205 and 204, also if Accept does not name
  /// application/json.
  bool strict_bodies = false;
  bool allow_insecure = false;  ///< plain HTTP off loopback
  std::optional<net::tls_options> tls;
  /// For keys on their way, and 64 KiB of a stream's connections: enough for 240 streams, 8 in flight of each. A stream
  /// that finds no room waits.
  secret_options memory{std::size_t{16} << 20};
  std::chrono::milliseconds request_timeout{30'000};  ///< for an answer to a key
  std::function<void(net::log_level, std::string_view)> log;
};

/// What is served, at the site's HTTP listeners: POST `/api/v1/kms/etsi004/open-connect`, GET and POST `.../get-key`, PUT
/// `.../close`; what is sent: POST `/api/v1/qkd/etsi004/key-material`.
///
///     net::site site{context, std::move(options)};   // listens on http:// or https://
///     push::device device{context, site, {}};
///     if (!device.start(&why) || !site.start(&why)) return fail(why);
///     context.run();
///
/// Order of calls: `start stop`, before and after the site's; a site has one.
/// Threads: any, but not from inside `log`.
/// Lifetime: the io_context and the site outlive the device.
class device {
 public:
  device(asio::io_context& context, net::site& site, device_options options);
  ~device();
  device(const device&) = delete;
  device& operator=(const device&) = delete;

  /// Returns invalid_argument: an address of a key manager, or TLS that is missing for it; and errno of the files of TLS.
  [[nodiscard]] result<void> start(std::string* why = nullptr);
  /// Nothing more is answered or posted.
  void stop();

  /// Threads: on the io_context of a site that one thread runs.
  [[nodiscard]] std::vector<push_device::stream_state> report() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace qkd004::push
