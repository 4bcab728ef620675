// SPDX-License-Identifier: Apache-2.0
#include "conformance/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "qkd004/version.hpp"

namespace qkd004::conformance {

namespace {

std::string_view word_of(const case_result& r) {
  switch (r.is) {
    case verdict::pass: return "PASS";
    case verdict::skip: return "SKIP";
    case verdict::fail: break;
  }
  return r.mandatory ? "FAIL" : "ADVISORY";
}

std::string_view word_of(level l) { return l == level::standard ? "standard" : "decision"; }

std::string dialects_of(const test_case& c) {
  return c.dialects == in_both ? "both" : c.dialects == in_forge ? "forge" : "qubip";
}

std::string needs_of(const test_case& c) {
  constexpr std::pair<unsigned, std::string_view> names[] = {{need::both_ends, "both ends"},
                                                             {need::hello, "HELLO"},
                                                             {need::cut_link, "control of the link"},
                                                             {need::restart, "control of the peer"},
                                                             {need::destructive, "--destructive"},
                                                             {need::stranger, "two identities"},
                                                             {need::frames, "frames"},
                                                             {need::wait_peer, "WAIT_PEER"},
                                                             {need::get_keys, "GET_KEYS"},
                                                             {need::acknowledge, "ACK"},
                                                             {need::subscribe, "SUBSCRIBE"},
                                                             {need::report, "STATUS"}};
  std::string text;
  for (const auto& [bit, name] : names) {
    if ((c.needs & bit) != 0) text += (text.empty() ? "" : ", ") + std::string{name};
  }
  return text;
}

/// What a server said may hold anything; control characters must not reach a terminal or a page.
std::string clean(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < 0x20 || octet >= 0x7f) {
      out += fmt::format("\\x{:02x}", octet);
    } else {
      out += c;
    }
  }
  return out;
}

std::string names_of(const survey_result& s) {
  if (!s.whom.greets) return "does not answer HELLO";
  std::string text = "answers HELLO as " + clean(s.name_a);
  if (s.whom.uri_a != s.whom.uri_b) text += " and " + clean(s.name_b);
  return text;
}

std::string both_uris(const target& t) {
  return t.uri_a == t.uri_b ? clean(t.uri_a) : clean(t.uri_a) + " and " + clean(t.uri_b);
}

std::string json(std::string_view text) {
  std::string out = "\"";
  for (const char c : clean(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string html(std::string_view text) {
  std::string out;
  for (const char c : clean(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string verdict_in_words(const report& r) {
  const auto n = tally_of(r.results);
  if (r.conforms() && !r.server.whom.both_ends) return "conforms as far as one end can tell";
  if (r.conforms()) {
    return n.advisory_failed == 0 ? "conforms"
                                  : "conforms; what failed is advice where the standard is silent";
  }
  return n.failed > 0 ? "does not conform" : "nothing could be checked";
}

}  // namespace

bool report::conforms() const {
  const auto n = tally_of(results);
  return n.failed == 0 && n.passed > 0;
}

std::string heading(const report& r) {
  const target& t = r.server.whom;
  std::string ends = "both ends of a stream can be opened";
  if (!t.both_ends) ends = "only one end of a stream can be opened";
  return fmt::format(
      "{}\n"
      "  dialect {}, {}\n"
      "  from {} to {}; {}\n"
      "  decisions D1 to D17, R1 to R8 and the wire are {}\n"
      "  seed {}\n\n",
      both_uris(t), to_string(t.spoken), names_of(r.server), clean(t.source), clean(t.destination), ends,
      r.how.ours ? "mandatory: this is a qkd004 server" : "advisory: this is a server of others", r.how.seed);
}

std::string to_text(const case_result& r) {
  std::string text =
      fmt::format("{:<8}  {:<30}  {:<13}  {}\n", word_of(r), r.what->id, r.what->clause, r.what->title);
  if (r.is == verdict::fail) {
    text += fmt::format("{0:10}expected: {1}\n{0:10}got:      {2}\n", "", clean(r.expected), clean(r.got));
  } else if (r.is == verdict::skip) {
    text += fmt::format("{:10}{}\n", "", clean(r.why));
  }
  return text;
}

std::string summary(const report& r) {
  const auto n = tally_of(r.results);
  return fmt::format("\n{} passed, {} failed, {} advisory, {} skipped in {:.1f} s: {}\n", n.passed, n.failed,
                     n.advisory_failed, n.skipped, static_cast<double>(r.took.count()) / 1000,
                     verdict_in_words(r));
}

std::string list_of_cases() {
  std::string text;
  for (const auto& c : all_cases()) {
    const std::string needs = needs_of(c);
    text += fmt::format("{:<30}  {:<13}  {:<8}  {:<5}  {}{}\n", c.id, c.clause, word_of(c.rule),
                        dialects_of(c), c.title, needs.empty() ? "" : " [needs " + needs + "]");
  }
  return text;
}

std::string to_json(const report& r) {
  const target& t = r.server.whom;
  const auto n = tally_of(r.results);
  std::string text = fmt::format(
      "{{\"schema\":{},\"program\":{},\"target\":{{\"uri\":{},\"peer\":{},\"dialect\":{},\"hello\":{},"
      "\"name\":{},\"peer_name\":{},\"both_ends\":{},\"source\":{},\"destination\":{}}},"
      "\"ours\":{},\"destructive\":{},\"seed\":{},\"cases\":[",
      report_schema, json("qkd004 " QKD004_VERSION_STRING), json(t.uri_a), json(t.uri_b),
      json(to_string(t.spoken)), t.greets, json(r.server.name_a), json(r.server.name_b), t.both_ends,
      json(t.source), json(t.destination), r.how.ours, r.how.destructive, r.how.seed);
  bool first = true;
  for (const auto& one : r.results) {
    if (!std::exchange(first, false)) text += ',';
    constexpr std::string_view words[] = {"pass", "fail", "skip"};
    text += fmt::format(
        "{{\"id\":{},\"clause\":{},\"title\":{},\"level\":{},\"mandatory\":{},\"result\":{},\"ms\":{}",
        json(one.what->id), json(one.what->clause), json(one.what->title), json(word_of(one.what->rule)),
        one.mandatory, json(words[static_cast<std::size_t>(one.is)]), one.took.count());
    if (one.is == verdict::fail) {
      text += fmt::format(",\"expected\":{},\"got\":{}", json(one.expected), json(one.got));
    } else if (one.is == verdict::skip) {
      text += fmt::format(",\"why\":{}", json(one.why));
    }
    text += '}';
  }
  return text + fmt::format(
                    "],\"passed\":{},\"failed\":{},\"advisory_failed\":{},\"skipped\":{},\"ms\":{},"
                    "\"conforms\":{}}}\n",
                    n.passed, n.failed, n.advisory_failed, n.skipped, r.took.count(), r.conforms());
}

std::string to_html(const report& r) {
  const target& t = r.server.whom;
  const auto n = tally_of(r.results);
  std::string page = fmt::format(
      R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GS QKD 004 conformance of {0}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --pass: #1a7f37; --fail: #cf222e; --advisory: #9a6700; --skip: #6e7781; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }}
dt {{ color: var(--skip); }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }}
td:nth-child(2), td:nth-child(3) {{ white-space: nowrap; }}
code {{ font: .9em ui-monospace, monospace; }}
.word {{ font-weight: 600; font-size: .85em; }}
.pass {{ color: var(--pass); }} .fail {{ color: var(--fail); }} .advisory {{ color: var(--advisory); }} .skip {{ color: var(--skip); }}
.why {{ display: block; color: var(--skip); font-size: .9em; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>GS QKD 004 V2.1.1 conformance</h1>
<p><span class="word {1}">{2}</span>: {3} passed, {4} failed, {5} advisory, {6} skipped in {7:.1f} s.</p>
<dl>
<dt>server</dt><dd>{0}</dd>
<dt>dialect</dt><dd>{8}, {9}</dd>
<dt>source</dt><dd>{10}</dd>
<dt>destination</dt><dd>{11}</dd>
<dt>decisions</dt><dd>{12}</dd>
<dt>program</dt><dd>qkd004 {13}, seed {14}</dd>
</dl>
)",
      html(both_uris(t)), r.conforms() ? "pass" : "fail", html(verdict_in_words(r)), n.passed, n.failed,
      n.advisory_failed, n.skipped, static_cast<double>(r.took.count()) / 1000, to_string(t.spoken),
      html(names_of(r.server)), html(t.source), html(t.destination),
      r.how.ours ? "mandatory, as for every qkd004 server"
                 : "advisory: the standard is silent, and others may decide otherwise",
      QKD004_VERSION_STRING, r.how.seed);

  std::string_view group;
  for (const auto& one : r.results) {
    if (one.what->group() != group) {
      if (!group.empty()) page += "</table></div>\n";
      group = one.what->group();
      page += fmt::format(
          "<h2>{}</h2>\n<div class=\"scroll\"><table>\n"
          "<tr><th>result</th><th>case</th><th>clause</th><th>what a server does</th></tr>\n",
          html(group));
    }
    std::string word{word_of(one)};
    std::string name = word;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return static_cast<char>(c | 0x20); });
    page += fmt::format("<tr><td class=\"word {}\">{}</td><td><code>{}</code></td><td>{}</td><td>{}", name,
                        word, html(one.what->id), html(one.what->clause), html(one.what->title));
    if (one.is == verdict::fail) {
      page += fmt::format("<span class=\"why\">expected: {}</span><span class=\"why\">got: {}</span>",
                          html(one.expected), html(one.got));
    } else if (one.is == verdict::skip) {
      page += fmt::format("<span class=\"why\">{}</span>", html(one.why));
    }
    page += "</td></tr>\n";
  }
  if (!group.empty()) page += "</table></div>\n";
  return page + "</body>\n</html>\n";
}

}  // namespace qkd004::conformance
