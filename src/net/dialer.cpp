// SPDX-License-Identifier: Apache-2.0
#include "net/dialer.hpp"

#include <asio/ip/address.hpp>

#include <algorithm>
#include <utility>

#include "qkd004/random.hpp"

namespace qkd004::net {

using asio::ip::tcp;

dialer::dialer(std::shared_ptr<turns> site, options o)
    : site_{std::move(site)},
      options_{std::move(o)},
      timer_{site_->context()},
      resolver_{site_->context()},
      socket_{site_->context()} {
  unsigned seed = 0;
  system_random(std::as_writable_bytes(std::span{&seed, 1}));
  jitter_.seed(seed);
}

void dialer::dial() {
  if (stopped_) return;
  const std::size_t attempt = ++attempt_;
  timer_.expires_after(options_.timeout);
  timer_.async_wait([self = shared_from_this(), attempt](const std::error_code& error) {
    self->site_->run([&] {
      if (!error && attempt == self->attempt_) self->give_up("no connection in time");
    });
  });
  look_up();
}

void dialer::dial_later() {
  if (stopped_) return;
  const std::size_t attempt = ++attempt_;
  std::uniform_int_distribution<std::chrono::milliseconds::rep> part{delay_.count() / 2, delay_.count()};
  timer_.expires_after(std::chrono::milliseconds{part(jitter_)});
  delay_ = std::min(2 * delay_, last_delay);
  timer_.async_wait([self = shared_from_this(), attempt](const std::error_code& error) {
    self->site_->run([&] {
      if (!error && attempt == self->attempt_) self->dial();
    });
  });
}

void dialer::stop() {
  stopped_ = true;
  ++attempt_;
  timer_.cancel();
  resolver_.cancel();
  std::error_code ignored;
  socket_.close(ignored);
}

void dialer::look_up() {
  endpoints_.clear();
  next_ = 0;
  if (options_.address.kind == scheme::unix_socket) {
    endpoints_ = *endpoints_of(options_.address, options_.allowed);
    return try_next();
  }
  std::error_code error;
  if (const auto number = asio::ip::make_address(options_.address.host, error); !error) {
    if (add({number, options_.address.port})) try_next();
    return;
  }
  resolver_.async_resolve(options_.address.host, std::to_string(options_.address.port),
                          asio::ip::resolver_base::numeric_service,
                          [self = shared_from_this(), attempt = attempt_](
                              const std::error_code& e, const tcp::resolver::results_type& found) {
                            self->site_->run([&] {
                              if (attempt != self->attempt_) return;
                              if (e) return self->give_up(e.message());
                              for (const auto& entry : found) {
                                if (!self->add(entry.endpoint())) return;
                              }
                              self->try_next();
                            });
                          });
}

/// Whether that is a place where it may go; else it has given up.
bool dialer::add(const tcp::endpoint& where) {
  endpoints_.emplace_back(where);
  if (options_.allowed == reach::anywhere || options_.address.kind == scheme::tls ||
      where.address().is_loopback()) {
    return true;
  }
  give_up("plain TCP off loopback needs allow_insecure");
  return false;
}

void dialer::try_next() {
  if (next_ == endpoints_.size()) return give_up("nobody listens there");
  socket_ = stream_protocol::socket{site_->context()};
  socket_.async_connect(endpoints_[next_++],
                        [self = shared_from_this(), attempt = attempt_](const std::error_code& error) {
                          self->site_->run([&] {
                            if (attempt != self->attempt_) return;
                            if (error && self->next_ < self->endpoints_.size()) return self->try_next();
                            if (error) return self->give_up(error.message());
                            ++self->attempt_;
                            self->timer_.cancel();
                            // from here on it is read and written by hand, and watched in batches
                            self->options_.connected({self->socket_.release(), self->options_.address.kind});
                          });
                        });
}

void dialer::give_up(const std::string& why) {
  ++attempt_;
  resolver_.cancel();
  std::error_code ignored;
  socket_.close(ignored);
  options_.failed(why);
  dial_later();
}

}  // namespace qkd004::net
