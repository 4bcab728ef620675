// SPDX-License-Identifier: Apache-2.0
#include "serve/tls_files.hpp"

#include <fcntl.h>

#include "source/private_file.hpp"

namespace qkd004::serve {

result<void> check_tls_files(const net::tls_options& o, std::string* why) {
  using source::others;
  const auto check = [why](const std::string& path, others access) -> std::error_code {
    const auto file = source::open_private({path, why}, O_RDONLY, access);
    return file ? std::error_code{} : file.error();
  };
  if (const auto error = check(o.certificate, others::allowed)) return error;
  if (const auto error = check(o.key, others::refused)) return error;
  if (const auto error = check(o.authority, others::allowed)) return error;
  return {};
}

}  // namespace qkd004::serve
