// gap_code: where Bob had detections and in which basis, as octets: a Rice code of the gaps.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace qkd004::software {

/// Appends the message of gaps.size() detections. Of detections that have probability P for each pulse it takes
/// log2(1/P) + 2.6 bits each or fewer, and 5 octets; of others it takes more.
/// Layout: u32 how many, u8 the Rice parameter r, then three runs of bits, each from the lowest of an octet on and filled
/// up with zeros to a whole one: the bases; r low bits of gap - 1 of each; (gap - 1) >> r zeros and a one for each. 20 zeros
/// stand for 20 or more: how many there really are follows as a u32 for each such gap. Apart from one another the runs can be read
/// without knowing where the code of the gap before ended.
/// Requires: gaps are not 0, there are fewer than 2^32, bases has a bit for each of them (as in `detections`).
void encode_gaps(std::span<const std::uint32_t> gaps, std::span<const std::uint64_t> bases,
                 double detection_probability, std::vector<std::byte>& message);

struct decoded_gaps {
  std::vector<std::uint32_t> gaps;
  std::vector<std::uint64_t> bases;  ///< packed
};

/// Reads one message into `out`, which is overwritten. Memory is taken for as many detections as the message states, after
/// it is known that they are `most` at most and that the message is long enough for them.
/// Returns false: encode_gaps() writes no such message; then what `out` holds means nothing.
[[nodiscard]] bool decode_gaps(std::span<const std::byte> message, std::size_t most, decoded_gaps& out);

}  // namespace qkd004::software
