// client: the way of a Python application to one key manager; qkd004.Client stands on it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "interpreter.hpp"
#include "qkd004/client.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::python {

/// Threads: any. Lifetime: streams of it outlive it.
class client_way {
 public:
  client_way(client c, secret_arena arena)
      : client_{std::make_unique<client>(std::move(c))}, arena_{std::move(arena)} {}
  ~client_way();
  client_way(const client_way&) = delete;
  client_way& operator=(const client_way&) = delete;

  /// Ends the calls that wait, and refuses others.
  void close();
  [[nodiscard]] bool closed() const noexcept { return closed_; }

  /// Raises Closed in a child of fork().
  [[nodiscard]] client& use() const;
  [[nodiscard]] const secret_arena& arena() const noexcept { return arena_; }

 private:
  std::unique_ptr<client> client_;
  secret_arena arena_;
  bool closed_ = false;
  const unsigned generation_ = fork_generation();
};

/// Adds the class, connect() and pair() to the module.
void add_client(py::module_& m);

}  // namespace qkd004::python
