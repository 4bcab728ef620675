// first_edition: the streams of V1.1.1 that a process has open, by their handles alone; in process both ends
// of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "endpoint.hpp"
#include "qkd004.h"

namespace qkd004::compat {

/// Which end a call means, when both have the same handle and nothing but the handle is said: where one
/// thread has opened the one end and another thread the other, the caller's. Else, and for a third thread: of
/// QKD_GET_KEY, the end that has had fewer keys, the first opener's on a tie; of QKD_CLOSE, the first
/// opener's while it is open. So a program that does everything twice in a row, as both ends, gets what it
/// expects, and so do two threads that are one end each.
///
/// Results are of qkd004_v1_status or minus an errno.
/// Threads: any number. No lock is held while a call waits.
class first_edition {
 public:
  static constexpr std::size_t no_preference = 2;

  struct open_request {
    std::vector<std::string> names;  ///< spellings of the destination; empty: NULL
    std::uint32_t requested_length = 0;
    std::uint32_t max_bps = 0;
    std::uint32_t priority = 0;
    std::uint32_t timeout_ms = 0;
    std::size_t end = no_preference;  ///< in process: which end to open if it is free
  };

  [[nodiscard]] static std::shared_ptr<first_edition> make(std::string& said);
  explicit first_edition(std::unique_ptr<endpoint> at) : at_{std::move(at)} {}
  first_edition(const first_edition&) = delete;
  first_edition& operator=(const first_edition&) = delete;
  ~first_edition();

  /// `handle`: 64 octets, here and below.
  [[nodiscard]] int open(const open_request& request, void* handle);
  [[nodiscard]] int connect_nonblock(const void* handle);
  [[nodiscard]] int connect_blocking(const void* handle, std::uint32_t timeout_ms);
  /// Writes as many octets as open() asked for, or none: `key_buffer` has no length of its own.
  [[nodiscard]] int get_key(const void* handle, void* key_buffer);
  [[nodiscard]] int close(const void* handle);

 private:
  using octets = std::array<unsigned char, sizeof(qkd004_v1_key_handle)>;
  enum class purpose { connect, get_key, close };

  struct stream_end {
    bool open = false;
    std::thread::id opener;
    std::uint32_t length = 0;  ///< of a key, as it was asked for
    std::uint64_t keys = 0;    ///< handed out or on their way
  };
  struct stream {
    stream_end ends[2];
    std::size_t first = 0;  ///< who opened first
  };

  [[nodiscard]] std::optional<std::size_t> choose(const octets& handle, purpose p);
  [[nodiscard]] int fetch(std::size_t end, const octets& handle, void* key_buffer);
  /// Octets of a key, as the session knows the stream; an error of the session's: it does not.
  [[nodiscard]] int key_length(std::size_t end, const octets& handle, std::size_t& length) const;
  void forget_end(const octets& handle, std::size_t end);

  const std::unique_ptr<endpoint> at_;
  qkd004_v1_session* sessions_[2] = {};

  std::mutex mutex_;
  std::map<octets, stream> streams_;
};

}  // namespace qkd004::compat
