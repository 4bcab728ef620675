// qkd004: the library from the command line.
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <signal.h>
#include <CLI/CLI.hpp>

#include <exception>
#include <string>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/print.hpp"
#include "qkd004/version.hpp"

namespace {

using namespace qkd004::cli;

exit_code run(int argc, char** argv) {
  CLI::App app{"Quantum key distribution, application interface after ETSI GS QKD 004 V2.1.1", "qkd004"};
  app.set_version_flag("--version", std::string{"qkd004 " QKD004_VERSION_STRING});
  app.require_subcommand(1);
  app.get_formatter()->column_width(28);
  app.footer(std::string{"Example:\n  qkd004 demo\n\n"} + exit_codes_help);

  action chosen;
  add_serve(app, chosen);
  add_open(app, chosen);
  add_get(app, chosen);
  add_close(app, chosen);
  add_secret(app, chosen);
  add_demo(app, chosen);
  add_demo_application(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? exit_code::ok : exit_code::usage;
  }
  return chosen();
}

}  // namespace

int main(int argc, char** argv) {
  // a descriptor that is opened later must not be taken for standard output
  for (int opened = 0; opened >= 0 && opened <= 2;) opened = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return static_cast<int>(run(argc, argv));
  } catch (const std::exception& error) {
    return static_cast<int>(complain(exit_code::check_failed, error.what()));
  }
}
