// locked_memory: how much locked memory a site may come to need, and whether the system would give it. Known at the start,
// as later some caller only hears of a resource limit.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>

#include "serve/config.hpp"

namespace qkd004::serve {

/// Octets that the stores of key of this site may grow to, all together.
[[nodiscard]] std::size_t locked_memory_of(const site_config& config);

/// What the system would say.
struct lock_refusal {
  std::optional<std::size_t> limit;  ///< RLIMIT_MEMLOCK; none: it is not that which is in the way
};

/// Asks the system whether it would lock so many octets more; nothing is locked afterwards. Nothing if it would, or if it
/// cannot be asked (a kernel without mlock2).
[[nodiscard]] std::optional<lock_refusal> refusal_to_lock(std::size_t octets);

}  // namespace qkd004::serve
