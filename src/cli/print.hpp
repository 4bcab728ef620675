// print: how statuses, QoS, errors and log lines look. Nothing here takes a key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#include "cli/exit_code.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/status.hpp"
#include "serve/printable.hpp"

namespace qkd004::cli {

using serve::printable;

/// `status 5: the key stream id is in use or was closed`.
[[nodiscard]] std::string describe(status s);

/// One line a field, with units.
[[nodiscard]] std::string to_text(const qos& quality);

/// What OPEN_CONNECT came to, as one JSON object without a line end.
[[nodiscard]] std::string to_json(status outcome, const key_stream_id& stream, const qos& quality);

/// A status that no QoS came with, as one JSON object.
[[nodiscard]] std::string to_json(status outcome);

/// Writes `qkd004: <text>` to standard error and gives the code back.
exit_code complain(exit_code code, std::string_view text);

/// Says why `call` failed: a status of the key manager is 3, what the transport says is 4.
exit_code complain(std::string_view call, std::error_code error);

/// Writes the whole text to standard output, at once: a script may wait for the line.
void put(std::string_view text);

/// As put(), to standard error.
void put_error(std::string_view text);

}  // namespace qkd004::cli
