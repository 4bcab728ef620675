// SPDX-License-Identifier: Apache-2.0
#include "net/connection.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "net/report.hpp"
#include "net/site_core.hpp"
#include "net/socket_options.hpp"
#include "wire/extension.hpp"
#include "wire/peer.hpp"
#include "wire/qubip.hpp"

namespace qkd004::net {

namespace {

namespace extension = wire::extension;
namespace forge = wire::forge;
namespace qubip = wire::qubip;
using wire::service;

/// Octets of a GET_KEY response beside the key, and of any other response, at most.
constexpr std::size_t beside_key = 512;
constexpr std::size_t largest_other = 1024;

}  // namespace

connection::connection(std::shared_ptr<site_core> core, channel c)
    : transport{core, std::move(c)}, core_{*core} {}

connection::connection(std::shared_ptr<site_core> core, channel c, link_id link)
    : transport{core, std::move(c)}, core_{*core}, dialed_{link} {}

void connection::on_open() {
  if (dialed_) core_.reached(*this, *std::exchange(dialed_, std::nullopt));
}

void connection::on_refused(const std::string& why) {
  if (!dialed_) core_.log(log_level::warning, log_line{"refused"}.with("remote", remote()).with("why", why));
}

void connection::become_peer(link_id link) {
  role_ = role::peer;
  version_ = wire::forge_version;
  link_ = link;
  set_content(content::open_text);
  if (other_end().kind() != scheme::unix_socket) set_options(descriptor(), peer_liveness);
}

std::size_t connection::on_input(std::span<const std::byte> input) {
  const auto frame = wire::read_frame(input, site().bounds());
  if (frame.state == wire::frame_state::incomplete) {
    if (!expects()) expect_by(site().now() + site().wait().frame);
    return 0;
  }
  if (frame.state != wire::frame_state::complete) {
    on_bad_frame(frame.state, frame.header);
    return 0;
  }
  on_frame(frame.header, frame.payload);
  return frame.size;
}

void connection::on_frame(const wire::frame_header& header, std::span<const std::byte> payload) {
  if (!version_) version_ = header.version;
  if (header.version != *version_) return refuse(status::protocol_error, "a frame of another version");
  if (role_ == role::peer) return on_peer_frame(header, payload);
  if (role_ == role::unknown) {
    if (header.service == service::peer_hello) return core_.welcome(*this, payload);
    if (!become_application()) return;
  }
  switch (header.service) {
    case service::open_connect_request:
      return serve<open_connect_request, open_connect_response>(
          speaks_qubip() ? qubip::decode_open_connect_request(payload, site().bounds())
                         : forge::decode_open_connect_request(payload, site().bounds()),
          question::open_connect, 0, &key_service::open_connect);
    case service::get_key_request: {
      const auto request =
          speaks_qubip() ? qubip::decode_get_key_request(payload) : forge::decode_get_key_request(payload);
      return serve<get_key_request, get_key_response>(
          request, question::get_key, request ? request->metadata_size : 0, &key_service::get_key);
    }
    case service::close_request:
      return serve<close_request, close_response>(forge::decode_close_request(payload), question::close, 0,
                                                  &key_service::close);
    case service::hello_request: return on_hello(payload);
    case service::open_connect2_request:
      if (!greeted_) return refuse(status::protocol_error, "OPEN_CONNECT2 before HELLO");
      return serve<open_connect_request, open_connect_response>(
          forge::decode_open_connect2_request(payload, site().bounds()), question::open_connect2, 0,
          &key_service::open_connect);
    default: break;
  }
  if (greeted_ && on_extension(header.service, payload)) return;
  if (wire::is_peer_service(header.service)) {
    return refuse(status::not_authorized, "a service between key managers, from no peer");
  }
  refuse(status::protocol_error, "not a request");
}

void connection::on_bad_frame(wire::frame_state state, const wire::frame_header& header) {
  if (!version_) version_ = header.version;
  refuse(wire::to_status(state), std::string{wire::to_string(state)});
}

bool connection::has_room() const {
  return in_flight() < site().bounds().max_in_flight && early_octets() < site().most_unsent();
}

void connection::on_end(const std::string& why) {
  queue_.clear();
  count_early(0);
  if (role_ == role::application) core_.remove_application(id_);
  if (role_ == role::peer) core_.remove_peer(*this, link_, why);
  if (dialed_) core_.missed(*dialed_, why);
}

void connection::refuse(status code, const std::string& why) {
  if (!is_open()) return;
  log_line line{"refused"};
  line.with("remote", remote());
  if (role_ == role::application) line.with("principal", other_end().principal());
  core_.log(log_level::warning, line.with("status", static_cast<std::uint32_t>(code)).with("why", why));
  static_cast<void>(forge::encode_error(out(), {code, why}, version_.value_or(wire::forge_version)));
  finish("refused: " + why);
}

bool connection::become_application() {
  id_ = core_.add_application(*this, other_end().principal());
  if (id_ == 0) {
    refuse(status::resource_limit, "too many connections");
    return false;
  }
  role_ = role::application;
  return true;
}

void connection::on_hello(std::span<const std::byte> payload) {
  if (greeted_) return refuse(status::protocol_error, "a second HELLO");
  if (const auto theirs = forge::decode_hello(payload); !theirs) {
    return refuse(to_status(theirs.error()), "malformed HELLO");
  }
  const std::uint64_t ticket = expect(question::hello, 0);
  greeted_ = true;
  forge::hello ours;
  ours.features = forge::feature::wait_peer | forge::feature::get_keys | forge::feature::acknowledge |
                  forge::feature::subscribe | forge::feature::status;
  std::memcpy(&ours.instance, core_.service().instance().data(), sizeof ours.instance);
  ours.name = core_.service().node();
  reply(ticket, largest_other,
        [&](wire::out_buffer& to, const outstanding&) { return forge::encode_hello_response(to, ours); });
}

/// What the standard has no call for, from whom HELLO has told that it is there. Returns whether it was that.
bool connection::on_extension(service s, std::span<const std::byte> payload) {
  switch (s) {
    case service::get_keys_request:
      serve<get_keys_request, get_keys_response>(extension::decode_get_keys_request(payload),
                                                 question::extension, 0, &key_service::get_keys);
      return true;
    case service::wait_peer_request:
      serve<wait_peer_request, wait_peer_response>(extension::decode_wait_peer_request(payload),
                                                   question::extension, 0, &key_service::wait_peer);
      return true;
    case service::acknowledge_request:
      serve<acknowledge_request, acknowledge_response>(extension::decode_acknowledge_request(payload),
                                                       question::extension, 0, &key_service::acknowledge);
      return true;
    case service::subscribe_request: on_subscribe(payload); return true;
    case service::report_request: on_report(payload); return true;
    default: return false;
  }
}

void connection::on_subscribe(std::span<const std::byte> payload) {
  const auto request = extension::decode_subscribe_request(payload);
  if (!request) return refuse(status::protocol_error, "malformed request");
  core_.service().subscribe({id_, 0}, *request, site().now());
}

void connection::on_report(std::span<const std::byte> payload) {
  const auto request = extension::decode_report_request(payload);
  if (!request) return refuse(status::protocol_error, "malformed request");
  const std::uint64_t ticket = expect(question::extension, 0);
  const auto reported = core_.service().report(id_, request->stream, site().now());
  report_response r;
  if (reported.open == 0 && !request->stream.is_null()) {
    r.outcome = status::unknown_key_stream;
  } else {
    r.json = report_json(core_.service(), reported, site().bounds().max_frame / 2);
  }
  reply(ticket, r.json.size() + largest_other,
        [&](wire::out_buffer& to, const outstanding&) { return extension::encode_report_response(to, r); });
}

void connection::on_peer_frame(const wire::frame_header& header, std::span<const std::byte> payload) {
  if (header.service == service::error) {
    const auto error = forge::decode_error(payload);
    log_line line{"a peer did not understand a message"};
    line.with("remote", remote());
    if (error) line.with("status", static_cast<std::uint32_t>(error->code));
    return core_.log(log_level::warning, line);
  }
  if (!wire::is_peer_service(header.service))
    return refuse(status::protocol_error, "a request on a peer's connection");
  auto message = wire::decode_peer(header.service, payload);
  if (!message) {
    send(peer::fault{to_status(message.error()), "malformed message"});
    core_.log(log_level::warning, log_line{"malformed message of a peer"}.with("remote", remote()));
    return finish("malformed message");
  }
  if (!*message) {
    // so that a newer version may say more than this one knows
    static_cast<void>(forge::encode_error(out(), {status::protocol_error, "unknown service"}));
    return;
  }
  core_.receive(link_, std::move(**message));
}

template <class Request, class Response>
void connection::serve(const result<Request>& request, question asked, std::uint32_t metadata_size,
                       void (key_service::*call)(caller, const Request&, time_point)) {
  if (!request && to_status(request.error()) == status::protocol_error) {
    return refuse(status::protocol_error, "malformed request");
  }
  const std::uint64_t ticket = expect(asked, metadata_size);
  if (request) return (core_.service().*call)({id_, ticket}, *request, site().now());
  Response refused;
  refused.outcome = to_status(request.error());
  answer(ticket, refused);
}

std::uint64_t connection::expect(question asked, std::uint32_t metadata_size) {
  queue_.push({asked, greeted_ ? forge::statuses::all : forge::statuses::standard, metadata_size,
               site().now(), nullptr});
  return next_reply_ + in_flight() - 1;
}

boot_clock::duration connection::waited(std::uint64_t ticket) const noexcept {
  const bool known = ticket - next_reply_ < in_flight();
  return known ? site().now() - queue_[static_cast<std::size_t>(ticket - next_reply_)].at
               : boot_clock::duration::zero();
}

void connection::answer(std::uint64_t ticket, const open_connect_response& r) {
  core_.traffic().note(r);
  reply(ticket, largest_other, [&](wire::out_buffer& to, const outstanding& o) {
    if (speaks_qubip()) return qubip::encode_open_connect_response(to, r);
    return o.asked == question::open_connect2 ? forge::encode_open_connect2_response(to, r)
                                              : forge::encode_open_connect_response(to, r, o.statuses);
  });
}

void connection::answer(std::uint64_t ticket, const get_key_response& r) {
  core_.traffic().note(r, waited(ticket));
  reply(ticket, r.key.size() + beside_key, [&](wire::out_buffer& to, const outstanding& o) {
    if (speaks_qubip()) return qubip::encode_get_key_response(to, r, o.metadata_size);
    return forge::encode_get_key_response(to, r, o.metadata_size, o.statuses);
  });
}

void connection::answer(std::uint64_t ticket, const close_response& r) {
  core_.traffic().note(r);
  reply(ticket, largest_other, [&](wire::out_buffer& to, const outstanding& o) {
    if (speaks_qubip()) return qubip::encode_close_response(to, r);
    return forge::encode_close_response(to, r, o.statuses);
  });
}

void connection::answer(std::uint64_t ticket, const get_keys_response& r) {
  core_.traffic().note(r, waited(ticket));
  const std::size_t at_most = r.keys.size() * (r.chunk_size + 8) + r.vendor_metadata.size() + largest_other;
  reply(ticket, at_most,
        [&](wire::out_buffer& to, const outstanding&) { return extension::encode_get_keys_response(to, r); });
}

void connection::answer(std::uint64_t ticket, const wait_peer_response& r) {
  core_.traffic().note(r);
  reply(ticket, largest_other, [&](wire::out_buffer& to, const outstanding&) {
    return extension::encode_wait_peer_response(to, r);
  });
}

void connection::answer(std::uint64_t ticket, const acknowledge_response& r) {
  core_.traffic().note(r);
  reply(ticket, largest_other, [&](wire::out_buffer& to, const outstanding&) {
    return extension::encode_acknowledge_response(to, r);
  });
}

void connection::deliver(const key_stream_id& stream, const get_keys_response& r) {
  if (!is_open()) return;
  core_.traffic().note_delivery(r);
  if (const auto encoded = extension::encode_delivery(out(), stream, r); !encoded) {
    return fail("no room for keys: " + encoded.error().message());
  }
  relieve();
}

template <class Encode>
void connection::reply(std::uint64_t ticket, std::size_t at_most, const Encode& encode) {
  if (!is_open() || ticket - next_reply_ >= in_flight()) return;
  outstanding& o = queue_[static_cast<std::size_t>(ticket - next_reply_)];
  const bool its_turn = ticket == next_reply_;
  if (!its_turn) o.reply = std::make_unique<wire::out_buffer>(site().arena(), at_most);
  if (const auto encoded = encode(its_turn ? out() : *o.reply, std::as_const(o)); !encoded) {
    o.reply.reset();  // not counted, and no answer
    return fail("no room for an answer: " + encoded.error().message());
  }
  if (!its_turn) return count_early(early_octets() + o.reply->capacity());
  queue_.pop();
  ++next_reply_;
  send_ready();
  relieve();
}

/// What was there early and has its turn now.
void connection::send_ready() {
  while (!queue_.empty() && queue_.front().reply) {
    const auto early = std::as_const(*queue_.front().reply).pending();
    const auto room = out().grow(early.size());
    if (!room) return fail("no room for an answer: " + room.error().message());
    std::memcpy(room->data(), early.data(), early.size());
    count_early(early_octets() - queue_.front().reply->capacity());
    queue_.front().reply.reset();
    queue_.pop();
    ++next_reply_;
  }
}

void connection::send(const peer::message& m) {
  if (!is_open()) return;
  if (const auto encoded = wire::encode_peer(out(), m); !encoded) {
    return fail("cannot send a message: " + encoded.error().message());
  }
  relieve();
}

}  // namespace qkd004::net
