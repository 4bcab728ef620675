// SPDX-License-Identifier: Apache-2.0
#include "net/lane.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

namespace qkd004::net {

namespace {

namespace extension = wire::extension;
namespace forge = wire::forge;
using wire::service;

limits reply_bounds(std::size_t max_reply) {
  limits bounds;
  bounds.max_frame = max_reply;
  bounds.max_chunk = 0;
  return bounds;
}

}  // namespace

lane::lane(owner& o, secret_arena arena, std::size_t max_reply, target to)
    : client_socket{std::move(arena), std::move(to)}, owner_{o}, bounds_{reply_bounds(max_reply)} {}

void lane::greet() {
  if (is_over()) return;
  forge::hello h;
  h.name = "qkd004";
  if (const auto said = forge::encode_hello_request(out(), h); !said) return end(said.error());
  in_flight_.push(nullptr, question::hello);
}

void lane::ask(call& c, const dialect& d) {
  if (is_over()) return done(c, error());
  if (in_flight_.is_full()) return done(c, status::resource_limit);
  question what = question::close;
  result<void> said = std::make_error_code(std::errc::operation_not_supported);
  if (const auto* open = std::get_if<open_connect_request>(&c.request)) {
    what = d.extended ? question::open_connect2 : question::open_connect;
    if (d.extended) {
      said = forge::encode_open_connect2_request(out(), *open);
    } else {
      open_connect_request plain = *open;
      plain.no_wait = false;  // the call's deadline holds all the same
      said = forge::encode_open_connect_request(out(), plain);
    }
  } else if (const auto* get = std::get_if<get_key_request>(&c.request)) {
    what = question::get_key;
    if (!get->no_wait) said = forge::encode_get_key_request(out(), *get);
  } else if (const auto* close = std::get_if<close_request>(&c.request)) {
    said = forge::encode_close_request(out(), *close);
  } else if (const auto* several = std::get_if<get_keys_request>(&c.request)) {
    what = question::get_keys;
    if (d.served.get_keys) said = extension::encode_get_keys_request(out(), *several);
  } else if (const auto* peer = std::get_if<wait_peer_request>(&c.request)) {
    what = question::wait_peer;
    if (d.served.wait_peer) said = extension::encode_wait_peer_request(out(), *peer);
  } else if (const auto* had = std::get_if<acknowledge_request>(&c.request)) {
    what = question::acknowledge;
    if (d.served.acknowledge) said = extension::encode_acknowledge_request(out(), *had);
  } else if (const auto* report = std::get_if<report_request>(&c.request)) {
    what = question::report;
    if (d.served.report) said = extension::encode_report_request(out(), *report);
  }
  if (!said) return done(c, said.error());
  in_flight_.push(&c, what);
}

void lane::subscribe(const subscribe_request& request) {
  if (is_over()) return;
  if (const auto said = extension::encode_subscribe_request(out(), request); !said) end(said.error());
}

void lane::acknowledge(const acknowledge_request& request) {
  if (is_over()) return;
  if (const auto said = extension::encode_acknowledge_request(out(), request); !said)
    return end(said.error());
  in_flight_.push(nullptr, question::acknowledge);
}

time_point lane::expire(time_point now) {
  const time_point connects = expire_connecting(now);
  in_flight_.expire(now, [this](call& late) { done(late, status::timeout); });
  return std::min(connects, in_flight_.earliest());
}

void lane::on_ended() {
  in_flight_.give_up([this](call& lost) { done(lost, error()); });
  owner_.on_over();
}

/// A server that closes at the sight of a HELLO is one that speaks nothing but 004.
bool lane::on_end_of_input() {
  refused_greeting_ = !in_flight_.empty() && in_flight_.front().what == question::hello;
  return false;
}

void lane::parse() {
  while (is_connected() && !input().empty()) {
    const auto frame = wire::read_frame(input(), bounds_);
    if (frame.state == wire::frame_state::incomplete) return expect(frame.size);
    if (frame.state != wire::frame_state::complete) return end(status::protocol_error);
    on_reply(frame.header, frame.payload);
    if (is_connected()) consume(frame.size);
  }
}

void lane::on_reply(const wire::frame_header& header, std::span<const std::byte> payload) {
  if (header.version != wire::forge_version && header.service != service::error)
    return end(status::protocol_error);
  if (header.service == service::delivery && greeted_) {
    if (!on_delivery(payload)) end(status::protocol_error);
    return;
  }
  if (in_flight_.empty()) return end(status::protocol_error);
  const auto [asked, what] = in_flight_.front();
  if (header.service == service::error) {
    const auto error = forge::decode_error(payload);
    const status code = error ? error->code : status::protocol_error;
    refused_greeting_ = what == question::hello && code == status::protocol_error;
    if (asked != nullptr) {
      in_flight_.pop();
      done(*asked, code);
    }
    return end(refused_greeting_ || asked != nullptr ? std::make_error_code(std::errc::connection_reset)
                                                     : make_error_code(code));
  }
  const auto error = read_reply(what, asked, header, payload);
  if (to_status(error) == status::protocol_error && error) return end(status::protocol_error);
  in_flight_.pop();
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

void lane::done(call& c, std::error_code error) {
  c.error = error;
  owner_.on_done(c);
}

}  // namespace qkd004::net
