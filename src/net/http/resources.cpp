// SPDX-License-Identifier: Apache-2.0
#include "net/http/resources.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "net/http/syntax.hpp"

namespace qkd004::net::http {

namespace {

constexpr std::array<std::string_view, 5> methods = {"GET", "POST", "PUT", "DELETE", "PATCH"};

bool is_path(std::string_view path) noexcept {
  return path.starts_with('/') && path.find('*') >= path.size() - 1 && may_stand_in_head(path) &&
         path.find_first_of("?# ") == std::string_view::npos && path.size() <= syntax_limits::target;
}

}  // namespace

result<void> resources::add(resource what) {
  if (std::find(methods.begin(), methods.end(), what.method) == methods.end() || !is_path(what.path) ||
      !what.serve) {
    return status::invalid_argument;
  }
  const auto same = std::find_if(all_.begin(), all_.end(), [&](const auto& r) {
    return r->method == what.method && r->path == what.path;
  });
  auto made = std::make_shared<const resource>(std::move(what));
  if (same != all_.end()) {
    *same = std::move(made);
  } else {
    all_.push_back(std::move(made));
  }
  return {};
}

/// How well it fits: 0 not at all, one more than the octets of its path that are the same.
std::size_t resources::fit(const resource& r, std::string_view path) noexcept {
  std::string_view own = r.path;
  if (own == path) return path.size() + 2;
  if (!own.ends_with('*')) return 0;
  own.remove_suffix(1);
  return path.starts_with(own) ? own.size() + 1 : 0;
}

resources::found resources::find(std::string_view method, std::string_view path) const {
  found f;
  std::size_t best = 0;
  for (const auto& r : all_) {
    const std::size_t fits = fit(*r, path);
    f.is_path = f.is_path || fits > 0;
    if (r->method != method || fits <= best) continue;
    best = fits;
    f.serves = r;
  }
  return f;
}

std::string resources::allowed(std::string_view path) const {
  std::string list;
  for (const auto method : methods) {
    if (!find(method, path).serves) continue;
    list += std::string{method} + ", ";
    if (method == "GET") list += "HEAD, ";
  }
  return list.empty() ? list : list + "OPTIONS";
}

}  // namespace qkd004::net::http
