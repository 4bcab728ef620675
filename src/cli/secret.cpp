// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "cli/commands.hpp"
#include "cli/print.hpp"
#include "cli/private_output.hpp"
#include "cli/secret.hpp"
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

void add_secret(CLI::App& app, action& chosen) {
  auto* const command = app.add_subcommand("secret", "Create the secret file of a seeded key source");
  const auto path = std::make_shared<std::string>();
  command->add_option("file", *path, "must not exist yet; gets mode 0600")->required()->type_name("FILE");
  command->footer(
      std::string{"Both sites of the link need the same file; bring it over by a way you trust.\n\n"
                  "Example:\n  qkd004 secret link.secret\n\n"} +
      exit_codes_help);
  command->callback([path, &chosen] {
    chosen = [path] {
      std::string why;
      if (!create_secret(*path, &why)) return complain(exit_code::usage, why);
      put(fmt::format("{}: {} random octets\n", *path, seeded_secret_bytes));
      return exit_code::ok;
    };
  });
}

}  // namespace qkd004::cli
