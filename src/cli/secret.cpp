// SPDX-License-Identifier: Apache-2.0
#include "cli/secret.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

#include "cli/print.hpp"
#include "cli/private_output.hpp"
#include "qkd004/random.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/seeded_source.hpp"

namespace qkd004::cli {

namespace {

result<void> create_random(const std::string& path, std::size_t octets, std::string* why) {
  auto file = private_output::create(path, why);
  if (!file) return file.error();
  const auto fail = [&](std::error_code error) {
    if (why != nullptr) *why = path + ": " + error.message();
    return error;
  };
  std::byte part[4'096];
  for (std::size_t left = octets; left > 0;) {
    const auto now = std::span{part}.first(std::min(left, sizeof part));
    system_random(now);
    const auto written = file->write(now);
    wipe(part, sizeof part);
    if (!written) return fail(written.error());
    left -= now.size();
  }
  if (const auto closed = file->close(); !closed) return fail(closed.error());
  return {};
}

}  // namespace

result<void> create_secret(const std::string& path, std::string* why) {
  return create_random(path, seeded_secret_bytes, why);
}

result<void> create_auth_key(const std::string& path, std::size_t octets, std::string* why) {
  return create_random(path, octets, why);
}

exit_code secret(const secret_command_options& o) {
  std::string why;
  const std::size_t octets = o.auth ? o.octets : seeded_secret_bytes;
  if (!create_random(o.path, octets, &why)) return complain(exit_code::usage, why);
  put(o.path + ": " + std::to_string(octets) + " random octets\n");
  return exit_code::ok;
}

}  // namespace qkd004::cli
