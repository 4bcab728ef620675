// SPDX-License-Identifier: Apache-2.0
#include "net/turn.hpp"

#include <algorithm>
#include <utility>

#include "net/transport.hpp"

namespace qkd004::net {

namespace {

/// What one read brings at most: 2,048 GET_KEY requests.
constexpr std::size_t read_octets = 64 * 1024;

/// Buffers that wait for the next batch, and how large such a buffer may have become.
constexpr std::size_t max_spare = 4;
constexpr std::size_t max_spare_octets = 256 * 1024;

}  // namespace

// Answers that nobody reads may hold a quarter of the arena, and one connection's a sixteenth: most of it is for the
// streams' rings.
turns::turns(asio::io_context& context, secret_arena arena, const limits& bounds, site_timeouts wait)
    : context_{context},
      arena_{std::move(arena)},
      bounds_{bounds},
      wait_{wait},
      most_unsent_{std::min(bounds.max_unsent, arena_.limit() / 16)},
      most_parked_{arena_.limit() / 4},
      ready_{context},
      scratch_(read_octets),
      sweeper_{context} {}

turns::~turns() = default;

thread_local const turns* turns::current_ = nullptr;

void turns::end_of_turn() {
  do {
    settle_all();
    on_settled();
  } while (!unsettled_.empty());
  on_turn_end();
  gone_.clear();
}

void turns::settle_all() {
  for (std::size_t i = 0; i < unsettled_.size(); ++i) {  // settling may leave more unsettled
    unsettled_[i]->unsettled_ = false;
    unsettled_[i]->settle();
  }
  unsettled_.clear();
}

void turns::add(std::shared_ptr<transport> t) {
  transport* const key = t.get();
  transports_.emplace(key, std::move(t));
  await_ready();
}

void turns::on_ready() {
  for (const epoll_event& event : ready_.take()) {
    // one that was closed a moment ago is still there: until the turn ends
    static_cast<transport*>(event.data.ptr)->on_ready(event.events);
    settle_all();  // an answer does not wait for the other connections of the batch
  }
}

/// One wait for all connections, as long as there is one.
void turns::await_ready() {
  if (awaiting_ || transports_.empty()) return;
  awaiting_ = true;
  ready_.async_wait([self = shared_from_this()](const std::error_code& error) {
    self->run([&] {
      self->awaiting_ = false;
      if (!error) self->on_ready();
      self->await_ready();
    });
  });
}

void turns::remove(transport& t) {
  const auto it = transports_.find(&t);
  if (it == transports_.end()) return;
  gone_.push_back(std::move(it->second));
  transports_.erase(it);
  if (transports_.empty()) ready_.cancel();
  on_transport_gone();
}

void turns::unsettle(transport& t) {
  if (std::exchange(t.unsettled_, true)) return;
  unsettled_.push_back(&t);
}

void turns::fail_all(const std::string& why) {
  for (const auto& [t, owner] : transports_) t->fail(why);
  sweeper_.cancel();
}

std::unique_ptr<wire::out_buffer> turns::lend() {
  if (spare_.empty()) {
    return std::make_unique<wire::out_buffer>(arena_, arena_.limit());
  }
  auto buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

void turns::give_back(std::unique_ptr<wire::out_buffer> buffer) {
  if (!buffer || spare_.size() == max_spare || buffer->capacity() > max_spare_octets) return;
  spare_.push_back(std::move(buffer));
}

/// A connection keeps answers that its socket does not take. Together they have a bound, and over it the connection
/// that keeps most has to go: so nobody's unread answers are another one's loss.
void turns::count_parked(std::size_t& of_one, std::size_t octets) {
  parked_ += octets - of_one;
  of_one = octets;
  if (parked_ <= most_parked_) return;
  transport* largest = nullptr;
  for (const auto& [t, owner] : transports_) {
    if (!t->failed_ && (largest == nullptr || t->parked_ + t->early_ > largest->parked_ + largest->early_)) {
      largest = t;
    }
  }
  if (largest == nullptr || largest->parked_ + largest->early_ == 0) return;
  // what it holds goes when the turn ends: it counts no more, or whoever parks something until then would have the
  // next one dropped for it
  parked_ -= std::exchange(largest->parked_, 0) + std::exchange(largest->early_, 0);
  on_drop(*largest, "leaves too many answers unread");
  largest->fail("leaves too many answers unread");
}

void turns::watch(time_point deadline) {
  if (sweeping_ || deadline == time_point::max()) return;
  sweeping_ = true;
  // coarse on purpose: one timer for all connections, which runs only while one of them has a deadline
  const auto shortest = std::min({wait_.silence, wait_.frame, wait_.unsent, wait_.linger, wait_.handshake,
                                  wait_.http_head, wait_.http_body, wait_.http_idle});
  sweeper_.expires_after(
      std::clamp(shortest / 4, std::chrono::milliseconds{5}, std::chrono::milliseconds{1'000}));
  sweeper_.async_wait([self = shared_from_this()](const std::error_code& error) {
    self->run([&] {
      self->sweeping_ = false;
      if (!error) self->sweep();
    });
  });
}

void turns::sweep() {
  time_point next = time_point::max();
  for (const auto& [t, owner] : transports_) {
    if (t->step_ == transport::step::closed || t->failed_) continue;
    if (t->write_deadline_ <= now_ || t->read_deadline_ <= now_) {
      if (t->step_ == transport::step::securing) {
        t->drop("has not finished its handshake");
      } else if (t->step_ == transport::step::open && t->write_deadline_ <= now_) {
        t->drop("does not read its answers");
      } else if (t->step_ == transport::step::open) {
        t->read_deadline_ = time_point::max();
        t->on_late();
      } else {
        t->fail({});
      }
      continue;
    }
    next = std::min({next, t->write_deadline_, t->read_deadline_});
  }
  watch(next);
}

}  // namespace qkd004::net
