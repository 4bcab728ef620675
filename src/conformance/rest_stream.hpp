// rest_stream: a server behind HTTP as the checks see it: frames in and out, which are requests and answers of the
// binding of 004 on the way. Independent of the server's own reading and writing of them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "conformance/byte_stream.hpp"

namespace qkd004::conformance {

/// What has no form in HTTP, as octets that are no frame, or texts that JSON cannot say, throws `skipped`.
/// `host` is for the field of that name.
[[nodiscard]] std::unique_ptr<byte_stream> over_rest(std::unique_ptr<byte_stream> carrier, std::string host);

}  // namespace qkd004::conformance
