// SPDX-License-Identifier: Apache-2.0
#include "net/transport.hpp"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
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

transport::transport(std::shared_ptr<turns> site, tcp::socket socket) : site_{std::move(site)} {
  std::error_code error;
  if (const auto endpoint = socket.remote_endpoint(error); !error) remote_ = to_uri(endpoint);
  descriptor_ = socket.release();  // from here on it is read and written by hand, and watched in batches
  set_options(descriptor_, application_liveness);
}

transport::~transport() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void transport::open(time_point deadline) {
  site_->add(shared_from_this());
  read_deadline_ = deadline;
  site_->watch(deadline);
  interest_ = readiness::input;
  if (const auto error = site_->ready_.add(descriptor_, this, interest_)) fail(error.message());
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

void transport::on_ready(std::uint32_t events) {
  if (step_ == step::closed) return;
  if ((events & readiness::output) != 0) blocked_ = false;
  if ((interest_ & readiness::input) != 0) return on_readable();
  if ((events & readiness::broken) != 0) fail("the connection broke");
  site_->unsettle(*this);
}

/// What the next events are asked for: input unless there is no room for it, output while there is too much.
void transport::show_interest() {
  if (step_ == step::closed) return;
  std::uint32_t wanted = blocked_ ? readiness::output : 0;
  if (step_ != step::open || may_read()) wanted |= readiness::input;
  if (wanted == interest_) return;
  interest_ = wanted;
  site_->ready_.change(descriptor_, this, interest_);
}

void transport::on_readable() {
  auto& scratch = site_->scratch_;
  const ssize_t got = ::recv(descriptor_, scratch.data(), scratch.size(), MSG_DONTWAIT);
  site_->unsettle(*this);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return fail(got == 0 ? "closed by the other end" : std::system_category().message(errno));
  const auto count = static_cast<std::size_t>(got);
  if (step_ == step::open) {
    if (silent_) {
      silent_ = false;
      read_deadline_ = time_point::max();
    }
    take({scratch.data(), count});
  }
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
    if (!held_.empty() && may_read()) {
      take({});
      if (out_ || failed_ || step_ != step::open) site_->unsettle(*this);
    }
    return show_interest();
  }
  end(why_);
  if (step_ == step::finishing && unsent() == 0) {
    // A close with unread input would send a reset, and the other end might never see the last frame: so say that
    // this was all, and wait a little for the other end to close.
    ::shutdown(descriptor_, SHUT_WR);
    step_ = step::lingering;
    read_deadline_ = site_->now() + site_->wait().linger;
    site_->watch(read_deadline_);
  }
  show_interest();
}

/// Sends what there is, if the socket takes it.
void transport::flush() {
  if (blocked_ || unsent() == 0) return;
  const std::size_t before = unsent();
  while (unsent() > 0 && !blocked_) {
    const bool old = backlog_sent_ < backlog_.size();
    const auto octets =
        old ? std::span<const std::byte>{backlog_}.subspan(backlog_sent_) : std::as_const(*out_).pending();
    const ssize_t taken = ::send(descriptor_, octets.data(), octets.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0 && errno == EINTR) continue;
    if (taken < 0 && errno != EAGAIN) return fail(std::system_category().message(errno));
    const auto count = taken < 0 ? std::size_t{0} : static_cast<std::size_t>(taken);
    blocked_ = count < octets.size();
    if (!old) {
      out_->consume(count);
    } else if ((backlog_sent_ += count) == backlog_.size()) {
      std::vector<std::byte>{}.swap(backlog_);
      backlog_sent_ = 0;
    }
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
  ::close(std::exchange(descriptor_, -1));
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
