// SPDX-License-Identifier: Apache-2.0
#include "cli/demo_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "cli/key_origin.hpp"

namespace qkd004::cli {

namespace {

/// The text up to the next space, which is taken off `rest`.
std::string_view next_word(std::string_view& rest) {
  const auto space = std::min(rest.find(' '), rest.size());
  const auto word = rest.substr(0, space);
  rest.remove_prefix(std::min(space + 1, rest.size()));
  return word;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc{} || end != last) return std::nullopt;
  return value;
}

std::string rates_of(const qos& q) {
  return fmt::format("{} {} {} {} {}\n", q.key_chunk_size, q.max_bps, q.min_bps, q.jitter, q.priority);
}

std::optional<qos> parse_rates(std::string_view text) {
  qos q;
  for (auto* const field : {&q.key_chunk_size, &q.max_bps, &q.min_bps, &q.jitter, &q.priority}) {
    const auto number = parse_number(next_word(text));
    if (!number || *number > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
    *field = static_cast<std::uint32_t>(*number);
  }
  if (!text.empty()) return std::nullopt;
  return q;
}

std::string table_row(std::string_view name, std::string_view at_a, std::string_view at_b,
                      std::string_view verdict) {
  std::string line = fmt::format("  {:<13}{:<22}{:<22}{}", name, at_a, at_b, verdict);
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string rate_or_dash(double bps) { return bps > 0 ? serve::text_of_rate(bps) : std::string{"-"}; }

std::string blocks_of(const link_column& c) {
  const auto& now = c.link.now();
  std::string text;
  if (c.report.origin) {
    const auto& o = *c.report.origin;
    text = o.first_block == o.last_block ? fmt::format("{}, ", o.first_block)
                                         : fmt::format("{} to {}, ", o.first_block, o.last_block);
  }
  text += serve::grouped(now.accepted) + " accepted";
  if (serve::discarded(now) > now.cut_off)
    text += fmt::format(", {} not", serve::discarded(now) - now.cut_off);
  return text;
}

}  // namespace

std::string counter_line(const qos& quality) { return "counter " + rates_of(quality); }
std::string promised_line(const qos& quality) { return "promised " + rates_of(quality); }

std::string stream_line(const key_stream_id& id) { return fmt::format("stream {}\n", id.to_string()); }

std::string origin_line(std::string_view vendor_metadata) {
  return fmt::format("origin {}\n", vendor_metadata);
}

std::string key_line(const delivered_key& key) {
  return fmt::format("key {} {} {}\n", key.index, to_hex(key.digest), key.at.count());
}

std::string done_line(const sha256_digest& all, double keys_per_second) {
  return fmt::format("done {} {:.0f}\n", to_hex(all), keys_per_second);
}

bool application_report::take(std::string_view line) {
  const auto kind = next_word(line);
  if (kind == "counter" || kind == "promised") {
    auto& quality = kind == "counter" ? counter : promised;
    quality = parse_rates(line);
    return quality.has_value();
  }
  if (kind == "origin") {
    // of a source that does not say how its key came to be there is less
    if (const auto more = parse_key_origin(line)) origin = origin ? merge(*origin, *more) : *more;
    return line.starts_with('{');
  }
  const auto first = next_word(line);
  if (kind == "stream") {
    stream = key_stream_id::parse(first);
    return stream.has_value();
  }
  if (kind == "done") {
    all = parse_digest(first);
    keys_per_second = static_cast<double>(parse_number(line).value_or(0));
    return all.has_value();
  }
  const auto index = parse_number(first);
  if (!index) return false;
  if (kind == "shown") {
    shown.emplace_back(*index, line);
    return true;
  }
  const auto digest = parse_digest(next_word(line));
  const auto at = parse_number(line);
  if (kind != "key" || !digest || !at) return false;
  keys.push_back({*index, *digest, std::chrono::microseconds{*at}});
  return true;
}

comparison compare_common(const application_report& a, const application_report& b) {
  comparison c;
  const auto differ = [&c](std::string what) {
    if (c.difference.empty()) c.difference = std::move(what);
  };
  for (std::size_t i = 0; i < std::min(a.keys.size(), b.keys.size()); ++i) {
    if (a.keys[i].index != b.keys[i].index) {
      differ(fmt::format("key number {} has index {} at one end and {} at the other", i + 1, a.keys[i].index,
                         b.keys[i].index));
    } else if (a.keys[i].digest != b.keys[i].digest) {
      differ(fmt::format("the keys at index {} differ", a.keys[i].index));
    } else {
      ++c.equal;
    }
  }
  if (!a.stream || a.stream != b.stream) differ("the ends name different key streams");
  return c;
}

comparison compare(const application_report& a, const application_report& b, std::size_t expected) {
  comparison c = compare_common(a, b);
  const auto differ = [&c](std::string what) {
    if (c.difference.empty()) c.difference = std::move(what);
  };
  if (a.keys.size() != expected || b.keys.size() != expected) {
    differ(
        fmt::format("{} keys at one end and {} at the other, of {}", a.keys.size(), b.keys.size(), expected));
  }
  if (!a.all || !b.all) {
    differ("an application did not finish");
  } else if (*a.all != *b.all) {
    differ("the digests over all keys differ");
  }
  return c;
}

std::string index_range(const application_report& report) {
  if (report.keys.empty()) return "none";
  const auto first = report.keys.front().index;
  const auto last = report.keys.back().index;
  std::string range = fmt::format("{} to {}", first, last);
  if (last - first + 1 != report.keys.size()) range += " with gaps";
  return range;
}

std::string table(const table_end& a, const table_end& b, std::string_view key_source,
                  std::string_view transport) {
  const auto equal = [](bool same) { return same ? "equal" : "DIFFERENT"; };
  const auto& ra = a.report;
  const auto& rb = b.report;
  const auto print_of = [](const application_report& r) { return r.all ? fingerprint(*r.all) : "none"; };
  const auto rate = [](const application_report& r) {
    return r.keys_per_second > 0 ? fmt::format("{:.0f}", r.keys_per_second) : std::string{"-"};
  };

  std::string text =
      fmt::format("  {:<13}{}\n  {:<13}{}\n", "KSID",
                  ra.stream ? ra.stream->to_string() : std::string{"none"}, "key source", key_source);
  if (!transport.empty()) text += fmt::format("  {:<13}{}\n", "transport", transport);
  text += table_row("", a.site, b.site, "");
  text += table_row("application", a.application, b.application, "");
  text += table_row("keys", std::to_string(ra.keys.size()), std::to_string(rb.keys.size()),
                    equal(ra.keys.size() == rb.keys.size()));
  text +=
      table_row("index range", index_range(ra), index_range(rb), equal(index_range(ra) == index_range(rb)));
  text +=
      table_row("fingerprint", print_of(ra), print_of(rb), ra.all || rb.all ? equal(ra.all == rb.all) : "");
  text += table_row("keys/s", rate(ra), rate(rb), "");
  return text;
}

std::string link_table(const link_column& a, const link_column& b, const software_link_options& o) {
  const auto column = [&o](const link_column& c) {
    const auto& now = c.link.now();
    struct texts {
      std::string qber, phase_error, f, leak;
    } t;
    t.qber = serve::percent(c.report.origin ? c.report.origin->qber : now.qber);
    t.phase_error = t.f = t.leak = "-";
    if (!c.report.origin) return t;
    t.phase_error = "at most " + serve::percent(c.report.origin->phase_error);
    t.f = fmt::format("{:.3f}", c.report.origin->efficiency);
    const bool both = o.leak == leak_account::both_directions;
    t.leak = serve::grouped(c.report.origin->leak_alice + (both ? c.report.origin->leak_bob : 0)) + " bits";
    return t;
  };
  const auto at_a = column(a);
  const auto at_b = column(b);
  const auto verdict = [](std::string_view one, std::string_view other) {
    return one == "-" ? "" : one == other ? "equal" : "DIFFERENT";
  };
  std::string text = fmt::format("  {:<13}{}\n", "link", serve::text_of(o));
  text += table_row("QBER", at_a.qber, at_b.qber, a.report.origin ? verdict(at_a.qber, at_b.qber) : "");
  text += table_row("phase error", at_a.phase_error, at_b.phase_error,
                    verdict(at_a.phase_error, at_b.phase_error));
  text += table_row("sifted", rate_or_dash(a.link.sifted_bps()), rate_or_dash(b.link.sifted_bps()), "");
  text += table_row("secret", rate_or_dash(a.link.secret_bps()), rate_or_dash(b.link.secret_bps()), "");
  text += table_row("efficiency f", at_a.f, at_b.f, verdict(at_a.f, at_b.f));
  text += table_row("leak/block", at_a.leak, at_b.leak, verdict(at_a.leak, at_b.leak));
  text += table_row("blocks", blocks_of(a), blocks_of(b), "");
  if (a.report.origin) {
    const auto& origin = *a.report.origin;
    text += fmt::format("  {:<13}secrecy {:.1g}, correctness {:.1g}, authentication {:.1g}, of each block\n",
                        "epsilon", origin.eps_sec, origin.eps_cor, origin.eps_auth);
  }
  return text;
}

}  // namespace qkd004::cli
