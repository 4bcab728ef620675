// push::receiver: a site as the key manager of push mode: it asks QKD devices for streams, and takes what they post into
// the key sources of its links.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/net/site.hpp"
#include "qkd004/net/tls.hpp"
#include "qkd004/push_source.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::push {

/// The device behind one key source.
struct pushed_link {
  std::string name;  ///< for the log
  std::shared_ptr<push_source> source;
  std::string device;  ///< `http://host:port` or `https://host:port`
  /// SAN URI of the device's certificate, where it listens and where it posts. Empty: it must name the host, and anybody
  /// may post whom the site's listener lets in.
  std::string identity;
  bool post_get_key = false;  ///< GET_KEY goes as POST, for the sake of proxies that drop the bodies of GET
};

/// The devices behind a site's key sources, and how patiently they are asked.
struct receiver_options {
  std::vector<pushed_link> links;
  bool allow_insecure = false;  ///< plain HTTP off loopback
  std::optional<net::tls_options> tls;
  secret_options memory{std::size_t{1} << 20};    ///< for the answers of devices, and a key that is read
  std::chrono::milliseconds call_timeout{5'000};  ///< for an answer of a device
  std::chrono::milliseconds hold{10'000};  ///< for which a key is kept waiting that there is no room for
  std::function<void(net::log_level, std::string_view)> log;
};

/// What is served, at the site's HTTP listeners: POST `/api/v1/qkd/etsi004/key-material`. A key that there is no room for
/// is answered when there is, with 503 and `Retry-After: 0`; after `hold` with `Retry-After: 1`.
///
///     push_source_options at{"qkd://kms@A", "qkd://kms@B", push_source_options::end::begins, security_class::hardware};
///     auto source = std::make_shared<push_source>(at);
///     options.peers[0].source = source;
///     net::site site{context, std::move(options)};
///     push::receiver receiver{context, site, {{{"link", source, "http://127.0.0.1:8100", ""}}}};
///     if (!receiver.start(&why) || !site.start(&why)) return fail(why);
///     context.run();
///
/// Order of calls: `start stop`, before and after the site's; a site has one.
/// Threads: any, but not from inside `log`.
/// Lifetime: the io_context and the site outlive the receiver.
class receiver {
 public:
  receiver(asio::io_context& context, net::site& site, receiver_options options);
  ~receiver();
  receiver(const receiver&) = delete;
  receiver& operator=(const receiver&) = delete;

  /// Returns invalid_argument: an address of a device, or TLS that is missing for it.
  [[nodiscard]] result<void> start(std::string* why = nullptr);
  /// Closes the streams at the devices: the io_context has work until they have answered, or call_timeout has passed.
  void stop();

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace qkd004::push
