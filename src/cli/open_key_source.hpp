// open_key_source: from what a configuration says to the key source of a link.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "cli/config.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"

namespace qkd004::cli {

/// Opens it. A seeded source keeps its secret in memory of `arena`.
/// Returns what make_seeded_source(), read_secret_file() and make_file_source() return; `why` says it in words.
[[nodiscard]] result<std::shared_ptr<key_source>> open_key_source(const key_source_settings& settings,
                                                                  const secret_arena& arena,
                                                                  std::string* why);

/// What to do when the system refuses to lock memory.
inline constexpr char lock_refused_help[] =
    "the system refuses to lock memory (see ulimit -l); raise the limit, or accept that key may reach swap "
    "space "
    "(memory.allow_unlocked, --allow-unlocked)";

}  // namespace qkd004::cli
