// v1: the API of GS QKD 004 V1.1.1 (QKD_OPEN, QKD_CONNECT, QKD_GET_KEY, QKD_CLOSE) over any exchange; it is compiled
// in src/v1.cpp, as it needs a hash.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "qkd004/exchange.hpp"
#include "qkd004/key_stream_id.hpp"

namespace qkd004::v1 {

/// What a call came to. The numbers 0 to 4 are the first edition's, and others than those of qkd004::status; above
/// 1023, which it leaves to vendors, they are the same in both.
/// Clause: GS QKD 004 V1.1.1, 6 (status); D7.
enum class status : std::uint32_t {
  success = 0,
  insufficient_key = 1,   ///< QKD_GET_KEY: the stream has ended, nothing more will come
  no_qkd_connection = 2,  ///< no link, no key manager, no peer (QKD_CONNECT_NONBLOCK), or an unknown handle
  key_handle_in_use = 3,  ///< QKD_OPEN: open here, somebody else's, or closed before
  timeout = 4,
  invalid_argument = 1025,  ///< a buffer, a length or a configuration that cannot be; no key was consumed
  not_authorized = 1026,    ///< the access table says no, or a newer QKD_OPEN has taken the stream over
  resource_limit = 1027,
};

/// The status in words, without a full stop; never empty.
[[nodiscard]] std::string_view to_string(status s) noexcept;

/// 64 octets that name a stream; no secret. All zeros is NULL. As a number, octet 63 is its most significant.
struct key_handle {
  static constexpr std::size_t size = 64;
  std::array<std::byte, size> octets{};

  [[nodiscard]] bool is_null() const noexcept { return *this == key_handle{}; }
  friend auto operator<=>(const key_handle&, const key_handle&) noexcept = default;
};

/// The handle of a stream: its KSID, then the first 48 octets of SHA-512("qkd004 v1 handle" || KSID).
/// Requires: `id` is not NULL. Throws std::runtime_error when OpenSSL fails.
[[nodiscard]] key_handle handle_of(const key_stream_id& id);

/// The stream of a handle, the same at both ends: of one that handle_of() made, the KSID in it; of any other, a
/// predefined one, the first 16 octets of SHA-256("qkd004 v1 predefined" || handle) as a UUID of version 8; of NULL, NULL.
/// Octets are hashed from 0 to 63. Throws std::runtime_error when OpenSSL fails.
[[nodiscard]] key_stream_id stream_of(const key_handle& handle);

/// What QKD_OPEN asks for; 0 leaves it to the key manager. What was asked first holds at both ends; when two QKD_OPENs
/// cross on their way, that of the lower node does (D8): ends that may open at the same moment ask for the same.
struct qos {
  std::uint32_t requested_length = 0;  ///< octets of every key; 0: 32, or what the other end asked for before
  std::uint32_t max_bps = 0;           ///< bit/s
  std::uint32_t priority = 0;          ///< larger is more urgent
  std::uint32_t timeout_ms = 0;        ///< ms, how long QKD_GET_KEY waits; 0: 5,000 (D3)
};

/// What the first edition takes for granted. Of the URIs only the node counts (`qkd://app@node`).
struct options {
  std::string application;  ///< URI of this application, with the node of its key manager
  /// From the destination of QKD_OPEN, as it is written there, to a URI with the node of that key manager.
  std::map<std::string, std::string, std::less<>> destinations;
  std::string default_destination;  ///< URI for a NULL destination; empty: there is none
};

/// The key streams of one V1 application. Closes what is still open when it goes.
///
///     v1::session here{qkd004::net::connect(uri, arena).value(), {"qkd://server@A", {}, "qkd://client@B"}};
///     v1::key_handle handle;                                        // NULL: made by open()
///     if (here.open({}, {.requested_length = 32}, handle) == v1::status::success) tell_the_peer(handle);
///     here.connect_blocking(handle, 5s);
///     here.get_key(handle, key);
///     here.close(handle);
///
/// Order of calls: `open (connect_nonblock | connect_blocking | get_key)* close`.
///
/// Ends. A stream is matched by its handle alone. QKD 004 V2.1.1 wants a source and a destination as well, the same at
/// both ends (D9): they are `qkd004-v1://v1@NODE` for the two nodes, the lower first, whoever opens and whatever the
/// application is called. A key manager with an access table has to allow this URI to its V1 applications; over TLS
/// without one, their certificates name it.
///
/// Keys. Both ends get the same keys in the same order, each key once: it is erased when it is handed out (strict once,
/// R8). As there is no index by which they could find one another again, a key that is lost on its way or has expired
/// (after 3,600 s) ends the stream: get_key() is insufficient_key here from then on, and there as soon as what was
/// already there is read. For the same reason a stream that another session of the same principal takes over gives
/// keys only if none was handed out yet, and a handle is good for one stream: once closed, it is in use for good.
///
/// The exchange has to say strict_once, and wait_peer for connect_*(); without that one they are success where the peer
/// was there before open(), else no_qkd_connection.
///
/// Every call may be no_qkd_connection when the key manager cannot be reached, and timeout when it does not answer
/// within 2 s of the time the call has.
/// Threads: any number; get_key() of one handle takes turns.
/// Clause: GS QKD 004 V1.1.1, 6.
class session {
 public:
  session(std::shared_ptr<exchange> via, options o);
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  ~session();

  /// QKD_OPEN. Does not wait for the peer. `destination` empty is NULL: the default one. `handle` NULL on input: a
  /// new one is made. It is not changed on failure.
  /// Returns key_handle_in_use, no_qkd_connection (also for a destination that is not configured), not_authorized,
  /// resource_limit, invalid_argument (requested_length is more than the key manager grants, or `application` has no
  /// node).
  [[nodiscard]] status open(std::string_view destination, const qos& wanted, key_handle& handle);

  /// QKD_CONNECT_NONBLOCK: success if the peer has opened the stream, even if it has closed it since, else
  /// no_qkd_connection. Waits 1 ms at most.
  [[nodiscard]] status connect_nonblock(const key_handle& handle);

  /// QKD_CONNECT_BLOCKING: the same, waiting for the peer. `time` 0 is QoS Timeout (D3).
  /// Returns timeout after `time`, resource_limit.
  [[nodiscard]] status connect_blocking(const key_handle& handle, std::chrono::milliseconds time);

  /// QKD_GET_KEY: the next key, waited for up to QoS Timeout, and never for the peer or its get_key() (D10). Who does
  /// not want to wait asks for a Timeout of 1 ms.
  /// Requires: `key_buffer` has key_length() octets (else invalid_argument). It holds a key only on success.
  /// Returns timeout (the key can still be had), insufficient_key (the stream has ended; or the key manager insists on
  /// a peer that has not come), not_authorized, resource_limit.
  [[nodiscard]] status get_key(const key_handle& handle, std::span<std::byte> key_buffer);

  /// QKD_CLOSE: what this end has not read is destroyed, the peer reads on what it has. get_key() that waits on
  /// another thread returns. On failure it may be called again.
  [[nodiscard]] status close(const key_handle& handle);

  /// Octets of every key of an open stream, or 0. Where open() came before the peer's and asked for no length, it is
  /// certain after connect_*() only.
  [[nodiscard]] std::size_t key_length(const key_handle& handle) const;

 private:
  struct stream;

  [[nodiscard]] std::shared_ptr<stream> find(const key_handle& handle) const;
  [[nodiscard]] status ask_open(std::string_view remote, const qos& wanted, key_handle& handle);
  [[nodiscard]] status meet(const key_handle& handle, std::uint32_t time_ms);
  [[nodiscard]] std::error_code ask(call& c, std::uint32_t time_ms);

  const std::shared_ptr<exchange> via_;
  const options options_;

  mutable std::mutex mutex_;
  std::map<key_handle, std::shared_ptr<stream>> streams_;  ///< null: being opened at this moment
};

}  // namespace qkd004::v1
