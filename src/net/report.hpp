// report: how a site and a caller's streams stand, as the JSON that STATUS answers with.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "qkd004/key_service.hpp"

namespace qkd004::net {

/// An object with `node`, the caller's `streams`, as many as fit into `most` octets, and how many there are in all.
[[nodiscard]] std::string report_json(const key_service& site, const std::vector<stream_report>& streams,
                                      std::size_t most);

}  // namespace qkd004::net
