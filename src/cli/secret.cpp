// SPDX-License-Identifier: Apache-2.0
#include "cli/secret.hpp"

#include <cstddef>
#include <string>

#include "cli/print.hpp"
#include "cli/private_output.hpp"
#include "qkd004/random.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/seeded_source.hpp"

namespace qkd004::cli {

result<void> create_secret(const std::string& path, std::string* why) {
  auto file = private_output::create(path, why);
  if (!file) return file.error();
  const auto fail = [&](std::error_code error) {
    if (why != nullptr) *why = path + ": " + error.message();
    return error;
  };
  std::byte octets[seeded_secret_bytes];
  system_random(octets);
  const auto written = file->write(octets);
  wipe(octets, sizeof octets);
  if (!written) return fail(written.error());
  if (const auto closed = file->close(); !closed) return fail(closed.error());
  return {};
}

exit_code secret(const std::string& path) {
  std::string why;
  if (!create_secret(path, &why)) return complain(exit_code::usage, why);
  put(path + ": " + std::to_string(seeded_secret_bytes) + " random octets\n");
  return exit_code::ok;
}

}  // namespace qkd004::cli
