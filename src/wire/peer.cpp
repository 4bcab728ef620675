// SPDX-License-Identifier: Apache-2.0
#include "wire/peer.hpp"

#include <limits>
#include <string_view>
#include <utility>
#include <variant>

#include "qkd004/classical_channel.hpp"
#include "qkd004/message.hpp"
#include "wire/fields.hpp"
#include "wire/octets.hpp"

namespace qkd004::wire {

namespace {

constexpr std::uint8_t opened = 1;
constexpr std::uint8_t strict_once = 2;

// --- What each message is on the wire: its service, its fields out, its fields in ---

template <class Output>
void put_qos(Output& out, const qos& q) {
  put_qos_numbers(out, q);
  out.string(q.metadata_mimetype);
}

qos read_qos(octet_reader& in) {
  qos q = read_qos_numbers(in);
  q.metadata_mimetype = in.string();
  return q;
}

/// Reads an octet of flags. Returns whether it has none but those in `known`.
bool read_flags(octet_reader& in, std::uint8_t known, std::uint8_t& flags) noexcept {
  flags = in.u8();
  return (flags & ~known) == 0;
}

template <class Registration>
std::uint8_t flags_of(const Registration& m) noexcept {
  return static_cast<std::uint8_t>((m.opened ? opened : 0) | (m.strict_once ? strict_once : 0));
}

template <class Registration>
bool read_registration(octet_reader& in, Registration& m) {
  m.quality = read_qos(in);
  m.window = in.u32();
  std::uint8_t flags = 0;
  const bool known = read_flags(in, opened | strict_once, flags);
  m.opened = (flags & opened) != 0;
  m.strict_once = (flags & strict_once) != 0;
  return known;
}

constexpr service service_of(const peer::hello&) noexcept { return service::peer_hello; }
template <class Output>
void put(Output& out, const peer::hello& m) {
  out.u16(m.version);
  out.string(m.node);
  out.string(m.link);
  out.octets(m.instance);
  out.octets(m.remembers);
  out.string(m.source_kind);
  out.u64(m.position);
}
bool read(octet_reader& in, peer::hello& m) {
  m.version = in.u16();
  m.node = in.string();
  m.link = in.string();
  m.instance = in.array<sizeof(instance_id)>();
  m.remembers = in.array<sizeof(instance_id)>();
  m.source_kind = in.string();
  m.position = in.u64();
  // a newer version may have added fields at the end
  if (m.version > peer::protocol_version) static_cast<void>(in.octets(in.left()));
  return true;
}

constexpr service service_of(const peer::start&) noexcept { return service::peer_start; }
template <class Output>
void put(Output& out, const peer::start& m) {
  out.octets(m.check);
}
bool read(octet_reader& in, peer::start& m) {
  m.check = in.array<sizeof(key_source_check)>();
  return true;
}

constexpr service service_of(const peer::announce&) noexcept { return service::peer_announce; }
template <class Output>
void put(Output& out, const peer::announce& m) {
  out.octets(m.stream.octets());
  out.u64(m.serial);
  out.string(m.source);
  out.string(m.destination);
  put_qos(out, m.quality);
  out.u32(m.window);
  out.u8(flags_of(m));
}
bool read(octet_reader& in, peer::announce& m) {
  m.stream = in.stream();
  m.serial = in.u64();
  m.source = in.string();
  m.destination = in.string();
  return read_registration(in, m);
}

constexpr service service_of(const peer::accept&) noexcept { return service::peer_accept; }
template <class Output>
void put(Output& out, const peer::accept& m) {
  out.octets(m.stream.octets());
  put_qos(out, m.quality);
  out.u32(m.window);
  out.u8(flags_of(m));
}
bool read(octet_reader& in, peer::accept& m) {
  m.stream = in.stream();
  return read_registration(in, m);
}

constexpr service service_of(const peer::refuse&) noexcept { return service::peer_refuse; }
template <class Output>
void put(Output& out, const peer::refuse& m) {
  out.octets(m.stream.octets());
  out.u64(m.serial);
  out.u32(static_cast<std::uint32_t>(m.why));
}
bool read(octet_reader& in, peer::refuse& m) {
  m.stream = in.stream();
  m.serial = in.u64();
  return read_status(in, m.why);
}

constexpr service service_of(const peer::bind&) noexcept { return service::peer_bind; }
template <class Output>
void put(Output& out, const peer::bind& m) {
  out.octets(m.stream.octets());
  out.u64(m.first);
  out.u32(m.count);
  out.u64(m.position);
  out.u64(m.length);
  out.u64(m.settled_below);
}
bool read(octet_reader& in, peer::bind& m) {
  m.stream = in.stream();
  m.first = in.u64();
  m.count = in.u32();
  m.position = in.u64();
  m.length = in.u64();
  m.settled_below = in.u64();
  return true;
}

constexpr service service_of(const peer::confirm&) noexcept { return service::peer_confirm; }
template <class Output>
void put(Output& out, const peer::confirm& m) {
  out.u64(m.position);
  out.u8(m.stored ? 1 : 0);
}
bool read(octet_reader& in, peer::confirm& m) {
  m.position = in.u64();
  std::uint8_t stored = 0;
  const bool known = read_flags(in, 1, stored);
  m.stored = stored != 0;
  return known;
}

constexpr service service_of(const peer::mark&) noexcept { return service::peer_mark; }
template <class Output>
void put(Output& out, const peer::mark& m) {
  out.octets(m.stream.octets());
  out.u64(m.lowest_held);
  out.u8(m.wanted ? 1 : 0);
}
bool read(octet_reader& in, peer::mark& m) {
  m.stream = in.stream();
  m.lowest_held = in.u64();
  std::uint8_t wanted = 0;
  const bool known = read_flags(in, 1, wanted);
  m.wanted = wanted != 0;
  return known;
}

constexpr service service_of(const peer::close&) noexcept { return service::peer_close; }
template <class Output>
void put(Output& out, const peer::close& m) {
  out.octets(m.stream.octets());
}
bool read(octet_reader& in, peer::close& m) {
  m.stream = in.stream();
  return true;
}

constexpr service service_of(const peer::closed&) noexcept { return service::peer_closed; }
template <class Output>
void put(Output& out, const peer::closed& m) {
  out.octets(m.stream.octets());
}
bool read(octet_reader& in, peer::closed& m) {
  m.stream = in.stream();
  return true;
}

/// borrow and lend are alike.
template <class Output, class Share>
void put_share(Output& out, const Share& m) {
  out.u64(m.serial);
  out.u64(m.total_bps);
}
template <class Share>
bool read_share(octet_reader& in, Share& m) {
  m.serial = in.u64();
  m.total_bps = in.u64();
  return true;
}

constexpr service service_of(const peer::borrow&) noexcept { return service::peer_borrow; }
template <class Output>
void put(Output& out, const peer::borrow& m) {
  put_share(out, m);
}
bool read(octet_reader& in, peer::borrow& m) { return read_share(in, m); }

constexpr service service_of(const peer::lend&) noexcept { return service::peer_lend; }
template <class Output>
void put(Output& out, const peer::lend& m) {
  put_share(out, m);
}
bool read(octet_reader& in, peer::lend& m) { return read_share(in, m); }

constexpr service service_of(const peer::classical&) noexcept { return service::peer_classical; }
template <class Output>
void put(Output& out, const peer::classical& m) {
  out.u32(static_cast<std::uint32_t>(m.octets.size()));
  out.octets(m.octets);
}
bool read(octet_reader& in, peer::classical& m) {
  const auto octets = in.octets(in.u32());
  m.octets.assign(octets.begin(), octets.end());
  return true;
}

constexpr service service_of(const peer::fault&) noexcept { return service::peer_fault; }
template <class Output>
void put(Output& out, const peer::fault& m) {
  out.u32(static_cast<std::uint32_t>(m.why));
  out.string(std::string_view{m.text}.substr(0, peer_bounds::fault_text));
}
bool read(octet_reader& in, peer::fault& m) {
  const bool known = read_status(in, m.why);
  m.text = in.string();
  return known;
}

// --- Which content is refused, at both ends ---

bool acceptable(const peer::hello& m) noexcept {
  return m.version != 0 && !m.node.empty() && m.node.size() <= peer_bounds::name && !m.link.empty() &&
         m.link.size() <= peer_bounds::name && m.source_kind.size() <= peer_bounds::name;
}
bool acceptable(const peer::start&) noexcept { return true; }
bool acceptable(const qos& q, std::uint32_t window) noexcept {
  return q.key_chunk_size != 0 && q.metadata_mimetype.size() <= peer_bounds::name && window != 0 &&
         window <= peer_bounds::window;
}
bool acceptable(const peer::announce& m) noexcept {
  return !m.stream.is_null() && m.source.size() <= peer_bounds::uri &&
         m.destination.size() <= peer_bounds::uri && acceptable(m.quality, m.window);
}
bool acceptable(const peer::accept& m) noexcept {
  return !m.stream.is_null() && acceptable(m.quality, m.window);
}
bool acceptable(const peer::refuse& m) noexcept { return !m.stream.is_null() && m.why != status::success; }
bool acceptable(const peer::bind& m) noexcept {
  if (m.stream.is_null() || m.count == 0 || m.count > peer_bounds::window) return false;
  if (m.first > last_index || m.count - 1 > last_index - m.first) return false;
  const std::uint64_t chunk = m.length / m.count;
  return m.length % m.count == 0 && chunk != 0 && chunk <= std::numeric_limits<std::uint32_t>::max() &&
         m.length <= std::numeric_limits<std::uint64_t>::max() - m.position && m.settled_below <= m.position;
}
bool acceptable(const peer::confirm&) noexcept { return true; }
bool acceptable(const peer::mark& m) noexcept {
  return !m.stream.is_null() && m.lowest_held <= last_index + 1;
}
bool acceptable(const peer::close& m) noexcept { return !m.stream.is_null(); }
bool acceptable(const peer::closed& m) noexcept { return !m.stream.is_null(); }
bool acceptable(const peer::borrow&) noexcept { return true; }
bool acceptable(const peer::lend&) noexcept { return true; }
bool acceptable(const peer::classical& m) noexcept {
  return m.octets.size() <= classical_channel::largest_message;
}
bool acceptable(const peer::fault& m) noexcept { return m.why != status::success; }

// --- Any of them ---

template <class Message>
result<std::optional<peer::message>> decode_as(std::span<const std::byte> payload) {
  octet_reader in{payload};
  Message m;
  if (!read(in, m) || !in.at_end()) return status::protocol_error;
  if (!acceptable(m)) return status::invalid_argument;
  return std::optional<peer::message>{std::move(m)};
}

}  // namespace

result<void> encode_peer(out_buffer& out, const peer::message& message) {
  return std::visit(
      [&out](const auto& m) -> result<void> {
        if (!acceptable(m)) return status::invalid_argument;
        return append_frame(out, service_of(m), [&m](auto& to) { put(to, m); });
      },
      message);
}

result<std::optional<peer::message>> decode_peer(service s, std::span<const std::byte> payload) {
  switch (s) {
    case service::peer_hello: return decode_as<peer::hello>(payload);
    case service::peer_start: return decode_as<peer::start>(payload);
    case service::peer_announce: return decode_as<peer::announce>(payload);
    case service::peer_accept: return decode_as<peer::accept>(payload);
    case service::peer_refuse: return decode_as<peer::refuse>(payload);
    case service::peer_bind: return decode_as<peer::bind>(payload);
    case service::peer_confirm: return decode_as<peer::confirm>(payload);
    case service::peer_mark: return decode_as<peer::mark>(payload);
    case service::peer_close: return decode_as<peer::close>(payload);
    case service::peer_closed: return decode_as<peer::closed>(payload);
    case service::peer_borrow: return decode_as<peer::borrow>(payload);
    case service::peer_lend: return decode_as<peer::lend>(payload);
    case service::peer_classical: return decode_as<peer::classical>(payload);
    case service::peer_fault: return decode_as<peer::fault>(payload);
    default: return std::optional<peer::message>{};
  }
}

}  // namespace qkd004::wire
