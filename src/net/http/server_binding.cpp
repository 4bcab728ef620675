// The binding of 004 on a server_connection: what is asked as JSON, and what is answered.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "net/http/server_connection.hpp"
#include "net/report.hpp"
#include "net/site_core.hpp"
#include "wire/rest.hpp"

namespace qkd004::net::http {

namespace {

namespace rest = wire::rest;

constexpr std::string_view json_type = "application/json";

/// A page of somebody else's may send other types without asking first: hence only this one, with or without parameters.
bool is_json(std::string_view type) noexcept {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return same_name(type, json_type);
}

response refusal(status s) {
  response r = problem(403, to_string(s));
  r.text.pop_back();
  r.text += fmt::format(R"(,"code":{}}})", static_cast<std::uint32_t>(s));
  return r;
}

/// The stream that `key_stream_id=` names, or NULL; nothing if the query says anything else.
std::optional<key_stream_id> stream_of(std::string_view query) noexcept {
  constexpr std::string_view name = "key_stream_id=";
  if (query.empty()) return key_stream_id{};
  return query.starts_with(name) ? key_stream_id::parse(query.substr(name.size())) : std::nullopt;
}

std::string hex_of(const instance_id& id) {
  std::string text;
  for (const std::byte octet : id) text += fmt::format("{:02x}", std::to_integer<unsigned>(octet));
  return text;
}

}  // namespace

bool server_connection::become_application(std::uint64_t ticket) {
  if (id_ != 0) return true;
  id_ = core_.add_application(*this, carrier().principal());
  if (id_ != 0) return true;
  response r = problem(503, "too many connections");
  r.fields.push_back({"Retry-After", "1"});
  queue_.back().is_last = closing_ = true;
  write(ticket, r);
  return false;
}

void server_connection::ask_004(const request_head& head, std::span<const std::byte> body, call_004 what) {
  const std::uint64_t ticket = next_reply_ + in_flight() - 1;
  const limits& bounds = site().bounds();
  if (head.method == "POST" && !is_json(http::value_of(head.fields.all(), "Content-Type"))) {
    return write(ticket, problem(415, "the type has to be application/json"));
  }
  if (what == call_004::capabilities) {
    const key_service& s = core_.service();
    return write_json(ticket, rest::capabilities_text(s.node(), hex_of(s.instance()), bounds));
  }
  if (!become_application(ticket)) return;
  rest::reader& in = core_.http().reader();
  switch (what) {
    case call_004::get_key: return ask_get_key(ticket, body);
    case call_004::open_connect:
      return pass<open_connect_request, open_connect_response>(ticket, in.open_connect(body, bounds),
                                                               &key_service::open_connect);
    case call_004::close:
      return pass<close_request, close_response>(ticket, in.close(body), &key_service::close);
    case call_004::wait_peer:
      return pass<wait_peer_request, wait_peer_response>(ticket, in.wait_peer(body), &key_service::wait_peer);
    case call_004::acknowledge:
      return pass<acknowledge_request, acknowledge_response>(ticket, in.acknowledge(body),
                                                             &key_service::acknowledge);
    default: return report(ticket, head.query);
  }
}

template <class Request, class Response>
void server_connection::pass(std::uint64_t ticket, const result<Request>& request,
                             void (key_service::*call)(caller, const Request&, time_point)) {
  if (request) return (core_.service().*call)({id_, ticket}, *request, site().now());
  if (to_status(request.error()) == status::protocol_error) return write(ticket, malformed());
  Response refused;
  refused.outcome = to_status(request.error());
  answer(ticket, refused);
}

void server_connection::ask_get_key(std::uint64_t ticket, std::span<const std::byte> body) {
  auto asked = core_.http().reader().get_key(body);
  if (!asked) return write(ticket, malformed());
  if (!asked->several) {
    queue_.back().metadata_size = asked->one.metadata_size;
    return core_.service().get_key({id_, ticket}, asked->one, site().now());
  }
  if (!asked->names_epoch) {
    const auto known = core_.service().report(id_, asked->many.stream, site().now());
    if (!known.streams.empty()) asked->many.epoch = known.streams.front().epoch;
  }
  core_.service().get_keys({id_, ticket}, asked->many, site().now());
}

void server_connection::report(std::uint64_t ticket, std::string_view query) {
  const auto stream = stream_of(query);
  if (!stream) return write(ticket, problem(400, "a query that is not key_stream_id=<UUID>"));
  const auto reported = core_.service().report(id_, *stream, site().now());
  if (reported.open == 0 && !stream->is_null()) return write_status(ticket, status::unknown_key_stream);
  const std::string text = report_json(core_.service(), reported, site().bounds().max_frame / 2);
  write_json(ticket, R"({"status":0,)" + text.substr(1));
}

response server_connection::malformed() const { return problem(400, core_.http().reader().why()); }

// --- Answers ---

boot_clock::duration server_connection::waited(std::uint64_t ticket) noexcept {
  const outstanding* const o = find(ticket);
  return o != nullptr ? site().now() - o->at : boot_clock::duration::zero();
}

void server_connection::answer(std::uint64_t ticket, const open_connect_response& r) {
  core_.traffic().note(r);
  if (r.outcome == status::not_authorized) return write(ticket, refusal(r.outcome));
  write_sized(ticket, rest::size_of(r), r);
}

void server_connection::answer(std::uint64_t ticket, const get_key_response& r) {
  core_.traffic().note(r, waited(ticket));
  if (r.outcome == status::not_authorized) return write(ticket, refusal(r.outcome));
  const outstanding* const o = find(ticket);
  if (o == nullptr) return;
  write_sized(ticket, rest::size_of(r, o->metadata_size), r, o->metadata_size);
}

void server_connection::answer(std::uint64_t ticket, const get_keys_response& r) {
  core_.traffic().note(r, waited(ticket));
  if (r.outcome == status::not_authorized) return write(ticket, refusal(r.outcome));
  write_sized(ticket, rest::size_of(r), r);
}

void server_connection::answer(std::uint64_t ticket, const close_response& r) {
  core_.traffic().note(r);
  write_status(ticket, r.outcome);
}
void server_connection::answer(std::uint64_t ticket, const wait_peer_response& r) {
  core_.traffic().note(r);
  write_status(ticket, r.outcome);
}
void server_connection::answer(std::uint64_t ticket, const acknowledge_response& r) {
  core_.traffic().note(r);
  write_status(ticket, r.outcome);
}

void server_connection::write_status(std::uint64_t ticket, status s) {
  if (s == status::not_authorized) return write(ticket, refusal(s));
  write_json(ticket, rest::status_text(s));
}

void server_connection::write_json(std::uint64_t ticket, std::string text) {
  response r{200, std::string{json_type}, std::move(text)};
  r.fields.push_back({"Cache-Control", "no-store"});
  write(ticket, r);
}

/// A body that is measured before it is written, so that key goes from its place into what is sent and nowhere else.
template <class... Said>
void server_connection::write_sized(std::uint64_t ticket, std::size_t size, const Said&... what) {
  const outstanding* const o = find(ticket);
  if (o == nullptr || o->is_done || o->is_stream) return;
  const std::string_view begin = core_.http().json_head(site().now());
  std::array<char, 64> end{};
  char* at = std::to_chars(end.data(), end.data() + end.size(), size).ptr;
  const std::string_view rest_of_head = o->is_last  ? "\r\nConnection: close\r\n\r\n"
                                        : o->is_1_0 ? "\r\nConnection: keep-alive\r\n\r\n"
                                                    : "\r\n\r\n";
  std::memcpy(at, rest_of_head.data(), rest_of_head.size());
  at += rest_of_head.size();
  const auto end_size = static_cast<std::size_t>(at - end.data());

  const std::size_t whole = begin.size() + end_size + size;
  const auto room = place_of(ticket, whole)->grow(whole);
  if (!room) return fail("no room for an answer: " + room.error().message());
  std::memcpy(room->data(), begin.data(), begin.size());
  std::memcpy(room->data() + begin.size(), end.data(), end_size);
  rest::write(room->subspan(begin.size() + end_size), what...);
  finish_reply(ticket);
}

}  // namespace qkd004::net::http
