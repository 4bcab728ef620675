// A TCP proxy on a thread of its own: connections through it can be cut, at any octet, and led to another target.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/address.hpp"

namespace test {

class proxy {
 public:
  proxy()
      : acceptor_{context_, {asio::ip::address_v4::loopback(), 0}},
        address_{qkd004::net::to_uri(acceptor_.local_endpoint())} {
    accept();
    thread_ = std::thread{[this] { context_.run(); }};
  }
  ~proxy() {
    in_thread([this] {
      acceptor_.close();
      cut_all();
    });
    thread_.join();
  }
  proxy(const proxy&) = delete;
  proxy& operator=(const proxy&) = delete;

  const std::string& address() const { return address_; }
  /// Where new connections lead; with an empty one they are closed at once.
  void lead_to(const std::string& target) {
    in_thread([&] { target_ = target; });
  }
  void cut() {
    in_thread([this] { cut_all(); });
  }
  enum class way : std::size_t { to_target, from_target };
  /// Cuts once, when that many octets more went that way and another one comes.
  void cut_after(way which, std::size_t count) {
    in_thread([&] { left_ = {which, count}; });
  }
  /// Whatever comes from the target from now on goes on twice, at once.
  void repeat_answers() {
    in_thread([&] { repeats_ = true; });
  }
  /// Whether that has happened.
  bool has_cut() {
    bool done = false;
    in_thread([&] { done = !left_; });
    return done;
  }
  void stop_counting() {
    in_thread([&] { left_.reset(); });
  }

 private:
  using tcp = asio::ip::tcp;
  struct pair {
    pair(asio::io_context& context, tcp::socket s) : ends{std::move(s), tcp::socket{context}} {}
    std::array<tcp::socket, 2> ends;
    std::array<std::array<char, 4096>, 2> octets{};
    void close() {
      std::error_code ignored;
      for (auto& end : ends) end.close(ignored);
    }
  };

  template <class Body>
  void in_thread(Body body) {
    std::promise<void> done;
    asio::post(context_, [&] {
      body();
      done.set_value();
    });
    done.get_future().get();
  }

  void accept() {
    acceptor_.async_accept([this](const std::error_code& error, tcp::socket socket) {
      if (error) return;
      auto p = std::make_shared<pair>(context_, std::move(socket));
      std::error_code failed;
      if (target_.empty()) {
        failed = std::make_error_code(std::errc::connection_refused);
      } else {
        const auto target =
            qkd004::net::resolve(*qkd004::net::parse_address(target_), qkd004::net::reach::loopback);
        p->ends[1].connect(target->front(), failed);
      }
      if (!failed) {
        for (auto& end : p->ends) end.set_option(tcp::no_delay{true}, failed);
        pairs_.push_back(p);
        pump(p, 0);
        pump(p, 1);
      }
      accept();
    });
  }

  void pump(const std::shared_ptr<pair>& p, std::size_t from) {
    p->ends[from].async_read_some(
        asio::buffer(p->octets[from]), [this, p, from](const std::error_code& e, std::size_t n) {
          if (e) return p->close();
          bool last = false;
          if (left_ && static_cast<std::size_t>(left_->which) == from) {
            last = n > left_->count;
            n = std::min(n, left_->count);
            left_->count -= n;
          }
          const std::array<asio::const_buffer, 2> what{
              asio::buffer(p->octets[from].data(), n),
              asio::buffer(p->octets[from].data(), repeats_ && from == 1 ? n : 0)};
          asio::async_write(p->ends[1 - from], what,
                            [this, p, from, last](const std::error_code& failed, std::size_t) {
                              if (last) {
                                left_.reset();
                                return cut_all();
                              }
                              if (failed) return p->close();
                              pump(p, from);
                            });
        });
  }

  void cut_all() {
    for (const auto& p : pairs_) {
      if (const auto alive = p.lock()) alive->close();
    }
    pairs_.clear();
  }

  struct countdown {
    way which;
    std::size_t count;
  };

  asio::io_context context_;
  std::optional<countdown> left_;
  bool repeats_ = false;
  tcp::acceptor acceptor_;
  std::string address_;
  std::string target_;
  std::vector<std::weak_ptr<pair>> pairs_;
  std::thread thread_;
};

}  // namespace test
