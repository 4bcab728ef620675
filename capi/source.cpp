// SPDX-License-Identifier: Apache-2.0
#include "source.hpp"

#include <string>
#include <utility>

#include "guard.hpp"
#include "nouns.hpp"
#include "object.hpp"
#include "qkd004.h"
#include "qkd004/file_source.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/seeded_source.hpp"
#include "structure.hpp"
#include "text.hpp"

namespace qkd004::capi {
namespace {

answer memory(std::uint64_t rate_bps, qkd004_source** first, qkd004_source** second) {
  qkd004_source*& one = needed(first);
  qkd004_source*& other = needed(second);
  memory_source_options options;
  options.rate_bps = rate_bps;
  auto ends = make_memory_sources(std::move(options));
  new_handle<qkd004_source> handles[2];
  auto a = std::make_shared<source_object>(std::shared_ptr<key_source>{std::move(ends.first)});
  auto b = std::make_shared<source_object>(std::shared_ptr<key_source>{std::move(ends.second)});
  one = handles[0].publish(std::move(a));
  other = handles[1].publish(std::move(b));
  return 0;
}

answer hand_out(std::unique_ptr<key_source> made, qkd004_source*& out) {
  new_handle<qkd004_source> handle;
  out = handle.publish(std::make_shared<source_object>(std::shared_ptr<key_source>{std::move(made)}));
  return 0;
}

answer seeded(const char* secret_file, std::uint64_t rate_bps, qkd004_source** source) {
  qkd004_source*& out = needed(source);
  std::string why;
  // a page, for the secret alone
  auto secret = read_secret_file(text(secret_file), secret_arena{{std::size_t{64} << 10, false}}, &why);
  if (!secret) return {secret.error(), why};
  auto made = make_seeded_source(*std::move(secret), {rate_bps, 0});
  if (!made) return made.error();
  return hand_out(*std::move(made), out);
}

answer file(const qkd004_file_source_options* options, qkd004_source** source) {
  qkd004_source*& out = needed(source);
  const qkd004_file_source_options o = read(needed(options));
  file_source_options from{text(o.path), security_of(o.security)};
  from.offset_path = text_or(o.offset_path, "");
  if (o.block_bytes != 0) from.block_bytes = o.block_bytes;
  from.rate_bps = o.rate_bps;
  from.allow_readable = o.allow_readable != 0;
  from.erase = o.erase != 0;
  std::string why;
  auto made = make_file_source(from, &why);
  if (!made) return {made.error(), why};
  return hand_out(*std::move(made), out);
}

}  // namespace
}  // namespace qkd004::capi

using namespace qkd004::capi;

int qkd004_source_memory(uint64_t rate_bps, qkd004_source** first, qkd004_source** second) {
  return guarded("qkd004_source_memory", [&] { return memory(rate_bps, first, second); });
}

int qkd004_source_seeded(const char* secret_file, uint64_t rate_bps, qkd004_source** source) {
  return guarded("qkd004_source_seeded", [&] { return seeded(secret_file, rate_bps, source); });
}

int qkd004_source_file(const qkd004_file_source_options* options, qkd004_source** source) {
  return guarded("qkd004_source_file", [&] { return file(options, source); });
}

int qkd004_source_close(qkd004_source* source) {
  return guarded("qkd004_source_close", [&]() -> answer {
    const auto s = use(source);
    end(source);
    return 0;
  });
}
