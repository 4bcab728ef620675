// peer_message: what two key managers that share a link say to each other; no octet of key is ever in one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "qkd004/key_source.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/status.hpp"

namespace qkd004::peer {

/// The version of this protocol; peers use the lower of both, and part where they have none in common.
inline constexpr std::uint16_t protocol_version = 3;
inline constexpr std::uint16_t first_with_channel = 3;  ///< with classical

/// First message of both ends on every connection. The session goes on if each remembers the other's instance;
/// else both forget it, and what it held, and start afresh.
struct hello {
  std::uint16_t version = protocol_version;
  std::string node;  ///< the sender's node id; the lower of two allocates (R1)
  std::string link;  ///< the link's name, equal at both ends
  instance_id instance{};
  instance_id remembers{};  ///< the instance the sender has a session with; zeros: none
  std::string source_kind;
  std::uint64_t position = 0;  ///< key_source::position()
};

/// Second message: the sender's source has started for this pair of instances.
struct start {
  key_source_check check{};
};

/// A stream that is registered at the sender. Sent at OPEN_CONNECT, and for every stream after a reconnection.
struct announce {
  key_stream_id stream;
  std::uint64_t serial = 0;  ///< the sender's own number of this registration; comes back in refuse
  std::string source;
  std::string destination;
  qos quality;
  std::uint32_t window = 0;  ///< chunks the sender's ring holds
  bool opened = false;       ///< an application has opened it at the sender's side
  bool strict_once = false;
};

/// Answer to announce: the registration that holds at both ends.
struct accept {
  key_stream_id stream;
  qos quality;
  std::uint32_t window = 0;
  bool opened = false;
  bool strict_once = false;
};

/// Answer to announce: no stream of that id at the sender, and why.
struct refuse {
  key_stream_id stream;
  std::uint64_t serial = 0;  ///< of the announce
  status why = status::ksid_in_use;
};

/// From the allocator: the octets of the link's key from `position` on are chunks `first`, `first` + 1, ...
struct bind {
  key_stream_id stream;
  std::uint64_t first = 0;
  std::uint32_t count = 0;
  std::uint64_t position = 0;       ///< octets of key since the session began
  std::uint64_t length = 0;         ///< octets: count x Key_chunk_size
  std::uint64_t settled_below = 0;  ///< every binding below this position was confirmed
  friend bool operator==(const bind&, const bind&) = default;
};

/// One for every bind, in order. `stored` false: the stream is gone here and the octets were destroyed.
struct confirm {
  std::uint64_t position = 0;
  bool stored = false;
};

/// To the allocator: what this side no longer holds, and whether an application has asked for key since the last one.
struct mark {
  key_stream_id stream;
  std::uint64_t lowest_held = 0;
  bool wanted = false;
};

/// The application of this side has closed. Repeated after a reconnection until it was answered with closed.
struct close {
  key_stream_id stream;
};

/// Answers close: the peer has done so as well.
struct closed {
  key_stream_id stream;
};

/// Each site may promise half of the link's rate by itself (D6). The sender asks to hold `total_bps` of the receiver's
/// half in all: more than before, or less, which gives some back. From version 2 on.
struct borrow {
  std::uint64_t serial = 0;  ///< comes back in lend
  std::uint64_t total_bps = 0;
};

/// Answer to borrow: what the receiver may hold of the sender's half in all.
struct lend {
  std::uint64_t serial = 0;
  std::uint64_t total_bps = 0;
};

/// What the sender's key source says to its other end, see classical_channel; nobody between the two reads it. Of any
/// octets, at most classical_channel::largest_message. From version 3 on.
struct classical {
  std::vector<std::byte> octets;
};

/// Last message before the sender gives the connection up.
struct fault {
  status why = status::protocol_error;
  std::string text;
};

using message = std::variant<hello, start, announce, accept, refuse, bind, confirm, mark, close, closed,
                             borrow, lend, classical, fault>;

}  // namespace qkd004::peer
