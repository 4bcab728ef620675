// SPDX-License-Identifier: Apache-2.0
#include "net/client_socket.hpp"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/socket_options.hpp"
#include "qkd004/status.hpp"

namespace qkd004::net {

namespace {

/// Octets of requests that may wait for the server to read them.
constexpr std::size_t most_unsent = std::size_t{1} << 20;

constexpr std::size_t first_input = 4 * 1024;
/// The input grows to this for batches of answers; beyond it for one answer only.
constexpr std::size_t batch_input = 64 * 1024;

std::error_code last_error() { return {errno, std::system_category()}; }

}  // namespace

/// Answers point into the input: it stays while they are looked at, also if the connection ends by that.
class client_socket::using_input {
 public:
  explicit using_input(client_socket& s) noexcept : of_{s} { of_.is_input_used_ = true; }
  ~using_input() {
    of_.is_input_used_ = false;
    if (of_.is_over()) of_.release_input();
  }
  using_input(const using_input&) = delete;
  using_input& operator=(const using_input&) = delete;

 private:
  client_socket& of_;
};

client_socket::client_socket(secret_arena arena, target to)
    : arena_{std::move(arena)}, target_{std::move(to)}, out_{arena_, most_unsent} {}

client_socket::~client_socket() {
  if (arena_.forked()) channel_.abandon();
}

void client_socket::begin() { connect_next(std::make_error_code(std::errc::host_unreachable)); }

/// Tries the endpoints one after another.
void client_socket::connect_next(std::error_code last) {
  for (; next_endpoint_ < target_.endpoints.size(); last = last_error()) {
    const auto& where = target_.endpoints[next_endpoint_++];
    const int family = where.protocol().family();
    const int descriptor = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    channel_ = {descriptor, target_.kind, target_.spoken};
    if (descriptor < 0) continue;
    if (target_.kind != scheme::unix_socket) set_options(descriptor, application_liveness);
    if (::connect(descriptor, where.data(), static_cast<socklen_t>(where.size())) == 0) {
      return on_connected();
    }
    if (errno == EINPROGRESS) return;
  }
  end(last);
}

void client_socket::on_connected() {
  if (target_.kind != scheme::tls) {
    step_ = step::connected;
    return flush();
  }
  if (const auto made = channel_.dial(*target_.tls, target_.expected); !made) return end(made.error());
  step_ = step::securing;
  secure();
}

/// The next step of the handshake.
void client_socket::secure() {
  const io_state state = channel_.handshake();
  if (state == io_state::failed) return fail();
  wants_output_ = state == io_state::want_write;
  if (state != io_state::progress) return;
  step_ = step::connected;
  flush();
  if (step_ == step::connected && channel_.has_more()) on_readable();
}

/// The channel has failed: with its error and its words.
void client_socket::fail() {
  const io_failure failure = channel_.failure();
  words_ = failure.words;
  end(failure.error);
}

void client_socket::flush() {
  while (step_ == step::connected && !out_.empty()) {
    const auto octets = std::as_const(out_).pending();
    const auto [state, count] = channel_.write(octets);
    out_.consume(count);
    if (state == io_state::failed) return fail();
    if (count < octets.size()) return;  // the rest goes when wants() comes true
  }
}

void client_socket::end(std::error_code why) {
  if (is_over()) return;
  step_ = step::over;
  error_ = why;
  // not closed yet: somebody may be polling it, and is woken by this
  if (!arena_.forked()) channel_.end();
  out_.release();
  if (!is_input_used_) release_input();
  on_ended();
}

time_point client_socket::expire_connecting(time_point now) {
  if (step_ != step::connecting && step_ != step::securing) return time_point::max();
  if (now < target_.deadline) return target_.deadline;
  end(std::make_error_code(std::errc::timed_out));
  return time_point::max();
}

pollfd client_socket::wants() const noexcept {
  short events = POLLIN;
  if (step_ == step::connecting) {
    events = POLLOUT;
  } else if (step_ == step::securing) {
    events = wants_output_ ? POLLOUT : POLLIN;
  } else if (wants_output_ || !out_.empty()) {
    events |= POLLOUT;
  }
  return {channel_.descriptor(), events, 0};
}

void client_socket::on_ready(short events) {
  if (step_ == step::connecting) {
    if ((events & (POLLOUT | POLLERR | POLLHUP)) == 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(channel_.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return connect_next({error, std::system_category()});
    return on_connected();
  }
  channel_.readable();
  if (step_ == step::securing) return secure();
  if ((events & POLLOUT) != 0) {
    flush();
    if (std::exchange(wants_output_, false)) events |= POLLIN;
  }
  if (step_ == step::connected && (events & (POLLIN | POLLERR | POLLHUP)) != 0) on_readable();
}

void client_socket::on_readable() {
  while (read_once() && step_ == step::connected && channel_.has_more()) {}
}

/// Returns whether something came.
bool client_socket::read_once() {
  if (is_full() && !make_room(std::min(std::max(first_input, 2 * in_.size()), batch_input))) {
    end(status::resource_limit);
    return false;
  }
  const auto got = channel_.read(in_.span().subspan(in_end_));
  const using_input guard{*this};
  if (got.count > 0) {
    in_end_ += got.count;
    parse();
    return true;
  }
  if (got.state == io_state::failed) fail();
  if (got.state == io_state::want_write) wants_output_ = true;
  if (got.state == io_state::closed && !on_end_of_input()) {
    end(std::make_error_code(std::errc::connection_reset));
  }
  return false;
}

void client_socket::consume(std::size_t octets) noexcept {
  wipe(in_.data() + in_begin_, octets);
  in_begin_ += octets;
  if (in_begin_ == in_end_) in_begin_ = in_end_ = 0;
}

void client_socket::expect(std::size_t octets) {
  if (octets > in_.size() - in_begin_ && !make_room(octets)) end(status::resource_limit);
}

/// Room for `wanted` octets from in_begin_ on.
bool client_socket::make_room(std::size_t wanted) {
  const std::size_t kept = in_end_ - in_begin_;
  if (wanted <= in_.size() && in_begin_ > 0) {
    std::memmove(in_.data(), in_.data() + in_begin_, kept);
    const std::size_t clean = std::max(kept, in_begin_);
    wipe(in_.data() + clean, in_end_ - clean);
  } else if (wanted > in_.size()) {
    auto larger = arena_.allocate(wanted);
    if (!larger) return false;
    if (kept > 0) std::memcpy(larger->data(), in_.data() + in_begin_, kept);
    in_ = std::move(*larger);  // wipes the old
  }
  in_begin_ = 0;
  in_end_ = kept;
  return in_end_ < in_.size();
}

void client_socket::release_input() noexcept {
  in_.reset();
  in_begin_ = in_end_ = 0;
}

bool client_socket::is_stale() const noexcept {
  std::byte octet{};
  const ssize_t count = ::recv(channel_.descriptor(), &octet, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count < 0) return errno != EAGAIN && errno != EINTR;
  // with TLS, what comes unasked is its end
  return count == 0 || channel_.is_tls() || !may_come_unasked();
}

client_socket::target target_of(const address& to, std::vector<endpoint> endpoints,
                                std::shared_ptr<const tls_context> tls, const std::string& server) {
  client_socket::target t;
  t.kind = to.kind;
  t.spoken = to.spoken;
  t.endpoints = std::move(endpoints);
  t.tls = std::move(tls);
  t.expected.uri = server;
  if (server.empty()) t.expected.host = to.host;
  if (to.kind != scheme::unix_socket) t.authority = authority_of(to);
  return t;
}

}  // namespace qkd004::net
