// SPDX-License-Identifier: Apache-2.0
#include "net/transport.hpp"

#include <asio/buffer.hpp>
#include <asio/error.hpp>

#include <algorithm>
#include <utility>

#include "net/address.hpp"
#include "net/socket_options.hpp"

namespace qkd004::net {

namespace {

using asio::ip::tcp;

/// A batch of answers is sent when it has grown to this, so that large keys do not pile up.
constexpr std::size_t flush_octets = 64 * 1024;

/// Octets that peers' messages may pile up to: every stream is announced at once when a link comes up.
constexpr std::size_t max_backlog = std::size_t{64} << 20;

}  // namespace

transport::transport(std::shared_ptr<turns> site, tcp::socket socket)
    : site_{std::move(site)}, socket_{std::move(socket)} {
  std::error_code error;
  socket_.non_blocking(true, error);
  set_options(socket_.native_handle(), application_liveness);
  if (const auto endpoint = socket_.remote_endpoint(error); !error) remote_ = to_uri(endpoint);
}

void transport::open(time_point deadline) {
  site_->add(shared_from_this());
  read_deadline_ = deadline;
  site_->watch(deadline);
  arm_read();
}

wire::out_buffer& transport::out() {
  if (!out_) out_ = site_->lend();
  site_->unsettle(*this);
  return *out_;
}

void transport::fail(std::string why) {
  if (failed_ || step_ == step::closed) return;
  failed_ = true;
  if (step_ == step::open) why_ = std::move(why);
  site_->unsettle(*this);
}

void transport::finish(std::string why) {
  if (step_ != step::open) return;
  step_ = step::finishing;
  why_ = std::move(why);
  site_->unsettle(*this);
}

void transport::arm_read() {
  if (reading_ || step_ == step::closed) return;
  reading_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const std::error_code& error) {
    self->site_->run([&] {
      self->reading_ = false;
      if (!error) self->on_readable();
    });
  });
}

void transport::arm_write() {
  if (writing_ || step_ == step::closed) return;
  writing_ = true;
  socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const std::error_code& error) {
    self->site_->run([&] {
      self->writing_ = false;
      if (!error) self->site_->unsettle(*self);
    });
  });
}

void transport::on_readable() {
  if (step_ == step::closed) return;
  std::error_code error;
  auto& scratch = site_->scratch_;
  const std::size_t count = socket_.read_some(asio::buffer(scratch.data(), scratch.size()), error);
  if (error == asio::error::would_block || error == asio::error::try_again) return arm_read();
  if (error) {
    if (step_ != step::open) return close();
    return fail(error == asio::error::eof ? "closed by the other end" : error.message());
  }
  if (step_ == step::open) {
    if (silent_) {
      silent_ = false;
      read_deadline_ = time_point::max();
    }
    take({scratch.data(), count});
  }
  site_->unsettle(*this);
}

void transport::take(std::span<const std::byte> input) {
  if (held_.empty()) {
    const std::size_t used = parse(input);
    held_.assign(input.begin() + static_cast<std::ptrdiff_t>(used), input.end());
  } else {
    held_.insert(held_.end(), input.begin(), input.end());
    const std::size_t used = parse(held_);
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(used));
  }
  if (held_.empty()) {
    // nothing is kept for a connection that is idle
    if (held_.capacity() != 0) std::vector<std::byte>{}.swap(held_);
    read_deadline_ = time_point::max();
  }
}

/// Hands over complete frames while there is room. Returns how many octets they had.
std::size_t transport::parse(std::span<const std::byte> input) {
  std::size_t used = 0;
  while (step_ == step::open && !failed_ && may_read()) {
    const auto frame = wire::read_frame(input.subspan(used), site_->bounds());
    if (frame.state == wire::frame_state::incomplete) {
      if (used < input.size() && read_deadline_ == time_point::max()) {
        read_deadline_ = site_->now() + site_->wait().frame;
        site_->watch(read_deadline_);
      }
      break;
    }
    if (frame.state != wire::frame_state::complete) {
      on_bad_frame(frame.state, frame.header);
      break;
    }
    used += frame.size;
    read_deadline_ = time_point::max();
    on_frame(frame.header, frame.payload);
  }
  // what comes behind the end of the conversation is not looked at
  return step_ == step::open && !failed_ ? used : input.size();
}

bool transport::may_read() const { return has_room() && unsent() < site_->most_unsent(); }

void transport::relieve() {
  if (failed_ || !out_ || out_->size() < flush_octets) return;
  flush();
  if (content_ == content::open_text) keep_open_text();
}

/// At the end of a turn: sends, goes on with what had to wait, reads again.
void transport::settle() {
  if (step_ == step::closed) return;
  if (!failed_) flush();
  if (failed_) return close();
  if (step_ == step::open) {
    if (!may_read()) return;  // back-pressure
    if (!held_.empty()) {
      take({});
      if (out_ || failed_ || step_ != step::open) site_->unsettle(*this);
    }
    if (step_ == step::open && !failed_ && may_read()) arm_read();
    return;
  }
  end(why_);
  if (step_ == step::finishing && unsent() == 0) {
    // A close with unread input would send a reset, and the other end might never see the last frame: so say that
    // this was all, and wait a little for the other end to close.
    std::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    step_ = step::lingering;
    read_deadline_ = site_->now() + site_->wait().linger;
    site_->watch(read_deadline_);
  }
  arm_read();
}

/// Sends what there is, if the socket takes it.
void transport::flush() {
  if (writing_ || unsent() == 0) return;
  const std::size_t before = unsent();
  std::error_code error;
  bool short_of = false;
  while (unsent() > 0 && !short_of && !error) {
    const bool old = backlog_sent_ < backlog_.size();
    const auto octets =
        old ? std::span<const std::byte>{backlog_}.subspan(backlog_sent_) : std::as_const(*out_).pending();
    const std::size_t count = socket_.write_some(asio::buffer(octets.data(), octets.size()), error);
    short_of = count < octets.size();
    if (!old) {
      out_->consume(count);
    } else if ((backlog_sent_ += count) == backlog_.size()) {
      std::vector<std::byte>{}.swap(backlog_);
      backlog_sent_ = 0;
    }
  }
  if (error && error != asio::error::would_block && error != asio::error::try_again) {
    return fail(error.message());
  }
  if (unsent() == 0) {
    write_deadline_ = time_point::max();
    site_->count_parked(parked_, 0);
    return site_->give_back(std::move(out_));
  }
  if (unsent() < before || write_deadline_ == time_point::max()) {
    write_deadline_ = site_->now() + site_->wait().unsent;
    site_->watch(write_deadline_);
  }
  arm_write();
  if (content_ == content::open_text) return keep_open_text();
  site_->count_parked(parked_, out_->capacity());
}

/// Moves what the socket did not take out of the memory for secrets.
void transport::keep_open_text() {
  if (!out_) return;
  const auto rest = std::as_const(*out_).pending();
  backlog_.insert(backlog_.end(), rest.begin(), rest.end());
  out_->clear();
  site_->give_back(std::move(out_));
  if (unsent() > max_backlog) fail("does not read what is sent to it");
}

void transport::end(const std::string& why) {
  if (std::exchange(ended_, true)) return;
  on_end(why);
}

void transport::close() {
  if (step_ == step::closed) return;
  end(why_);
  step_ = step::closed;
  std::error_code ignored;
  socket_.close(ignored);
  if (out_) {
    out_->clear();
    site_->give_back(std::move(out_));
  }
  site_->count_parked(parked_, 0);
  held_ = {};
  backlog_ = {};
  site_->remove(*this);
}

}  // namespace qkd004::net
