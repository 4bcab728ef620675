// SPDX-License-Identifier: Apache-2.0
#include "net/http/resources.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "net/http/openapi.hpp"
#include "net/http/syntax.hpp"

namespace qkd004::net::http {

namespace {

constexpr std::array<std::string_view, 5> methods = {"GET", "POST", "PUT", "DELETE", "PATCH"};

bool is_path(std::string_view path) noexcept {
  return path.starts_with('/') && path.find('*') >= path.size() - 1 && may_stand_in_head(path) &&
         path.find_first_of("?# ") == std::string_view::npos && path.size() <= syntax_limits::target;
}

/// The site's own.
constexpr std::string_view own_root = "/qkd004/";
constexpr std::string_view openapi_path = "/openapi.json";

bool is_own(std::string_view path) noexcept { return path.starts_with(own_root) || path == openapi_path; }

}  // namespace

resources::resources() {
  const auto own = [this](std::string method, std::string path, call_004 call) {
    resource r;
    r.method = std::move(method);
    r.path = "/qkd004/v2/" + std::move(path);
    all_.push_back(std::make_unique<entry>(entry{std::move(r), call}));
  };
  own("POST", "get_key", call_004::get_key);
  own("POST", "open_connect", call_004::open_connect);
  own("POST", "close", call_004::close);
  own("POST", "wait_peer", call_004::wait_peer);
  own("POST", "acknowledge", call_004::acknowledge);
  own("GET", "streams", call_004::streams);
  own("GET", "capabilities", call_004::capabilities);
  resource description{"GET", std::string{openapi_path}, [](const request&, answer a) {
                         a.send({200, "application/json", std::string{openapi_json()}});
                       }};
  all_.push_back(std::make_unique<entry>(entry{std::move(description), call_004::none}));
}

result<void> resources::add(resource what) {
  if (std::find(methods.begin(), methods.end(), what.method) == methods.end() || !is_path(what.path) ||
      is_own(what.path) || !what.serve) {
    return status::invalid_argument;
  }
  const auto same = std::find_if(all_.begin(), all_.end(), [&](const auto& e) {
    return e->what.method == what.method && e->what.path == what.path;
  });
  auto made = std::make_unique<entry>(entry{std::move(what), call_004::none});
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
  for (const auto& e : all_) {
    const std::size_t fits = fit(e->what, path);
    f.is_path = f.is_path || fits > 0;
    if (fits <= best || e->what.method != method) continue;
    best = fits;
    f.serves = e.get();
  }
  return f;
}

std::string resources::allowed(std::string_view path) const {
  std::string list;
  for (const auto method : methods) {
    if (find(method, path).serves == nullptr) continue;
    list += std::string{method} + ", ";
    if (method == "GET") list += "HEAD, ";
  }
  return list.empty() ? list : list + "OPTIONS";
}

}  // namespace qkd004::net::http
