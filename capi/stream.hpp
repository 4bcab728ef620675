// stream: what a qkd004_stream stands for.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <utility>

#include "gate.hpp"
#include "handle.hpp"
#include "qkd004/client.hpp"

namespace qkd004::capi {

class stream_object final : public object {
 public:
  explicit stream_object(domain managers) : calls{std::move(managers)} {}

  std::optional<key_stream> stream;  ///< always there once there is a handle
  std::atomic<bool> is_open{false};  ///< and known to its client: whether it is there
  bool vendor_metadata = false;
  gate calls;
  std::mutex to_read;         ///< in front of `reading`: those who come after prefetch() wait behind it
  std::shared_mutex reading;  ///< prefetch() wants to be alone with the stream
};

}  // namespace qkd004::capi
