// object: from the pointers of the C interface to what they stand for, and back.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "error.hpp"
#include "gate.hpp"
#include "handle.hpp"
#include "qkd004.h"

namespace qkd004::capi {

class client_object;
class stream_object;
class source_object;
class manager_object;
class server_object;
class v1_session_object;

template <class Handle>
struct meaning;
template <>
struct meaning<qkd004_client> {
  using type = client_object;
  static constexpr kind of = kind::client;
};
template <>
struct meaning<qkd004_stream> {
  using type = stream_object;
  static constexpr kind of = kind::stream;
};
template <>
struct meaning<qkd004_source> {
  using type = source_object;
  static constexpr kind of = kind::source;
};
template <>
struct meaning<qkd004_manager> {
  using type = manager_object;
  static constexpr kind of = kind::manager;
};
template <>
struct meaning<qkd004_server> {
  using type = server_object;
  static constexpr kind of = kind::server;
};
template <>
struct meaning<qkd004_v1_session> {
  using type = v1_session_object;
  static constexpr kind of = kind::v1_session;
};
template <class Handle>
using object_of = typename meaning<Handle>::type;

template <class Handle>
[[nodiscard]] handle_number number_of(Handle* h) noexcept {
  return reinterpret_cast<handle_number>(h);
}

/// A part of the object. Throws refusal: -EBADF, -EPERM.
template <class Handle>
[[nodiscard]] std::shared_ptr<object_of<Handle>> use(Handle* h) {
  int why = 0;
  auto found = handle_table::of_this_process().find(number_of(h), meaning<Handle>::of, why);
  if (!found) throw refusal{why, ""};
  return std::static_pointer_cast<object_of<Handle>>(std::move(found));
}

/// Sets a slot aside, so that nothing can fail once there is an object for it.
template <class Handle>
class new_handle {
 public:
  new_handle() : reserved_{handle_table::of_this_process().reserve()} {}
  [[nodiscard]] Handle* publish(std::shared_ptr<object_of<Handle>> o) noexcept {
    return reinterpret_cast<Handle*>(reserved_.publish(meaning<Handle>::of, std::move(o)));
  }

 private:
  handle_table::reservation reserved_;
};

/// Throws refusal (-EBADF) if another thread was faster.
template <class Handle>
void end(Handle* h) {
  if (!handle_table::of_this_process().end(number_of(h))) throw refusal{-EBADF, ""};
}

}  // namespace qkd004::capi
