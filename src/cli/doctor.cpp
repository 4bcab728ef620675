// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <random>
#include <utility>

#include "cli/print.hpp"
#include "conformance/report.hpp"
#include "conformance/survey.hpp"
#include "serve/tls_files.hpp"

namespace qkd004::cli {

namespace {

namespace cf = conformance;

bool is_tls(const std::string& uri) { return uri.starts_with("qkd004s:") || uri.starts_with("https:"); }

/// Of an application with that certificate. Nothing if it cannot be used; `why` then receives a sentence.
std::optional<cf::connector> connector_of(const doctor_options& o, const net::tls_options& own,
                                          std::string& why) {
  if (!serve::check_tls_files(own, &why)) return std::nullopt;
  cf::expected_servers servers;
  if (!o.peer_server.empty()) servers[o.peer] = o.peer_server;
  if (!o.server.empty()) servers[o.uri] = o.server;
  auto made = cf::connect_tls(own, std::move(servers), why);
  if (!made) return std::nullopt;
  return std::move(*made);
}

/// The one place where the doctor's connections are made: what else a URI may say is added here.
/// Returns false if they cannot be; `why` then receives a sentence.
bool connect_both(cf::survey_options& s, const doctor_options& o, std::string& why) {
  const bool tls = is_tls(o.uri) || is_tls(o.peer);
  if (o.tls == net::tls_options{}) {
    if (tls) why = "qkd004s:// and https:// need --certificate, --key and --authority";
    return !tls;
  }
  if (!tls) {
    why = "certificates are for qkd004s:// and https://, and " + o.uri + " is without TLS";
    return false;
  }
  const auto at_a = connector_of(o, o.tls, why);
  if (!at_a) return false;
  s.connect = *at_a;
  if (o.peer_certificate.empty()) return true;
  auto own = o.tls;
  own.certificate = o.peer_certificate;
  own.key = o.peer_key;
  const auto at_b = connector_of(o, own, why);
  if (!at_b) return false;
  s.connect_b = *at_b;
  s.two_principals = is_tls(o.uri);
  return true;
}

bool names(const std::string& text, const cf::test_case& c) { return text == c.id || text == c.group(); }

/// The first of `--only` that no case has; nothing if there is none.
const std::string* unknown(const doctor_options& o) {
  const auto& cases = cf::all_cases();
  const auto it = std::find_if(o.only.begin(), o.only.end(), [&](const std::string& text) {
    return std::none_of(cases.begin(), cases.end(), [&](const auto& c) { return names(text, c); });
  });
  return it == o.only.end() ? nullptr : &*it;
}

cf::survey_options survey_of(const doctor_options& o) {
  cf::survey_options s;
  s.uri = o.uri;
  s.peer = o.peer;
  if (o.dialect == "forge") s.spoken = cf::dialect::forge;
  if (o.dialect == "qubip") s.spoken = cf::dialect::qubip;
  s.source = o.source;
  s.destination = o.destination;
  s.patience = std::chrono::milliseconds{o.timeout_ms};
  return s;
}

exit_code cannot_examine(const doctor_options& o, const cf::survey_result& s) {
  using outcome = cf::survey_result::outcome;
  const std::string why = printable(s.why);
  switch (s.what) {
    case outcome::bad_uri: return complain(exit_code::usage, why);
    case outcome::unreachable: return complain(exit_code::transport, why);
    case outcome::not_004:
      return complain(
          exit_code::transport,
          fmt::format("{} does not speak GS QKD 004 as far as can be told: {}", printable(o.uri), why));
    default: break;
  }
  std::string advice = "; say with --source and --destination between which URIs a stream can be opened";
  if (is_tls(o.uri)) advice += " (over TLS often: those that the certificates name)";
  if (is_tls(o.peer) && o.peer_certificate.empty()) {
    advice += ", and with --peer-certificate who the application of the other end is";
  }
  if (o.peer.empty()) {
    advice +=
        ", and with --peer where the server of the other end is, unless this one is its own peer (self_link)";
  }
  return complain(exit_code::refused, why + advice);
}

}  // namespace

exit_code doctor(const doctor_options& o) {
  if (o.list) {
    put(cf::list_of_cases());
    return exit_code::ok;
  }
  if (const auto* const text = unknown(o)) {
    return complain(exit_code::usage, "no case and no group of cases is called '" + printable(*text) + "'");
  }
  std::ofstream page;
  if (!o.html.empty()) {
    page.open(o.html, std::ios::binary | std::ios::trunc);
    if (!page) return complain(exit_code::usage, "cannot write " + printable(o.html));
  }

  auto asked = survey_of(o);
  std::string why;
  if (!connect_both(asked, o, why)) return complain(exit_code::usage, printable(why));
  cf::report r;
  r.server = cf::survey(asked);
  if (r.server.what != cf::survey_result::outcome::found) return cannot_examine(o, r.server);
  r.how.ours = o.ours || r.server.whom.greets;
  r.how.destructive = o.destructive;
  r.how.seed = o.seed != 0 ? o.seed : std::random_device{}();
  if (!o.only.empty()) {
    r.how.chosen = [&o](const cf::test_case& c) {
      return std::any_of(o.only.begin(), o.only.end(), [&](const auto& text) { return names(text, c); });
    };
  }
  if (!o.json) {
    put(cf::heading(r));
    r.how.done = [](const cf::case_result& one) { put(cf::to_text(one)); };
  }
  const cf::stopwatch watch;
  r.results = cf::run_cases(r.server.whom, r.how);
  r.took = watch.elapsed();
  put(o.json ? cf::to_json(r) : cf::summary(r));

  if (page.is_open()) {
    page << cf::to_html(r);
    page.close();
    if (!page) return complain(exit_code::usage, "cannot write " + printable(o.html));
  }
  return r.conforms() ? exit_code::ok : exit_code::check_failed;
}

}  // namespace qkd004::cli
