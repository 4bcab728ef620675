// report: how a site and a caller's streams stand, as the JSON that STATUS answers with.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "qkd004/key_service.hpp"

namespace qkd004::net {

/// An object with `node`, how many streams are open, how many of them are shown, and these: as many as were reported and
/// fit into `most` octets.
[[nodiscard]] std::string report_json(const key_service& site, const stream_reports& reported,
                                      std::size_t most);

}  // namespace qkd004::net
