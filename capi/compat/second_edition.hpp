// second_edition: the streams of V2.1.1 that a process has open, by their Key_stream_IDs alone; in process
// both ends of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "endpoint.hpp"
#include "qkd004.h"

namespace qkd004::compat {

/// Which end a call means in process: as for first_edition. A key by its index is that of the first opener's
/// end if it is still there, else the other's.
///
/// Results are of qkd004_status or minus an errno.
/// Threads: any number. No lock is held while a call waits.
class second_edition {
 public:
  static constexpr std::uint32_t next_index = 0xffff'ffff;  ///< no key has it (D12)

  struct names {
    std::string source;
    std::string destination;

    friend bool operator==(const names&, const names&) = default;
  };

  [[nodiscard]] static std::shared_ptr<second_edition> make(std::string& said);
  explicit second_edition(std::unique_ptr<endpoint> at) : at_{std::move(at)} {}
  second_edition(const second_edition&) = delete;
  second_edition& operator=(const second_edition&) = delete;
  ~second_edition();

  /// `qos.key_chunk_size` is what get_key() will write. `id`: in and out.
  [[nodiscard]] int open_connect(const names& called, qkd004_qos& qos, qkd004_key_stream_id& id);
  /// `index`: in and out. Requires: `key` has the room that open_connect() has named.
  [[nodiscard]] int get_key(const qkd004_key_stream_id& id, std::uint32_t& index, void* key,
                            qkd004_metadata* metadata);
  [[nodiscard]] int close(const qkd004_key_stream_id& id);

 private:
  using octets = std::array<std::uint8_t, sizeof(qkd004_key_stream_id)>;

  struct stream_end {
    qkd004_stream* handle = nullptr;  ///< null: not open
    bool opening = false;
    std::thread::id opener;
    std::uint32_t chunk = 0;  ///< octets of a key
    std::uint64_t keys = 0;   ///< handed out or on their way
    bool peer_seen = false;

    [[nodiscard]] bool taken() const noexcept { return handle != nullptr || opening; }
  };
  struct stream {
    stream_end ends[2];
    std::size_t first = 0;  ///< who opened first
    names called;           ///< by him
  };

  struct buffers {
    void* key = nullptr;
    qkd004_metadata* metadata = nullptr;
  };

  [[nodiscard]] std::vector<std::size_t> choose(const stream& s, bool next) const;
  [[nodiscard]] names uris_of(const names& called, std::size_t end, const names* first) const;
  [[nodiscard]] int fetch(const octets& id, std::size_t end, std::uint32_t& index, const buffers& to);
  void forget_end(const octets& id, std::size_t end);

  const std::unique_ptr<endpoint> at_;
  std::mutex mutex_;
  std::map<octets, stream> streams_;
  std::deque<octets> closed_;  ///< the last of them: CLOSE may be repeated
};

}  // namespace qkd004::compat
