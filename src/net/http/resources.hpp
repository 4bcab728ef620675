// resources: which resource serves a method and a path.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/net/http.hpp"
#include "qkd004/result.hpp"

namespace qkd004::net::http {

/// The calls of the binding of 004, which a connection answers itself.
enum class call_004 : std::uint8_t {
  none,
  open_connect,
  get_key,
  close,
  wait_peer,
  acknowledge,
  streams,
  capabilities,
};

/// Threads: one at a time.
class resources {
 public:
  resources();

  /// One of the same method and path takes the place of the one before.
  /// Returns invalid_argument: no method or path that may be served, a path of the site's own, or nothing that serves.
  result<void> add(resource what);

  struct entry {
    resource what;
    call_004 call = call_004::none;
  };
  /// Lifetime: until the next add().
  struct found {
    const entry* serves = nullptr;  ///< null: the path, or the path with that method, is not served
    bool is_path = false;           ///< by some method
  };
  /// Requires: a method that is not HEAD.
  [[nodiscard]] found find(std::string_view method, std::string_view path) const;
  /// The methods of a path for the field Allow: `GET, HEAD, OPTIONS`. Empty: no such path.
  [[nodiscard]] std::string allowed(std::string_view path) const;

 private:
  [[nodiscard]] static std::size_t fit(const resource& r, std::string_view path) noexcept;

  std::vector<std::unique_ptr<entry>> all_;
};

}  // namespace qkd004::net::http
