// SPDX-License-Identifier: Apache-2.0
#include "cli/dial.hpp"

#include <CLI/CLI.hpp>

#include <span>

#include "cli/print.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/net/connect.hpp"

namespace qkd004::cli {

namespace {

constexpr std::chrono::milliseconds grace{2'000};  ///< what a wire may take beyond the call's own time

}  // namespace

dialled dial(const server_options& o, std::size_t bytes) {
  dialled d{secret_arena{{bytes, o.allow_unlocked}}, nullptr};
  net::connect_options options;
  options.allow_insecure = o.allow_insecure;
  std::string why;
  auto via = net::connect(o.uri, d.arena, options, &why);
  if (via) {
    d.via = std::move(*via);
  } else {
    const bool usage = via.error() == make_error_code(status::invalid_argument);
    d.failed = complain(usage ? exit_code::usage : exit_code::transport, why);
  }
  return d;
}

std::error_code ask(exchange& via, call& c, std::chrono::milliseconds timeout) {
  c.deadline = boot_clock::now() + timeout + grace;
  call* one = &c;
  via.start(std::span{&one, 1});
  via.wait(c);
  return c.error;
}

void add_server(CLI::App& command, server_options& o) {
  command.add_option("--uri", o.uri, "the key manager, such as qkd004://127.0.0.1:25575")
      ->required()
      ->type_name("URI");
  command.add_flag("--allow-insecure", o.allow_insecure, "plain TCP off loopback");
  command.add_flag("--allow-unlocked", o.allow_unlocked,
                   "go on without locked memory: key may reach swap space");
}

void add_ends(CLI::App& command, open_connect_request& o) {
  command.add_option("--source", o.source, "URI of the application at one end, such as qkd://alice@site-a")
      ->required()
      ->type_name("URI");
  command.add_option("--destination", o.destination, "URI of the application at the other end")
      ->required()
      ->type_name("URI");
}

void add_ksid(CLI::App& command, key_stream_id& id, presence p) {
  command
      .add_option_function<std::string>(
          "--ksid",
          [&id](const std::string& text) {
            const auto parsed = key_stream_id::parse(text);
            if (!parsed || parsed->is_null()) {
              throw CLI::ValidationError{
                  "--ksid", "'" + text + "' is not a Key_stream_ID (8-4-4-4-12 hexadecimal digits)"};
            }
            id = *parsed;
          },
          "the Key_stream_ID")
      ->required(p == presence::required)
      ->type_name("KSID");
}

}  // namespace qkd004::cli
