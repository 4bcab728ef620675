// SPDX-License-Identifier: Apache-2.0
#include "conformance/probe.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace qkd004::conformance {

namespace {

/// More than any answer to what is asked here has.
constexpr std::uint32_t longest_payload = 256 * 1024;
constexpr std::size_t shown_text = 80;

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, shown_text)) out += c >= 0x20 && c < 0x7f ? c : '.';
  return out;
}

}  // namespace

octets header_of(frame_version version, std::uint8_t service, std::uint32_t length) {
  writer out;
  for (const std::uint8_t octet : version) out.u8(octet);
  return out.u8(service).u32(length).take();
}

octets frame_of(frame_version version, std::uint8_t service, const octets& payload) {
  return writer{}
      .all(header_of(version, service, static_cast<std::uint32_t>(payload.size())))
      .all(payload)
      .take();
}

std::string incoming::describe() const {
  switch (what) {
    case kind::end: return "the end of the connection" + (refusal.empty() ? "" : ": " + refusal);
    case kind::nothing: return "no answer in time";
    case kind::nonsense: return "octets that are no frame";
    case kind::frame: break;
  }
  if (service != 0) {
    return fmt::format("a frame of service 0x{:02x}, version {}.{}.{}, {} octets", service, version[0],
                       version[1], version[2], payload.size());
  }
  reader in{payload.span()};
  const std::uint32_t code = in.u32();
  const auto length = static_cast<std::size_t>(in.number(2));
  const std::string text = in.text(length);
  if (!in.ok() || in.left() != 0) return "an error frame whose octets are malformed";
  return fmt::format("an error frame, code {} ({})", code, shown(text));
}

std::size_t probe::fill(std::span<std::byte> room, steady::time_point until, bool& ended) {
  std::size_t filled = 0;
  while (filled < room.size()) {
    const auto got = stream_->receive(room.subspan(filled), until);
    if (!got) break;
    if (*got == 0) {
      ended = true;
      break;
    }
    filled += *got;
  }
  return filled;
}

incoming probe::read(milliseconds within) {
  const auto until = steady::now() + within;
  incoming in;
  bool ended = false;
  std::array<std::byte, 8> header{};
  if (fill(header, until, ended) < header.size()) {
    in.what = ended ? incoming::kind::end : incoming::kind::nothing;
    if (ended) in.refusal = stream_->refusal();
    return in;
  }
  reader fields{header};
  for (std::uint8_t& octet : in.version) octet = static_cast<std::uint8_t>(fields.number(1));
  in.service = static_cast<std::uint8_t>(fields.number(1));
  const std::uint32_t length = fields.u32();
  if (length > longest_payload) {
    in.what = incoming::kind::nonsense;
    return in;
  }
  auto room = memory_.allocate(length);
  if (!room) throw std::runtime_error{"no memory for the answer: " + room.error().message()};
  in.payload = std::move(*room);
  if (fill(in.payload.span(), until, ended) < length) {
    in.what = ended ? incoming::kind::end : incoming::kind::nothing;
  } else {
    in.what = incoming::kind::frame;
  }
  return in;
}

}  // namespace qkd004::conformance
