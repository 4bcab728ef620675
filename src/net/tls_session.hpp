// tls_session: TLS of one connection on a descriptor that does not block, and what its certificates come from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>

#include "qkd004/net/tls.hpp"
#include "qkd004/result.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace qkd004::net {

/// How far a step on a descriptor got.
enum class io_state : std::uint8_t {
  progress,
  want_read,   ///< again when it may be read
  want_write,  ///< again when it may be written
  closed,      ///< the other end has said that this was all
  failed,
};

struct io_result {
  io_state state = io_state::progress;
  std::size_t count = 0;  ///< octets moved
};

/// Why a connection is of no more use. The words name no key and no certificate's content but its faults.
struct io_failure {
  std::error_code error;
  std::string words;  ///< "it showed no certificate"
};

/// Whom the certificate of the other end has to name, and that end may be nobody else.
struct tls_expectation {
  std::string uri;   ///< a SAN URI, the first of it; empty: any
  std::string host;  ///< a name or a number; empty: any
};

class tls_session;

/// This end's certificate and authorities, read and checked; what all its connections share.
/// Threads: any.
class tls_context {
 public:
  /// Returns the system's error of a file that cannot be read, permission_denied for a key that others may read,
  /// invalid_argument for what a file holds. `why`, if given, receives a sentence with the path.
  [[nodiscard]] static result<std::shared_ptr<const tls_context>> make(const tls_options& options,
                                                                       std::string* why);
  ~tls_context();
  tls_context(const tls_context&) = delete;
  tls_context& operator=(const tls_context&) = delete;

  /// The end that was connected to. Null when there is no memory.
  [[nodiscard]] std::unique_ptr<tls_session> accept(int descriptor) const;
  /// The end that connects.
  [[nodiscard]] std::unique_ptr<tls_session> dial(int descriptor, tls_expectation expected) const;

 private:
  explicit tls_context(ssl_ctx_st* context) noexcept : context_{context} {}
  ssl_ctx_st* context_;
};

/// Threads: one at a time. The descriptor stays its owner's, and outlives this.
/// Order of calls: `handshake* (read | write)* [end]`.
class tls_session {
 public:
  ~tls_session();
  tls_session(const tls_session&) = delete;
  tls_session& operator=(const tls_session&) = delete;

  /// The descriptor was found readable: so many reads of it are worth while. Others end with want_read without asking.
  void readable() noexcept { reads_left_ = reads_at_once; }

  [[nodiscard]] io_state handshake();
  /// As much as there is and `into` holds.
  [[nodiscard]] io_result read(std::span<std::byte> into);
  /// There is more to read that the descriptor will not tell of: `into` was full, or the end follows.
  [[nodiscard]] bool has_more() const noexcept { return more_; }
  /// As much as the descriptor takes. What it did not take has to come again, and more may stand behind it.
  [[nodiscard]] io_result write(std::span<const std::byte> octets);
  /// Says that this was all, if that can still be said.
  void end() noexcept;

  /// After failed.
  [[nodiscard]] const io_failure& failure() const noexcept { return failure_; }
  /// Who the other end is, after its handshake: `<issuer>#<SAN URI>` or `<issuer>#spki:<SHA-256>`.
  [[nodiscard]] std::string name() const;
  /// The SAN URI of its certificate that counts; empty if there is none.
  [[nodiscard]] std::string uri() const;

 private:
  friend class tls_context;
  friend struct tls_bio;
  friend struct tls_check;

  static constexpr int reads_at_once = 4;  ///< of 16 KiB, for one connection of a batch

  tls_session(ssl_st* ssl, int descriptor, tls_expectation expected) noexcept;
  /// Takes `ssl` over. Null when there is no memory.
  [[nodiscard]] static std::unique_ptr<tls_session> make(ssl_st* ssl, int descriptor,
                                                         tls_expectation expected);
  [[nodiscard]] io_state state_of(int returned);
  void note_failure();

  ssl_st* ssl_;
  const int descriptor_;
  const tls_expectation expected_;
  io_failure failure_;
  int reads_left_ = 0;
  io_state ended_ = io_state::progress;  ///< closed or failed: what read() says from now on
  bool greeted_ = false;                 ///< the handshake is over
  bool eof_ = false;                     ///< the descriptor ended
  bool broken_ = false;                  ///< OpenSSL wants no more calls
  bool more_ = false;
};

}  // namespace qkd004::net
