// SPDX-License-Identifier: Apache-2.0
#include "cli/print.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>

#include "wire/json_text.hpp"

namespace qkd004::cli {

namespace {

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody reads: there is nowhere to say so
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

std::string describe(status s) {
  return fmt::format("status {}: {}", static_cast<std::uint32_t>(s), to_string(s));
}

std::string to_text(const qos& q) {
  return fmt::format(
      "  key_chunk_size     {} octets\n"
      "  max_bps            {} bit/s\n"
      "  min_bps            {} bit/s\n"
      "  jitter             {} bit/s\n"
      "  priority           {}\n"
      "  timeout            {} ms\n"
      "  ttl                {} s\n"
      "  metadata_mimetype  {}\n",
      q.key_chunk_size, q.max_bps, q.min_bps, q.jitter, q.priority, q.timeout_ms, q.ttl_s,
      q.metadata_mimetype.empty() ? "none" : printable(q.metadata_mimetype));
}

std::string to_json(status outcome, const key_stream_id& stream, const qos& q) {
  return fmt::format(
      "{{\"status\":{},\"text\":{},\"key_stream_id\":{},\"qos\":{{\"key_chunk_size\":{},\"max_bps\":{},\"min_"
      "bps\":{},"
      "\"jitter\":{},\"priority\":{},\"timeout_ms\":{},\"ttl_s\":{},\"metadata_mimetype\":{}}}}}",
      static_cast<std::uint32_t>(outcome), wire::json_quoted(to_string(outcome)),
      stream.is_null() ? "null" : wire::json_quoted(stream.to_string()), q.key_chunk_size, q.max_bps,
      q.min_bps, q.jitter, q.priority, q.timeout_ms, q.ttl_s, wire::json_quoted(q.metadata_mimetype));
}

std::string to_json(status outcome) {
  return fmt::format("{{\"status\":{},\"text\":{}}}", static_cast<std::uint32_t>(outcome),
                     wire::json_quoted(to_string(outcome)));
}

exit_code complain(exit_code code, std::string_view text) {
  put_error(fmt::format("qkd004: {}\n", text));
  return code;
}

exit_code complain(std::string_view call, std::error_code error) {
  if (error.category() != status_category()) {
    return complain(exit_code::transport, fmt::format("{}: {}", call, error.message()));
  }
  // what came back was no answer of a key manager
  const status s = to_status(error);
  return complain(s == status::protocol_error ? exit_code::transport : exit_code::refused,
                  fmt::format("{}: {}", call, describe(s)));
}

void put(std::string_view text) { write_all(STDOUT_FILENO, text); }

void put_error(std::string_view text) { write_all(STDERR_FILENO, text); }

}  // namespace qkd004::cli
