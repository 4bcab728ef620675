// auth_pool: the secret pads of Wegman-Carter authentication, each used once, over restarts too: a sequence that both
// sites of a link have, and how far it is used up.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "software/poly_hash.hpp"

namespace qkd004::software {

/// Fewest bits that two sites need to begin with.
inline constexpr std::size_t least_bootstrap_bits = 4096;

/// Most octets that a pool holds: 32768 blocks of a link at 256 bits each.
inline constexpr std::size_t most_pool_octets = std::size_t{1} << 20;

/// Octets of the sequence have positions that count from its beginning, and never come back once they are used: two
/// tags under one pad are enough to forge any other (authenticator.hpp). What is not known to be unused counts as used.
/// Order of calls: `(take | append)*`; begin_session at the start of every session.
/// Threads: one at a time.
///
/// In a file, a position ahead of the true one is stored, by an eighth of what is left, so that most calls of take()
/// write nothing. Going in order gives back what was not used; a crash makes it used. Used pads are overwritten in the
/// file with the next write, in memory at once; the file keeps its size. It holds pads in the clear: what protects it is
/// its mode and whatever protects the disk. A damaged file is refused, never repaired: it needs a new bootstrap at both
/// sites.
///
/// What no file can tell is that it is an old copy. Never restore one from a backup, and never remove one without a new
/// bootstrap: at the other site the position is higher then, and begin_session() makes up for it; if that is lost too,
/// pads are used twice. Removing `bootstrap_file` once there is a file makes the latter impossible.
class auth_pool {
 public:
  /// In memory: what is used up is forgotten with the process. For two ends in one process, and for tests.
  /// Returns invalid_argument: fewer than least_bootstrap_bits, or more than most_pool_octets.
  [[nodiscard]] static result<auth_pool> in_memory(secret_bytes bootstrap);

  /// In a file of mode 0600, made from `bootstrap_file` (octets that both sites have and nothing else has ever used) the
  /// first time. Later that file may be missing; if it is there, it must be the same. One process at a time: the file
  /// is locked. Going over to a child of fork() is not possible.
  /// Returns invalid_argument (too short, too long, nothing but zeros, damaged, made from another bootstrap),
  /// permission_denied (others may read one of the files), device_or_resource_busy, resource_limit (the arena's), errno;
  /// `why` receives a sentence.
  [[nodiscard]] static result<auth_pool> open(const std::string& path, const std::string& bootstrap_file,
                                              const secret_arena& arena, std::string* why);

  auth_pool(auth_pool&&) noexcept;
  auth_pool& operator=(auth_pool&&) noexcept;
  ~auth_pool();  ///< stores where it is

  /// The last 16 octets of the bootstrap, which are no pads: two sites may show them to each other to find out whether
  /// they were made from the same.
  [[nodiscard]] const block128& identity() const noexcept;

  /// The first octet that was never used here, and the first that is not there yet.
  [[nodiscard]] std::uint64_t position() const noexcept;
  [[nodiscard]] std::uint64_t end() const noexcept;
  [[nodiscard]] std::uint64_t left() const noexcept { return end() - position(); }

  /// Both sites forget what only one of them has: what lies below the higher position, and what lies from the lower end
  /// on. `position` and `end` are those of the other site. Stored when it returns.
  /// They cross before anything is authenticated: whoever changes them on the way can have pads thrown away, never used
  /// twice. A caller that has other means to doubt them (TLS) asks those first.
  /// Returns invalid_argument: nothing in common is left, or that cannot be, and nothing has changed; the error of the
  /// file.
  [[nodiscard]] result<void> begin_session(std::uint64_t position, std::uint64_t end);

  /// The next octets of the sequence, in memory of the caller. That they are used is stored before it returns.
  /// Returns resource_limit: so many are not left, and nothing was taken; no_qkd_connection: in a child of fork(); the
  /// error of the file, and the same ever after: what is stored is not known then.
  [[nodiscard]] result<void> take(std::span<std::byte> out);

  /// New octets at the end. They are stored with the next take() that stores at the latest; before that take() has
  /// none of them.
  /// Returns resource_limit: more than most_pool_octets, or the arena's bound, and nothing was appended;
  /// no_qkd_connection: in a child of fork().
  [[nodiscard]] result<void> append(std::span<const std::byte> fresh);

 private:
  struct state;
  explicit auth_pool(std::unique_ptr<state> s) noexcept;
  std::unique_ptr<state> state_;
};

}  // namespace qkd004::software
