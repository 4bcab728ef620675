// SPDX-License-Identifier: Apache-2.0
#include "net/transport.hpp"

#include <algorithm>
#include <utility>

#include "net/socket_options.hpp"

namespace qkd004::net {

namespace {

/// A batch of answers is sent when it has grown to this, so that large keys do not pile up.
constexpr std::size_t flush_octets = 64 * 1024;

/// Octets that peers' messages may pile up to: every stream is announced at once when a link comes up.
constexpr std::size_t max_backlog = std::size_t{64} << 20;

}  // namespace

transport::transport(std::shared_ptr<turns> site, channel c)
    : site_{std::move(site)}, channel_{std::move(c)}, remote_{channel_.remote()} {
  if (channel_.kind() != scheme::unix_socket) set_options(descriptor(), application_liveness);
}

transport::~transport() = default;

void transport::open() {
  site_->add(shared_from_this());
  step_ = channel_.is_tls() ? step::securing : step::open;
  read_deadline_ = site_->now() + (channel_.is_tls() ? site_->wait().handshake : site_->wait().silence);
  site_->watch(read_deadline_);
  interest_ = readiness::input;
  if (const auto error = site_->ready_.add(descriptor(), this, interest_)) return fail(error.message());
  if (step_ == step::securing) return secure();
  on_open();
}

/// The next step of the handshake.
void transport::secure() {
  site_->unsettle(*this);
  const io_state state = channel_.handshake();
  blocked_ = state == io_state::want_write;
  if (state == io_state::failed) {
    const std::string why = channel_.failure().words;
    on_refused(why);
    return finish(why);  // and not fail(): so that TLS's own word for it arrives
  }
  if (state != io_state::progress) return;
  step_ = step::open;
  read_deadline_ = site_->now() + site_->wait().silence;
  site_->watch(read_deadline_);
  on_open();
  if (channel_.has_more()) on_readable();
}

wire::out_buffer& transport::out() {
  if (!out_) out_ = site_->lend();
  site_->unsettle(*this);
  return *out_;
}

void transport::fail(std::string why) {
  if (failed_ || step_ == step::closed) return;
  failed_ = true;
  if (step_ <= step::open) why_ = std::move(why);
  site_->unsettle(*this);
}

void transport::finish(std::string why) {
  if (step_ != step::open && step_ != step::securing) return;
  step_ = step::finishing;
  why_ = std::move(why);
  site_->unsettle(*this);
}

void transport::on_ready(std::uint32_t events) {
  if (step_ == step::closed) return;
  if ((events & readiness::output) != 0) blocked_ = false;
  channel_.readable();
  if (step_ == step::securing) return secure();
  if ((interest_ & readiness::input) != 0) return on_readable();
  if ((events & readiness::broken) != 0) fail("the connection broke");
  site_->unsettle(*this);
}

/// What the next events are asked for: input unless there is no room for it, output while there is too much.
void transport::show_interest() {
  if (step_ == step::closed) return;
  std::uint32_t wanted = blocked_ ? readiness::output : 0;
  if (!half_closed_ && (step_ != step::open || may_read())) wanted |= readiness::input;
  if (wanted == interest_) return;
  interest_ = wanted;
  site_->ready_.change(descriptor(), this, interest_);
}

void transport::on_readable() {
  auto& scratch = site_->scratch_;
  site_->unsettle(*this);
  if (step_ != step::open) {
    const auto dropped = channel_.discard(scratch);
    if (wipes_input_) wipe(scratch.data(), dropped.count);
    if (dropped.state == io_state::closed || dropped.state == io_state::failed) fail({});
    return;
  }
  const auto got = channel_.read(scratch);
  if (got.count == 0) {
    if (got.state == io_state::want_write) blocked_ = true;  // TLS has to say something first
    if (got.state != io_state::closed && got.state != io_state::failed) return;
    flush();  // answers to what came in the same turn
    if (got.state == io_state::closed && !failed_ && unsent() > 0) {
      half_closed_ = true;
      return finish("closed by the other end");
    }
    return fail(got.state == io_state::closed ? "closed by the other end" : channel_.failure().words);
  }
  if (silent_) {
    silent_ = false;
    read_deadline_ = time_point::max();
  }
  take({scratch.data(), got.count});
  if (wipes_input_) wipe(scratch.data(), got.count);
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
    if (held_.capacity() != 0) wiped_octets{}.swap(held_);
    read_deadline_ = rests_until();
    site_->watch(read_deadline_);
  }
}

/// Hands over what came while there is room. Returns how many octets were used.
std::size_t transport::parse(std::span<const std::byte> input) {
  std::size_t used = 0;
  while (step_ == step::open && !failed_ && used < input.size() && may_read()) {
    const std::size_t size = on_input(input.subspan(used));
    if (size == 0) break;
    used += size;
    read_deadline_ = time_point::max();
  }
  // what comes behind the end of the conversation is not looked at
  return step_ == step::open && !failed_ ? used : input.size();
}

void transport::on_late() { drop(silent_ ? "has not said anything" : "has not completed its frame"); }

void transport::drop(const std::string& why) {
  site_->on_drop(*this, why);
  fail(why);
}

/// What peers say is always read: two that waited for each other to read first would wait for ever.
bool transport::may_read() const {
  return has_room() && (content_ == content::open_text || unsent() < site_->most_unsent());
}

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
  if (step_ == step::securing) return show_interest();
  if (step_ == step::open) {
    if (!held_.empty() && may_read()) {
      const std::size_t before = held_.size();
      take({});
      // half a frame is no reason: while the socket takes nothing, the turn would not end
      if (held_.size() < before && (out_ || failed_ || step_ != step::open)) site_->unsettle(*this);
    }
    if (step_ == step::open && !failed_ && channel_.has_more() && may_read()) on_readable();
    return show_interest();
  }
  end(why_);
  if (step_ == step::finishing && unsent() == 0) {
    if (half_closed_) return close();
    // A close with unread input would send a reset, and the other end might never see the last frame: so say that
    // this was all, and wait a little for the other end to close.
    channel_.end_output();
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
    const auto [state, count] = channel_.write(octets);
    if (state == io_state::failed) return fail(channel_.failure().words);
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
  if (site_->arena().forked()) {
    channel_.abandon();  // the connection is the parent's, and so is the set
  } else {
    site_->ready_.remove(descriptor());
    channel_.close();
  }
  if (out_) {
    out_->clear();
    site_->give_back(std::move(out_));
  }
  site_->count_parked(parked_, 0);
  site_->count_parked(early_, 0);
  held_ = {};
  backlog_ = {};
  site_->remove(*this);
}

}  // namespace qkd004::net
