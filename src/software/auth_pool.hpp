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

namespace qkd004::software {

/// Fewest bits that two sites need to begin with.
inline constexpr std::size_t least_bootstrap_bits = 4096;

/// Octets of the sequence have positions that count from its beginning, and never come back once they are used.
/// Order of calls: `(take | append)*`; begin_session at the start of every session.
/// Threads: one at a time.
class auth_pool {
 public:
  /// In memory: what is used up is forgotten with the process. For two ends in one process, and for tests.
  /// Returns invalid_argument: fewer than least_bootstrap_bits.
  [[nodiscard]] static result<auth_pool> in_memory(secret_bytes bootstrap);

  /// In a file of mode 0600, made from `bootstrap_file` (octets that both sites have and nothing else has ever used) the
  /// first time. One process at a time: the file is locked.
  /// Returns invalid_argument (too short, damaged, made from another bootstrap), errno; `why` receives a sentence.
  [[nodiscard]] static result<auth_pool> open(const std::string& path, const std::string& bootstrap_file,
                                              const secret_arena& arena, std::string* why);

  auth_pool(auth_pool&&) noexcept;
  auth_pool& operator=(auth_pool&&) noexcept;
  ~auth_pool();

  /// The first octet that was never used here, and the first that is not there yet.
  [[nodiscard]] std::uint64_t position() const noexcept;
  [[nodiscard]] std::uint64_t end() const noexcept;
  [[nodiscard]] std::uint64_t left() const noexcept { return end() - position(); }

  /// Both sites forget what only one of them has: what lies below the higher position, and what lies from the lower end
  /// on. Stored when it returns.
  /// Returns invalid_argument: nothing in common is left, or that cannot be; the error of the file.
  [[nodiscard]] result<void> begin_session(std::uint64_t position, std::uint64_t end);

  /// The next octets of the sequence, in memory of the caller. That they are used is stored before it returns.
  /// Returns resource_limit: so many are not left, and nothing was taken; the error of the file.
  [[nodiscard]] result<void> take(std::span<std::byte> out);

  /// New octets at the end. They are stored with the next take() at the latest.
  [[nodiscard]] result<void> append(std::span<const std::byte> fresh);

 private:
  struct state;
  explicit auth_pool(std::unique_ptr<state> s) noexcept;
  std::unique_ptr<state> state_;
};

}  // namespace qkd004::software
