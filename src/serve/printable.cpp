// SPDX-License-Identifier: Apache-2.0
#include "serve/printable.hpp"

#include <fmt/format.h>

namespace qkd004::serve {

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < 0x20 || octet == 0x7f) {
      out += fmt::format("\\x{:02x}", octet);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace qkd004::serve
