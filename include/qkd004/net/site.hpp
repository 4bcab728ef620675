// net::site: one key manager on an io_context, with its listeners, its peers and its timer.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/key_manager.hpp"
#include "qkd004/key_service.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/net/access.hpp"
#include "qkd004/net/asio_version.hpp"
#include "qkd004/net/http.hpp"
#include "qkd004/net/site_caller.hpp"
#include "qkd004/net/site_report.hpp"
#include "qkd004/net/tls.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::net::inline QKD004_ASIO_VERSION {

enum class log_level : std::uint8_t { debug, info, notice, warning, error };

/// A socket that listens already: somebody else has bound it for this process, as systemd does for a service.
struct given_socket {
  std::string name;
  int descriptor = -1;
};

/// Another site that this one shares a key source with.
struct peer_options {
  key_manager::link_options link;  ///< name, node id of the peer, what it leads to
  std::string address;             ///< URI of the peer's listener; the site with the lower node id dials it
  std::shared_ptr<key_source> source;  ///< this end of the link's key source
  /// SAN URI that the peer's certificate must have; empty: `qkd://<node id of the peer>`. With one, or an address
  /// `qkd004s:`, the peer is believed over TLS only; else over plain TCP too, and over a Unix socket if it runs as this
  /// process's user or root.
  std::string identity;
};

/// How long a site waits for the other end of a connection before it gives it up.
struct site_timeouts {
  std::chrono::milliseconds silence{60'000};    ///< for the first octet
  std::chrono::milliseconds frame{10'000};      ///< for the rest of a frame that has begun
  std::chrono::milliseconds unsent{60'000};     ///< until some of what waits for it is taken
  std::chrono::milliseconds linger{1'000};      ///< after the last frame, for its close
  std::chrono::milliseconds dial{5'000};        ///< for a connection to a peer
  std::chrono::milliseconds handshake{10'000};  ///< for all of TLS's handshake
  std::chrono::milliseconds http_head{5'000};   ///< for the rest of a head that has begun
  std::chrono::milliseconds http_body{10'000};  ///< for the body behind it
  std::chrono::milliseconds http_idle{60'000};  ///< between an answer and the next request
};

/// Everything that a site is told: who it is, where it listens, whom it trusts, its peers.
struct site_options {
  key_manager::options manager;
  secret_options memory;  ///< where every key of this site lives
  /// URIs: `qkd004://host:port` (plain TCP), `qkd004s://host:port` (TLS), `unix:/path`, `http://host:port` and
  /// `https://host:port` (the same calls as REST, and resources); port 0 takes a free one, see site::addresses(). What
  /// holds for plain TCP and TLS holds for HTTP and HTTPS. The file of a Unix socket that nobody listens on any more is replaced.
  std::vector<std::string> listen;
  /// Taken by the listeners `qkd004+systemd:NAME`, and `qkd004s+`, `unix+`, `http+` and `https+` likewise: each takes all
  /// of its name. What holds for a listener that is bound here holds for these. From start() on they are the site's to
  /// close; the file of a Unix socket is not the site's to remove.
  std::vector<given_socket> sockets;
  bool allow_insecure = false;  ///< plain TCP off loopback, and any Host in plain HTTP
  unsigned unix_mode = 0600;    ///< permissions of the files of Unix sockets: who may connect there
  /// For `qkd004s:`, listeners and peers. The certificate is shown to applications, as a server, and to peers that this
  /// site dials, as a client.
  std::optional<tls_options> tls;
  /// Who may open which stream; only these rows decide. Without rows, a caller over TLS may open streams whose URI at
  /// this site equals the SAN URI of its certificate, a process of this process's user or of root on a Unix socket any,
  /// other processes none, and everyone on plain TCP any. manager.may_open, if set, decides instead of all that.
  std::vector<access_rule> access;
  std::vector<peer_options> peers;
  bool self_link = false;  ///< is its own peer (D17) and has no other
  site_timeouts timeouts;
  /// One line each, never a key octet; empty: silent. Must not call the site.
  std::function<void(log_level, std::string_view)> log;
};

/// A site that serves applications and peers. Everything runs on the threads of the io_context it was given, one at
/// a time.
///
///     asio::io_context context;
///     net::site site{context, std::move(options)};
///     std::string why;
///     if (!site.start(&why)) return fail(why);
///     context.run();
///
/// The principal of an application (see key_service::connect) is `tls:<issuer>#<SAN URI>` over TLS, with the issuer's
/// name as RFC 2253 writes it and `#` in it as `\23`, or `tls:<issuer>#spki:<SHA-256 of the public key>` where the
/// certificate has no such URI; of several URIs the first counts. It is `unix:uid:N` on a Unix socket, and
/// anonymous_principal over plain TCP.
/// Beyond limits::max_connections applications get an error frame, and with 64 connections more nobody is accepted
/// until one has gone. Out of descriptors, it tries again after 100 ms.
/// Order of calls: `start stop`; the destructor stops too.
/// Threads: any, but not from inside `log` or `may_open`.
/// Lifetime: the io_context outlives the site.
class site {
 public:
  site(asio::io_context& context, site_options options);
  ~site();
  site(const site&) = delete;
  site& operator=(const site&) = delete;

  /// Binds every listener and begins to dial peers. `why`, if given, receives a sentence on failure.
  /// Returns invalid_argument (a URI, plain TCP off loopback without allow_insecure, a peer, self_link and peers, a given
  /// socket that is none of its listener's kind or has no listener, what a file of `tls` holds), permission_denied (a file of `tls` that may not be read, or may be by too many), or the
  /// system's error of a listener or a file.
  [[nodiscard]] result<void> start(std::string* why = nullptr);

  /// Answers what waits, closes every connection and wipes all key. The io_context runs out of work afterwards.
  void stop();

  /// Serves this on the HTTP listeners, too. One of the same method and path takes the place of the one before; paths
  /// below `/qkd004/` and `/openapi.json` are the site's own, and invalid_argument, as are paths that are none and
  /// methods that are not listed. Threads: any, but for those inside of a call of the site's.
  [[nodiscard]] result<void> add(http::resource what);

  /// The listeners as URIs, with the ports they really have.
  [[nodiscard]] std::vector<std::string> addresses() const;

  /// How the site stands, and what it has answered. Costs some memory accesses for each stream.
  /// Threads: only in a turn of the site: from join(), or a resource.
  [[nodiscard]] site_report report() const;

  /// \name For what speaks another protocol in front of this key manager
  ///@{
  /// Answers to connections that were made at service() itself go to `who`; null: to nobody, as at first.
  void set_caller(site_caller* who);
  /// Runs `body` where service() may be called: at once in a turn of the site, as a resource or an answer is in; else
  /// soon, in one of its own. Threads: any.
  void join(std::function<void()> body);
  ///@}

  /// What answers the applications. Threads: only on the io_context.
  [[nodiscard]] key_service& service() noexcept;
  /// The key manager. Requires: no self_link. Threads: only on the io_context.
  [[nodiscard]] key_manager& manager() noexcept;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace qkd004::net::inline QKD004_ASIO_VERSION
