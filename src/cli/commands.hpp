// commands: adds each command's options to the command line; which one was chosen is run afterwards.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "cli/exit_code.hpp"

namespace CLI {
class App;
}

namespace qkd004::cli {

/// Set by the command that was given.
using action = std::function<exit_code()>;

void add_serve(CLI::App& app, action& chosen);
void add_open(CLI::App& app, action& chosen);
void add_get(CLI::App& app, action& chosen);
void add_close(CLI::App& app, action& chosen);
void add_secret(CLI::App& app, action& chosen);
void add_demo(CLI::App& app, action& chosen);
/// Not in the help: what `demo` starts two of.
void add_demo_application(CLI::App& app, action& chosen);

}  // namespace qkd004::cli
