// SPDX-License-Identifier: Apache-2.0
#include "net/lane.hpp"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "net/socket_options.hpp"

namespace qkd004::net {

namespace {

namespace extension = wire::extension;
namespace forge = wire::forge;
using wire::service;

/// Octets of requests that may wait for the server to read them.
constexpr std::size_t most_unsent = std::size_t{1} << 20;
/// Requests in flight, answers that nobody waits for any more among them.
constexpr std::size_t most_in_flight = 4'096;

constexpr std::size_t first_input = 4 * 1024;
/// The input grows to this for batches of replies; beyond it for one reply only.
constexpr std::size_t batch_input = 64 * 1024;

std::error_code last_error() { return {errno, std::system_category()}; }

limits reply_bounds(std::size_t max_reply) {
  limits bounds;
  bounds.max_frame = max_reply;
  bounds.max_chunk = 0;
  return bounds;
}

}  // namespace

lane::lane(owner& o, secret_arena arena, std::size_t max_reply, target to, time_point connect_deadline)
    : owner_{o},
      arena_{std::move(arena)},
      bounds_{reply_bounds(max_reply)},
      target_{std::move(to)},
      connect_deadline_{connect_deadline},
      earliest_{connect_deadline},
      out_{arena_, most_unsent} {
  connect_next(std::make_error_code(std::errc::host_unreachable));
}

lane::~lane() {
  if (arena_.forked()) channel_.abandon();
}

/// Tries the endpoints one after another.
void lane::connect_next(std::error_code last) {
  for (; next_endpoint_ < target_.endpoints.size(); last = last_error()) {
    const auto& where = target_.endpoints[next_endpoint_++];
    const int family = where.protocol().family();
    const int descriptor = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    channel_ = {descriptor, target_.kind};
    if (descriptor < 0) continue;
    if (target_.kind != scheme::unix_socket) set_options(descriptor, application_liveness);
    if (::connect(descriptor, where.data(), static_cast<socklen_t>(where.size())) == 0) {
      return on_connected();
    }
    if (errno == EINPROGRESS) return;
  }
  end(last);
}

void lane::on_connected() {
  if (target_.kind != scheme::tls) {
    step_ = step::connected;
    return flush();
  }
  if (const auto made = channel_.dial(*target_.tls, target_.expected); !made) return end(made.error());
  step_ = step::securing;
  secure();
}

/// The next step of the handshake.
void lane::secure() {
  const io_state state = channel_.handshake();
  if (state == io_state::failed) return fail();
  wants_output_ = state == io_state::want_write;
  if (state != io_state::progress) return;
  step_ = step::connected;
  flush();
  if (step_ == step::connected && channel_.has_more()) on_readable();
}

/// The channel has failed: with its error and its words.
void lane::fail() {
  const io_failure failure = channel_.failure();
  words_ = failure.words;
  end(failure.error);
}

void lane::greet() {
  if (is_over()) return;
  forge::hello h;
  h.name = "qkd004";
  if (const auto said = forge::encode_hello_request(out_, h); !said) return end(said.error());
  queue_.push_back({nullptr, question::hello});
}

void lane::ask(call& c, const dialect& d) {
  if (is_over()) return done(c, error_);
  if (queue_.size() - first_ >= most_in_flight) return done(c, status::resource_limit);
  question what = question::close;
  result<void> said = std::make_error_code(std::errc::operation_not_supported);
  if (const auto* open = std::get_if<open_connect_request>(&c.request)) {
    what = d.extended ? question::open_connect2 : question::open_connect;
    if (d.extended) {
      said = forge::encode_open_connect2_request(out_, *open);
    } else {
      open_connect_request plain = *open;
      plain.no_wait = false;  // the call's deadline holds all the same
      said = forge::encode_open_connect_request(out_, plain);
    }
  } else if (const auto* get = std::get_if<get_key_request>(&c.request)) {
    what = question::get_key;
    if (!get->no_wait) said = forge::encode_get_key_request(out_, *get);
  } else if (const auto* close = std::get_if<close_request>(&c.request)) {
    said = forge::encode_close_request(out_, *close);
  } else if (const auto* several = std::get_if<get_keys_request>(&c.request)) {
    what = question::get_keys;
    if (d.served.get_keys) said = extension::encode_get_keys_request(out_, *several);
  } else if (const auto* peer = std::get_if<wait_peer_request>(&c.request)) {
    what = question::wait_peer;
    if (d.served.wait_peer) said = extension::encode_wait_peer_request(out_, *peer);
  } else if (const auto* had = std::get_if<acknowledge_request>(&c.request)) {
    what = question::acknowledge;
    if (d.served.acknowledge) said = extension::encode_acknowledge_request(out_, *had);
  } else if (const auto* report = std::get_if<report_request>(&c.request)) {
    what = question::report;
    if (d.served.report) said = extension::encode_report_request(out_, *report);
  }
  if (!said) return done(c, said.error());
  queue_.push_back({&c, what});
  earliest_ = std::min(earliest_, c.deadline);
}

void lane::subscribe(const subscribe_request& request) {
  if (is_over()) return;
  if (const auto said = extension::encode_subscribe_request(out_, request); !said) end(said.error());
}

void lane::acknowledge(const acknowledge_request& request) {
  if (is_over()) return;
  if (const auto said = extension::encode_acknowledge_request(out_, request); !said) return end(said.error());
  queue_.push_back({nullptr, question::acknowledge});
}

void lane::flush() {
  while (step_ == step::connected && !out_.empty()) {
    const auto octets = std::as_const(out_).pending();
    const auto [state, count] = channel_.write(octets);
    out_.consume(count);
    if (state == io_state::failed) return fail();
    if (count < octets.size()) return;  // the rest goes when wants() comes true
  }
}

bool lane::forget(const call& c) noexcept {
  for (std::size_t i = first_; i < queue_.size(); ++i) {
    if (queue_[i].asked != &c) continue;
    give_place(queue_[i]);
    return true;
  }
  return false;
}

void lane::expire(time_point now) {
  if (now < earliest_) return;
  const bool arriving = step_ == step::connecting || step_ == step::securing;
  if (arriving && now >= connect_deadline_) return end(std::make_error_code(std::errc::timed_out));
  earliest_ = arriving ? connect_deadline_ : time_point::max();
  for (std::size_t i = first_; i < queue_.size(); ++i) {
    if (queue_[i].asked == nullptr) continue;
    if (queue_[i].asked->deadline <= now) {
      call& late = *queue_[i].asked;
      give_place(queue_[i]);
      done(late, status::timeout);
    }
    if (queue_[i].asked != nullptr) earliest_ = std::min(earliest_, queue_[i].asked->deadline);
  }
}

/// To its heir, if it has one.
void lane::give_place(expected& e) noexcept {
  e.asked = e.asked->inherit();
  if (e.asked != nullptr) earliest_ = std::min(earliest_, e.asked->deadline);
}

void lane::end(std::error_code why) {
  if (is_over()) return;
  step_ = step::over;
  error_ = why;
  earliest_ = time_point::max();
  // not closed yet: somebody may be polling it, and is woken by this
  if (!arena_.forked()) channel_.end();
  out_.release();
  in_.reset();
  in_begin_ = in_end_ = 0;
  for (std::size_t i = first_; i < queue_.size(); ++i) {
    if (queue_[i].asked != nullptr) done(*queue_[i].asked, why);
  }
  queue_.clear();
  first_ = 0;
  owner_.on_over();
}

pollfd lane::wants() const noexcept {
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

void lane::on_ready(short events) {
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

void lane::on_readable() {
  while (read_once() && step_ == step::connected && channel_.has_more()) {}
}

/// Returns whether something came.
bool lane::read_once() {
  if (in_end_ == in_.size() && !make_room(std::min(std::max(first_input, 2 * in_.size()), batch_input))) {
    end(status::resource_limit);
    return false;
  }
  const auto got = channel_.read(in_.span().subspan(in_end_));
  if (got.count == 0) {
    if (got.state == io_state::failed) fail();
    if (got.state == io_state::want_write) wants_output_ = true;
    if (got.state != io_state::closed) return false;
    // a server that closes at the sight of a HELLO is one that speaks nothing but 004
    refused_greeting_ = first_ < queue_.size() && queue_[first_].what == question::hello;
    end(std::make_error_code(std::errc::connection_reset));
    return false;
  }
  in_end_ += got.count;
  parse();
  return true;
}

void lane::parse() {
  while (step_ == step::connected) {
    const auto input = std::as_const(in_).span().subspan(in_begin_, in_end_ - in_begin_);
    const auto frame = wire::read_frame(input, bounds_);
    if (frame.state == wire::frame_state::incomplete) {
      if (frame.size > in_.size() - in_begin_ && !make_room(frame.size)) end(status::resource_limit);
      return;
    }
    if (frame.state != wire::frame_state::complete) return end(status::protocol_error);
    on_reply(frame.header, frame.payload);
    if (step_ != step::connected) return;
    wipe(in_.data() + in_begin_, frame.size);
    in_begin_ += frame.size;
    if (in_begin_ == in_end_) {
      in_begin_ = in_end_ = 0;
      return;
    }
  }
}

/// Room for `wanted` octets from in_begin_ on.
bool lane::make_room(std::size_t wanted) {
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

void lane::on_reply(const wire::frame_header& header, std::span<const std::byte> payload) {
  if (header.version != wire::forge_version && header.service != service::error)
    return end(status::protocol_error);
  if (header.service == service::delivery && greeted_) {
    if (!on_delivery(payload)) end(status::protocol_error);
    return;
  }
  if (first_ == queue_.size()) return end(status::protocol_error);
  const auto [asked, what] = queue_[first_];
  if (header.service == service::error) {
    const auto error = forge::decode_error(payload);
    const status code = error ? error->code : status::protocol_error;
    refused_greeting_ = what == question::hello && code == status::protocol_error;
    if (asked != nullptr) {
      pop();
      done(*asked, code);
    }
    return end(refused_greeting_ || asked != nullptr ? std::make_error_code(std::errc::connection_reset)
                                                     : make_error_code(code));
  }
  const auto error = read_reply(what, asked, header, payload);
  if (to_status(error) == status::protocol_error && error) return end(status::protocol_error);
  pop();
  if (asked != nullptr) done(*asked, error);
}

/// Fills the call's response. `c` may be null: then the reply is only checked.
/// Returns protocol_error if it is no answer to that, and invalid_argument if the key does not fit.
std::error_code lane::read_reply(question what, call* c, const wire::frame_header& header,
                                 std::span<const std::byte> payload) {
  const auto is = [&](service s) { return header.service == s; };
  const auto put = [c](auto&& decoded) -> std::error_code {
    if (!decoded) return status::protocol_error;
    if (c != nullptr) c->response = std::move(*decoded);
    return {};
  };
  switch (what) {
    case question::hello: return read_hello(header, payload);
    case question::get_keys:
      if (!is(service::get_keys_response)) return status::protocol_error;
      return read_keys(c, payload);
    case question::wait_peer:
      if (!is(service::wait_peer_response)) return status::protocol_error;
      return put(extension::decode_wait_peer_response(payload));
    case question::acknowledge:
      if (!is(service::acknowledge_response)) return status::protocol_error;
      return put(extension::decode_acknowledge_response(payload));
    case question::report:
      if (!is(service::report_response)) return status::protocol_error;
      return put(extension::decode_report_response(payload));
    case question::open_connect:
      if (!is(service::open_connect_response)) return status::protocol_error;
      return put(forge::decode_open_connect_response(payload));
    case question::open_connect2:
      if (!is(service::open_connect2_response)) return status::protocol_error;
      return put(forge::decode_open_connect2_response(payload));
    case question::close:
      if (!is(service::close_response)) return status::protocol_error;
      return put(forge::decode_close_response(payload));
    case question::get_key: break;
  }
  if (!is(service::get_key_response)) return status::protocol_error;
  const auto reply = forge::decode_get_key_response(payload);
  if (!reply) return status::protocol_error;
  if (c == nullptr) return {};
  get_key_response r = reply->response;
  if (r.key.size() > c->key_buffer.size()) return status::invalid_argument;
  if (!r.key.empty()) std::memcpy(c->key_buffer.data(), r.key.data(), r.key.size());
  r.key = c->key_buffer.first(r.key.size());
  c->response = r;
  return {};
}

std::error_code lane::read_hello(const wire::frame_header& header, std::span<const std::byte> payload) {
  const auto theirs = forge::decode_hello(payload);
  if (header.service != service::hello_response || !theirs) return status::protocol_error;
  greeted_ = true;
  const auto has = [&](std::uint32_t bit) { return (theirs->features & bit) != 0; };
  owner_.on_greeted({has(forge::feature::get_keys), has(forge::feature::wait_peer),
                     has(forge::feature::acknowledge), has(forge::feature::subscribe),
                     has(forge::feature::status)});
  return {};
}

std::error_code lane::read_keys(call* c, std::span<const std::byte> payload) {
  const auto reply = extension::decode_get_keys_response(payload);
  if (!reply) return status::protocol_error;
  if (c == nullptr) return {};
  if (reply->keys.size() > c->key_buffer.size()) return status::invalid_argument;
  if (!reply->keys.empty()) std::memcpy(c->key_buffer.data(), reply->keys.data(), reply->keys.size());
  c->keys = reply->count;
  for (std::size_t i = 0; i < std::min<std::size_t>(reply->count, c->metadata_buffer.size()); ++i) {
    c->metadata_buffer[i] = reply->metadata(i);
  }
  get_keys_response r;
  r.outcome = reply->outcome;
  r.first = reply->first;
  r.chunk_size = reply->chunk_size;
  c->vendor_metadata = reply->vendor_metadata;
  c->response = r;
  return {};
}

bool lane::on_delivery(std::span<const std::byte> payload) {
  const auto came = extension::decode_delivery(payload);
  if (came) owner_.on_delivery(*came);
  return came.has_value();
}

void lane::pop() noexcept {
  if (++first_ == queue_.size()) {
    queue_.clear();
    first_ = 0;
    if (step_ == step::connected) earliest_ = time_point::max();
  } else if (first_ >= 64 && first_ >= queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void lane::done(call& c, std::error_code error) {
  c.error = error;
  owner_.on_done(c);
}

bool lane::is_stale() const noexcept {
  std::byte octet{};
  const ssize_t count = ::recv(channel_.descriptor(), &octet, 1, MSG_PEEK | MSG_DONTWAIT);
  // with TLS, what comes unasked is its end
  return count == 0 || (count > 0 && channel_.is_tls()) || (count < 0 && errno != EAGAIN && errno != EINTR);
}

}  // namespace qkd004::net
