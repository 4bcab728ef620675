// SPDX-License-Identifier: Apache-2.0
#include "operations/page.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <span>

#include "wire/base64.hpp"

namespace qkd004::operations {

namespace {

/// `'sha256-...'` of what stands between the first `open` and the `close` behind it; `'none'` without them.
std::string source_of(std::string_view html, std::string_view open, std::string_view close) {
  const auto from = html.find(open);
  const auto to = html.find(close, from);
  if (from == std::string_view::npos || to == std::string_view::npos) return "'none'";
  const std::string_view text = html.substr(from + open.size(), to - from - open.size());
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) return "'none'";
  std::string encoded(wire::base64::encoded_size(digest.size()), '\0');
  wire::base64::encode(std::as_bytes(std::span{digest}), encoded);
  return "'sha256-" + encoded + "'";
}

}  // namespace

std::string content_security_policy(std::string_view html) {
  return "default-src 'none'; script-src " + source_of(html, "<script>", "</script>") + "; style-src " +
         source_of(html, "<style>", "</style>") +
         "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
         "require-trusted-types-for 'script'";
}

}  // namespace qkd004::operations
