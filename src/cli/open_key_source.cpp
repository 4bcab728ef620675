// SPDX-License-Identifier: Apache-2.0
#include "cli/open_key_source.hpp"

#include <utility>

namespace qkd004::cli {

namespace {

result<std::shared_ptr<key_source>> shared(result<std::unique_ptr<key_source>> opened) {
  if (!opened) return opened.error();
  return std::shared_ptr<key_source>{std::move(*opened)};
}

}  // namespace

result<std::shared_ptr<key_source>> open_key_source(const key_source_settings& settings,
                                                    const secret_arena& arena, std::string* why) {
  if (const auto* file = std::get_if<file_source_options>(&settings))
    return shared(make_file_source(*file, why));

  const auto& seeded = std::get<seeded_settings>(settings);
  auto secret = read_secret_file(seeded.secret_file, arena, why);
  if (!secret) {
    if (why != nullptr && arena.lock_refused()) *why += std::string{"; "} + lock_refused_help;
    return secret.error();
  }
  auto opened = make_seeded_source(std::move(*secret), seeded.options);
  if (!opened && why != nullptr) *why = seeded.secret_file + ": " + opened.error().message();
  return shared(std::move(opened));
}

}  // namespace qkd004::cli
