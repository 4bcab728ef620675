// SPDX-License-Identifier: Apache-2.0
#include "serve/link_watch.hpp"

#include <fmt/format.h>

#include <utility>

#include "net/log_line.hpp"
#include "serve/link_report.hpp"
#include "serve/printable.hpp"

namespace qkd004::serve {

using net::log_level;

link_watch::link_watch(std::string link, double qber_limit, log to, clock::time_point start)
    : link_{std::move(link)}, qber_limit_{qber_limit}, log_{std::move(to)}, summarized_at_{start} {}

void link_watch::look(const software_link_report& now, clock::time_point at) {
  note_blocks(now);
  warn(now, at);
  if (at - summarized_at_ >= period) summarize(now, at);
}

void link_watch::note_blocks(const software_link_report& now) {
  const std::uint64_t more = now.accepted - accepted_;
  if (more > 0) {
    say(log_level::debug,
        fmt::format("{} accepted, {} in all: QBER {}, f {:.3f}, {} secret bits",
                    more == 1 ? std::string{"a block"} : grouped(more) + " blocks", grouped(now.accepted),
                    percent(now.qber), now.efficiency, grouped(now.secret - secret_)));
  }
  accepted_ = now.accepted;
  secret_ = now.secret;
}

void link_watch::summarize(const software_link_report& now, clock::time_point at) {
  const double seconds = std::chrono::duration<double>(at - summarized_at_).count();
  software_link_report since;  // what came in between
  since.accepted = now.accepted - summarized_.accepted;
  since.over_limit = now.over_limit - summarized_.over_limit;
  since.no_key = now.no_key - summarized_.no_key;
  since.unequal = now.unequal - summarized_.unequal;
  since.cut_off = now.cut_off - summarized_.cut_off;
  const auto per_second = [seconds](std::uint64_t after, std::uint64_t before) {
    return text_of_rate(static_cast<double>(after - before) / seconds);
  };
  if (since.accepted + discarded(since) > 0) {
    std::string text = fmt::format("{:.0f} s: {} blocks accepted, {} discarded", seconds,
                                   grouped(since.accepted), grouped(discarded(since)));
    if (discarded(since) > 0) text += " (" + reasons(since) + ")";
    text +=
        fmt::format("; QBER {}, f {:.3f}, sifted {}, secret {}", percent(now.qber), now.efficiency,
                    per_second(now.sifted, summarized_.sifted), per_second(now.secret, summarized_.secret));
    say(log_level::info, text);
  } else if (now.pulses > summarized_.pulses) {
    say(log_level::info, fmt::format("{:.0f} s: no block yet; the next one is at {}, {:.0f} %", seconds,
                                     to_string(now.at), 100 * now.progress));
  }
  summarized_ = now;
  summarized_at_ = at;
}

void link_watch::warn(const software_link_report& now, clock::time_point at) {
  const auto blocks = [](std::uint64_t n) {
    return n == 1 ? std::string{"a block"} : grouped(n) + " blocks";
  };
  if (const auto n = due(over_limit_, now.over_limit, at); n > 0) {
    say(log_level::warning,
        fmt::format("{} discarded: QBER {} is above the limit of {}; somebody may be measuring the photons",
                    blocks(n), percent(now.qber), percent(qber_limit_)));
  }
  if (const auto n = due(no_key_, now.no_key, at); n > 0) {
    say(log_level::warning,
        fmt::format(
            "{} discarded: nothing secret is left of them at a QBER of {}; larger blocks, or a shorter "
            "or better link would leave some",
            blocks(n), percent(now.qber)));
  }
  if (const auto n = due(unequal_, now.unequal, at); n > 0) {
    say(log_level::warning,
        fmt::format("{} discarded: the ends found that they were not equal after reconciliation", blocks(n)));
  }
  const bool other = !now.failure.empty() && now.failure != failure_;
  const auto n = due(forged_, now.forged, at);
  if (n == 0 && !other) return;
  failure_ = now.failure;
  say(log_level::warning, fmt::format("{} ended, and what was not accepted by then is discarded: {}",
                                      n > 1 ? grouped(n) + " sessions were" : std::string{"a session was"},
                                      printable(now.failure)));
}

std::uint64_t link_watch::due(warned& of, std::uint64_t count, clock::time_point at) {
  const std::uint64_t more = count - of.count;
  if (more == 0 || (of.at != clock::time_point{} && at - of.at < period)) return 0;
  of = {count, at};
  return more;
}

void link_watch::say(log_level level, std::string_view text) const {
  log_(level, net::log_line{text}.link(link_).text());
}

}  // namespace qkd004::serve
