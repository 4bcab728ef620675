// site_caller: something in the process of a site that calls its key_service itself, beside those who come over
// connections: another protocol in front of the same key manager.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qkd004/key_service.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/message.hpp"

namespace qkd004::net {

/// What its calls come to. It must not call the key_service from inside these: see site::join().
/// Threads: inside the turns of the site.
class site_caller {
 public:
  virtual void answer(const caller&, const open_connect_response&) = 0;
  /// Lifetime: the key is there during this call only.
  virtual void answer(const caller&, const get_key_response&) {}
  virtual void answer(const caller&, const close_response&) = 0;
  /// Lifetime: the keys are there during this call only.
  virtual void answer(const caller&, const get_keys_response&) {}
  virtual void answer(const caller&, const wait_peer_response&) = 0;
  virtual void answer(const caller&, const acknowledge_response&) = 0;
  /// Of a subscription. Lifetime: the keys are there during this call only.
  virtual void deliver(connection_id, const key_stream_id&, const get_keys_response&) = 0;

 protected:
  site_caller() = default;
  site_caller(const site_caller&) = default;
  site_caller& operator=(const site_caller&) = default;
  ~site_caller() = default;
};

}  // namespace qkd004::net
