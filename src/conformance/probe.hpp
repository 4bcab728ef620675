// probe: frames over a byte_stream, good and bad ones; what comes back is read with a deadline, and kept in locked
// memory because it may be a key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "conformance/byte_stream.hpp"
#include "conformance/octets.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::conformance {

using frame_version = std::array<std::uint8_t, 3>;

/// Clause: src/wire/README.md, Frame.
[[nodiscard]] octets frame_of(frame_version version, std::uint8_t service, const octets& payload);
/// The eight octets before a payload, whether it has that length or not.
[[nodiscard]] octets header_of(frame_version version, std::uint8_t service, std::uint32_t length);

/// What came next on a connection.
struct incoming {
  enum class kind : std::uint8_t { frame, end, nothing, nonsense };
  kind what = kind::nothing;  ///< nothing: the time was over; nonsense: no frame can be that long
  frame_version version{};
  std::uint8_t service = 0;
  secret_bytes payload;
  std::string refusal{};  ///< why the other end ended it, if it said so below the frames

  /// In words, without an octet of the payload but an error frame's code and text.
  [[nodiscard]] std::string describe() const;
};

/// Threads: one at a time.
class probe {
 public:
  probe(std::unique_ptr<byte_stream> stream, secret_arena memory)
      : stream_{std::move(stream)}, memory_{std::move(memory)} {}

  /// False if the other end does not take it.
  bool send(const octets& what, milliseconds within) { return stream_->send(what, steady::now() + within); }
  void end_sending() { stream_->end_sending(); }
  /// The next frame. A frame that is incomplete when the time is over stays so: the probe is of no more use then.
  [[nodiscard]] incoming read(milliseconds within);

 private:
  /// Returns how many octets came before the end or the deadline.
  std::size_t fill(std::span<std::byte> room, steady::time_point until, bool& ended);

  std::unique_ptr<byte_stream> stream_;
  secret_arena memory_;
};

}  // namespace qkd004::conformance
