// push_sites: two linked sites as QKD devices in this process, and requests to them by hand.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "net/http/client.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/net/site.hpp"
#include "qkd004/push/device.hpp"
#include "qkd004/push/receiver.hpp"

namespace testing {

using namespace qkd004;  // NOLINT: tests only
namespace http = net::http;

inline constexpr std::chrono::seconds patience{20};

/// A site on a thread of its own, with whatever stands on it.
struct running_site {
  explicit running_site(net::site_options o) : work{context.get_executor()}, site{context, std::move(o)} {}
  ~running_site() { stop(); }
  running_site(const running_site&) = delete;
  running_site& operator=(const running_site&) = delete;

  /// Whoever derives from it and has what the thread uses does so before that goes.
  void stop() {
    if (!thread.joinable()) return;
    asio::post(context, [this] {
      if (receiver) receiver->stop();
      if (device) device->stop();
      site.stop();
    });
    work.reset();
    thread.join();
  }

  void start() {
    std::string why;
    const auto started = site.start(&why);
    REQUIRE_MESSAGE(started, why);
    thread = std::thread{[this] { context.run(); }};
  }
  [[nodiscard]] std::string address(const std::string& scheme) const {
    for (const auto& uri : site.addresses()) {
      if (uri.starts_with(scheme + ":")) return uri;
    }
    return {};
  }

  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  net::site site;
  std::optional<push::device> device;
  std::optional<push::receiver> receiver;
  std::thread thread;
};

inline net::site_options site_options_of(const std::string& node) {
  net::site_options o;
  o.manager.node = node;
  o.listen = {"qkd004://127.0.0.1:0", "http://127.0.0.1:0"};
  o.memory = {std::size_t{16} << 20, true};
  return o;
}

/// Requests, one at a time.
struct asker {
  asker() : work{context.get_executor()}, thread{[this] { context.run(); }} {}
  ~asker() {
    clients.clear();
    work.reset();
    thread.join();
  }
  http::client_response ask(const std::string& at, std::string method, std::string path, std::string text) {
    auto& c = clients[at];
    if (!c) {
      http::client_options o;
      o.uri = at;
      c = http::client::make(context, arena, std::move(o)).value();
    }
    http::client_request r;
    r.method = std::move(method);
    r.path = std::move(path);
    r.text = std::move(text);
    auto said = std::make_shared<std::promise<http::client_response>>();
    auto future = said->get_future();
    c->send(std::move(r), [said](http::client_response a) { said->set_value(std::move(a)); });
    REQUIRE(future.wait_for(patience) == std::future_status::ready);
    auto answer = future.get();
    REQUIRE_MESSAGE(!answer.error, answer.error.message());
    return answer;
  }

  secret_arena arena{{std::size_t{1} << 20, true}};
  asio::io_context context;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  std::map<std::string, std::unique_ptr<http::client>> clients;
  std::thread thread;
};

/// Two devices whose key is made in this process.
struct two_devices {
  explicit two_devices(push::device_options o = {}) {
    o.memory.allow_unlocked = true;
    auto ends = make_memory_sources({});
    const auto up = [this](net::log_level, std::string_view line) {
      if (line.find("a peer is up") == std::string_view::npos) return;
      const std::lock_guard lock{mutex};
      sites_up += 1;
      came_up.notify_all();
    };
    auto b = site_options_of("dev-b");
    b.log = up;
    b.peers.push_back({{"link", "dev-a", {}}, "", std::move(ends.second), ""});
    sites[1] = std::make_unique<running_site>(std::move(b));
    sites[1]->device.emplace(sites[1]->context, sites[1]->site, o);
    REQUIRE(sites[1]->device->start());
    sites[1]->start();
    auto a = site_options_of("dev-a");
    a.log = up;
    a.peers.push_back({{"link", "dev-b", {}}, sites[1]->address("qkd004"), std::move(ends.first), ""});
    sites[0] = std::make_unique<running_site>(std::move(a));
    sites[0]->device.emplace(sites[0]->context, sites[0]->site, o);
    REQUIRE(sites[0]->device->start());
    sites[0]->start();
    std::unique_lock lock{mutex};
    REQUIRE(came_up.wait_for(lock, patience, [this] { return sites_up == 2; }));
  }
  [[nodiscard]] std::string at(std::size_t n) const { return sites[n]->address("http"); }

  std::mutex mutex;
  std::condition_variable came_up;
  int sites_up = 0;
  std::array<std::unique_ptr<running_site>, 2> sites;
};

}  // namespace testing
