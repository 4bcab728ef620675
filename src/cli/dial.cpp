// SPDX-License-Identifier: Apache-2.0
#include "cli/dial.hpp"

#include <span>

#include "cli/print.hpp"
#include "qkd004/clock.hpp"
#include "qkd004/net/connect.hpp"
#include "serve/tls_files.hpp"

namespace qkd004::cli {

namespace {

constexpr std::chrono::milliseconds grace{2'000};  ///< what a wire may take beyond the call's own time

}  // namespace

dialled dial(const server_options& o, std::size_t bytes) {
  dialled d{secret_arena{{bytes, o.allow_unlocked}}, nullptr};
  std::string why;
  net::connect_options options;
  options.allow_insecure = o.allow_insecure;
  options.server = o.server;
  if (o.tls != net::tls_options{}) {
    if (!o.uri.starts_with("qkd004s:") && !o.uri.starts_with("https:")) {
      d.failed =
          complain(exit_code::usage, "certificates are for qkd004s:// and https://, and " + o.uri + " is without TLS");
      return d;
    }
    if (!serve::check_tls_files(o.tls, &why)) {
      d.failed = complain(exit_code::usage, why);
      return d;
    }
    options.tls = o.tls;
  }
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

}  // namespace qkd004::cli
