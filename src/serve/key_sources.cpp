// SPDX-License-Identifier: Apache-2.0
#include "serve/key_sources.hpp"


#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>
#include <variant>

#include "net/log_limit.hpp"
#include "net/log_line.hpp"
#include "qkd004/limits.hpp"

namespace qkd004::serve {

namespace {

constexpr std::size_t secrets_bytes = std::size_t{64} << 10;  ///< the arena's smallest mapping

result<std::shared_ptr<key_source>> shared(result<std::unique_ptr<key_source>> opened) {
  if (!opened) return opened.error();
  return std::shared_ptr<key_source>{std::move(*opened)};
}

}  // namespace

key_sources::key_sources(const secret_options& memory, log to, notice must_know)
    : log_{to ? std::move(to) : [](net::log_level, std::string_view) {}},
      notice_{must_know ? std::move(must_know)
                        : [this](std::string_view text) { log_(net::log_level::warning, text); }},
      arena_{{secrets_bytes, memory.allow_unlocked}} {}

result<std::shared_ptr<key_source>> key_sources::open(const key_source_settings& settings,
                                                      const std::string& link, std::string* why) {
  if (std::holds_alternative<given_settings>(settings)) {
    if (why != nullptr) *why = "is to be given by the program that runs the site, and was not";
    return status::invalid_argument;
  }
  if (const auto* file = std::get_if<file_source_options>(&settings))
    return shared(make_file_source(*file, why));
  if (const auto* software = std::get_if<software_settings>(&settings))
    return open_software(*software, link, why);
  if (const auto* pushed = std::get_if<push_settings>(&settings)) {
    push_source_options o = pushed->source;
    // what devices say, as often as they like
    o.note = [lines = std::make_shared<net::log_limit>(log_, limits{}.max_log_lines),
              link](std::string_view text) {
      lines->write(net::log_level::info, net::log_line{"push"}.link(link).with("note", text),
                   boot_clock::now());
    };
    auto source = std::make_shared<push_source>(std::move(o));
    pushed_.push_back({link, source, pushed->device, pushed->identity, pushed->post_get_key});
    return std::shared_ptr<key_source>{source};
  }

  const auto& seeded = std::get<seeded_settings>(settings);
  auto secret = read_secret_file(seeded.secret_file, arena_, why);
  if (!secret) {
    if (why != nullptr && arena_.lock_refused()) *why += std::string{"; "} + lock_refused_help;
    return secret.error();
  }
  auto opened = make_seeded_source(std::move(*secret), seeded.options);
  if (!opened && why != nullptr) *why = seeded.secret_file + ": " + opened.error().message();
  return shared(std::move(opened));
}

result<std::shared_ptr<key_source>> key_sources::open_software(const software_settings& settings,
                                                               const std::string& link, std::string* why) {
  auto opened = make_software_link_end(settings.link, settings.end, why);
  if (!opened) return opened.error();
  const std::shared_ptr<software_link_end> end{std::move(*opened)};
  notice_(net::log_line{not_quantum_secure(settings.end.security)}
              .link(link)
              .with("end", settings.end.which == software_link_end_options::role::alice ? "Alice" : "Bob")
              .with("options", text_of(settings.link))
              .text());
  software_.push_back({link, end, {link, settings.link.qber_limit, log_, link_watch::clock::now()}});
  return std::shared_ptr<key_source>{end};
}

void key_sources::look() {
  for (auto& l : software_) l.watch.look(l.end->report(), link_watch::clock::now());
}

std::vector<link_sample> key_sources::samples() const {
  using std::chrono::milliseconds;
  const auto at = std::chrono::duration_cast<milliseconds>(link_watch::clock::now().time_since_epoch());
  std::vector<link_sample> all;
  for (const auto& l : software_) all.push_back({l.name, at, l.end->report()});
  return all;
}

}  // namespace qkd004::serve
