// SPDX-License-Identifier: Apache-2.0
#include "serve/locked_memory.hpp"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <variant>

#include "qkd004/push/receiver.hpp"

namespace qkd004::serve {

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

}  // namespace

std::size_t locked_memory_of(const site_config& config) {
  std::size_t sum = config.site.memory.bytes;
  for (const auto& source : config.key_sources) {
    if (const auto* pushed = std::get_if<push_settings>(&source)) {
      sum += pushed->source.memory.bytes + push::receiver_options{}.memory.bytes;
    }
    // the secret of a seeded source, the pads of a software link: small
    if (std::holds_alternative<seeded_settings>(source) || std::holds_alternative<software_settings>(source))
      sum += mib / 4;
  }
  if (config.push) sum += config.push->memory.bytes;
  return sum;
}

std::optional<lock_refusal> refusal_to_lock(std::size_t octets) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t size = std::max((octets + page - 1) / page * page, page);
  void* const base = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return lock_refusal{};  // no address space for it, which is refusal enough
  // counted against the limit at once, while no page is there to be locked: it costs nothing
  const bool locked = ::mlock2(base, size, MLOCK_ONFAULT) == 0;
  const int error = errno;
  ::munmap(base, size);
  if (locked || error == ENOSYS || error == EINVAL) return std::nullopt;
  lock_refusal refused;
  rlimit allowed{};
  if (::getrlimit(RLIMIT_MEMLOCK, &allowed) == 0 && allowed.rlim_cur != RLIM_INFINITY) {
    refused.limit = static_cast<std::size_t>(allowed.rlim_cur);
  }
  return refused;
}

}  // namespace qkd004::serve
