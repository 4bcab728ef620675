// SPDX-License-Identifier: Apache-2.0
#include "net/http/client_connection.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "net/socket_options.hpp"

namespace qkd004::net::http {

namespace {

/// Octets of requests that may wait for the server to read them.
constexpr std::size_t most_unsent = std::size_t{1} << 20;

constexpr std::size_t first_input = 4 * 1024;
/// The input grows to this for batches of answers; beyond it for one answer only.
constexpr std::size_t batch_input = 64 * 1024;

std::error_code last_error() { return {errno, std::system_category()}; }

}  // namespace

client_connection::client_connection(owner& o, secret_arena arena, std::size_t max_reply, target to)
    : owner_{o},
      arena_{std::move(arena)},
      max_reply_{max_reply},
      target_{std::move(to)},
      out_{arena_, most_unsent} {
  connect_next(std::make_error_code(std::errc::host_unreachable));
}

client_connection::~client_connection() {
  if (arena_.forked()) channel_.abandon();
}

/// Tries the endpoints one after another.
void client_connection::connect_next(std::error_code last) {
  for (; next_endpoint_ < target_.endpoints.size(); last = last_error()) {
    const auto& where = target_.endpoints[next_endpoint_++];
    const int descriptor = ::socket(where.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    channel_ = {descriptor, target_.kind, protocol::http};
    if (descriptor < 0) continue;
    set_options(descriptor, application_liveness);
    if (::connect(descriptor, where.data(), static_cast<socklen_t>(where.size())) == 0) return on_connected();
    if (errno == EINPROGRESS) return;
  }
  // not on_over(): whoever makes it looks at it himself
  step_ = step::over;
  error_ = last;
}

void client_connection::on_connected() {
  if (target_.kind != scheme::tls) {
    step_ = step::connected;
    return flush();
  }
  if (const auto made = channel_.dial(*target_.tls, target_.expected); !made) return end(made.error());
  step_ = step::securing;
  secure();
}

/// The next step of the handshake.
void client_connection::secure() {
  const io_state state = channel_.handshake();
  if (state == io_state::failed) return fail();
  wants_output_ = state == io_state::want_write;
  if (state != io_state::progress) return;
  step_ = step::connected;
  flush();
  if (step_ == step::connected && channel_.has_more()) on_readable();
}

/// The channel has failed: with its error and its words.
void client_connection::fail() {
  const io_failure failure = channel_.failure();
  words_ = failure.words;
  end(failure.error);
}

result<void> client_connection::ask(const outgoing& what) {
  if (is_over()) return error_ ? error_ : std::make_error_code(std::errc::connection_reset);
  fmt::memory_buffer head;  // a head holds no key
  const auto to = std::back_inserter(head);
  fmt::format_to(to, "{} {} HTTP/1.1\r\nHost: {}\r\n", what.method, what.path, target_.host);
  if (!what.content_type.empty()) {
    fmt::format_to(to, "Content-Type: {}\r\nContent-Length: {}\r\n", what.content_type, what.body.size());
  }
  fmt::format_to(to, "\r\n");
  const auto room = out_.grow(head.size() + what.body.size());
  if (!room) return room.error();
  std::memcpy(room->data(), head.data(), head.size());
  if (!what.body.empty()) std::memcpy(room->data() + head.size(), what.body.data(), what.body.size());
  asked_.push_back(what.method == "HEAD");
  return {};
}

void client_connection::flush() {
  while (step_ == step::connected && !out_.empty()) {
    const auto octets = std::as_const(out_).pending();
    const auto [state, count] = channel_.write(octets);
    out_.consume(count);
    if (state == io_state::failed) return fail();
    if (count < octets.size()) return;  // the rest goes when wants() comes true
  }
}

void client_connection::end(std::error_code why) {
  if (is_over()) return;
  step_ = step::over;
  error_ = why;
  // not closed yet: somebody may be polling it, and is woken by this
  if (!arena_.forked()) channel_.end();
  out_.release();
  chunks_.reset();
  asked_.clear();
  owner_.on_over();
}

pollfd client_connection::wants() const noexcept {
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

void client_connection::on_ready(short events) {
  if (step_ == step::connecting) {
    if ((events & (POLLOUT | POLLERR | POLLHUP)) == 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(channel_.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return on_connected();
    connect_next({error, std::system_category()});
    if (is_over()) owner_.on_over();
    return;
  }
  channel_.readable();
  if (step_ == step::securing) return secure();
  if ((events & POLLOUT) != 0) {
    flush();
    if (std::exchange(wants_output_, false)) events |= POLLIN;
  }
  if (step_ == step::connected && (events & (POLLIN | POLLERR | POLLHUP)) != 0) on_readable();
}

void client_connection::on_readable() {
  while (read_once() && step_ == step::connected && channel_.has_more()) {}
}

/// Returns whether something came.
bool client_connection::read_once() {
  if (in_end_ == in_.size() && !make_room(std::min(std::max(first_input, 2 * in_.size()), batch_input))) {
    end(status::resource_limit);
    return false;
  }
  const auto got = channel_.read(in_.span().subspan(in_end_));
  if (got.count == 0) {
    if (got.state == io_state::failed) fail();
    if (got.state == io_state::want_write) wants_output_ = true;
    if (got.state == io_state::closed && !on_end_of_input()) {
      end(std::make_error_code(std::errc::connection_reset));
    }
    return false;
  }
  in_end_ += got.count;
  parse();
  return true;
}

/// The end of the connection may be the end of a body. Returns whether it was.
bool client_connection::on_end_of_input() {
  if (asked_.empty() || in_begin_ == in_end_) return false;
  const auto input = std::as_const(in_).span().subspan(in_begin_, in_end_ - in_begin_);
  const reading r = read_response(input, asked_.front() ? "HEAD" : "", head_);
  if (r.is != reading::state::complete || head_.body != framing::until_end) return false;
  last_ = true;
  answer(head_, input.subspan(r.size));
  return step_ == step::over;
}

void client_connection::parse() {
  while (step_ == step::connected && in_begin_ < in_end_) {
    const auto input = std::as_const(in_).span().subspan(in_begin_, in_end_ - in_begin_);
    // a server that says something unasked is about to close: 408
    if (asked_.empty()) return end(std::make_error_code(std::errc::connection_reset));
    const std::size_t used = parse_one(input);
    if (used == 0 || step_ != step::connected) return;
    wipe(in_.data() + in_begin_, used);
    in_begin_ += used;
    if (in_begin_ == in_end_) in_begin_ = in_end_ = 0;
  }
}

/// One answer. Returns how many octets it had, or 0.
std::size_t client_connection::parse_one(std::span<const std::byte> input) {
  const auto wait_for = [&](std::size_t whole) -> std::size_t {
    if (whole > max_reply_ + syntax_limits::head) {
      end(status::protocol_error);
    } else if (whole > in_.size() - in_begin_ && !make_room(whole)) {
      end(status::resource_limit);
    }
    return 0;
  };
  const reading r = read_response(input, asked_.front() ? "HEAD" : "", head_);
  if (r.is == reading::state::refused) return end(status::protocol_error), 0;
  if (r.is == reading::state::incomplete) return wait_for(input.size() + 1);
  if (head_.status < 200) return head_.status == 101 ? (end(status::protocol_error), 0) : r.size;
  last_ = !head_.keep_alive;
  if (head_.body == framing::until_end) return wait_for(input.size() + 1);
  if (head_.body == framing::length) {
    if (input.size() < r.size + head_.length) return wait_for(r.size + head_.length);
    answer(head_, input.subspan(r.size, head_.length));
    return r.size + head_.length;
  }
  if (!chunks_) chunks_ = std::make_unique<chunked_body>(max_reply_);
  const reading b = chunks_->read(input.subspan(r.size + chunks_taken_));
  if (b.is == reading::state::refused) return end(status::protocol_error), 0;
  chunks_taken_ += b.size;
  if (b.is == reading::state::incomplete) {
    const std::size_t whole = input.size() + 1;  // how much more, nobody knows
    if (whole > in_.size() - in_begin_ && !make_room(2 * whole)) end(status::resource_limit);
    return 0;
  }
  const std::size_t used = r.size + std::exchange(chunks_taken_, 0);
  const auto chunks = std::move(chunks_);
  answer(head_, chunks->body());
  return used;
}

void client_connection::answer(const response_head& head, std::span<const std::byte> body) {
  asked_.pop_front();
  const auto fields = head.fields.all();
  owner_.on_answer({head.status, value_of(fields, "Content-Type"), value_of(fields, "Retry-After"), body});
  if (last_ && !is_over()) end(std::make_error_code(std::errc::connection_reset));
}

/// Room for `wanted` octets from in_begin_ on.
bool client_connection::make_room(std::size_t wanted) {
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

bool client_connection::is_stale() const noexcept {
  std::byte octet{};
  const ssize_t count = ::recv(channel_.descriptor(), &octet, 1, MSG_PEEK | MSG_DONTWAIT);
  return count >= 0 || (errno != EAGAIN && errno != EINTR);  // nothing comes unasked but the end
}

}  // namespace qkd004::net::http
