// resources: which resource serves a method and a path.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "qkd004/net/http.hpp"
#include "qkd004/result.hpp"

namespace qkd004::net::http {

/// Threads: one at a time.
class resources {
 public:
  /// One of the same method and path takes the place of the one before.
  /// Returns invalid_argument: no method or path that may be served, or nothing that serves.
  result<void> add(resource what);
  void clear() noexcept { all_.clear(); }

  struct found {
    std::shared_ptr<const resource> serves;  ///< none: the path, or the path with that method, is not served
    bool is_path = false;                    ///< by some method
  };
  /// Requires: a method that is not HEAD.
  [[nodiscard]] found find(std::string_view method, std::string_view path) const;
  /// The methods of a path for the field Allow: `GET, HEAD, OPTIONS`. Empty: no such path.
  [[nodiscard]] std::string allowed(std::string_view path) const;

 private:
  [[nodiscard]] static std::size_t fit(const resource& r, std::string_view path) noexcept;

  std::vector<std::shared_ptr<const resource>> all_;
};

}  // namespace qkd004::net::http
