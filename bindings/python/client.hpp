// client: the way of a Python application to one key manager; qkd004.Client stands on it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "interpreter.hpp"
#include "qkd004/client.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/message.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::python {

/// Threads: any. Lifetime: streams of it outlive it.
class client_way {
 public:
  client_way(client c, secret_arena arena) : client_{new client{std::move(c)}}, arena_{std::move(arena)} {}
  ~client_way() {
    if (generation_ != fork_generation())
      (void)client_.release();  // the parent's: its locks may be held for ever
  }
  client_way(const client_way&) = delete;
  client_way& operator=(const client_way&) = delete;

  /// Ends the calls that wait, and refuses others. Raises InvalidArgument inside a callback.
  void close();
  [[nodiscard]] bool closed() const noexcept { return closed_; }

  /// Raises Closed in a child of fork().
  [[nodiscard]] client& use() const;
  [[nodiscard]] const secret_arena& arena() const noexcept { return arena_; }

 private:
  outside_ptr<client> client_;  ///< a site that goes with it stops its key source, which may be Python's
  secret_arena arena_;
  bool closed_ = false;
  const unsigned generation_ = fork_generation();
};

/// A transport, and where the keys that come over it will live.
struct way_to {
  std::shared_ptr<exchange> via;
  secret_arena arena;
};
/// To a URI, or over a Transport of Python's. Waits for the connection.
[[nodiscard]] way_to connect_to(const py::object& to, const py::dict& options);
/// To two new sites in this process.
[[nodiscard]] std::pair<way_to, way_to> ways_of_pair(const py::dict& options);

/// What the arguments of open_connect() say.
[[nodiscard]] open_connect_request request_from(py::handle source, py::handle destination, py::handle quality,
                                                const py::object& id, const py::dict& more);
/// The exception QoSNotMet.
[[nodiscard]] py::object qos_not_met(const qos& counter_proposal);

/// Adds the class, connect() and pair() to the module.
void add_client(py::module_& m);

}  // namespace qkd004::python
