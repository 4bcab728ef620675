// application: the end of a connection that the key manager answers, whatever it speaks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"

namespace qkd004::net {

/// Threads: inside the turns of its site.
class application {
 public:
  virtual void answer(std::uint64_t ticket, const open_connect_response& r) = 0;
  virtual void answer(std::uint64_t ticket, const get_key_response& r) = 0;
  virtual void answer(std::uint64_t ticket, const close_response& r) = 0;
  virtual void answer(std::uint64_t ticket, const get_keys_response& r) = 0;
  virtual void answer(std::uint64_t ticket, const wait_peer_response& r) = 0;
  virtual void answer(std::uint64_t ticket, const acknowledge_response& r) = 0;
  /// Of a subscription: outside the order of replies.
  virtual void deliver(const key_stream_id& stream, const get_keys_response& r) = 0;

 protected:
  application() = default;
  application(const application&) = default;
  application& operator=(const application&) = default;
  ~application() = default;
};

}  // namespace qkd004::net
